"""CPUs, and which task runs where (kernel/sched/sched.h)."""

from gcoretools.layout.needs.need import Need, maybe, need

MEMBERS: tuple[Need, ...] = (
    need("rq.curr", "runqueue.curr"),  # 70b97a7f0b19 (2.6.18)
    maybe("x8664_pda.data_offset"),  # each CPU's own, until 2.6.30
    maybe("x8664_pda.cpunumber"),
    maybe("x8664_pda.pcurrent"),
    maybe("x8664_pda.oldrsp"),
    maybe("x8664_pda.level4_pgt"),  # each CPU's top page table, until processes had one of their own (2.6.11)
)

SIZES: tuple[Need, ...] = (maybe("x8664_pda"),)

CONSTANTS: tuple[Need, ...] = ()

SYMBOLS: tuple[Need, ...] = (
    maybe("runqueues", "per_cpu__runqueues"),  # dd17c8f72993 (2.6.34)
    maybe("__per_cpu_offset"),
    maybe("cpu_pda"),  # the array of PDAs,
    maybe("_cpu_pda"),  # ... and since 2.6.16 one of pointers to them
    maybe("nr_cpu_ids"),  # a constant where the kernel is built for one CPU count
    maybe("crashing_cpu"),
    maybe("panic_cpu"),
)
