"""LZ4, snappy and zstd, as one block without a container: bounded."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from gcoretools.compression.block import Buffer, whole


def lz4_block(data: Buffer, size: int) -> Buffer:
    """`size` bytes out of an LZ4 block. Raises ValueError when it is damaged, or holds more or fewer."""
    return _filled(lambda cramjam, plain: cramjam.lz4.decompress_block_into(data, plain, output_len=size), size)


def snappy_block(data: Buffer, size: int) -> Buffer:
    """`size` bytes out of a raw snappy block (no frames); errors as for `lz4_block`."""
    return _filled(lambda cramjam, plain: cramjam.snappy.decompress_raw_into(data, plain), size)


def zstd_block(data: Buffer, size: int) -> Buffer:
    """`size` bytes out of zstd frames; errors as for `lz4_block`."""
    return _filled(lambda cramjam, plain: cramjam.zstd.decompress_into(data, plain), size)


def _filled(decompress: Callable[[ModuleType, bytearray], int], size: int) -> Buffer:
    """What a function writes into a buffer that holds no more than there has to be."""
    import cramjam  # a dump that needs it is rare, and a command should start at once

    plain = bytearray(size)
    try:
        count = decompress(cramjam, plain)
    except cramjam.DecompressionError as error:
        raise ValueError(str(error)) from error
    return whole(memoryview(plain)[:count], size)
