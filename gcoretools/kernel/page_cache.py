"""The page cache of one file: which of its pages are in memory, and where (mm/filemap.c, mm/shmem.c).

A mapping's page that is not in the page table is looked up here, as a page fault of the kernel would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE
from gcoretools.errors import KernelDataError
from gcoretools.kernel import radix_tree, xarray
from gcoretools.kernel.image import Image, Struct
from gcoretools.kernel.page import Pages
from gcoretools.kernel.page_state import DATA, NO_CACHE, NOT_CACHED, NOT_READ, POISONED, SWAPPED, ZERO
from gcoretools.kernel.radix_tree import Entries
from gcoretools.kernel.structs import Structs
from gcoretools.kernel.swap.entry import SwapEntries
from gcoretools.memory import NO_FRAME
from gcoretools.paging import Words

# include/uapi/linux/magic.h: file systems whose pages are nowhere but in memory.
TMPFS, RAMFS, HUGETLBFS = 0x01021994, 0x858458F6, 0x958458F6
IN_MEMORY = (TMPFS, RAMFS, HUGETLBFS)

# include/linux/page-flags.h before it was an enum (e26831814998, 2.6.26).
OLD_FLAGS = {"PG_uptodate": 3}

# Pages of a file that are looked at together, when it has more than so many in memory: 1 GiB.
WINDOW = 1 << 18

# Windows of one file, at most; and pages in one window, more than which only overlapping entries make.
WINDOWS = 1 << 12
PAGES_LIMIT = 1 << 25

# A node that is lost, and would have more than 1 << 20 pages below it, takes the whole file with it.
LOST_LIMIT = 20

# Files whose pages are kept in mind.
CACHES_KEPT = 8

# No huge page has more than 1 << 18 pages: 1 GiB.
HUGE_LIMIT = 18


@dataclass(frozen=True, slots=True)
class Cached:
    """Pages of a file, ascending, none twice.

    Attributes:
        index: the number of each in the file.
        state: a state of gcoretools.kernel.page_state.
        places: for DATA the page frame, for SWAPPED the swap entry as gcoretools.kernel.swap.entry has it.
    """

    index: Words
    state: NDArray[np.uint8]
    places: Words


class PageCache:
    """The cached pages of one file.

    Args:
        image: the kernel.
        pages: its struct pages.
        swap: its swap entries.
        mapping: virtual address of the file's struct address_space.

    Attributes:
        size: of the file, in pages: there are none beyond (mapped there, they end in SIGBUS).
        hole: the state of a page that is not in the cache.
    Raises LayoutError, KernelDataError and PageAbsent when the file's structures cannot be read.
    """

    def __init__(self, image: Image, pages: Pages, swap: SwapEntries, mapping: int) -> None:
        self._image = image
        self._pages = pages
        self._swap = swap
        self._mapping = image.struct("address_space", mapping)
        inode = image.struct("inode", self._mapping["host"])
        super_block = image.struct("super_block", inode["i_sb"])
        self._magic = super_block["s_magic"]
        self._huge_order = _huge_order(image, super_block) if self._magic == HUGETLBFS else 0
        self._scale = 0 if _counts_pages(image) else self._huge_order
        self.size = -(-max(inode["i_size"], 0) // PAGE_SIZE)
        self.hole = ZERO if self._magic in IN_MEMORY else NOT_CACHED
        if self._magic == TMPFS and _swapped_elsewhere(image, inode.address):
            self.hole = SWAPPED
        self._is_xarray = image.has("xarray.xa_head")
        self._whole = self._mapping["nrpages"] << self._scale <= WINDOW
        self._step = max(WINDOW, self.size // WINDOWS)
        self._low = self._high = 0
        self._window = _NOTHING

    def find(self, first: int, end: int) -> Iterator[Cached]:
        """What is known of the pages [first, end) of the file; those that are left out are holes.

        Raises KernelDataError for a damaged tree.
        """
        while first < end:
            if not self._low <= first < self._high:
                self._low, self._high = (0, max(self.size, end)) if self._whole else (first, first + self._step)
                self._window = self._read(self._low, self._high)
            stop = min(end, self._high)
            low, high = np.searchsorted(self._window.index, np.array([first, stop], np.uint64))
            window = self._window
            yield Cached(window.index[low:high], window.state[low:high], window.places[low:high])
            first = stop

    def _read(self, first: int, end: int) -> Cached:
        """The cached pages out of the tree, those of large folios and huge pages one by one."""
        found = self._entries(first >> self._scale, (end - 1) >> self._scale)
        index = found.index << np.uint64(self._scale)
        if ((found.raw == 0) & (found.order > LOST_LIMIT)).any():
            raise KernelDataError(f"address_space at {self._mapping.address:#x}: its tree is not in the dump")
        last = index | ((np.uint64(1) << (found.order + self._scale).astype(np.uint64)) - np.uint64(1))
        low, high = np.maximum(index, np.uint64(first)), np.minimum(last, np.uint64(end - 1))
        if float((high - low).sum(dtype=np.float64)) > PAGES_LIMIT:
            raise KernelDataError(f"address_space at {self._mapping.address:#x}: its pages overlap: it is damaged")
        pages, which = _each(low, high)
        states, origins = self._states(found.raw, index)
        kept = states[which] != NOT_CACHED
        return Cached(pages[kept], states[which][kept], (origins[which] + pages)[kept])

    def _entries(self, first: int, last: int) -> Entries:
        read = xarray.entries if self._is_xarray else radix_tree.entries
        return read(self._image, self._mapping.at("i_pages"), first, last)

    def _states(self, raw: Words, index: Words) -> tuple[NDArray[np.uint8], Words]:
        """The state of each entry, and its origin: to which the number of a page adds up to that page's place."""
        value = (
            raw & np.uint64(xarray.VALUE if self._image.has("xarray.xa_head") else radix_tree.EXCEPTIONAL)
        ) != 0
        state = np.full(len(raw), NO_CACHE, np.uint8)
        origin = np.zeros(len(raw), np.uint64)
        # In all other files a value is the shadow of a page that is no longer there (a528910e12ec, 3.15).
        state[value] = SWAPPED if self._magic == TMPFS else NOT_CACHED
        origin[value] = self._swap.of_cache(raw[value]) - index[value]
        page = (raw != 0) & ~value
        state[page], origin[page] = self._page_states(raw[page], index[page])
        return state, origin

    def _page_states(self, addresses: Words, index: Words) -> tuple[NDArray[np.uint8], Words]:
        """Likewise of entries that are struct pages."""
        pages, frames = Structs(self._image, "page", addresses), self._pages.pfns(addresses)
        # A large page stands in each slot by its head; until 5.4 (4101196b19d7) its pages stood there themselves.
        tail = (pages["compound_head"] & np.uint64(1)) != 0 if self._image.has("page.compound_head") else False
        state = np.full(len(addresses), DATA, np.uint8)
        # What tmpfs has set aside for fallocate(2) is read as zeros.
        state[~self._flag(pages, "PG_uptodate")] = ZERO if self._magic == TMPFS else NOT_READ
        state[self._flag(pages, "PG_hwpoison")] = POISONED
        ours = (pages["mapping"] == np.uint64(self._mapping.address)) | tail
        state[~(pages.held & ours & (frames != np.uint64(NO_FRAME)))] = NO_CACHE
        return state, frames - np.where(tail, index, pages["index"] << np.uint64(self._scale))

    def _flag(self, pages: Structs, name: str) -> NDArray[np.bool_]:
        """Which struct pages have a flag; none where the kernel does not know it."""
        bit = self._image.constant(name) if self._image.has(name) else OLD_FLAGS.get(name)
        if bit is None:
            return np.zeros(len(pages.held), np.bool_)
        flags: NDArray[np.bool_] = (pages["flags"] >> np.uint64(bit) & np.uint64(1)) != 0
        return flags


class PageCaches:
    """The page caches of files, those looked at last.

    Args:
        image: the kernel.
        swap: its swap entries.
    """

    def __init__(self, image: Image, swap: SwapEntries) -> None:
        self._image = image
        self._swap = swap
        self._kept: dict[int, PageCache] = {}

    def of(self, mapping: int) -> PageCache:
        """That of a struct address_space, by its virtual address. Raises as PageCache does."""
        if mapping not in self._kept:
            if len(self._kept) >= CACHES_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[mapping] = PageCache(self._image, self._pages, self._swap, mapping)
        return self._kept[mapping]

    @cached_property
    def _pages(self) -> Pages:
        return Pages(self._image)


_NOTHING = Cached(np.empty(0, np.uint64), np.empty(0, np.uint8), np.empty(0, np.uint64))


def _huge_order(image: Image, super_block: Struct) -> int:
    """log2 of the pages in a huge page of a hugetlbfs. Raises KernelDataError for what cannot be."""
    if not image.has("hugetlbfs_sb_info.hstate", "hstate.order"):
        shift: int = image.user_paging.levels[-2].shift
        return shift - PAGE_SHIFT
    info = image.struct("hugetlbfs_sb_info", super_block["s_fs_info"])
    order = image.struct("hstate", info["hstate"])["order"]
    if not 0 < order <= HUGE_LIMIT:
        raise KernelDataError(f"hstate at {info['hstate']:#x}: huge pages of 1 << {order} pages cannot be")
    return order


def _swapped_elsewhere(image: Image, inode: int) -> bool:
    """Whether a tmpfs file has swapped pages of which its page cache does not tell: any hole may be one."""
    if not image.has(*(f"shmem_inode_info.{name}" for name in ("vfs_inode", "swapped", "i_direct"))):
        return False
    info = image.struct("shmem_inode_info", inode - image.member("shmem_inode_info.vfs_inode").offset)
    return info["swapped"] != 0


def _counts_pages(image: Image) -> bool:
    """Whether hugetlbfs counts pages in its cache (a08c7193e4f1, 6.7), and not huge pages."""
    return image.has("xarray.xa_head") and not image.has("hugetlb_basepage_index")


def _each(first: Words, last: Words) -> tuple[Words, NDArray[np.intp]]:
    """All numbers of the ranges [first, last], one after the other, and the range that each is of."""
    count = (last - first + np.uint64(1)).astype(np.int64)
    which = np.repeat(np.arange(len(count)), count)
    inside = np.arange(len(which)) - (np.cumsum(count) - count)[which]
    numbers: Words = first[which] + inside.astype(np.uint64)
    return numbers, which
