"""Runs of whole pages, out of segments of any size, alignment and order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE, Pfns


@dataclass(frozen=True, slots=True)
class PageRuns:
    """Runs of whole pages that are contiguous in memory and in the file: ascending, disjoint, one row each.

    Attributes:
        first, end: page frame numbers, `end` exclusive.
        offset: where in the file the first page begins, in bytes (not always a multiple of the page size).
    """

    first: NDArray[np.uint64]
    end: NDArray[np.uint64]
    offset: NDArray[np.uint64]

    def lists(self) -> tuple[list[int], list[int], list[int]]:
        """The three columns as lists."""
        return self.first.tolist(), self.end.tolist(), self.offset.tolist()


def page_runs(paddr: Pfns, size: Pfns, offset: Pfns) -> PageRuns:
    """The whole pages of segments given by physical address, bytes in the file, and file offset, in any order.

    Where segments overlap (/proc/vmcore maps the kernel's text a second time) the one that begins first is
    taken: both are views of the same memory. A page that a segment holds in part is not held.
    """
    mask = np.uint64(PAGE_SIZE - 1)
    shift = np.uint64(PAGE_SHIFT)
    order = np.argsort(paddr, kind="stable")
    paddr, size, offset = paddr[order], size[order], offset[order]
    head = -paddr & mask
    first, end = (paddr >> shift) + (head > 0), (paddr + size) >> shift
    offset = offset + head
    start = first.copy()
    if len(first):
        start[1:] = np.maximum(first[1:], np.maximum.accumulate(end)[:-1])
    offset = offset + ((start - first) << shift)
    keep = start < end
    return _merged(start[keep], end[keep], offset[keep])


def _merged(first: Pfns, end: Pfns, offset: Pfns) -> PageRuns:
    """The same runs, with those that follow each other in memory and in the file made one."""
    if not len(first):
        return PageRuns(first, end, offset)
    file_end = offset + ((end - first) << np.uint64(PAGE_SHIFT))
    new = np.ones(len(first), np.bool_)
    new[1:] = (first[1:] != end[:-1]) | (offset[1:] != file_end[:-1])
    last = np.append(new[1:], True)
    return PageRuns(first[new], end[last], offset[new])
