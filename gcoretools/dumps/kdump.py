"""kdump-compressed dumps: what makedumpfile writes by default, and QEMU's dump-guest-memory -z."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.bitmap import Bitmap
from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE, Buffer, Dump, Note, Pfns, digest
from gcoretools.dumps.kdump_headers import Headers, read_headers
from gcoretools.dumps.kdump_pages import KdumpPages
from gcoretools.dumps.left_out import read_left_out
from gcoretools.dumps.mapping import FileBytes, bytes_at
from gcoretools.dumps.notes import VMCOREINFO, bounded, joined, parse_notes

CACHED_PAGES = 1024
"""4 MiB: page tables and the kernel's structures are read again and again, a few bytes at a time."""

SCATTERED = 16
"""Requests of at most so many pages go through the cache; longer ones would only empty it."""

EXCLUDED, NO_MEMORY, LOST, DAMAGED = range(4)

_ZERO = bytes(PAGE_SIZE)

# makedumpfile(8): the bits of -d that leave out memory of processes.
USER_MEMORY = {2: "page caches", 4: "page caches with private data", 8: "user pages"}


class KdumpDump(Dump):
    """A dump whose pages are compressed one by one, each behind its descriptor.

    Attributes:
        first, end: the page frames, `end` exclusive, that this file is about: all, but in one part of a split dump.
        split: whether it is one part of several.
        max_mapnr: number of page frames of the machine.
    """

    format = "kdump-compressed"
    compressed = True

    def __init__(self, path: Path, data: FileBytes) -> None:
        """Reads headers and bitmaps of the mapped file. Raises DumpError when they cannot be, or it is cut."""
        self.path = path
        headers = read_headers(path, data)
        self.first, self.end, self.split = headers.first, headers.end, headers.split
        self.max_mapnr = headers.max_mapnr
        self.notes = tuple(_notes(path, data, headers))
        self.fingerprint = digest(b"kdump", len(data).to_bytes(8, "little"), headers.raw, joined(self.notes))
        self._exists, self._held = _bitmaps(path, data, headers)
        self._before = self._held.rank(self.first)
        self._pages = KdumpPages(path, data, headers, self._held.rank(self.end) - self._before)
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._left_out = read_left_out(path, self.notes)
        excluded = self._exists.total - self._held.total
        self.reasons = self._left_out.reasons if self._left_out else _reasons(headers, excluded)
        self.remedy = _remedy(headers.dump_level) if excluded else ""

    def present(self, pfns: Pfns) -> NDArray[np.bool_]:
        """Which of these page frames the second bitmap has, with a descriptor that can be."""
        present = self._is_held(pfns)
        present[present] = self._pages.sound(self._indexes(pfns[present]))
        return present

    def why(self, pfns: Pfns) -> NDArray[np.uint8]:
        """Why they are absent: the bitmaps and the descriptors tell, or whoever trimmed the dump."""
        if self._left_out:
            return self._left_out.why(pfns)
        why = np.where(self._exists.isset(pfns), np.uint8(EXCLUDED), np.uint8(NO_MEMORY))
        held = self._is_held(pfns)
        lost = self._pages.lost(self._indexes(pfns[held]))
        why[held] = np.where(lost, np.uint8(LOST), np.uint8(DAMAGED))
        return why

    def pages(self, pfns: Pfns) -> Buffer:
        """The bytes of these pages. Raises PageAbsent, and PageCorrupt for one whose data is damaged."""
        if len(pfns) <= SCATTERED:
            return b"".join([self._page(pfn) for pfn in pfns.tolist()])
        pages = self._pages.many(self._indexes(pfns), pfns) if self._is_held(pfns).all() else None
        if pages is None:
            raise self.absent(int(pfns[~self.present(pfns)][0]))
        return pages

    def ranges(self) -> Iterator[tuple[int, int]]:
        """(physical address, size in bytes) of every run of pages that are in the dump, ascending."""
        for first, end in self._held.runs():
            first, end = max(first, self.first), min(end, self.end)
            if first < end:
                yield first << PAGE_SHIFT, (end - first) << PAGE_SHIFT

    def read(self, pa: int, size: int) -> bytes:
        """`size` bytes at physical address `pa`, through a small cache; errors as for `pages`."""
        start = pa & PAGE_SIZE - 1
        if 0 < size <= PAGE_SIZE - start:
            return self._page(pa >> PAGE_SHIFT)[start : start + size]
        return super().read(pa, size)

    def heads(self, pfns: Pfns, size: int) -> NDArray[np.uint8]:
        """The first `size` bytes of each page, a row each; zeros for one that is absent or damaged."""
        heads = np.zeros((len(pfns), size), np.uint8)
        present = self.present(pfns)
        heads[present] = self._pages.heads(self._indexes(pfns[present]), pfns[present], size)
        return heads

    def _is_held(self, pfns: Pfns) -> NDArray[np.bool_]:
        return self._held.isset(pfns) & (pfns >= self.first) & (pfns < self.end)

    def _indexes(self, pfns: Pfns) -> NDArray[np.int64]:
        """The number of each page's descriptor."""
        return self._held.ranks(pfns) - self._before

    def _page(self, pfn: int) -> bytes:
        """One page, out of the cache or into it; of the cached ones, that which was not used for longest goes."""
        page = self._cache.pop(pfn, None)
        if page is None:
            if not (self.first <= pfn < self.end and self._held.bit(pfn)):
                raise self.absent(pfn)
            page = self._pages.one(self._held.rank(pfn) - self._before, pfn)
            if page is None:
                raise self.absent(pfn)
            page = _ZERO if page == _ZERO else page
            if len(self._cache) >= CACHED_PAGES:
                self._cache.popitem(last=False)  # in one step: threads share the cache
        self._cache[pfn] = page
        return page


def _bitmaps(path: Path, data: FileBytes, headers: Headers) -> tuple[Bitmap, Bitmap]:
    """The bitmap of the pages that exist and that of the pages in the dump; early diskdump has one for both."""
    size = headers.bitmap_size
    raw = bytes_at(data, headers.bitmap, headers.descriptors - headers.bitmap, f"{path}: page bitmaps")
    exists = Bitmap(raw[:size], headers.max_mapnr)
    return exists, Bitmap(raw[size:], headers.max_mapnr) if headers.two_bitmaps else exists


def _notes(path: Path, data: FileBytes, headers: Headers) -> Iterator[Note]:
    """The notes, and VMCOREINFO as one of them where only the sub-header tells where it is (versions 3 and up)."""
    where = f"{path}: notes"
    notes = list(parse_notes(bounded(data, *headers.notes, where), where))
    yield from notes
    if headers.vmcoreinfo[1] and not any(note.owner == VMCOREINFO for note in notes):
        yield Note(VMCOREINFO, 0, bytes(bounded(data, *headers.vmcoreinfo, f"{path}: VMCOREINFO")))


def _reasons(headers: Headers, excluded: int) -> tuple[str, ...]:
    """By EXCLUDED, NO_MEMORY, LOST and DAMAGED. QEMU says level 1 and leaves nothing out."""
    nowhere = "not in the dump (the dumped machine has no memory there)"
    level = f"excluded from the dump (makedumpfile -d {headers.dump_level})"
    lost = "not in the dump, which is incomplete (its writer ran out of space)"
    return (level if excluded else nowhere), nowhere, lost, "damaged in the dump (its place there cannot be)"


def _remedy(level: int) -> str:
    """What of a process's memory a dump level leaves out, and the level that does not."""
    left_out = [f"{what} ({bit})" for bit, what in USER_MEMORY.items() if level & bit]
    if not left_out:
        return ""
    kept = level & ~sum(USER_MEMORY)
    return f"makedumpfile -d {level} leaves out {', '.join(left_out)}: -d {kept} keeps all memory of processes"
