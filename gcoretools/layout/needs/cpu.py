"""CPUs, and which task runs where (kernel/sched/sched.h)."""

from gcoretools.layout.needs.need import Need, maybe, need

MEMBERS: tuple[Need, ...] = (need("rq.curr"),)

SIZES: tuple[Need, ...] = ()

CONSTANTS: tuple[Need, ...] = ()

SYMBOLS: tuple[Need, ...] = (
    maybe("runqueues", "per_cpu__runqueues"),  # dd17c8f72993 (2.6.34)
    maybe("__per_cpu_offset"),
    maybe("nr_cpu_ids"),  # a constant where the kernel is built for one CPU count
    maybe("crashing_cpu"),
    maybe("panic_cpu"),
)
