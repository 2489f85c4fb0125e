"""How a page of a kdump-compressed dump may be compressed: one row for each flag."""

from __future__ import annotations

from gcoretools.compression import Decompressor, decompressor

PLAIN, ZLIB, LZO, SNAPPY, ZSTD = 0x00, 0x01, 0x02, 0x04, 0x20
"""DUMP_DH_COMPRESSED_ZLIB, _LZO, _SNAPPY and _ZSTD in page_desc.flags (makedumpfile, diskdump_mod.h)."""

COMPRESSED = ZLIB | LZO | SNAPPY | ZSTD

DECOMPRESSORS: dict[int, Decompressor] = {
    ZLIB: decompressor("zlib"),
    LZO: decompressor("lzo"),
    SNAPPY: decompressor("snappy"),
    ZSTD: decompressor("zstd"),
}
