"""32-bit x86 kernels: paging geometry, register sets and where the kernel saves them, as data."""

from __future__ import annotations

from dataclasses import replace

from gcoretools.arch.ia32 import CORE as IA32_CORE
from gcoretools.errors import LayoutError
from gcoretools.paging import Level, Linear, Paging

# Of the kernel, in bytes.
POINTER_SIZE = 4

# Where physical memory is mapped, up to highmem, the kernel image with it (CONFIG_PAGE_OFFSET of arch/x86/Kconfig).
DIRECT_MAPS = (0xC0000000, 0xB0000000, 0x80000000, 0x78000000, 0x40000000)
START_KERNEL_MAP = DIRECT_MAPS[0]

# Where a kernel is linked to from there (CONFIG_PHYSICAL_START). KASLR moves it.
PHYSICAL_START = 0x1000000

# The kernel image begins at a multiple of this many bytes (CONFIG_PHYSICAL_ALIGN, as built), below highmem.
IMAGE_ALIGNMENT = 1 << 20
IMAGE_RANGE = 896 << 20

# What a kernel's own page table can have: with PAE and without.
PAGE_LEVELS = (3, 2)

_LEVELS = {
    2: (Level("pgd", 22, 10, True), Level("pte", 12, 10, True)),
    3: (Level("pgd", 30, 2, False), Level("pmd", 21, 9, True), Level("pte", 12, 9, True)),
}


def paging(levels: int, inverted: bool) -> Paging:
    """The geometry of 2-level paging, or of the 3-level one of PAE.

    Args:
        levels: 2 or 3.
        inverted: the kernel inverts the frame bits of entries that are not present; with PAE, that is, since
            no others have a bit to spare (arch/x86/include/asm/pgtable-2level.h: protnone_mask).
    Raises LayoutError for another number of levels.
    """
    if levels not in _LEVELS:
        raise LayoutError(f"i386 has page tables of 2 or 3 levels, not of {levels}")
    pae = levels == 3
    return Paging(
        levels=_LEVELS[levels],
        va_bits=32,
        entry_dtype="<u8" if pae else "<u4",
        frame_mask=0x000F_FFFF_FFFF_F000 if pae else 0xFFFF_F000,
        present=1 << 0,
        large=1 << 7,
        special=1 << 9,
        protnone=1 << 8,
        inverted=inverted and pae,
    )


def linear(phys_base: int, direct_map: int) -> tuple[Linear, ...]:
    """The kernel's addresses that need no page table: all physical memory but highmem.

    Args:
        direct_map: virtual address of physical 0; 0 where the kernel's page table is used for everything.
    """
    return (Linear(direct_map, IMAGE_RANGE, 0),) if direct_map else ()


# struct pt_regs of arch/x86/include/asm/ptrace.h, 4 bytes each; struct user_regs_struct has the same order.
PT_REGS = USER_REGS = (
    "ebx", "ecx", "edx", "esi", "edi", "ebp", "eax", "ds", "es", "fs", "gs", "orig_eax", "eip", "cs", "eflags",
    "esp", "ss",
)  # fmt: skip

# Where the CPU was, and the end of its stack.
POINTERS = ("eip", "esp")

# Where the kernel saves what is not in pt_regs, for a thread that is not running.
SAVED_SEGMENTS = {"fs": "thread.fs", "gs": "thread.gs"}

# The selector that the kernel leaves in the CPU, and what it has when that is not so (ccbeed3a0590, 2.6.30: the
# stack protector needs the register; 3fb0fdb3bbe7, 5.13: no longer).
LAZY_SEGMENTS = {"gs": "stack_canary"}

# pt_regs has four bytes for each, of which the CPU and the entry code leave the upper ones as they please.
SELECTORS = ("ds", "es", "fs", "gs", "cs", "ss")

# Where pt_regs ends on the stack: what lies above depends on version and configuration (VM86).
STACK_TOP = "thread.sp0"

# The size of its stacks where its symbols and types do not tell it; and there is no FRED.
STACK_SIZE = 8192
FRED_PADDING = 0

SYSTEM_CALL = "orig_eax"

# arch/x86/include/asm/segment.h: the code segment of user mode.
USER_CODE_SEGMENTS = (0x73,)

# No system call: what orig_eax holds in a thread that was interrupted.
NO_SYSTEM_CALL = (1 << 32) - 1

# struct kernel_siginfo (include/linux/signal_types.h): three numbers, and the longest of what can follow.
KERNEL_SIGINFO_SIZE = 32

# The first descriptor of thread-local storage in the GDT (GDT_ENTRY_TLS_MIN of arch/x86/include/asm/segment.h).
TLS_FIRST = 6

# Its processes are what IA32 emulation has taken them for ever since: elf_prstatus and elf_prpsinfo are the same.
CORE = replace(IA32_CORE, sources={})
