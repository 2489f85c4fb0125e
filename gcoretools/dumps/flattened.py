"""Flattened dumps: what makedumpfile -F and QEMU write to a pipe, pieces in any order, each with its place.

The header is makedumpfile_header, each piece stands behind a makedumpfile_data_header, both big-endian
(makedumpfile.h; in QEMU dump/dump.c, write_start_flat_header).
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SIZE, Dump
from gcoretools.dumps.elf import ElfDump
from gcoretools.dumps.kdump import KdumpDump
from gcoretools.dumps.kdump_headers import DISKDUMP, KDUMP
from gcoretools.dumps.mapping import FileBytes
from gcoretools.errors import DumpError

_READERS: dict[bytes, Callable[[Path, FileBytes], Dump]] = {
    KDUMP: KdumpDump,
    DISKDUMP: KdumpDump,
    b"\x7fELF": ElfDump,
}

_PIECE = struct.Struct(">qq")
_HEADER_SIZE = PAGE_SIZE
_END = -1
_LONGEST = 1 << 52

Places = NDArray[np.int64]


class Flattened:
    """The bytes of the file that a flattened one stands for, by slices."""

    def __init__(self, path: Path, data: FileBytes) -> None:
        """Finds every piece. Raises DumpError when one is cut, or the file has no end."""
        self._path = path
        self._data = data
        places = np.array(list(_pieces(path, data)), dtype=np.int64).reshape(-1, 3)
        self._start, self._end, self._at = (column.tolist() for column in _disjoint(*places.T))
        self._size: int = self._end[-1] if self._end else 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: slice) -> memoryview:
        """A view where the slice lies in one piece, else a copy, zero where no piece is, as in a sparse file."""
        start, stop, _ = index.indices(self._size)
        first = bisect_right(self._end, start)
        if start < stop and self._start[first] <= start and stop <= self._end[first]:
            return self._part(first, start, stop)
        if stop - start > len(self._data):
            raise DumpError(f"{self._path}: the headers are damaged: more is wanted of the file than it has")
        whole = memoryview(bytearray(max(stop - start, 0)))
        for piece in range(first, bisect_left(self._start, stop)):
            low, high = max(start, self._start[piece]), min(stop, self._end[piece])
            whole[low - start : high - start] = self._part(piece, low, high)
        return whole

    def _part(self, piece: int, start: int, stop: int) -> memoryview:
        at = self._at[piece] + start - self._start[piece]
        return self._data[at : at + stop - start]


def open_flattened(path: Path, data: FileBytes) -> Dump:
    """Opens a flattened dump, kdump-compressed or ELF. Raises DumpError for another one."""
    whole = Flattened(path, data)
    for magic, reader in _READERS.items():
        if bytes(whole[: len(magic)]) == magic:
            return reader(path, whole)
    raise DumpError(f"{path}: a flattened dump, but neither a kdump-compressed nor an ELF one")


def _pieces(path: Path, data: FileBytes) -> Iterator[tuple[int, int, int]]:
    """(start, end, offset in the flattened file) of every piece, in the order of writing."""
    at = _HEADER_SIZE
    while at + _PIECE.size <= len(data):
        start, size = _PIECE.unpack(data[at : at + _PIECE.size])
        if start == _END:
            return
        at += _PIECE.size
        if start < 0 or size <= 0 or start + size > _LONGEST:
            raise DumpError(f"{path}: the flattened dump is damaged: a piece of {size} bytes for offset {start:#x}")
        if at + size > len(data):
            raise DumpError(f"{path}: the flattened dump is truncated: {at + size - len(data)} bytes are missing")
        yield start, start + size, at
        at += size
    raise DumpError(f"{path}: the flattened dump is truncated: it has no end")


def _disjoint(start: Places, end: Places, at: Places) -> tuple[Places, Places, Places]:
    """Ascending pieces that do not overlap; of those that do, what was written last stays."""
    order = np.argsort(start, kind="stable")
    start, end, at = start[order], end[order], at[order]
    if not len(start) or (start[1:] >= end[:-1]).all():
        return start, end, at
    rows = np.array(list(_painted(start.tolist(), end.tolist(), at.tolist())), dtype=np.int64)
    return rows[:, 0], rows[:, 1], rows[:, 2]


def _painted(starts: list[int], ends: list[int], ats: list[int]) -> Iterator[tuple[int, int, int]]:
    """The visible parts of overlapping pieces, which come by their start; the greater `at` was written later."""
    heap: list[tuple[int, int, int]] = []
    here = 0
    for upcoming, start in enumerate([*starts, _LONGEST]):
        while heap and here < start:
            latest, end, at_start = heap[0]
            if end <= here:
                heappop(heap)
                continue
            stop = min(end, start)
            yield here, stop, -latest + here - at_start
            here = stop
        here = max(here, start)
        if upcoming < len(starts):
            heappush(heap, (-ats[upcoming], ends[upcoming], start))
