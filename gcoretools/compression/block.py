"""A block of data that was compressed on its own, such as a page of memory."""

from __future__ import annotations

from collections.abc import Callable

Buffer = bytes | bytearray | memoryview

Decompressor = Callable[[Buffer, int], bytes]


def whole(plain: bytes, size: int) -> bytes:
    """The plain data, when it is as long as it has to be. Raises ValueError."""
    if len(plain) != size:
        raise ValueError(f"it holds {len(plain)} bytes instead of {size}")
    return plain
