"""The pages of a kdump-compressed dump: page_desc (makedumpfile, diskdump_mod.h) and the data behind each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.compression import Compression, compression
from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE, Buffer, Pfns
from gcoretools.dumps.kdump_headers import Headers
from gcoretools.dumps.mapping import FileBytes, bytes_at
from gcoretools.errors import DumpError

Indexes = NDArray[np.int64]

_DESCRIPTOR = np.dtype([("offset", "<u8"), ("size", "<u4"), ("flags", "<u4"), ("page_flags", "<u8")])
_LAST = 4096


class KdumpPages:
    """Pages by their number in the table of descriptors; the page frame number goes along for the errors."""

    def __init__(self, path: Path, data: FileBytes, headers: Headers, count: int) -> None:
        """Maps `count` descriptors. Raises DumpError when the file ends before they, or the last pages, do."""
        self._path = path
        self._data = data
        raw = bytes_at(data, headers.descriptors, count * _DESCRIPTOR.itemsize, f"{path}: page descriptors")
        self._table: NDArray[np.void] = np.frombuffer(raw, dtype=_DESCRIPTOR)
        last = self._table[-_LAST:]
        end = max(map(int.__add__, last["offset"].tolist(), last["size"].tolist()), default=0)
        if end > len(data):
            raise DumpError(f"{path}: the dump is truncated: {end - len(data)} bytes of its pages are missing")

    def one(self, index: int, pfn: int) -> bytes:
        """One page. Raises DumpError when its data is corrupt."""
        offset, size, flags, _ = self._table[index].item()
        return bytes(self._page(pfn, offset, size, flags))

    def many(self, indexes: Indexes, pfns: Pfns) -> bytes:
        """Pages, one after the other; errors as for `one`."""
        return b"".join(map(self._page, pfns.tolist(), *self._columns(indexes)))

    def heads(self, indexes: Indexes, pfns: Pfns, size: int) -> NDArray[np.uint8]:
        """The first `size` bytes of each page, a row each, with no more decompressed; errors as for `one`."""
        columns = self._columns(indexes)
        heads = [self._head(*page, size) for page in zip(pfns.tolist(), *columns, strict=True)]
        return np.frombuffer(b"".join(heads), dtype=np.uint8).reshape(-1, size)

    def _columns(self, indexes: Indexes) -> tuple[list[int], list[int], list[int]]:
        rows = self._table[indexes]
        return rows["offset"].tolist(), rows["size"].tolist(), rows["flags"].tolist()

    def _page(self, pfn: int, offset: int, size: int, flags: int) -> Buffer:
        how, stored = self._stored(pfn, offset, size, flags)
        if how.decompress is None:
            return stored
        try:
            page = how.decompress(stored)
        except ValueError as error:
            raise self._corrupt(pfn, str(error)) from error
        if len(page) != PAGE_SIZE:
            raise self._corrupt(pfn, f"it has {len(page)} bytes")
        return page

    def _head(self, pfn: int, offset: int, size: int, flags: int, wanted: int) -> Buffer:
        how, stored = self._stored(pfn, offset, size, flags)
        if how.head is None:
            return self._page(pfn, offset, size, flags)[:wanted]
        try:
            head = how.head(stored, wanted)
        except ValueError as error:
            raise self._corrupt(pfn, str(error)) from error
        if len(head) != wanted:
            raise self._corrupt(pfn, f"it has {len(head)} bytes")
        return head

    def _stored(self, pfn: int, offset: int, size: int, flags: int) -> tuple[Compression, Buffer]:
        """How a page is compressed, and its bytes in the file."""
        how = compression(flags)
        if how is None or how.missing:
            name = how.name if how else f"flags {flags:#x}, which cannot be"
            raise DumpError(f"{self._where(pfn)}: compressed with {name}")
        if size > PAGE_SIZE or offset + size > len(self._data):
            raise self._corrupt(pfn, f"{size} bytes at offset {offset:#x} are not in the file")
        if how.decompress is None and size != PAGE_SIZE:
            raise self._corrupt(pfn, f"it has {size} bytes")
        return how, self._data[offset : offset + size]

    def _corrupt(self, pfn: int, reason: str) -> DumpError:
        return DumpError(f"{self._where(pfn)}: the dump is damaged: {reason}")

    def _where(self, pfn: int) -> str:
        return f"{self._path}: page at physical {pfn << PAGE_SHIFT:#x}"
