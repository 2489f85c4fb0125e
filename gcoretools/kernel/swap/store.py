"""What all places share that swapped pages are kept in: zswap, zram, a swap device's image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gcoretools.compression import Decompressor, decompressor
from gcoretools.dumps.dump import PAGE_SIZE, Buffer
from gcoretools.errors import KernelDataError, LayoutError
from gcoretools.kernel.image import Image
from gcoretools.paging import Words

# What a store says of a page: it knows nothing of it, it can give its bytes, or, from LOST on, why it cannot.
UNKNOWN, HELD, LOST = range(3)

Verdicts = NDArray[np.uint8]
Bytes = NDArray[np.uint8]


class Store(Protocol):
    """Where pages of one swap area are kept, by their offsets in it."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why a page cannot be had; the first is LOST."""

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


def bit(image: Image, name: str) -> np.uint64:
    """The number of a bit, by its enumerator. Raises LayoutError for none that a word has."""
    number = image.constant(name)
    if not 0 <= number < 64:
        raise LayoutError(f"{name} cannot be bit {number}")
    return np.uint64(number)


def words(rows: Bytes, at: int, size: int) -> Words:
    """An unsigned integer of each row. Raises LayoutError where none can be."""
    if size not in (1, 2, 4, 8) or at + size > rows.shape[1]:
        raise LayoutError(f"a word of {size} bytes at {at} of {rows.shape[1]} cannot be")
    return np.ascontiguousarray(rows[:, at : at + size]).view(f"<u{size}").astype(np.uint64).reshape(-1)


def fill(rows: Bytes, which: NDArray[np.bool_], values: Words, word: int) -> None:
    """Fill rows that hold nothing but one word again and again (memset_l)."""
    rows[which] = np.tile(values[which].astype(f"<u{word}").view(np.uint8).reshape(-1, word), PAGE_SIZE // word)
