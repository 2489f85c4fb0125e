"""Swap entries: what a page-table entry that is not present, or a value in a page cache, says of its page.

An entry is handled here as the kernel's own swp_entry_t, in one form for all kernels: its type from bit 58 on, its
offset below. Adding n to it names the nth page behind it, as for the pages of a huge entry.

Source: include/linux/swap.h (SWP_HWPOISON and its like), include/linux/swapops.h, include/linux/leafops.h.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gcoretools.arch.swap_format import SWAP_FORMATS, SwapFormat
from gcoretools.errors import LayoutError
from gcoretools.kernel.image import Image

Words = NDArray[np.uint64]

TYPE_SHIFT = 58

# MAX_SWAPFILES_SHIFT: numbers of types that there are, those that are no swap area among them.
TYPES = 1 << 5

# What an entry says: SWAPPED names a page of a swap area, MIGRATION, EXCLUSIVE, POISONED and PRIVATE a page
# frame; a MARKER has no page.
SWAPPED, MIGRATION, EXCLUSIVE, POISONED, PRIVATE, MARKER = range(6)

# Bits of a marker's offset (PTE_MARKER_ of include/linux/swapops.h).
MARKER_UFFD_WP, MARKER_POISONED, MARKER_GUARD = 1, 2, 4

# MAX_PHYSMEM_BITS less PAGE_SHIFT, by the levels of page tables: above the frame stand bits of
# migration entries (0d206b5d2e0d, 6.1).
_FRAME_BITS = {4: 46 - 12, 5: 52 - 12}
_ALL_FRAME_BITS = 40


def _swap_errors_are_markers(image: Image) -> bool:
    """15520a3f0469 (6.2), where markers are for every architecture, too. The sign: f1a7941243c1, of the same."""
    if not image.has("percpu_counter", "mm_struct.rss_stat"):
        return False
    return image.member("mm_struct.rss_stat").size >= 3 * image.size("percpu_counter")


def _has_swap_error(image: Image) -> bool:
    """SWP_SWAPIN_ERROR: 9f186f9e5fa9 (5.19), until it became a marker."""
    return image.has("mm_struct.mm_mt") and not _swap_errors_are_markers(image)


def _has_markers(image: Image) -> bool:
    """SWP_PTE_MARKER: 679d10331910 (5.19)."""
    return image.has("PG_anon_exclusive") and (_wide(image) or _swap_errors_are_markers(image))


def _has_device_private(image: Image) -> bool:
    """SWP_DEVICE_ without exclusive ones: 5042db43cc26 (4.14) up to b756a3b5e7ea (5.14); later
    kernels have migrate_vma_setup with no such memory, too."""
    return image.has("migrate_vma_setup") and not image.has("PG_anon_exclusive")


# What the highest types are, from the top down, and which kernels have them.
_SPECIAL: tuple[tuple[tuple[int, ...], Callable[[Image], bool]], ...] = (
    ((POISONED,), _has_swap_error),
    ((MARKER,), _has_markers),
    ((EXCLUSIVE,), lambda image: image.has("make_device_exclusive")),  # b756a3b5e7ea (5.14)
    ((EXCLUSIVE,), lambda image: image.has("make_device_exclusive_range")),  # one kind since c25465eb7630 (6.15)
    ((PRIVATE, PRIVATE), lambda image: image.has("make_device_exclusive") or _has_device_private(image)),
    ((MIGRATION,), lambda image: image.has("migrate_pages", "PG_anon_exclusive")),  # 6c287605fd56 (5.19)
    ((MIGRATION, MIGRATION), lambda image: image.has("migrate_pages")),
    ((POISONED,), lambda image: image.has("memory_failure")),  # SWP_HWPOISON
)


class SwapEntries:
    """The swap entries of one kernel, many at a time.

    Args:
        image: the kernel.
    Raises LayoutError for an architecture whose entries are not known.
    """

    def __init__(self, image: Image) -> None:
        self._format = _format(image)
        self._frame_bits = _FRAME_BITS.get(image.kernel.page_levels, _ALL_FRAME_BITS)
        self._value_shift = 1 if image.has("xarray.xa_head") else 2  # 3159f943aafd (4.20)
        self._value_bits = (64 if _wide(image) else 32) - self._value_shift
        self._kinds = _kinds(image)

    def of_table(self, raw: Words) -> Words:
        """The entries behind page-table entries that are neither empty nor present (pte_to_swp_entry)."""
        form = self._format
        types = _bits(raw, form.type_shift, form.type_bits)
        offsets = _bits(~raw if form.inverted else raw, form.offset_shift, form.offset_bits)
        return self.join(types, offsets)

    def of_cache(self, values: Words) -> Words:
        """The entries behind values in a page cache, as they stand there, tag and all (radix_to_swp_entry)."""
        entry = values >> np.uint64(self._value_shift)
        shift = self._value_bits - 5
        return self.join(_bits(entry, shift, 5), _bits(entry, 0, shift))

    def join(self, types: Words, offsets: Words) -> Words:
        """Entries out of their two parts."""
        joined: Words = types << np.uint64(TYPE_SHIFT) | offsets & np.uint64((1 << TYPE_SHIFT) - 1)
        return joined

    def kinds(self, entries: Words) -> NDArray[np.uint8]:
        """What each entry says: SWAPPED, MIGRATION and so on."""
        found: NDArray[np.uint8] = self._kinds[types(entries)]
        return found

    def frames(self, entries: Words) -> Words:
        """The page frame numbers that entries of MIGRATION, EXCLUSIVE, POISONED and PRIVATE name."""
        found: Words = entries & np.uint64((1 << self._frame_bits) - 1)
        return found


def types(entries: Words) -> Words:
    """The type of each entry: of SWAPPED ones the number of the swap area."""
    found: Words = entries >> np.uint64(TYPE_SHIFT)
    return found


def offsets(entries: Words) -> Words:
    """The offset of each entry: of SWAPPED ones the page in the swap area, of MARKER ones its bits."""
    found: Words = entries & np.uint64((1 << TYPE_SHIFT) - 1)
    return found


def _format(image: Image) -> SwapFormat:
    rows = SWAP_FORMATS.get((image.kernel.arch, image.paging.entry_size))
    if rows is None:
        raise LayoutError(f"swap entries of {image.kernel.arch} are not known")
    return next(form for signs, form in rows if image.has(*signs))


def _wide(image: Image) -> bool:
    """Whether a word of the kernel has 64 bits."""
    return image.paging.va_bits > 32


def _kinds(image: Image) -> NDArray[np.uint8]:
    """What each type is."""
    special = [kind for kinds, has in _SPECIAL if has(image) for kind in kinds]
    table = np.zeros(1 << (64 - TYPE_SHIFT), np.uint8)
    table[TYPES - len(special) : TYPES] = special[::-1]
    return table


def _bits(words: Words, shift: int, count: int) -> Words:
    found: Words = words >> np.uint64(shift) & np.uint64((1 << count) - 1)
    return found
