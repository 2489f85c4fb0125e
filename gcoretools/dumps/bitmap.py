"""A dump's bitmap of page frames: which are set, and how many are set before one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import Pfns

Words = NDArray[np.uint64]

_WORDS_PER_BLOCK = 64
_ONES_OF_BYTE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)
_BLOCK_BITS = 64 * _WORDS_PER_BLOCK
_CHUNK = 1 << 17


def _ones_by_table(words: Words) -> NDArray[np.uint8]:
    """How many bits are set in each word, for numpy before 2.0."""
    counts: NDArray[np.uint8] = _ONES_OF_BYTE[words.view(np.uint8).reshape(-1, 8)].sum(axis=1, dtype=np.uint8)
    return counts


ones: Callable[[Words], NDArray[np.uint8]] = getattr(np, "bitwise_count", _ones_by_table)


class Bitmap:
    """One bit per page frame number, in the file's own bytes; page frame n is bit n % 8 of byte n / 8.

    Beside the bits themselves it keeps 2 bytes for 64 page frames and 8 bytes for 4,096, which make rank() quick.
    """

    def __init__(self, data: memoryview, length: int) -> None:
        """`data` is whole blocks of 4 KiB, and as many bits of them count as `length` says."""
        self.length = length
        self._words: Words = np.frombuffer(data[: -(-length // _BLOCK_BITS) * _BLOCK_BITS // 8], dtype="<u8")
        counts = ones(self._words).reshape(-1, _WORDS_PER_BLOCK)
        inside = counts.cumsum(axis=1, dtype=np.uint16)
        totals = inside[:, -1].astype(np.uint64)
        self._before_block = np.concatenate([np.zeros(1, np.uint64), totals.cumsum(dtype=np.uint64)])
        self._before_word = (inside - counts).reshape(-1)
        self.total = self.rank(length) if length else 0

    def isset(self, pfns: Pfns) -> NDArray[np.bool_]:
        """Which of these bits are set; those beyond the length are not."""
        inside: NDArray[np.bool_] = pfns < self.length
        known = np.where(inside, pfns, 0).astype(np.uint64)
        if not self.length:
            return inside
        bits: Words = self._words[known >> np.uint64(6)] >> (known & np.uint64(63)) & np.uint64(1)
        return bits.astype(np.bool_) & inside

    def ranks(self, pfns: Pfns) -> NDArray[np.int64]:
        """How many bits are set before each of these, which must be below the length."""
        word = pfns >> np.uint64(6)
        below = (np.uint64(1) << (pfns & np.uint64(63))) - np.uint64(1)
        inside = self._before_word[word] + ones(self._words[word] & below)
        before: Pfns = self._before_block[word // np.uint64(_WORDS_PER_BLOCK)] + inside
        return before.astype(np.int64)

    def bit(self, pfn: int) -> bool:
        """Whether this bit is set."""
        return 0 <= pfn < self.length and bool(int(self._words[pfn >> 6]) >> (pfn & 63) & 1)

    def rank(self, pfn: int) -> int:
        """How many bits are set before `pfn`, which is at most the length."""
        word, bit = divmod(pfn, 64)
        if word == len(self._words):
            return int(self._before_block[-1])
        below = int(self._words[word]) & (1 << bit) - 1
        return int(self._before_block[word // _WORDS_PER_BLOCK]) + int(self._before_word[word]) + below.bit_count()

    def runs(self) -> Iterator[tuple[int, int]]:
        """(first, end) of every run of set bits, ascending."""
        open_at: int | None = None
        for first in range(0, self.length, _CHUNK * 8):
            count = min(_CHUNK * 8, self.length - first)
            bits = np.unpackbits(self._words.view(np.uint8)[first // 8 :][:_CHUNK], count=count, bitorder="little")
            before = np.uint8(open_at is not None)
            for edge in (np.flatnonzero(np.diff(bits, prepend=before)) + first).tolist():
                if open_at is None:
                    open_at = edge
                else:
                    yield open_at, edge
                    open_at = None
        if open_at is not None:
            yield open_at, self.length
