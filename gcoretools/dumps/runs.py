"""Dumps that hold physical memory as it was, in runs of pages, one after the other in the file."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE, Buffer, Dump, Pfns
from gcoretools.dumps.mapping import FileBytes
from gcoretools.dumps.page_runs import PageRuns


class RunsDump(Dump):
    """What a dump of runs can do once it is known where in the file they lie: a subclass calls `hold`."""

    def hold(self, data: FileBytes, runs: PageRuns) -> None:
        """Takes the bytes of the file, and where in it the runs lie."""
        self._data = data
        self._runs = runs
        # The same as lists: for a few bytes of a kernel structure they are quicker than arrays.
        self._firsts, self._ends, self._offsets = runs.lists()
        # A page at any byte offset of the map is one row; an index into it is the gather.
        whole = np.frombuffer(data, dtype=np.uint8) if isinstance(data, memoryview) else None
        self._rows = None if whole is None or len(whole) < PAGE_SIZE else sliding_window_view(whole, PAGE_SIZE)

    def present(self, pfns: Pfns) -> NDArray[np.bool_]:
        """Which of these page frames a run holds whole."""
        return self._locate(pfns)[1]

    def pages(self, pfns: Pfns) -> Buffer:
        """The bytes of these pages: a view of the file when they lie in it one after the other, else one gather.

        Raises PageAbsent when a page is in no run.
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
        return self._gathered((self._runs.offset[index] + inside).astype(np.int64))

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
        return self._data[start : start + size]

    def _gathered(self, offsets: NDArray[np.int64]) -> Buffer:
        """The pages at these places of the file; without a map, those that follow each other are read at once."""
        if self._rows is not None:
            return self._rows[offsets].reshape(-1).data
        cuts = np.flatnonzero(np.diff(offsets) != PAGE_SIZE) + 1
        bounds = itertools.pairwise([0, *cuts.tolist(), len(offsets)])
        starts = offsets.tolist()
        return b"".join(self._data[starts[low] : starts[high - 1] + PAGE_SIZE] for low, high in bounds)

    def _locate(self, pfns: Pfns) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The run of each page frame, and whether it is really in that run."""
        if not self._firsts:
            return np.zeros(len(pfns), np.int64), np.zeros(len(pfns), np.bool_)
        index = np.searchsorted(self._runs.first, pfns, side="right").astype(np.int64) - 1
        held = (index >= 0) & (pfns < self._runs.end[index])
        return index, held
