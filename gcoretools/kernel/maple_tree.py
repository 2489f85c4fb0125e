"""The maple tree that holds a process's mappings since 6.1 (lib/maple_tree.c, include/linux/maple_tree.h)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gcoretools.errors import KernelDataError
from gcoretools.kernel.image import Image

# A node's address is aligned to 256 bytes; the bits below hold its type, from bit 3 on, four bits wide.
NODE_MASK = 0xFF
TYPE_SHIFT = 3
TYPE_MASK = 0xF

# A root that is a node, and not a single entry, has bit 1 set (xa_is_node).
ROOT_NODE = 2

# Deeper than any tree of 2**64 entries can be.
DEPTH_LIMIT = 32

# The types of a node, in the order of enum maple_type where the kernel's types do not name it.
DEFAULT_TYPES = {"maple_dense": 0, "maple_leaf_64": 1, "maple_range_64": 2, "maple_arange_64": 3}


def entries(image: Image, tree: int, limit: int) -> Iterator[int]:
    """Every entry of a maple tree in ascending order of its range.

    Args:
        tree: virtual address of the struct maple_tree.
        limit: more nodes than this are damage.
    Raises KernelDataError on a node that cannot be one.
    """
    root = image.struct("maple_tree", tree)["ma_root"]
    if not root & ROOT_NODE or root <= 4096:
        if root:
            yield root
        return
    yield from _Walk(image, limit).node(root, 0, (1 << 8 * image.pointer_size) - 1, 0)


class _Walk:
    def __init__(self, image: Image, limit: int) -> None:
        self._image = image
        self._left = limit
        types = {n: image.constant(n) if image.has(n) else v for n, v in DEFAULT_TYPES.items()}
        self._leaves = {types["maple_leaf_64"]}
        self._shapes = {
            types["maple_leaf_64"]: "maple_range_64",
            types["maple_range_64"]: "maple_range_64",
            types["maple_arange_64"]: "maple_arange_64",
        }

    def node(self, encoded: int, low: int, high: int, depth: int) -> Iterator[int]:
        """The entries below a node whose range is [low, high]."""
        kind = encoded >> TYPE_SHIFT & TYPE_MASK
        self._left -= 1
        if kind not in self._shapes or depth > DEPTH_LIMIT or self._left < 0:
            raise KernelDataError(f"maple tree node {encoded:#x} is none: the tree is damaged")
        for slot, first, last in self._slots(encoded & ~NODE_MASK, self._shapes[kind], low, high):
            if slot and kind in self._leaves:
                yield slot
            elif slot:
                yield from self.node(slot, first, last, depth + 1)

    def _slots(self, address: int, shape: str, low: int, high: int) -> Iterator[tuple[int, int, int]]:
        """Each used slot of a node with the range that it covers; a pivot of 0 or the end closes the node."""
        view = self._image.struct(shape, address)
        pivots, slots = (_words(view.raw(name), self._image.pointer_size) for name in ("pivot", "slot"))
        first = low
        for i, slot in enumerate(slots):
            last = pivots[i] if i < len(pivots) else high
            if last == 0 and i > 0:
                last = high  # the pivot after the last used one is not set
            if not first <= last <= high:
                raise KernelDataError(f"maple tree node at {address:#x} has pivots out of order: it is damaged")
            yield slot, first, last
            if last == high:
                return
            first = last + 1


def _words(array: bytes, size: int) -> list[int]:
    """An array of words of `size` bytes; what an untrusted layout says beyond whole ones is left out."""
    words: list[int] = np.frombuffer(array, f"<u{size}", len(array) // size).tolist()
    return words
