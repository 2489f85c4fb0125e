"""A dump that notes what is read of it, so that a smaller one can be written that answers the same questions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SHIFT, Buffer, Dump, Note, Pfns
from gcoretools.dumps.notes import VMCOREINFO, vmcoreinfo_note
from gcoretools.dumps.search import find_vmcoreinfo
from gcoretools.errors import PageAbsent

# Remembered one by one up to so many, then put together.
PENDING_LIMIT = 1 << 20

# No address of 64 bits is in a page frame from here on: what is asked for stands for none, or was read wrong.
PFN_LIMIT = 1 << 64 - PAGE_SHIFT


class Recorder(Dump):
    """Another dump, with each page frame noted that is read, or asked for and absent.

    The beginnings of pages (`heads`) are not noted: they are for searches, and what a search finds is read again.

    Args:
        dump: the one that is read.

    Attributes:
        notes: those of the dump, and VMCOREINFO, also where that stands in memory only: the search for it is over.
    """

    def __init__(self, dump: Dump) -> None:
        self.path, self.format, self.notes = dump.path, dump.format, _notes(dump)
        self.reasons, self.fingerprint, self.moving = dump.reasons, dump.fingerprint, dump.moving
        self._dump = dump
        self._read, self._missed = _Frames(), _Frames()

    @property
    def read_pfns(self) -> Pfns:
        """Every page frame that was read, ascending."""
        return self._read.all()

    @property
    def missed_pfns(self) -> Pfns:
        """Every page frame that was asked for and is absent, ascending."""
        return self._missed.all()

    def present(self, pfns: Pfns) -> NDArray[np.bool_]:
        """As the dump itself says."""
        present = self._dump.present(pfns)
        missed = pfns[~present]
        self._missed.add(missed[missed < PFN_LIMIT])
        return present

    def pages(self, pfns: Pfns) -> Buffer:
        """The pages of the dump itself; errors likewise."""
        try:
            pages = self._dump.pages(pfns)
        except PageAbsent:
            self._missed.add(pfns[~self._dump.present(pfns)])
            raise
        self._read.add(pfns)
        return pages

    def heads(self, pfns: Pfns, size: int) -> NDArray[np.uint8]:
        """As of the dump itself."""
        return self._dump.heads(pfns, size)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The ranges of the dump itself."""
        return self._dump.ranges()

    def why(self, pfns: Pfns) -> NDArray[np.uint8]:
        """As the dump itself says."""
        return self._dump.why(pfns)


def _notes(dump: Dump) -> tuple[Note, ...]:
    if vmcoreinfo_note(dump):
        return dump.notes
    text = find_vmcoreinfo(dump)
    return (*dump.notes, Note(VMCOREINFO, 0, text)) if text else dump.notes


class _Frames:
    """A set of page frames that grows: by a few at a time mostly, and by many millions in the end."""

    def __init__(self) -> None:
        self._all: Pfns = np.empty(0, np.uint64)
        self._pending: list[Pfns] = []
        self._count = 0

    def add(self, pfns: Pfns) -> None:
        if len(pfns):
            self._pending.append(pfns.copy())
            self._count += len(pfns)
        if self._count >= PENDING_LIMIT or len(self._pending) >= PENDING_LIMIT >> 4:
            self.all()

    def all(self) -> Pfns:
        if self._pending:
            self._all = np.unique(np.concatenate([self._all, *self._pending]))
            self._pending, self._count = [], 0
        return self._all
