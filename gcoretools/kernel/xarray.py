"""XArrays, which page caches are since 4.20 (f8d5d0cc145c; include/linux/xarray.h, lib/xarray.c)."""

from __future__ import annotations

import numpy as np

from gcoretools.kernel.image import Image
from gcoretools.kernel.radix_tree import Entries, Flags, Rules, Slots, descend, single
from gcoretools.paging import Words

# The two lowest bits: 00 a pointer, 01 or 11 a value, 10 internal: a node, or a sibling or mark when it is small.
TAGS, INTERNAL, VALUE = 3, 2, 1
INTERNAL_SHIFT = 2
LOWEST_NODE = 4096
VALUE_SHIFT = 1


def entries(image: Image, root: int, first: int, last: int) -> Entries:
    """The entries of an xarray that cover a part of [first, last]: pointers, and values (bit 0 set).

    Args:
        root: virtual address of the struct xarray.
    Raises KernelDataError for a tree that cannot be.
    """
    head = image.struct("xarray", root)["xa_head"]
    if head & TAGS != INTERNAL:
        return single(head, first)
    if head <= LOWEST_NODE:
        return single(0, first)
    return descend(image, _RULES, head & ~TAGS, None, first, last)


def _internal(slots: Words) -> Flags:
    internal: Flags = (slots & np.uint64(TAGS)) == INTERNAL
    return internal


def _sibling(slots: Words, nodes: Words) -> Slots:
    """A sibling holds the number of the slot that it refers to; larger numbers are marks."""
    number = (slots >> np.uint64(INTERNAL_SHIFT)).astype(np.int64)
    return np.where(number < slots.shape[1], number, -1)


_RULES = Rules("xa_node", True, _internal, _sibling, LOWEST_NODE + 1)
