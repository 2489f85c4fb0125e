"""kdump-compressed dumps: what makedumpfile writes by default, and QEMU's dump-guest-memory -z."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.bitmap import Bitmap
from gcoretools.dumps.compression import compression
from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE, Buffer, Dump, Note, Pfns, digest
from gcoretools.dumps.kdump_headers import Headers, read_headers
from gcoretools.dumps.kdump_pages import KdumpPages
from gcoretools.dumps.mapping import FileBytes, bytes_at
from gcoretools.dumps.notes import VMCOREINFO, bounded, joined, parse_notes
from gcoretools.errors import DumpError, PageAbsent

CACHED_PAGES = 1024
"""4 MiB: page tables and the kernel's structures are read again and again, a few bytes at a time."""

SCATTERED = 16
"""Requests of at most so many pages go through the cache; longer ones would only empty it."""

_ZERO = bytes(PAGE_SIZE)


class KdumpDump(Dump):
    """A dump whose pages are compressed one by one, each behind its descriptor."""

    format = "kdump-compressed"

    def __init__(self, path: Path, data: FileBytes) -> None:
        """Reads headers and bitmaps of the mapped file. Raises DumpError when they cannot be, or it is cut."""
        self.path = path
        headers = read_headers(path, data)
        how = compression(headers.status)
        if how and how.missing:
            raise DumpError(f"{path}: compressed with {how.name}")
        self.notes = tuple(_notes(path, data, headers))
        self.fingerprint = digest(b"kdump", len(data).to_bytes(8, "little"), headers.raw, joined(self.notes))
        self._exists, self._held = _bitmaps(path, data, headers)
        self._pages = KdumpPages(path, data, headers, self._held.total)
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self.absent_reason = _absent_reason(headers, self._exists.total - self._held.total)

    def present(self, pfns: Pfns) -> NDArray[np.bool_]:
        """Which of these page frames the second bitmap has."""
        return self._held.isset(pfns)

    def pages(self, pfns: Pfns) -> Buffer:
        """The bytes of these pages. Raises PageAbsent, and DumpError for one whose data is corrupt."""
        if len(pfns) <= SCATTERED:
            return b"".join([self._page(pfn) for pfn in pfns.tolist()])
        self._demand(pfns)
        return self._pages.many(self._held.ranks(pfns), pfns)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """(physical address, size in bytes) of every run of pages that are in the dump, ascending."""
        for first, end in self._held.runs():
            yield first << PAGE_SHIFT, (end - first) << PAGE_SHIFT

    def read(self, pa: int, size: int) -> bytes:
        """`size` bytes at physical address `pa`, through a small cache; errors as for `pages`."""
        start = pa & PAGE_SIZE - 1
        if 0 < size <= PAGE_SIZE - start:
            return self._page(pa >> PAGE_SHIFT)[start : start + size]
        return super().read(pa, size)

    def heads(self, pfns: Pfns, size: int) -> NDArray[np.uint8]:
        """The first `size` bytes of each page, a row each; errors as for `pages`."""
        self._demand(pfns)
        return self._pages.heads(self._held.ranks(pfns), pfns, size)

    def absent(self, pfn: int) -> PageAbsent:
        """The error for a page that is not there; the first bitmap tells whether the machine has it at all."""
        if self._exists.bit(pfn):
            return super().absent(pfn)
        where = f"{self.path}: page at physical {pfn << PAGE_SHIFT:#x}"
        return PageAbsent(f"{where}: not in the dump (the dumped machine has no memory there)")

    def _demand(self, pfns: Pfns) -> None:
        held = self._held.isset(pfns)
        if not held.all():
            raise self.absent(int(pfns[~held][0]))

    def _page(self, pfn: int) -> bytes:
        """One page, out of the cache or into it; of the cached ones, that which was not used for longest goes."""
        page = self._cache.pop(pfn, None)
        if page is None:
            if not self._held.bit(pfn):
                raise self.absent(pfn)
            page = self._pages.one(self._held.rank(pfn), pfn)
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


def _absent_reason(headers: Headers, excluded: int) -> str:
    if not excluded:
        return "not in the dump (the dumped machine has no memory there)"
    return f"excluded from the dump (makedumpfile -d {headers.dump_level})"
