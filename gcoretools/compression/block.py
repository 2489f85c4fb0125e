"""A block of data that was compressed on its own, such as a page of memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Buffer = bytes | bytearray | memoryview

AnyBuffer = TypeVar("AnyBuffer", bytes, bytearray, memoryview)

Decompressor = Callable[[Buffer, int], Buffer]


def whole(plain: AnyBuffer, size: int) -> AnyBuffer:
    """The plain data, when it is as long as it has to be. Raises ValueError."""
    if len(plain) != size:
        raise ValueError(f"it holds {len(plain)} bytes instead of {size}")
    return plain
