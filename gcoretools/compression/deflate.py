"""DEFLATE (RFC 1951), bare or as zlib wraps it (RFC 1950)."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from deflate import DeflateError, deflate_decompress, zlib_decompress

from gcoretools.compression.block import Buffer, whole

ZLIB, RAW = zlib.MAX_WBITS, -zlib.MAX_WBITS
"""How zlib is told the wrapping, and the largest window: the kernel's own have 2 or 32 KiB (crypto/deflate.c)."""


def zlib_block(data: Buffer, size: int) -> Buffer:
    """`size` bytes out of a zlib stream. Raises ValueError when it is damaged, or holds more or fewer."""
    return _inflated(zlib_decompress, data, size, ZLIB)


def deflate_block(data: Buffer, size: int) -> Buffer:
    """`size` bytes out of a bare DEFLATE stream, as the kernel's "deflate" is; errors as for `zlib_block`."""
    return _inflated(deflate_decompress, data, size, RAW)


def zlib_head(data: Buffer, size: int) -> bytes:
    """The first `size` bytes of a zlib stream, with no more of it looked at; errors as for `zlib_block`."""
    try:
        return whole(zlib.decompressobj().decompress(data, size), size)
    except zlib.error as error:
        raise ValueError(str(error)) from error


def _inflated(decompress: Callable[[Buffer, int], bytearray], data: Buffer, size: int, wrapping: int) -> Buffer:
    """By libdeflate, in half the time; zlib knows what is wrong with a block that it refuses.

    Asked for no bytes, libdeflate looks at none, whatever the block holds.
    """
    try:
        plain = decompress(data, size)
        if size:
            return whole(plain, size)
    except DeflateError:
        pass
    return _by_zlib(data, size, wrapping)


def _by_zlib(data: Buffer, size: int, wrapping: int) -> bytes:
    stream = zlib.decompressobj(wrapping)
    try:
        plain = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not stream.eof and len(plain) <= size:
        raise ValueError("it is cut")
    return whole(plain, size)
