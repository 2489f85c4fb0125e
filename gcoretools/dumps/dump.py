"""The contract of every dump format: physical memory by page frame, and what the file says beside it."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcoretools.errors import DumpError, PageAbsent

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT

READ_LIMIT = 1 << 30
"""No structure is so large: a size beyond it came from damaged memory."""

Pfns = NDArray[np.uint64]
Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Note:
    """One ELF note of the dump: owner name, type number and payload, as in the file."""

    owner: str
    type: int
    desc: bytes


class Dump(ABC):
    """Physical memory in a file. Subclasses implement `present`, `pages` and `ranges`; all else derives from them.

    Attributes:
        path: the file, as the user named it.
        format: a short name for messages and the header, such as "elf" or "kdump-compressed".
        notes: every ELF note of the file, in its order.
        reasons: why a page can be absent, as words for a gap ("excluded from the dump (makedumpfile -d 31)"), the
            usual one first; `why` tells which of them holds.
        fingerprint: hex digest that tells this dump from another one (not its path).
        moving: it is the memory of the running kernel, which changes while it is read.
        compressed: its pages are, so that to read them takes time.
        remedy: how the next dump would hold what is absent for the usual reason, where that is known.
    """

    path: Path
    format: str
    notes: tuple[Note, ...]
    reasons: tuple[str, ...]
    fingerprint: str
    moving: bool = False
    compressed: bool = False
    remedy: str = ""

    @property
    def absent_reason(self) -> str:
        """The usual reason why a page is absent."""
        return self.reasons[0]

    @abstractmethod
    def present(self, pfns: Pfns) -> NDArray[np.bool_]:
        """Which of these page frames the dump holds whole (vectorised; any order, any length)."""

    @abstractmethod
    def pages(self, pfns: Pfns) -> Buffer:
        """The bytes of these page frames, one after the other, without a copy where the file allows it.

        Raises PageAbsent when one is not in the dump and DumpError when its data is corrupt.
        """

    @abstractmethod
    def ranges(self) -> Iterator[tuple[int, int]]:
        """(physical address, size in bytes) of what the dump holds, ascending: for searches."""

    def why(self, pfns: Pfns) -> NDArray[np.uint8]:
        """For page frames that are absent: which of the reasons holds."""
        return np.zeros(len(pfns), np.uint8)

    def read(self, pa: int, size: int) -> bytes:
        """`size` bytes at physical address `pa`; errors as for `pages`, and PageAbsent where no memory can be."""
        if size <= 0:
            return b""
        if pa < 0 or pa + size > 1 << 64:
            raise self.absent(max(pa, 0) >> PAGE_SHIFT)
        if size > READ_LIMIT:
            raise DumpError(f"{self.path}: {size} bytes at physical {pa:#x}: more than can be wanted at once")
        first, last = pa >> PAGE_SHIFT, (pa + size - 1) >> PAGE_SHIFT
        start = pa & (PAGE_SIZE - 1)
        whole = self.pages(np.arange(first, last + 1, dtype=np.uint64))
        return bytes(memoryview(whole)[start : start + size])

    def heads(self, pfns: Pfns, size: int) -> NDArray[np.uint8]:
        """The first `size` bytes of each of these pages, a row each, for searches; errors as for `pages`."""
        return np.frombuffer(self.pages(pfns), dtype=np.uint8).reshape(-1, PAGE_SIZE)[:, :size]

    def absent(self, pfn: int) -> PageAbsent:
        """The error for a page that is not there."""
        usual = not 0 <= pfn < 1 << 52
        reason = self.absent_reason if usual else self.reasons[int(self.why(np.array([pfn], np.uint64))[0])]
        return PageAbsent(f"{self.path}: page at physical {pfn << PAGE_SHIFT:#x}: {reason}")


def digest(*parts: bytes) -> str:
    """A fingerprint over the parts of a dump file that tell it from every other one."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()
