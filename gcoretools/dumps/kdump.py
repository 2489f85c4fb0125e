"""kdump-compressed dumps: what makedumpfile writes by default, and QEMU's dump-guest-memory -z."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.bitmap import Bitmap
from gcoretools.dumps.compression import COMPRESSED, Decompress, decompressor
from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE, Buffer, Dump, Note, Pfns, digest
from gcoretools.dumps.kdump_headers import Headers, read_headers
from gcoretools.dumps.mapping import bytes_at
from gcoretools.dumps.notes import VMCOREINFO, bounded, joined, parse_notes
from gcoretools.errors import DumpError, PageAbsent

CACHED_PAGES = 1024
"""4 MiB: page tables and the kernel's structures are read again and again, a few bytes at a time."""

SCATTERED = 16
"""Requests of at most so many pages go through the cache; longer ones would only empty it."""

_DESCRIPTOR = np.dtype([("offset", "<u8"), ("size", "<u4"), ("flags", "<u4"), ("page_flags", "<u8")])
_ZERO = bytes(PAGE_SIZE)
_LAST = 4096


class KdumpDump(Dump):
    """A dump whose pages are compressed one by one, each behind its descriptor."""

    format = "kdump-compressed"

    def __init__(self, path: Path, data: memoryview) -> None:
        """Reads headers and bitmaps of the mapped file. Raises DumpError when they cannot be, or it is cut."""
        self.path = path
        headers = read_headers(path, data)
        decompressor(headers.status, f"{path}")
        self.notes = tuple(_notes(path, data, headers))
        self.fingerprint = digest(b"kdump", len(data).to_bytes(8, "little"), headers.raw, joined(self.notes))
        self._data = data
        self._exists, self._held = _bitmaps(path, data, headers)
        self._descriptors = _descriptors(path, data, headers, self._held.total)
        self._decompress: dict[int, Decompress] = {}
        self._cache: dict[int, bytes] = {}
        self.absent_reason = _absent_reason(headers, self._exists.total - self._held.total)

    def present(self, pfns: Pfns) -> NDArray[np.bool_]:
        """Which of these page frames the second bitmap has."""
        return self._held.isset(pfns)

    def pages(self, pfns: Pfns) -> Buffer:
        """The bytes of these pages. Raises PageAbsent, and DumpError for one whose data is corrupt."""
        if len(pfns) <= SCATTERED:
            return b"".join([self._page(pfn) for pfn in pfns.tolist()])
        held = self._held.isset(pfns)
        if not held.all():
            raise self.absent(int(pfns[~held][0]))
        rows = self._descriptors[self._held.ranks(pfns)]
        offsets, sizes, flags = (rows[name].tolist() for name in ("offset", "size", "flags"))
        return b"".join(map(self._data_at, pfns.tolist(), offsets, sizes, flags))

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

    def absent(self, pfn: int) -> PageAbsent:
        """The error for a page that is not there; the first bitmap tells whether the machine has it at all."""
        if self._exists.bit(pfn):
            return super().absent(pfn)
        return PageAbsent(
            f"{self.path}: page at physical {pfn << PAGE_SHIFT:#x}: the dumped machine has no memory there"
        )

    def _page(self, pfn: int) -> bytes:
        """One page, out of the cache or into it; what was used last leaves it last."""
        page = self._cache.pop(pfn, None)
        if page is None:
            if not self._held.bit(pfn):
                raise self.absent(pfn)
            offset, size, flags, _ = self._descriptors[self._held.rank(pfn)].item()
            page = bytes(self._data_at(pfn, offset, size, flags))
            if page == _ZERO:
                page = _ZERO
            if len(self._cache) >= CACHED_PAGES:
                del self._cache[next(iter(self._cache))]
        self._cache[pfn] = page
        return page

    def _data_at(self, pfn: int, offset: int, size: int, flags: int) -> Buffer:
        """The page whose descriptor says this. Raises DumpError when it cannot be."""
        if size > PAGE_SIZE or offset + size > len(self._data):
            raise self._corrupt(pfn, f"{size} bytes at offset {offset:#x} are not in the file")
        data: Buffer = self._data[offset : offset + size]
        if flags & COMPRESSED:
            decompress = self._decompress.get(flags) or self._learn(pfn, flags)
            try:
                data = decompress(data)
            except ValueError as error:
                raise self._corrupt(pfn, str(error)) from error
        if len(data) != PAGE_SIZE:
            raise self._corrupt(pfn, f"it has {len(data)} bytes")
        return data

    def _learn(self, pfn: int, flags: int) -> Decompress:
        where = f"{self.path}: page at physical {pfn << PAGE_SHIFT:#x}"
        return self._decompress.setdefault(flags, decompressor(flags, where))

    def _corrupt(self, pfn: int, reason: str) -> DumpError:
        where = f"{self.path}: page at physical {pfn << PAGE_SHIFT:#x} (page frame {pfn:#x})"
        return DumpError(f"{where}: the dump is damaged: {reason}")


def _bitmaps(path: Path, data: memoryview, headers: Headers) -> tuple[Bitmap, Bitmap]:
    """The bitmap of the pages that exist and that of the pages in the dump; early diskdump has one for both."""
    size = headers.bitmap_size
    raw = bytes_at(data, headers.bitmap, headers.descriptors - headers.bitmap, f"{path}: page bitmaps")
    exists = Bitmap(raw[:size], headers.max_mapnr)
    return exists, Bitmap(raw[size:], headers.max_mapnr) if headers.two_bitmaps else exists


def _descriptors(path: Path, data: memoryview, headers: Headers, count: int) -> NDArray[np.void]:
    """The page descriptors, in the map. Raises DumpError when the file ends before the last pages do."""
    what = f"{path}: page descriptors"
    raw = bytes_at(data, headers.descriptors, count * _DESCRIPTOR.itemsize, what)
    table: NDArray[np.void] = np.frombuffer(raw, dtype=_DESCRIPTOR)
    last = table[-_LAST:]
    end = max(map(int.__add__, last["offset"].tolist(), last["size"].tolist()), default=0)
    if end > len(data):
        raise DumpError(f"{path}: the dump is truncated: {end - len(data)} bytes of pages are missing")
    return table


def _notes(path: Path, data: memoryview, headers: Headers) -> Iterator[Note]:
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
