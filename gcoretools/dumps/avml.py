"""Compressed AVML images: blocks of physical memory, each a stream of snappy frames behind a header of LiME's kind.

A block is 16 MiB of a range, or what is left of it; blocks of zeros are left out. Behind each stream stands its
size, so that the blocks are found from the last to the first (github.com/microsoft/avml, src/image.rs).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from gcoretools.compression.frames import FRAME_SIZE, frame_block, frames
from gcoretools.dumps.dump import digest
from gcoretools.dumps.lime import HEADER, REASONS, header_at
from gcoretools.dumps.mapping import FileBytes
from gcoretools.dumps.page_runs import page_runs
from gcoretools.dumps.runs import RunsDump
from gcoretools.errors import DumpError, PageCorrupt

AVML = b"AVML"

BLOCKS_LIMIT = 1 << 18
"""So many are 4 TiB of memory."""

BLOCK_LIMIT = 1 << 30
"""More bytes than a block can have, by far."""

INDEXES_KEPT, FRAMES_KEPT = 64, 64
"""Of the blocks, and of the plain frames: 4 MiB."""

_TRAILER = 8

Place = tuple[int, int, int]
"""Offset of a frame in the file, its size there, and its plain size."""


class AvmlDump(RunsDump):
    """Physical memory in compressed blocks."""

    format = "avml"
    compressed = True
    notes = ()
    reasons = REASONS

    def __init__(self, path: Path, data: FileBytes) -> None:
        """Finds every block. Raises DumpError when the file is cut, or a header cannot be."""
        self.path = path
        blocks = np.array(list(_blocks(path, data))[::-1], np.uint64).reshape(-1, 4)
        self.fingerprint = digest(b"avml", blocks.tobytes(), bytes(data[-4096:]))
        plain = PlainBlocks(path, data, blocks.tolist())
        self.hold(plain, page_runs(blocks[:, 0], blocks[:, 1], np.array(plain.starts[:-1], np.uint64)))


def _blocks(path: Path, data: FileBytes) -> Iterator[tuple[int, int, int, int]]:
    """Physical address, plain size, offset of the stream and its size, of each block from the last on."""
    end = len(data)
    for _ in range(BLOCKS_LIMIT):
        if end == 0:
            return
        stream_end = end - _TRAILER
        size = int.from_bytes(data[max(stream_end, 0) : end], "little")
        end = stream_end - size - HEADER.size
        magic, version, first, last, _ = header_at(path, data, end)
        if magic != AVML or version != 2 or not 0 <= last - first < BLOCK_LIMIT:
            raise DumpError(f"{path}: what stands at offset {end:#x} is no header of a block: the dump is damaged")
        yield first, last - first + 1, end + HEADER.size, size
    raise DumpError(f"{path}: more than {BLOCKS_LIMIT} blocks: the dump is damaged")


class PlainBlocks:
    """The plain bytes of all blocks, one after the other, by slices that lie within a block.

    Attributes:
        starts: where each block begins, and the end.
    """

    def __init__(self, path: Path, data: FileBytes, blocks: list[list[int]]) -> None:
        self._path = path
        self._data = data
        self._blocks = blocks
        self.starts: list[int] = [0, *np.cumsum([size for _, size, _, _ in blocks], dtype=np.int64).tolist()]
        self._index = lru_cache(INDEXES_KEPT)(self._indexed)
        self._frame = lru_cache(FRAMES_KEPT)(self._plain)

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: slice) -> memoryview:
        """Raises PageCorrupt when a frame is damaged."""
        start, stop, _ = index.indices(len(self))
        pieces = []
        while start < stop:
            block = bisect_right(self.starts, start) - 1
            end = min(stop, self.starts[block + 1])
            pieces.append(self._within(block, start - self.starts[block], end - self.starts[block]))
            start = end
        return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))

    def _within(self, block: int, start: int, stop: int) -> memoryview:
        """Bytes of one block."""
        places = self._index(block)[start // FRAME_SIZE : -(-stop // FRAME_SIZE)]
        plain = self._frame(places[0]) if len(places) == 1 else b"".join(map(self._plain, places))
        skipped = start % FRAME_SIZE
        return memoryview(plain)[skipped : skipped + stop - start]

    def _plain(self, place: Place) -> bytes:
        offset, stored, size = place
        try:
            return frame_block(self._data[offset : offset + stored], size)
        except ValueError as error:
            raise PageCorrupt(f"{self._path}: the frame at offset {offset:#x} is damaged: {error}") from error

    def _indexed(self, block: int) -> list[Place]:
        """Every frame of a block."""
        pa, size, offset, stored = self._blocks[block]
        count = -(-size // FRAME_SIZE)
        try:
            found = frames(self._data[offset : offset + stored], count)
        except ValueError as error:
            raise PageCorrupt(f"{self._path}: the block of physical {pa:#x} is damaged: {error}") from error
        sizes = [FRAME_SIZE] * (count - 1) + [size - FRAME_SIZE * (count - 1)]
        return [(offset + at, length, plain) for (at, length), plain in zip(found, sizes, strict=True)]
