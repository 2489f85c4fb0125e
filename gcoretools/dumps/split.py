"""Split dumps: makedumpfile --split writes one dump into several files, each with a range of the page frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SIZE, Buffer, Dump, Pfns, digest
from gcoretools.dumps.kdump import KdumpDump
from gcoretools.errors import DumpError


class SplitDump(Dump):
    """The parts of a split dump as one; each answers for its own page frames."""

    format = "kdump-compressed"
    compressed = True

    def __init__(self, path: Path, parts: Sequence[Dump]) -> None:
        """Raises DumpError when the parts are not all those of one dump."""
        self.path = path
        self._parts = sorted(map(_part, parts), key=lambda part: part.first)
        self._check()
        first = self._parts[0]
        self.notes, self.reasons, self.remedy = first.notes, first.reasons, first.remedy
        self.fingerprint = digest(b"split", *(part.fingerprint.encode() for part in self._parts))
        self._firsts = np.array([part.first for part in self._parts], np.uint64)

    def present(self, pfns: Pfns) -> NDArray[np.bool_]:
        """Which of these page frames their part holds."""
        present = np.zeros(len(pfns), np.bool_)
        for part, mine in self._shares(pfns):
            present[mine] = part.present(pfns[mine])
        return present

    def why(self, pfns: Pfns) -> NDArray[np.uint8]:
        """Why they are absent, as their part says."""
        why = np.zeros(len(pfns), np.uint8)
        for part, mine in self._shares(pfns):
            why[mine] = part.why(pfns[mine])
        return why

    def pages(self, pfns: Pfns) -> Buffer:
        """The bytes of these pages, each out of its part; errors as those of one."""
        shares = list(self._shares(pfns))
        if len(shares) == 1:
            return shares[0][0].pages(pfns)
        pages = np.empty((len(pfns), PAGE_SIZE), np.uint8)
        for part, mine in shares:
            pages[mine] = np.frombuffer(part.pages(pfns[mine]), np.uint8).reshape(-1, PAGE_SIZE)
        return pages.reshape(-1).data

    def ranges(self) -> Iterator[tuple[int, int]]:
        """(physical address, size in bytes) of every run of pages, ascending."""
        return chain.from_iterable(part.ranges() for part in self._parts)

    def read(self, pa: int, size: int) -> bytes:
        """`size` bytes at physical address `pa`, through the cache of its part."""
        if 0 < size <= PAGE_SIZE - pa % PAGE_SIZE and 0 <= pa < 1 << 64:
            return self._part(pa // PAGE_SIZE).read(pa, size)
        return super().read(pa, size)

    def heads(self, pfns: Pfns, size: int) -> NDArray[np.uint8]:
        """The first `size` bytes of each page, a row each; zeros for one that is absent or damaged."""
        heads = np.zeros((len(pfns), size), np.uint8)
        for part, mine in self._shares(pfns):
            heads[mine] = part.heads(pfns[mine], size)
        return heads

    def _part(self, pfn: int) -> KdumpDump:
        index = int(np.searchsorted(self._firsts, np.uint64(pfn), side="right")) - 1
        return self._parts[max(index, 0)]

    def _shares(self, pfns: Pfns) -> Iterator[tuple[KdumpDump, NDArray[np.bool_]]]:
        """Each part that has to do with some of these page frames, and with which."""
        owner = np.maximum(np.searchsorted(self._firsts, pfns, side="right"), 1) - 1
        for index in np.unique(owner).tolist():
            yield self._parts[index], owner == index

    def _check(self) -> None:
        end = 0
        for part in self._parts:
            if part.first != end:
                raise DumpError(f"{self.path}: {_lacking(end, part)}")
            if part.notes != self._parts[0].notes:
                raise DumpError(f"{part.path}: a part of another dump than {self._parts[0].path}")
            end = part.end
        if end != self._parts[-1].max_mapnr:
            raise DumpError(
                f"{self.path}: the part of the split dump that begins at page frame {end:#x} is missing"
            )


def _part(dump: Dump) -> KdumpDump:
    if not (isinstance(dump, KdumpDump) and dump.split):
        raise DumpError(f"{dump.path}: not a part of a split dump: name it alone")
    return dump


def _lacking(end: int, part: KdumpDump) -> str:
    if part.first < end:
        return f"two parts of the split dump hold page frame {part.first:#x}"
    return f"the part of the split dump with page frames {end:#x} to {part.first:#x} is missing"
