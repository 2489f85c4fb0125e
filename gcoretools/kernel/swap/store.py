"""What all places share that swapped pages are kept in: zswap, zram, a swap device's image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gcoretools.compression import Decompressor, decompressor
from gcoretools.dumps.dump import PAGE_SIZE, Buffer
from gcoretools.errors import KernelDataError
from gcoretools.paging import Words

# What a store says of a page: it knows nothing of it, it can give its bytes, or, from LOST on, why it cannot.
UNKNOWN, HELD, LOST = range(3)

Verdicts = NDArray[np.uint8]
Bytes = NDArray[np.uint8]


class Store(Protocol):
    """Where pages of one swap area are kept, by their offsets in it.

    Attributes:
        reasons: why a page cannot be had; the first is LOST.
    """

    reasons: tuple[str, ...]

    def verdicts(self, offsets: Words) -> Verdicts:
        """UNKNOWN, HELD or LOST + n for each page."""

    def read(self, offsets: Words) -> Bytes:
        """A row of bytes for each page, all of them HELD. Raises KernelDataError when one is corrupt."""


class Blocks:
    """Compressed pages of one store, unpacked into rows.

    Args:
        where: the store, for messages.
        name: of the compression, as the kernel calls it.
    """

    def __init__(self, where: str, name: str) -> None:
        self._where = where
        self._name = name
        self.reason = ""
        self._unpack: Decompressor | None = None
        try:
            self._unpack = decompressor(name)
        except ValueError as error:
            self.reason = f"in {where}, {error}"

    def unpack(self, rows: Bytes, numbers: Iterable[int], blocks: Iterable[Buffer]) -> None:
        """Fill the rows of these numbers; a block of a whole page is not compressed."""
        unpack = self._unpack
        assert unpack, "pages that cannot be read are not asked for"
        try:
            for number, block in zip(numbers, blocks, strict=True):
                page = block if len(block) == PAGE_SIZE else unpack(block, PAGE_SIZE)
                rows[number] = np.frombuffer(page, np.uint8)
        except ValueError as error:
            raise KernelDataError(f"{self._where}: a page compressed with {self._name}: {error}") from error


def fill(rows: Bytes, which: NDArray[np.bool_], words: Words, word: int) -> None:
    """Fill rows that hold nothing but one word again and again (memset_l)."""
    rows[which] = np.tile(words[which].astype(f"<u{word}").view(np.uint8).reshape(-1, word), PAGE_SIZE // word)
