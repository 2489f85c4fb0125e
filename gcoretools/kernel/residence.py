"""Where each page of a mapping is: in the dump, never touched, or missing and why (mm/gup.c: get_dump_page)."""

from __future__ import annotations

import itertools
import logging
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE, Buffer
from gcoretools.errors import KernelDataError, LayoutError, PageAbsent
from gcoretools.kernel.image import Image
from gcoretools.kernel.nonpresent import settle
from gcoretools.kernel.page_cache import PageCache, PageCaches
from gcoretools.kernel.page_state import (
    DATA,
    EMPTY,
    EXCLUDED,
    GAP_REASONS,
    NO_CACHE,
    NO_TABLE,
    NOT_MAPPED,
    STORED,
    SWAPPED,
    WITH_BYTES,
    ZERO,
)
from gcoretools.kernel.swap.entry import SwapEntries
from gcoretools.kernel.swap.swap import Swap
from gcoretools.kernel.vdso import vdso_page
from gcoretools.kernel.vma import VM_IO, VM_MAYREAD, VM_PFNMAP
from gcoretools.paging import Entries, MissingTable, PageTable, Words
from gcoretools.records import Process, Vma

LOG = logging.getLogger(__name__)

# Pages that one Piece speaks of at most: 256 MiB.
PAGES_AT_ONCE = 1 << 16

# No vdso is nearly this large, in bytes: a longer mapping of that name is damaged, or an invention.
VDSO_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of pages of one state.

    Attributes:
        start: virtual address, in bytes.
        size: bytes.
        state: a state of gcoretools.kernel.page_state: DATA, STORED, ZERO, or a kind of gap.
        places: where the bytes of each page are: for DATA its page frame, for STORED how the store calls it;
            empty otherwise.
    """

    start: int
    size: int
    state: int
    places: Words


_NO_PLACES = np.empty(0, np.uint64)


class Residence:
    """Finds the pages of one process.

    Args:
        image: the kernel.
        process: whose page table is walked.
        swap: the kernel's swapped pages; one for all processes finds its ways but once.

    Attributes:
        reasons: why a gap is one, by its state.
    """

    def __init__(self, image: Image, process: Process, swap: Swap | None = None) -> None:
        swap = swap or Swap(image)
        self._image = image
        self._process = process
        self._table = PageTable(image.dump, image.user_paging, process.page_table)
        own = GAP_REASONS | {EXCLUDED + i: reason for i, reason in enumerate(image.dump.reasons)}
        self.reasons: Mapping[int, str] = ChainMap(own, swap.reasons)
        self._entries_of = SwapEntries(image)
        self._swap = swap
        self._caches = PageCaches(image, self._entries_of)
        self._stores: dict[int, Callable[[Words], Buffer]] = {DATA: image.dump.pages, STORED: swap.read}

    def read(self, piece: Piece, first: int, count: int) -> Buffer:
        """The bytes of `count` pages of a piece WITH_BYTES, from its page number `first` on, wherever they are.

        Raises PageAbsent when one is not there, DumpError when its data is corrupt.
        """
        return self._stores[piece.state](np.ascontiguousarray(piece.places[first : first + count]))

    def pieces(self, vma: Vma, size: int) -> Iterator[Piece]:
        """The pieces of the first `size` bytes of a mapping, without overlap or hole, ascending."""
        if vma.flags & (VM_IO | VM_PFNMAP) or not (vma.flags & VM_MAYREAD or vma.category == "special"):
            yield from _plain(vma.start, size, ZERO)  # the kernel's core dumper does not reach such pages either
            return
        unmapped = partial(self._unmapped, vma)
        yield from _filled(self._mapped(vma.start, size), vma.start, vma.start + size, unmapped)

    def _mapped(self, start: int, size: int) -> Iterator[Piece]:
        for found in self._table.walk(start, size):
            if isinstance(found, MissingTable):
                yield from _plain(found.start, found.size, NO_TABLE)
            else:
                yield from self._entries(found, start, start + size)

    def _entries(self, entries: Entries, start: int, end: int) -> Iterator[Piece]:
        """The pieces that a batch of page-table entries maps, cut to [start, end)."""
        step = max(PAGES_AT_ONCE * PAGE_SIZE // entries.page_size, 1)
        for at in range(0, len(entries.va), step):
            batch = slice(at, at + step)
            va, raw = _pages(entries.va[batch], entries.page_size), entries.raw[batch]
            low, high = np.searchsorted(va, np.array([start, end], np.uint64))
            state, places = self._states(raw, entries.page_size)
            yield from self._runs(va[low:high], state[low:high], places[low:high])

    def _states(self, raw: Words, page_size: int) -> tuple[NDArray[np.uint8], Words]:
        """State and place of each 4 KiB page behind these entries."""
        paging = self._image.user_paging
        per_entry = page_size // PAGE_SIZE
        places = _pages(paging.physical(raw, page_size), page_size) >> np.uint64(PAGE_SHIFT)
        state = np.full(len(places), DATA, np.uint8)
        state[np.repeat(paging.is_special(raw, page_size), per_entry)] = ZERO
        absent = ~paging.names_frame(raw, page_size)
        if absent.any():
            state.reshape(-1, per_entry)[absent] = SWAPPED
            entries = self._entries_of.of_table(raw[absent])
            places.reshape(-1, per_entry)[absent] = entries[:, None] + np.arange(per_entry, dtype=np.uint64)
        return state, places

    def _runs(self, va: Words, state: NDArray[np.uint8], places: Words) -> Iterator[Piece]:
        """Pieces out of pages: cut where the state changes or an address is left out, as EMPTY ones are."""
        settle(self._entries_of, state, places)
        swapped = np.flatnonzero(state == SWAPPED)
        if len(swapped):
            state[swapped], places[swapped] = self._swap.locate(places[swapped])
        named = np.flatnonzero(state == DATA)
        missing = named[~self._image.dump.present(places[named])]
        state[missing] = EXCLUDED + self._image.dump.why(places[missing])
        if (state == EMPTY).any():
            va, state, places = (each[state != EMPTY] for each in (va, state, places))
        if not len(va):
            return
        breaks = (state[1:] != state[:-1]) | (np.diff(va) != PAGE_SIZE)
        bounds = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(va)]
        for low, high in itertools.pairwise(bounds):
            kind = int(state[low])
            piece = places[low:high] if kind in WITH_BYTES else _NO_PLACES
            yield Piece(int(va[low]), (high - low) * PAGE_SIZE, kind, piece)

    def _unmapped(self, vma: Vma, start: int, size: int) -> Iterator[Piece]:
        """What the kernel would make of addresses without an entry in the page table."""
        if not vma.faultable:
            yield from _plain(start, size, ZERO)
        elif vma.mapping:
            yield from self._of_file(vma, start, size)
        elif vma.name == "[vdso]":
            yield from self._vdso(vma, start, size)
        else:
            yield from _plain(start, size, NOT_MAPPED)

    def _of_file(self, vma: Vma, start: int, size: int) -> Iterator[Piece]:
        """What page faults would bring in of a file."""
        at, end = start, start + size
        try:
            for piece in self._faulted(vma, start, size):
                yield piece
                at = piece.start + piece.size
        except (LayoutError, KernelDataError, PageAbsent) as error:
            LOG.warning("mapping at %#x: page cache at %#x: %s", vma.start, vma.mapping, error)
            yield from _plain(at, end - at, NO_CACHE)

    def _faulted(self, vma: Vma, start: int, size: int) -> Iterator[Piece]:
        """The cached pages of a file and the holes between them; zeros beyond its end, where a fault is SIGBUS."""
        cache = self._caches.of(vma.mapping)
        first = start - vma.start + vma.offset >> PAGE_SHIFT
        count = min(max(cache.size - first, 0), size >> PAGE_SHIFT)
        end = start + (count << PAGE_SHIFT)
        yield from _filled(self._cached(cache, first, count, start), start, end, partial(_plain, state=cache.hole))
        if end < start + size:
            yield from _plain(end, start + size - end, ZERO)

    def _cached(self, cache: PageCache, first: int, count: int, start: int) -> Iterator[Piece]:
        """The pieces of the cached ones of `count` pages of a file, whose page `first` is mapped at `start`."""
        for found in cache.find(first, first + count):
            va = (found.index - np.uint64(first) << np.uint64(PAGE_SHIFT)) + np.uint64(start)
            yield from self._runs(va, found.state.copy(), found.places.copy())

    def _vdso(self, vma: Vma, start: int, size: int) -> Iterator[Piece]:
        """Pages of the vdso that were never touched: the kernel's own image of it has them."""
        end = min(start + size, vma.start + VDSO_LIMIT)
        for at in range(start, end, PAGE_SIZE):
            try:
                number = (at - vma.start) // PAGE_SIZE
                frame = np.array([vdso_page(self._image, self._process, number)], np.uint64)
                here = self._image.dump.present(frame)[0]
                state = DATA if here else EXCLUDED + int(self._image.dump.why(frame)[0])
                yield Piece(at, PAGE_SIZE, state, frame if state == DATA else _NO_PLACES)
            except (KernelDataError, LayoutError, PageAbsent):
                yield from _plain(at, PAGE_SIZE, NOT_MAPPED)
        if max(start, end) < start + size:
            yield from _plain(max(start, end), start + size - max(start, end), NOT_MAPPED)


def _plain(start: int, size: int, state: int) -> Iterator[Piece]:
    """One piece without bytes."""
    yield Piece(start, size, state, _NO_PLACES)


def _filled(
    pieces: Iterator[Piece], start: int, end: int, between: Callable[[int, int], Iterator[Piece]]
) -> Iterator[Piece]:
    """The pieces, which lie in [start, end), and what `between` (start, size) gives for each hole among them."""
    for piece in pieces:
        if piece.start > start:
            yield from between(start, piece.start - start)
        yield piece
        start = piece.start + piece.size
    if start < end:
        yield from between(start, end - start)


def _pages(addresses: Words, page_size: int) -> Words:
    """The address of every 4 KiB page of pages of `page_size`."""
    if page_size == PAGE_SIZE:
        return addresses
    inside = np.arange(0, page_size, PAGE_SIZE, dtype=np.uint64)
    pages: Words = (addresses[:, None] + inside).ravel()
    return pages
