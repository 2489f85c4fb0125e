"""ELF dumps: QEMU's dump-guest-memory, /proc/vmcore saved by cp, makedumpfile -E."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE, Buffer, Dump, Note, Pfns, digest
from gcoretools.dumps.elf_headers import NO_ADDRESS, PT_LOAD, PT_NOTE, Headers, read_headers
from gcoretools.dumps.mapping import POPULATED, populate
from gcoretools.dumps.notes import NOTES_LIMIT, bounded, joined, parse_notes
from gcoretools.dumps.page_runs import page_runs
from gcoretools.errors import DumpError


class ElfDump(Dump):
    """A dump whose PT_LOAD segments hold physical memory as it was."""

    format = "elf"

    def __init__(self, path: Path, data: memoryview) -> None:
        """Reads the headers of the mapped file. Raises DumpError when they cannot be, or the file is truncated."""
        self.path = path
        headers = read_headers(path, data)
        self.notes = tuple(_notes(path, data, headers))
        loads = _loads(path, headers, len(data))
        self.absent_reason = _absent_reason(loads)
        self.fingerprint = digest(b"elf", len(data).to_bytes(8, "little"), headers.raw, joined(self.notes))
        self._data = data
        self._runs = page_runs(loads["paddr"], loads["filesz"], loads["offset"])
        # The same as lists: for a few bytes of a kernel structure they are quicker than arrays.
        self._firsts, self._ends, self._offsets = self._runs.lists()
        # A page at any byte offset is one row; an index into it is the gather.
        whole = np.frombuffer(data, dtype=np.uint8)
        self._rows = sliding_window_view(whole, PAGE_SIZE) if len(data) >= PAGE_SIZE else whole.reshape(-1, 1)

    def present(self, pfns: Pfns) -> NDArray[np.bool_]:
        """Which of these page frames a segment holds whole."""
        return self._locate(pfns)[1]

    def pages(self, pfns: Pfns) -> Buffer:
        """The bytes of these pages: a view of the file when they lie in it one after the other, else one gather.

        Raises PageAbsent when a page is in no segment.
        """
        if not len(pfns):
            return b""
        run = self._slice(int(pfns[0]) << PAGE_SHIFT, len(pfns) << PAGE_SHIFT)
        if run is not None and (len(pfns) == 1 or bool((pfns[1:] - pfns[:-1] == 1).all())):
            return run
        index, held = self._locate(pfns)
        if not held.all():
            raise self.absent(int(pfns[~held][0]))
        inside = (pfns - self._runs.first[index]) << np.uint64(PAGE_SHIFT)
        gathered = self._rows[(self._runs.offset[index] + inside).astype(np.int64)]
        return gathered.reshape(-1).data

    def ranges(self) -> Iterator[tuple[int, int]]:
        """(physical address, size in bytes) of every run of pages in the file, ascending."""
        for first, end in zip(self._firsts, self._ends, strict=True):
            yield first << PAGE_SHIFT, (end - first) << PAGE_SHIFT

    def read(self, pa: int, size: int) -> bytes:
        """`size` bytes at physical address `pa`. Raises PageAbsent."""
        found = self._slice(pa, size) if size > 0 else None
        return super().read(pa, size) if found is None else bytes(found)

    def _slice(self, pa: int, size: int) -> memoryview | None:
        """The bytes at `pa` as they stand in the file, or None unless one run holds them all."""
        run = bisect_right(self._firsts, pa >> PAGE_SHIFT) - 1
        if run < 0 or pa + size > self._ends[run] << PAGE_SHIFT:
            return None
        start = self._offsets[run] + pa - (self._firsts[run] << PAGE_SHIFT)
        if size >= POPULATED:
            populate(self._data, start, size)
        return self._data[start : start + size]

    def _locate(self, pfns: Pfns) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The run of each page frame, and whether it is really in that run."""
        if not self._firsts:
            return np.zeros(len(pfns), np.int64), np.zeros(len(pfns), np.bool_)
        index = np.searchsorted(self._runs.first, pfns, side="right").astype(np.int64) - 1
        held = (index >= 0) & (pfns < self._runs.end[index])
        return index, held


def _loads(path: Path, headers: Headers, file_size: int) -> NDArray[np.void]:
    """The PT_LOAD rows that hold physical memory. Raises DumpError when one goes beyond the end of the file.

    A row without bytes is none: QEMU writes it, with p_offset -1, for memory that its filter left out.
    """
    table = headers.segments
    loads: NDArray[np.void] = table[
        (table["type"] == PT_LOAD) & (table["filesz"] > 0) & (table["paddr"] != NO_ADDRESS[headers.bits])
    ]
    if len(loads) > 1 and not loads["paddr"].any():
        raise DumpError(f"{path}: the segments have no physical addresses: a process's core, not a kernel dump")
    top = np.iinfo(np.uint64).max - loads["filesz"]
    wrong = (loads["offset"] > top) | (loads["paddr"] > top)
    beyond = wrong | (loads["offset"] + loads["filesz"] > file_size)
    if beyond.any():
        load = loads[beyond][0]
        missing = int(load["offset"]) + int(load["filesz"]) - file_size
        what = f"{path}: the segment of physical {int(load['paddr']):#x}, {int(load['filesz'])} bytes"
        if missing <= 0:
            raise DumpError(f"{what}, ends beyond the address space: the headers are damaged")
        raise DumpError(f"{what}, goes {missing} bytes beyond the end of the file: the dump is truncated")
    return loads


def _notes(path: Path, data: memoryview, headers: Headers) -> Iterator[Note]:
    """Every note of every PT_NOTE segment."""
    segments = headers.segments[headers.segments["type"] == PT_NOTE]
    if int(segments["filesz"].astype(np.float64).sum()) > NOTES_LIMIT:
        raise DumpError(f"{path}: more than {NOTES_LIMIT} bytes of notes: the headers are damaged")
    for segment in segments:
        where = f"{path}: notes"
        yield from parse_notes(bounded(data, int(segment["offset"]), int(segment["filesz"]), where), where)


def _absent_reason(loads: NDArray[np.void]) -> str:
    if (loads["filesz"] < loads["memsz"]).any():
        return "excluded from the dump (an ELF dump with pages left out, as makedumpfile -E writes it)"
    return "not in the dump (no segment of the ELF file holds it)"
