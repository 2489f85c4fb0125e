"""The swap cache: pages that are in memory and have their place in a swap area, too (mm/swap_state.c).

Each area has a page cache for every 64 MiB of it (4b3ef9daa4fc, 4.11; one for all before), and since 6.18 no tree
but a table for each cluster (mm/swap_table.h), which names folios by pointer at first and by page frame now.
A slot of a large folio names its head: the first of the slots that name it is that page's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gcoretools.errors import KernelDataError, LayoutError, PageAbsent
from gcoretools.kernel import radix_tree, xarray
from gcoretools.kernel.image import Image
from gcoretools.kernel.page import Pages
from gcoretools.kernel.swap.area import Area
from gcoretools.kernel.swap.store import bit
from gcoretools.memory import NO_FRAME
from gcoretools.paging import Words

Flags = NDArray[np.bool_]

# SWAP_ADDRESS_SPACE_SHIFT: pages of an area that have a tree of their own.
TREE_SHIFT = 14

# Before that, a tree's indices are whole entries: their offsets are below their types.
OFFSET_MASK = (1 << 57) - 1

LAST_INDEX = (1 << 64) - 1

# Low bits of a pointer in a tree; whatever has one of them set is no page.
TAGS = 3

# SWAPFILE_CLUSTER is 512, or 256.
CLUSTER_LIMIT = 1 << 12

# SWP_TB_PFN_MARK: the low bits of a word of a swap table that names a page frame. Above the frame stand flags, of
# which the first says that the page is zero (SWP_TB_ZERO_FLAG).
TABLE_TAGS, TABLE_FRAME = 3, 2
TABLE_FRAME_SHIFT, TABLE_FRAME_MASK = 2, (1 << 40) - 1
TABLE_ZERO = 1 << 59


class SwapCache:
    """The swap cache of one kernel.

    Args:
        image: the kernel.
        pages: its struct pages.
    """

    def __init__(self, image: Image, pages: Pages) -> None:
        self._image = image
        self._pages = pages
        self._trees: dict[tuple[int, int], tuple[Words, Words]] = {}
        self._has_tables = image.has("swap_cluster_info.table", "swap_table")

    def frames(self, area: Area, offsets: Words) -> Words:
        """The page frame that has each page of an area, NO_FRAME where none has it or it is not read in yet."""
        frames = self._in_tables(area, offsets) if self._has_tables else self._in_trees(area, offsets)
        cached = np.flatnonzero(frames != NO_FRAME)
        frames[cached[~self._uptodate(frames[cached])]] = NO_FRAME
        return frames

    def zeros(self, area: Area, offsets: Words) -> Flags:
        """Which pages of an area are known to be zero, so that they were not written (0ca0c24e3211, 6.12)."""
        if self._image.has("swap_info_struct.zeromap"):
            return self._bits(np.full(len(offsets), area.info["zeromap"], np.uint64), offsets)
        if not self._has_tables:
            return np.zeros(len(offsets), np.bool_)
        if self._image.has("swap_cluster_info.zero_bitmap"):
            clusters, inside = self._clusters(area, offsets)
            return self._bits(self._words(clusters, "zero_bitmap"), inside)
        words = self._slots(area, offsets)
        tagged = (words & np.uint64(TABLE_TAGS)) != 0
        zero: Flags = tagged & ((words & np.uint64(TABLE_ZERO)) != 0)
        return zero

    def _uptodate(self, frames: Words) -> Flags:
        """Which pages have been read in. A tail page counts as its head does, which then came from memory."""
        image, pages = self._image, self._pages.addresses(frames)
        flags = self._gathered(pages + np.uint64(image.member("page.flags").offset))
        ready: Flags = (flags >> bit(image, "PG_uptodate") & np.uint64(1)) != 0
        if image.has("page.compound_head"):
            head = self._gathered(pages + np.uint64(image.member("page.compound_head").offset))
            ready |= (head & np.uint64(1)) != 0
        return ready

    # Trees

    def _in_trees(self, area: Area, offsets: Words) -> Words:
        found = np.full(len(offsets), NO_FRAME, np.uint64)
        parts = offsets >> np.uint64(TREE_SHIFT) if self._image.has("nr_swapper_spaces") else np.zeros_like(offsets)
        for part in np.unique(parts).tolist():
            those = parts == part
            index, frames = self._tree(area, part)
            if len(index):
                wanted = offsets[those]
                at = np.minimum(np.searchsorted(index, wanted), len(index) - 1)
                found[those] = np.where(index[at] == wanted, frames[at], np.uint64(NO_FRAME))
        return found

    def _tree(self, area: Area, part: int) -> tuple[Words, Words]:
        """Offsets, ascending, of the pages in one tree, and the page frame of each."""
        key = area.number, part
        if key not in self._trees:
            try:
                self._trees[key] = self._read_tree(area, part)
            except (KernelDataError, PageAbsent):
                nothing = np.empty(0, np.uint64)
                self._trees[key] = nothing, nothing
        return self._trees[key]

    def _read_tree(self, area: Area, part: int) -> tuple[Words, Words]:
        image = self._image
        walk = xarray.entries if image.has("xarray.xa_head") else radix_tree.entries
        root = self._space(area, part) + image.member("address_space.i_pages").offset
        found = walk(image, root, 0, LAST_INDEX)
        those = (found.raw != 0) & ((found.raw & np.uint64(TAGS)) == 0)
        index, raw = found.index[those], found.raw[those]
        if image.has("nr_swapper_spaces"):
            # 7aad25b4b47e (6.11) leaves out of the index what the tree stands for.
            inside = np.uint64((1 << TREE_SHIFT) - 1)
            index = (index & inside) | np.uint64(part << TREE_SHIFT)
        else:
            index = index & np.uint64(OFFSET_MASK)
        frames = self._pages.pfns(raw)
        return index, np.where(frames == NO_FRAME, frames, frames + _number_in_run(index, raw))

    def _space(self, area: Area, part: int) -> int:
        """The struct address_space of a part of an area."""
        image = self._image
        spaces, size = image.symbol("swapper_spaces"), image.size("address_space")
        if image.has("nr_swapper_spaces"):
            return image.pointer(spaces + area.number * image.pointer_size) + part * size
        return spaces + area.number * size

    # Tables

    def _in_tables(self, area: Area, offsets: Words) -> Words:
        """Page frames by the swap table; each cluster's is read whole, since a folio is named by its head."""
        count = self._slots_in_cluster
        starts: Words = np.unique(offsets // count) * count
        all_offsets = np.add.outer(starts, np.arange(int(count), dtype=np.uint64)).ravel()
        words = self._slots(area, all_offsets)
        tags = words & np.uint64(TABLE_TAGS)
        by_frame, by_pointer = tags == TABLE_FRAME, (tags == 0) & (words != 0)
        frames = np.full(len(words), NO_FRAME, np.uint64)
        frames[by_frame] = words[by_frame] >> np.uint64(TABLE_FRAME_SHIFT) & np.uint64(TABLE_FRAME_MASK)
        frames[by_pointer] = self._pages.pfns(words[by_pointer])
        cached = frames != NO_FRAME
        frames[cached] += _number_in_run(all_offsets[cached], frames[cached])
        wanted: Words = frames[np.searchsorted(all_offsets, offsets)]
        return wanted

    @property
    def _slots_in_cluster(self) -> np.uint64:
        """SWAPFILE_CLUSTER."""
        count = self._image.size("swap_table") // self._image.pointer_size
        if not 0 < count <= CLUSTER_LIMIT:
            raise LayoutError(f"a swap table of {count} slots cannot be")
        return np.uint64(count)

    def _slots(self, area: Area, offsets: Words) -> Words:
        """The word of the swap table for each page; 0 where the dump has it not."""
        clusters, inside = self._clusters(area, offsets)
        tables = self._words(clusters, "table")
        return np.where(
            tables != 0, self._gathered(tables + inside * np.uint64(self._image.pointer_size)), np.uint64(0)
        )

    def _clusters(self, area: Area, offsets: Words) -> tuple[Words, Words]:
        """The swap_cluster_info of each page, and its number in it."""
        count = self._slots_in_cluster
        size = np.uint64(self._image.size("swap_cluster_info"))
        return np.uint64(area.info["cluster_info"]) + offsets // count * size, offsets % count

    def _words(self, clusters: Words, member: str) -> Words:
        return self._gathered(clusters + np.uint64(self._image.member(f"swap_cluster_info.{member}").offset))

    def _bits(self, bitmaps: Words, numbers: Words) -> Flags:
        """The bit of each number in its bitmap."""
        byte, _ = self._image.memory.gather(bitmaps + (numbers >> np.uint64(3)), 1)
        bits: Flags = (byte[:, 0] >> (numbers & np.uint64(7)).astype(np.uint8) & 1) != 0
        return bits

    def _gathered(self, addresses: Words) -> Words:
        """The words at many addresses; 0 where the dump has them not."""
        size = self._image.pointer_size
        words: Words = self._image.memory.gather(addresses, size)[0].view(f"<u{size}").astype(np.uint64).reshape(-1)
        return words


def _number_in_run(index: Words, heads: Words) -> Words:
    """Of ascending indices that name the same thing one after the other: how many are before each."""
    if not len(index):
        return index
    places = np.arange(len(index))
    begins = np.ones(len(index), np.bool_)
    begins[1:] = (heads[1:] != heads[:-1]) | (index[1:] != index[:-1] + np.uint64(1))
    return (places - np.maximum.accumulate(np.where(begins, places, 0))).astype(np.uint64)
