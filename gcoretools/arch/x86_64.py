"""x86_64: paging geometry, register sets and where the kernel saves them, as data."""

from __future__ import annotations

from gcoretools.arch.formats import CoreFormat
from gcoretools.errors import LayoutError
from gcoretools.paging import Level, Linear, Paging

# Of the kernel, in bytes.
POINTER_SIZE = 8

# arch/x86/include/asm/page_64_types.h: link address of the kernel image.
START_KERNEL_MAP = 0xFFFFFFFF80000000

# The kernel image begins at a multiple of this many bytes (CONFIG_PHYSICAL_ALIGN, at least a large page), virtually
# within the first GiB from there (KERNEL_IMAGE_SIZE).
IMAGE_ALIGNMENT = 2 << 20
IMAGE_RANGE = 1 << 30

# What a kernel's own page table can have, the likeliest first.
PAGE_LEVELS = (4, 5)

# Where all physical memory is mapped: since d52888aa2753 (4.20), since a6523748bddd (2.6.27), before, and up to
# 2.6.10; with five levels, since d52888aa2753 and before.
DIRECT_MAPS = (
    0xFFFF888000000000,
    0xFFFF880000000000,
    0xFFFF810000000000,
    0x0000010000000000,
    0xFF11000000000000,
    0xFF10000000000000,
)
DIRECT_MAP_SIZE = 1 << 46

_LEVELS = (
    Level("pgd", 48, 9, False),
    Level("p4d", 39, 9, False),
    Level("pud", 30, 9, True),
    Level("pmd", 21, 9, True),
    Level("pte", 12, 9, True),
)


def paging(levels: int, inverted: bool) -> Paging:
    """The geometry of 4- or 5-level paging, or that of a process of 2.6.10 and before.

    Args:
        levels: 4, or 5 (CPUs with LA57); 3 for tables of the lower half of addresses alone.
        inverted: the kernel inverts the frame bits of entries that are not present.
    Raises LayoutError for another number of levels.
    """
    if levels not in (3, 4, 5):
        raise LayoutError(f"x86_64 has page tables of 3, 4 or 5 levels, not of {levels}")
    return Paging(
        levels=_LEVELS[-levels:],
        va_bits=12 + 9 * levels,
        entry_dtype="<u8",
        frame_mask=0x000F_FFFF_FFFF_F000,
        present=1 << 0,
        large=1 << 7,
        special=1 << 9,
        protnone=1 << 8,
        inverted=inverted,
    )


def linear(phys_base: int, direct_map: int) -> tuple[Linear, ...]:
    """The kernel's addresses that need no page table: of its image, and of all physical memory.

    Args:
        direct_map: virtual address of physical 0; 0 where the kernel's page table is used for everything.
    """
    if not direct_map:
        return ()
    return Linear(START_KERNEL_MAP, IMAGE_RANGE, phys_base), Linear(direct_map, DIRECT_MAP_SIZE, 0)


# struct pt_regs of arch/x86/include/asm/ptrace.h: what an entry into the kernel saves, 8 bytes each.
PT_REGS = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "orig_rax", "rip", "cs", "eflags", "rsp", "ss",
)  # fmt: skip

# struct user_regs_struct of arch/x86/include/asm/user_64.h: what a core's NT_PRSTATUS shows.
USER_REGS = (*PT_REGS, "fs_base", "gs_base", "ds", "es", "fs", "gs")

# Where the CPU was, and the end of its stack.
POINTERS = ("rip", "rsp")

# Each has eight bytes, and the value fills them.
SELECTORS = ()

# Where the kernel saves what is not in pt_regs, for a thread that is not running.
SAVED_SEGMENTS = {
    "fs_base": "thread.fsbase",
    "gs_base": "thread.gsbase",
    "ds": "thread.ds",
    "es": "thread.es",
    "fs": "thread.fsindex",
    "gs": "thread.gsindex",
}

# No selector stays in the CPU when the kernel is entered that pt_regs has room for.
LAZY_SEGMENTS: dict[str, str] = {}

# QEMU's note of a CPU (target/i386/arch_dump.c, QEMUCPUState): 18 registers of 8 bytes behind version and
# size, then segments of 24 bytes (selector u32, limit u32, flags u32, padding, base u64), 5 control registers
# and the base that SWAPGS would bring.
QEMU_SEGMENTS = {"cs": 152, "ds": 176, "es": 200, "fs": 224, "gs": 248}
QEMU_SEGMENT_BASE = 16
QEMU_KERNEL_GS_BASE = 432

# arch/x86/include/asm/segment.h: code segments of user mode, 64-bit and 32-bit.
USER_CODE_SEGMENTS = (0x33, 0x23)

# thread_struct does not say where pt_regs ends: it is the stack's end but for a padding.
STACK_TOP = ""

SYSTEM_CALL = "orig_rax"

# No system call: what orig_rax holds in a thread that was interrupted.
NO_SYSTEM_CALL = (1 << 64) - 1

# arch/x86/include/asm/page_64_types.h, where the kernel's own symbols and types do not tell.
STACK_SIZE = 16384

# struct kernel_siginfo (include/linux/signal_types.h): three numbers, and the longest of what can follow.
KERNEL_SIGINFO_SIZE = 48

# The first descriptor of thread-local storage in the GDT (GDT_ENTRY_TLS_MIN of arch/x86/include/asm/segment.h).
TLS_FIRST = 12

# arch/x86/include/asm/thread_info.h: kernels built with FRED leave two words free at the stack top.
FRED_PADDING = 16

# Cores of 64-bit processes; the structs are those of include/linux/elfcore.h.
CORE = CoreFormat(
    bits=64,
    machine=62,
    registers=USER_REGS,
    sources={},
    prstatus="<iiih2xQQiiii8Q",
    prstatus_end="<i4x",
    prpsinfo="<bcbB4xQIIiiii16s80s",
    id_limit=0xFFFFFFFF,
)
