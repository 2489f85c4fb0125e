"""x86_64: paging geometry, register sets and where the kernel saves them, as data."""

from __future__ import annotations

from gcoretools.paging import Level, Paging

# arch/x86/include/asm/page_64_types.h: link address of the kernel image.
START_KERNEL_MAP = 0xFFFFFFFF80000000

_LEVELS = (
    Level("pgd", 48, 9, False),
    Level("p4d", 39, 9, False),
    Level("pud", 30, 9, True),
    Level("pmd", 21, 9, True),
    Level("pte", 12, 9, True),
)


def paging(levels: int, inverted: bool) -> Paging:
    """The geometry of 4- or 5-level paging.

    Args:
        levels: 4, or 5 (CPUs with LA57).
        inverted: the kernel inverts the frame bits of entries that are not present.
    """
    return Paging(
        levels=_LEVELS[-levels:],
        va_bits=12 + 9 * levels,
        entry_dtype="<u8",
        frame_mask=0x000F_FFFF_FFFF_F000,
        present=1 << 0,
        large=1 << 7,
        protnone=1 << 8,
        inverted=inverted,
    )
