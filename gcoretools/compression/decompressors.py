"""Every compression that is read, by the name that the kernel's crypto gives it (cra_name)."""

from __future__ import annotations

from gcoretools.compression.block import Decompressor
from gcoretools.compression.blocks import lz4_block, snappy_block, zstd_block
from gcoretools.compression.deflate import deflate_block, zlib_block
from gcoretools.compression.lzo import lzo_block
from gcoretools.compression.lzo_rle import lzo_rle_block

DECOMPRESSORS: dict[str, Decompressor] = {
    "zlib": zlib_block,
    "zlib-deflate": zlib_block,
    "deflate": deflate_block,
    "lzo": lzo_block,
    "lzo-rle": lzo_rle_block,
    "lz4": lz4_block,
    "lz4hc": lz4_block,
    "snappy": snappy_block,
    "zstd": zstd_block,
}


def decompressor(name: str) -> Decompressor:
    """The function that takes a block of data and the size of its plain data in bytes, and returns that plain data.

    It raises ValueError, with words, when the block is damaged or holds more or fewer bytes. Raises ValueError for
    a name, such as "842", whose blocks are not read.
    """
    if name not in DECOMPRESSORS:
        raise ValueError(f"compressed with {name}, which is not read (but {', '.join(DECOMPRESSORS)})")
    return DECOMPRESSORS[name]
