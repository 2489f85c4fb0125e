"""LiME images, and AVML's when they are not compressed: ranges of physical memory, each behind a header.

The header is that of LiME (github.com/504ensicsLabs/LiME, doc/README.md): magic, version, first and last address.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gcoretools.dumps.dump import digest
from gcoretools.dumps.mapping import FileBytes
from gcoretools.dumps.page_runs import page_runs
from gcoretools.dumps.runs import RunsDump
from gcoretools.errors import DumpError

LIME = b"EMiL"
HEADER = struct.Struct("<4sIQQQ")

REASONS = ("not in the dump (in none of its ranges; AVML leaves out blocks of zeros)",)

RANGES_LIMIT = 1 << 16
"""More ranges than any machine has: the firmware of a large one tells some hundred."""


class LimeDump(RunsDump):
    """Physical memory in ranges."""

    format = "lime"
    notes = ()
    reasons = REASONS

    def __init__(self, path: Path, data: FileBytes) -> None:
        """Finds every range. Raises DumpError when the file is cut, or a header cannot be."""
        self.path = path
        ranges = np.array(list(_ranges(path, data)), np.uint64).reshape(-1, 3)
        self.fingerprint = digest(b"lime", ranges.tobytes(), bytes(data[-4096:]))
        self.hold(data, page_runs(ranges[:, 0], ranges[:, 1], ranges[:, 2]))


def _ranges(path: Path, data: FileBytes) -> Iterator[tuple[int, int, int]]:
    """Physical address, size and offset in the file of each range."""
    at = 0
    for _ in range(RANGES_LIMIT):
        if at >= len(data):
            return
        magic, version, first, last, _ = header_at(path, data, at)
        size = last - first + 1
        if magic != LIME or version != 1 or size <= 0:
            raise DumpError(f"{path}: what stands at offset {at:#x} is no header of a range: the dump is damaged")
        at += HEADER.size
        if at + size > len(data):
            raise DumpError(f"{path}: the dump is truncated: {at + size - len(data)} bytes of a range are missing")
        yield first, size, at
        at += size
    raise DumpError(f"{path}: more than {RANGES_LIMIT} ranges: the dump is damaged")


def header_at(path: Path, data: FileBytes, at: int) -> tuple[bytes, int, int, int, int]:
    """Magic, version, first and last address, and padding, of the header at an offset. Raises DumpError."""
    if at < 0 or at + HEADER.size > len(data):
        raise DumpError(f"{path}: the dump is truncated: a header of a range is cut")
    magic, version, first, last, padding = HEADER.unpack(data[at : at + HEADER.size])
    return magic, version, first, last, padding
