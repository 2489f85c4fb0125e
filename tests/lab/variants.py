"""The ways to boot and to dump a kernel: one row each."""

from dataclasses import dataclass
from typing import TypedDict

from .disk import ON_DISK
from .kernels import AMD64, ZSWAP
from .machine import QEMU

EVERYBODY = (
    "threads", "many", "zleader", "memory", "memory-default", "memory-all", "dynamic", "namespaced", "forked",
    "stopped",
)  # fmt: skip
# Where every program is a 32-bit one.
IA32 = ("threads", "zleader", "memory", "dynamic", "namespaced", "forked", "stopped", "spin")
SWAPPED_OUT = ("big-lzo-rle", "big-zstd")  # 100,000 pages each
# The filter of each process is in its name; `dynamic` has that of ELF headers, `cached` all bits.
FILTERS = ("filter-00", *(f"filter-{1 << bit:02x}" for bit in range(7)), "dynamic", "cached")
MANY = ("sparse", "sparse-file", "mappings-10000", "mappings-100000")
CROWDS = ("crowd-1000", "crowd-10000")  # so many threads
# The kernels of `make test`, for what differs most between them.
QUICK = ("6.1", "6.12")
VMCOREINFO = ("-device", "vmcoreinfo")


@dataclass(frozen=True)
class Variant:
    """One machine: `ending` says what follows the ready line.

    cores: dump the stopped machine, then have the kernel dump each process.
    facts: dump the stopped machine only.
    panic: the guest panics, and its capture kernel saves /proc/vmcore.
    """

    name: str
    roles: tuple[str, ...] = (*EVERYBODY, "spin", "sysspin")
    ending: str = "cores"
    cpu: str = "max,-cx16"  # QEMU 7.2 miscomputes flags after CMPXCHG16B
    memory: int = 320  # MiB
    devices: tuple[str, ...] = VMCOREINFO
    append: str = ""
    formats: tuple[str, ...] = ("elf", "kdump-zlib")
    programs: str = "x86_64"  # the key of PROGRAMS_OF: what the guest runs
    kept_disk: int = 0  # bytes of /dev/vdb that are kept as they were at the moment of the dump
    modules: str = ""  # a key of MORE_MODULES: what the guest loads besides
    qemu: str = QEMU
    disk: bool = False  # its programs are on a disk
    kernels: tuple[str, ...] = AMD64  # those that it is made for
    quick: tuple[str, ...] = ("6.1",)  # those of them in `make test`; `make matrix` has all


class _Swapping(TypedDict):
    memory: int
    formats: tuple[str, ...]
    programs: str
    modules: str


SWAPPING = _Swapping(memory=512, formats=("elf",), programs="swap", modules="swap")

_ROWS = (
    Variant("max", quick=QUICK),
    Variant("nehalem", cpu="Nehalem", append="vsyscall=xonly"),
    Variant("plain", devices=()),
    Variant(
        "kdump",
        quick=QUICK,
        roles=(*EVERYBODY, "panic"),
        ending="panic",
        memory=640,
        append="crashkernel=256M printk.console_no_auto_verbose=1",
    ),
    Variant(
        "kdump-ia32",
        quick=(),
        roles=("threads", "dynamic", "panic"),
        ending="panic",
        memory=640,
        append="crashkernel=256M printk.console_no_auto_verbose=1",
        programs="ia32-panic",
    ),
    # QEMU's CPU "max" enters the kernel by syscall, as AMD's do from 32-bit code, and Nehalem by sysenter.
    Variant("ia32", quick=QUICK, roles=IA32, formats=("elf",), programs="ia32"),
    Variant("sysenter", roles=IA32, cpu="Nehalem", formats=("elf",), programs="ia32"),
    # Segment bases by descriptors: where the CPU has FSGSBASE, the kernel reads them another way.
    Variant("segments", roles=("threads",), cpu="Nehalem", formats=("elf",), programs="segments"),
    Variant("fsgsbase", roles=("threads",), formats=("elf",), programs="segments"),
    # A process for each compressor that the kernel has, its memory on a zram device of its own; since 917a59e81c34
    # (6.12) zram has compressors of its own. Then memory that is on a disk, without and with zswap before it.
    Variant(
        "zram",
        roles=tuple(f"zram-{name}" for name in ("lzo", "lzo-rle", "lz4", "lz4hc", "zstd", "deflate")),
        **SWAPPING,
        kernels=("5.10", "6.1"),
    ),
    Variant(
        "zram-own",
        roles=tuple(f"zram-{name}" for name in ("lz4", "lz4hc", "zstd", "deflate")),
        **SWAPPING,
        kernels=("6.12", "7.2"),
        quick=("7.2",),
    ),
    Variant("swapdisk", roles=("disk-vdb",), **SWAPPING, kept_disk=64 << 20),
    Variant("zswap", roles=("zswap-vdb",), **SWAPPING, kept_disk=64 << 20, kernels=ZSWAP, quick=ZSWAP[:1]),
    # 32-bit kernels, with PAE and without, on a 32-bit CPU and on a 64-bit one. Above 896 MiB is highmem: the
    # pages of processes come from there first.
    Variant(
        "pae",
        roles=IA32,
        qemu="qemu-system-i386",
        programs="i386",
        kernels=("5.10-686-pae", "6.1-686-pae"),
        quick=(),
    ),
    Variant(
        "highmem",
        roles=IA32,
        cpu="Nehalem",
        memory=1152,
        devices=(),
        formats=("elf",),
        programs="i386",
        kernels=("6.1-686",),
        quick=(),
    ),
    # Their caches are dropped: what they do not use is on the disk alone.
    Variant("disk", roles=(*ON_DISK, "drop"), formats=("elf",), programs="disk", disk=True),
    # Each bit of the filter by itself, and pages that are in no page table.
    Variant("pages", roles=FILTERS, memory=448, formats=("elf",), programs="pages"),
    Variant(
        "huge1g",
        roles=("huge1g",),
        ending="facts",
        memory=2304,
        append="nokaslr hugepagesz=1G hugepages=1",
        formats=("elf",),
        programs="pages",
        kernels=("6.1", "7.2"),  # the caches of hugetlbfs count in huge pages, and in pages (6.7)
        quick=(),
    ),
    Variant("many", roles=MANY, ending="facts", memory=768, formats=("elf",), programs="pages", kernels=("6.1",)),
    Variant("traced", roles=("traced",), ending="facts", formats=("elf",)),
    Variant("crowd", roles=CROWDS, ending="facts", memory=1536, formats=("elf",), kernels=("6.1",)),
    Variant("bench", roles=("bench",), ending="facts", memory=2560, formats=("elf",), kernels=("6.1",)),
    Variant(
        "swapbench",
        roles=SWAPPED_OUT,
        ending="facts",
        memory=1280,
        formats=("elf",),
        programs="swapbench",
        modules="swap",
        kernels=("6.1",),
        quick=(),
    ),
)
VARIANTS = {variant.name: variant for variant in _ROWS}
