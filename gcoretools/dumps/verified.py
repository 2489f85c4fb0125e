"""A dump whose pages are tried before they are promised: one whose data is damaged counts as absent."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import Buffer, Dump, Pfns
from gcoretools.errors import PageCorrupt

AT_ONCE = 1024
"""Pages that are tried together: 4 MiB."""

REASON = "damaged in the dump (its data cannot be decompressed)"


class VerifiedDump(Dump):
    """Another dump, less the pages whose data is damaged. To ask for a page takes as long as to read it."""

    def __init__(self, dump: Dump) -> None:
        self.path, self.format, self.notes = dump.path, dump.format, dump.notes
        self.reasons, self.fingerprint = (*dump.reasons, REASON), dump.fingerprint
        self.moving, self.compressed = dump.moving, dump.compressed
        self._dump = dump

    def present(self, pfns: Pfns) -> NDArray[np.bool_]:
        """Which of these page frames the dump holds, and can give."""
        present = self._dump.present(pfns)
        here = pfns[present]
        readable = [self._readable(here[at : at + AT_ONCE]) for at in range(0, len(here), AT_ONCE)]
        present[present] = np.concatenate([np.zeros(0, np.bool_), *readable])
        return present

    def why(self, pfns: Pfns) -> NDArray[np.uint8]:
        """Why they are absent; those that the dump holds are damaged."""
        return np.where(self._dump.present(pfns), np.uint8(len(self.reasons) - 1), self._dump.why(pfns))

    def pages(self, pfns: Pfns) -> Buffer:
        """The pages of the dump itself; errors likewise."""
        return self._dump.pages(pfns)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The ranges of the dump itself."""
        return self._dump.ranges()

    def read(self, pa: int, size: int) -> bytes:
        """Bytes of the dump itself; errors likewise."""
        return self._dump.read(pa, size)

    def heads(self, pfns: Pfns, size: int) -> NDArray[np.uint8]:
        """The beginnings of pages of the dump itself."""
        return self._dump.heads(pfns, size)

    def _readable(self, pfns: Pfns) -> NDArray[np.bool_]:
        """Which of some pages that the dump holds it can give: of those that it cannot, each half is tried."""
        try:
            self._dump.pages(pfns)
        except PageCorrupt:
            if len(pfns) == 1:
                return np.zeros(1, np.bool_)
            half = len(pfns) // 2
            return np.concatenate([self._readable(pfns[:half]), self._readable(pfns[half:])])
        return np.ones(len(pfns), np.bool_)
