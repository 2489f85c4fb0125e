"""The pages of a kdump-compressed dump: page_desc (makedumpfile, diskdump_mod.h) and the data behind each."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcoretools.compression import Decompressor
from gcoretools.compression.deflate import zlib_head
from gcoretools.dumps.compression import COMPRESSED, DECOMPRESSORS, PLAIN, ZLIB
from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE, Buffer, Pfns
from gcoretools.dumps.kdump_headers import Headers
from gcoretools.dumps.mapping import FileBytes, bytes_at
from gcoretools.errors import DumpError, PageCorrupt

Indexes = NDArray[np.int64]

Rows = NDArray[np.void]
"""Descriptors."""

Row = tuple[int, int, int, int]
"""Page frame number, offset of the data in the file, its size, and flags."""

DESCRIPTOR = np.dtype([("offset", "<u8"), ("size", "<u4"), ("flags", "<u4"), ("page_flags", "<u8")])
"""struct page_desc: where a page's data lies in the file, its size there, how it is compressed."""

_LAST = 4096
_KNOWN = np.zeros(COMPRESSED + 1, np.bool_)
_KNOWN[[PLAIN, *DECOMPRESSORS]] = True


class KdumpPages:
    """Pages by their number in the table of descriptors; the page frame number goes along for the errors."""

    def __init__(self, path: Path, data: FileBytes, headers: Headers, count: int) -> None:
        """Maps `count` descriptors. Raises DumpError when a whole dump ends before they, or the last pages, do."""
        self._path = path
        self._data = data
        self._incomplete = headers.incomplete
        have = max(len(data) - headers.descriptors, 0) // DESCRIPTOR.itemsize
        count = min(count, have) if headers.incomplete else count
        raw = bytes_at(data, headers.descriptors, count * DESCRIPTOR.itemsize, f"{path}: page descriptors")
        self._table: Rows = np.frombuffer(raw, dtype=DESCRIPTOR)
        last = self._table[-_LAST:]
        end = max(map(int.__add__, last["offset"].tolist(), last["size"].tolist()), default=0)
        if end > len(data) and not headers.incomplete:
            raise DumpError(f"{path}: the dump is truncated: {end - len(data)} bytes of its pages are missing")

    def lost(self, indexes: Indexes) -> NDArray[np.bool_]:
        """Which pages an incomplete dump does not have: their descriptors are zero, or were not written."""
        lost = np.full(len(indexes), self._incomplete)
        inside = indexes < len(self._table)
        lost[inside] &= self._table["offset"][indexes[inside]] == 0
        return lost

    def sound(self, indexes: Indexes) -> NDArray[np.bool_]:
        """Which pages have a descriptor that can be."""
        sound = indexes < len(self._table)
        sound[sound] = self._can_be(self._table[indexes[sound]])
        return sound

    def one(self, index: int, pfn: int) -> bytes | None:
        """One page; None when its descriptor cannot be. Raises PageCorrupt."""
        if index >= len(self._table):
            return None
        offset, size, flags, _ = self._table[index].item()
        how = flags & COMPRESSED
        if not (0 < offset <= len(self._data) - size and 0 < size <= PAGE_SIZE and _KNOWN[how]):
            return None
        return bytes(self._page((pfn, offset, size, flags))) if how != PLAIN or size == PAGE_SIZE else None

    def many(self, indexes: Indexes, pfns: Pfns) -> bytes | None:
        """Pages, one after the other; None when the descriptor of one cannot be. Raises PageCorrupt."""
        rows = self._table[indexes[indexes < len(self._table)]]
        if len(rows) < len(indexes) or not self._can_be(rows).all():
            return None
        hows = rows["flags"] & np.uint32(COMPRESSED)
        how = int(hows[0])
        if how != PLAIN and (hows == how).all():
            with suppress(ValueError):  # which one is damaged shows one by one
                return self._alike(rows, DECOMPRESSORS[how])
        return b"".join(map(self._page, self._rows(rows, pfns)))

    def heads(self, indexes: Indexes, pfns: Pfns, size: int) -> NDArray[np.uint8]:
        """The first `size` bytes of each page, a row each, with no more decompressed; zeros where it is damaged."""
        heads = b"".join([self._head(row, size) for row in self._rows(self._table[indexes], pfns)])
        return np.frombuffer(heads, dtype=np.uint8).reshape(-1, size)

    def _can_be(self, rows: Rows) -> NDArray[np.bool_]:
        """Which descriptors are those of a page in the file."""
        offset, size, how = rows["offset"], rows["size"], rows["flags"] & np.uint32(COMPRESSED)
        inside = (offset > 0) & (offset < len(self._data)) & (offset + size <= len(self._data))
        whole = (how != PLAIN) | (size == PAGE_SIZE)
        can: NDArray[np.bool_] = inside & (size > 0) & (size <= PAGE_SIZE) & _KNOWN[how] & whole
        return can

    def _rows(self, rows: Rows, pfns: Pfns) -> list[Row]:
        columns = (pfns.tolist(), rows["offset"].tolist(), rows["size"].tolist(), rows["flags"].tolist())
        return list(zip(*columns, strict=True))

    def _alike(self, rows: Rows, decompress: Decompressor) -> bytes:
        """Pages of one compression, with as little as can be done for each. Raises ValueError."""
        data, starts = self._data, rows["offset"]
        bounds = zip(starts.tolist(), (starts + rows["size"]).tolist(), strict=True)
        return b"".join([decompress(data[start:end], PAGE_SIZE) for start, end in bounds])

    def _page(self, row: Row) -> Buffer:
        pfn, offset, size, flags = row
        stored, how = self._data[offset : offset + size], flags & COMPRESSED
        if how == PLAIN:
            return stored
        try:
            return DECOMPRESSORS[how](stored, PAGE_SIZE)
        except ValueError as error:
            where = f"{self._path}: page at physical {pfn << PAGE_SHIFT:#x}"
            raise PageCorrupt(f"{where}: its data in the dump is damaged: {error}", pfn) from error

    def _head(self, row: Row, size: int) -> Buffer:
        _, offset, stored, flags = row
        try:
            if flags & COMPRESSED == ZLIB:
                return zlib_head(self._data[offset : offset + stored], size)
            return self._page(row)[:size]
        except (ValueError, PageCorrupt):
            return bytes(size)
