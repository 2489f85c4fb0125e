"""How a page of a kdump-compressed dump may be compressed: one row for each flag."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from gcoretools.dumps.dump import PAGE_SIZE, Buffer
from gcoretools.errors import DumpError

Decompress = Callable[[Buffer], bytes]
"""The page out of its compressed form; ValueError, with words, when that is corrupt."""


@dataclass(frozen=True, slots=True)
class Compression:
    """A compression by name; `decompress` is None while it is not read."""

    name: str
    decompress: Decompress | None = None


def _inflate(data: Buffer) -> bytes:
    try:
        return zlib.decompress(data, bufsize=PAGE_SIZE)
    except zlib.error as error:
        raise ValueError(str(error)) from error


COMPRESSIONS = {
    0x00: Compression("none", bytes),
    0x01: Compression("zlib", _inflate),
    0x02: Compression("lzo"),
    0x04: Compression("snappy"),
    0x20: Compression("zstd"),
}
"""page_desc.flags & COMPRESSED -> how; disk_dump_header.status has the same bits (makedumpfile, diskdump_mod.h)."""

COMPRESSED = 0x27


def decompressor(flags: int, where: str) -> Decompress:
    """The function for page_desc.flags. Raises DumpError, which begins with `where`, when there is none."""
    kind = COMPRESSIONS.get(flags & COMPRESSED)
    if kind is None:
        raise DumpError(f"{where}: compression flags {flags:#x} are not known: the dump is damaged")
    if kind.decompress is None:
        raise DumpError(f"{where}: compressed with {kind.name}, which is not read yet")
    return kind.decompress
