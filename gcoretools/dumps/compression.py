"""How a page of a kdump-compressed dump may be compressed: one row for each flag."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from gcoretools.dumps.dump import PAGE_SIZE, Buffer


@dataclass(frozen=True, slots=True)
class Compression:
    """A compression by name, with its functions; they raise ValueError, with words, for corrupt data.

    Attributes:
        decompress: the whole page out of its compressed form; None when it is not compressed.
        head: its first bytes only, where that is quicker.
        missing: it is known, but not read yet.
    """

    name: str
    decompress: Callable[[Buffer], bytes] | None = None
    head: Callable[[Buffer, int], bytes] | None = None
    missing: bool = False


def compression(flags: int) -> Compression | None:
    """What page_desc.flags or disk_dump_header.status say; None for a mixture that cannot be."""
    return COMPRESSIONS.get(flags & COMPRESSED)


def _inflate(data: Buffer) -> bytes:
    try:
        return zlib.decompress(data, bufsize=PAGE_SIZE)
    except zlib.error as error:
        raise ValueError(str(error)) from error


def _inflate_head(data: Buffer, size: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, size)
    except zlib.error as error:
        raise ValueError(str(error)) from error


COMPRESSIONS = {
    0x00: Compression("nothing"),
    0x01: Compression("zlib", _inflate, _inflate_head),
    0x02: Compression("lzo, which is not read yet", missing=True),
    0x04: Compression("snappy, which is not read yet", missing=True),
    0x20: Compression("zstd, which is not read yet", missing=True),
}
"""DUMP_DH_COMPRESSED_ZLIB, _LZO, _SNAPPY and _ZSTD (makedumpfile, diskdump_mod.h)."""

COMPRESSED = 0x27
