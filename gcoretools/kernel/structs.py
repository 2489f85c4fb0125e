"""Many structs of one kind, read together: members by name, as arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gcoretools.kernel.image import Image
from gcoretools.paging import Words

# How numpy calls integers by their size in bytes.
UNSIGNED = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<u8"}


class Structs:
    """The structs of one name at many addresses.

    Args:
        image: the kernel.
        name: of the struct.
        addresses: virtual address of each.

    Attributes:
        held: which of them the dump has; members of all others are 0.
    Raises LayoutError when the kernel's types do not describe the struct.
    """

    def __init__(self, image: Image, name: str, addresses: Words) -> None:
        self._image = image
        self._name = name
        self._low, high = image.span(name)
        self._rows, self.held = image.memory.gather(addresses + np.uint64(self._low), high - self._low)

    def __getitem__(self, member: str) -> Words:
        """The unsigned integers or pointers in a member, the first word of a longer one. Raises LayoutError."""
        return self.words(member, min(self._image.member(f"{self._name}.{member}").size, 8))[:, 0]

    def words(self, member: str, size: int) -> NDArray[np.uint64]:
        """The integers of `size` bytes in an array member, a row for each struct. Raises LayoutError."""
        where = self._image.member(f"{self._name}.{member}")
        start = where.offset - self._low
        raw = np.ascontiguousarray(self._rows[:, start : start + where.size // size * size])
        return raw.view(UNSIGNED[size]).astype(np.uint64)
