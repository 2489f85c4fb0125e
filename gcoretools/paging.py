"""Page tables: the geometry as data, and one walk that serves every level, vectorised, skipping what is empty.

Source: Intel SDM volume 3, chapter 5 (paging); arch/x86/include/asm/pgtable_types.h for the software bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE, Dump
from gcoretools.errors import KernelDataError, PageAbsent

Words = NDArray[np.uint64]

# Last-level tables that are read and handed on together: 64 tables are 128 MiB of 4 KiB pages.
TABLES_AT_ONCE = 64

# Tables that are kept between walks.
TABLES_KEPT = 64


# Tables of so many bits or fewer have no upper half of negative addresses: 32-bit ones, and three levels of x86_64.
LOWER_HALF_BITS = 39


@dataclass(frozen=True, slots=True)
class Level:
    """One level of page table: an entry maps 1 << shift bytes, a table has 1 << bits entries."""

    name: str
    shift: int
    bits: int
    can_be_leaf: bool


@dataclass(frozen=True, slots=True)
class Paging:
    """The geometry of a paging mode.

    Attributes:
        levels: top level first.
        va_bits: width of a virtual address; addresses above are sign-extended.
        entry_dtype: numpy type of an entry as it lies in memory.
        frame_mask: bits of an entry that hold the physical address.
        present: set when the CPU may use the entry.
        large: set in an entry above the last level that maps memory itself.
        special: set in a last-level entry of a page that has no owner, such as the zero page.
        protnone: set, with `present` clear, in an entry the kernel made inaccessible (PROT_NONE, NUMA hinting).
        inverted: the kernel inverts the frame bits of entries that are not present (6b28baca9b1f, 4.19).
    """

    levels: tuple[Level, ...]
    va_bits: int
    entry_dtype: str
    frame_mask: int
    present: int
    large: int
    special: int
    protnone: int
    inverted: bool

    @property
    def entry_size(self) -> int:
        """Size of an entry in bytes."""
        return np.dtype(self.entry_dtype).itemsize

    @property
    def pointer_size(self) -> int:
        """Size of a pointer, and of a long, in bytes; with PAE entries are longer."""
        return 4 if self.va_bits <= 32 else 8

    def is_address(self, va: int) -> bool:
        """Whether `va` is canonical: bits above `va_bits` repeat the top one, where there is an upper half."""
        if self.va_bits <= LOWER_HALF_BITS:
            return 0 <= va < 1 << self.va_bits
        return va >> (self.va_bits - 1) in (0, (1 << (65 - self.va_bits)) - 1)

    def names_frame(self, raw: Words, page_size: int) -> NDArray[np.bool_]:
        """Which entries still name a page frame, usable by the CPU or not (pte_present, pmd_present)."""
        large = self.large if page_size > PAGE_SIZE else 0
        named: NDArray[np.bool_] = (raw & np.uint64(self.present | self.protnone | large)) != 0
        return named

    def is_special(self, raw: Words, page_size: int) -> NDArray[np.bool_]:
        """Which entries map a page without an owner (pte_special): a core has zeros there."""
        special: NDArray[np.bool_] = (raw & np.uint64(self.special if page_size == PAGE_SIZE else 0)) != 0
        return special

    def physical(self, raw: Words, page_size: int) -> Words:
        """Physical address, in bytes, of the pages that these entries name."""
        mask = np.uint64(self.frame_mask & ~(page_size - 1))
        if self.inverted:
            raw = np.where((raw & np.uint64(self.present)) != 0, raw, ~raw)
        frames: Words = raw & mask
        return frames


@dataclass(frozen=True, slots=True)
class Linear:
    """Virtual addresses [start, start + size) that stand for the physical ones from `pa` on; all in bytes."""

    start: int
    size: int
    pa: int


@dataclass(frozen=True, slots=True)
class Entries:
    """Non-empty entries that map memory or say where it went: addresses, raw entries, bytes that each covers."""

    va: Words
    raw: Words
    page_size: int


@dataclass(frozen=True, slots=True)
class MissingTable:
    """A page table that the dump does not hold, or a damaged link: nothing is known of [start, start + size)."""

    start: int
    size: int


class PageTable:
    """The page table of one address space.

    Args:
        dump: where the tables lie.
        paging: its geometry.
        root: physical address of the top table, in bytes.
    """

    def __init__(self, dump: Dump, paging: Paging, root: int) -> None:
        self.paging = paging
        self.root = root
        self._dump = dump
        self._limit = 2 + (sum(size for _, size in dump.ranges()) >> PAGE_SHIFT)
        self._budget = self._limit
        self._kept: dict[int, Words | None] = {}

    def walk(self, start: int, size: int) -> Iterator[Entries | MissingTable]:
        """Every non-empty entry that covers a part of [start, start + size), in ascending order.

        The first and the last entry may reach beyond the range when they map large pages. Raises
        KernelDataError when more tables are linked than the dump has pages (a cycle), or the range is none.
        """
        if size <= 0:
            return
        self._budget = self._limit
        span = 1 << self.paging.va_bits
        base = start & ~(span - 1)
        last = start + size - 1
        if not (self.paging.is_address(start) and self.paging.is_address(last)) or last >= base + span:
            raise KernelDataError(f"the range {start:#x}+{size:#x} leaves the address space")
        found = self._in_one_table(start, start + size)
        if found is not None:
            yield from found
            return
        self._budget = self._limit
        table = self._top_table()
        if table is None:
            yield MissingTable(start, size)
            return
        yield from self._descend(0, table, base, start, start + size)

    def _in_one_table(self, start: int, end: int) -> tuple[Entries, ...] | None:
        """The entries of a range that one table of the last level maps, which most mappings are smaller than.

        None where the range is larger, or something is in the way that only the whole descent can tell.
        """
        last = self.paging.levels[-1]
        if start >> last.shift + last.bits != end - 1 >> last.shift + last.bits:
            return None
        table = self._top_table()
        for level in self.paging.levels[:-1]:
            entry = 0 if table is None else int(table[start >> level.shift & (1 << level.bits) - 1])
            if table is not None and not entry:
                return ()
            if not entry & self.paging.present or (level.can_be_leaf and entry & self.paging.large):
                return None
            table = self._kept_table(entry)
        if table is None:
            return None
        first, after = (at >> last.shift & (1 << last.bits) - 1 for at in (start, end - 1))
        used = np.flatnonzero(table[first : after + 1])
        if not len(used):
            return ()
        va = (used.astype(np.uint64) << np.uint64(last.shift)) + np.uint64(start >> last.shift << last.shift)
        return (Entries(va, table[first : after + 1][used], 1 << last.shift),)

    def _descend(
        self, depth: int, table: Words, base: int, start: int, end: int
    ) -> Iterator[Entries | MissingTable]:
        """Entries of one table whose first entry maps `base`."""
        level = self.paging.levels[depth]
        first = max(start - base, 0) >> level.shift
        last = min((end - 1 - base) >> level.shift, (1 << level.bits) - 1)
        used = np.flatnonzero(table[first : last + 1]) + first
        if not len(used):
            return
        raw = table[used]
        va = used.astype(np.uint64) * np.uint64(1 << level.shift) + np.uint64(base)
        if depth + 1 == len(self.paging.levels):
            yield Entries(va, raw, 1 << level.shift)
            return
        for run in _runs(self._is_table(level, raw)):
            if not self._is_table(level, raw[run][:1])[0]:
                yield from self._no_tables(level, va[run], raw[run], start, end)
            elif depth + 2 == len(self.paging.levels):
                yield from self._last_level(va[run], raw[run], start, end)
            else:
                yield from self._children(depth + 1, va[run], raw[run], start, end)

    def _no_tables(
        self, level: Level, va: Words, raw: Words, start: int, end: int
    ) -> Iterator[Entries | MissingTable]:
        """Entries above the last level that link no table; where none can map memory they are damaged."""
        if level.can_be_leaf:
            yield Entries(va, raw, 1 << level.shift)
        else:
            yield from (_clipped(int(base), 1 << level.shift, start, end) for base in va)

    def _children(
        self, depth: int, va: Words, raw: Words, start: int, end: int
    ) -> Iterator[Entries | MissingTable]:
        span = 1 << self.paging.levels[depth - 1].shift
        for i in range(len(va)):
            table = self._kept_table(int(raw[i]))
            base = int(va[i])
            if table is None:
                yield _clipped(base, span, start, end)
            else:
                yield from self._descend(depth, table, base, start, end)

    def _last_level(self, va: Words, raw: Words, start: int, end: int) -> Iterator[Entries | MissingTable]:
        """The tables of the last level, many at a time, as one array of entries."""
        level = self.paging.levels[-1]
        span = 1 << (level.shift + level.bits)
        for at in range(0, len(va), TABLES_AT_ONCE):
            bases, links = va[at : at + TABLES_AT_ONCE], raw[at : at + TABLES_AT_ONCE]
            here = self._dump.present(self._frames(links))
            self._count(int(here.sum()))
            for run in _runs(here):
                if not here[run.start]:
                    yield from (_clipped(int(base), span, start, end) for base in bases[run])
                    continue
                tables = self._tables(links[run])
                if tables is None:
                    raise KernelDataError("page tables changed under us")
                step = np.arange(1 << level.bits, dtype=np.uint64) << np.uint64(level.shift)
                where = (bases[run][:, None] + step).ravel()
                low = np.searchsorted(where, np.uint64(start))
                high = np.searchsorted(where, np.uint64(end - 1), side="right")
                used = np.flatnonzero(tables[low:high]) + low
                if len(used):
                    yield Entries(where[used], tables[used], 1 << level.shift)

    def _top_table(self) -> Words | None:
        """The top table, which need not be a whole page: PAE's has 32 bytes, at an address so aligned."""
        size = self.paging.entry_size << self.paging.levels[0].bits
        if size == PAGE_SIZE:
            return self._kept_table(self.root)
        try:
            data = self._dump.read(self.root, size)
        except PageAbsent:
            return None
        return np.frombuffer(data, self.paging.entry_dtype).astype(np.uint64, copy=False)

    def _kept_table(self, link: int) -> Words | None:
        """A table that is kept for the next mapping: those above the last level, and the last one of small ones."""
        if link not in self._kept:
            if len(self._kept) >= TABLES_KEPT:
                self._kept.clear()
            self._kept[link] = self._tables(np.array([link], np.uint64))
        table = self._kept[link]
        self._count(table is not None)
        return table

    def _is_table(self, level: Level, raw: Words) -> NDArray[np.bool_]:
        linked: NDArray[np.bool_] = (raw & np.uint64(self.paging.present)) != 0
        if level.can_be_leaf:
            linked &= (raw & np.uint64(self.paging.large)) == 0
        return linked

    def _frames(self, links: Words) -> Words:
        frames: Words = (links & np.uint64(self.paging.frame_mask)) >> np.uint64(PAGE_SHIFT)
        return frames

    def _count(self, tables: int) -> None:
        """Each table is one page, and is reached once: more of them than pages are a cycle."""
        self._budget -= tables
        if self._budget < 0:
            raise KernelDataError(
                f"page table at physical {self.root:#x}: more tables than the dump has pages; it is damaged"
            )

    def _tables(self, links: Words) -> Words | None:
        """The tables that these entries (or physical addresses) name, one after the other; None if absent."""
        try:
            data = self._dump.pages(self._frames(links))
        except PageAbsent:
            return None
        return np.frombuffer(data, self.paging.entry_dtype).astype(np.uint64, copy=False)


def _clipped(base: int, span: int, start: int, end: int) -> MissingTable:
    low, high = max(base, start), min(base + span, end)
    return MissingTable(low, high - low)


def _runs(flags: NDArray[np.bool_]) -> Iterator[slice]:
    """Slices over which a flag keeps its value."""
    edges = np.flatnonzero(flags[1:] != flags[:-1]) + 1
    bounds = [0, *edges.tolist(), len(flags)]
    return (slice(low, high) for low, high in itertools.pairwise(bounds) if low < high)
