"""Radix trees as page caches had them until 4.20 (lib/radix-tree.c), and the descent that the xarray shares.

A node has a power of two of slots. In a slot stands an entry, a link to a node below, or, in all but the first
slot of an entry that takes several, a sibling: a reference to the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gcoretools.errors import KernelDataError
from gcoretools.kernel.image import Image
from gcoretools.kernel.structs import Structs
from gcoretools.paging import Words

# include/linux/radix-tree.h: bit 0 marks a pointer to a node (in each slot since 4.6, 339e6353046d; only in the
# root before), bit 1 something that is no page (since 3.1).
NODE, EXCEPTIONAL = 1, 2
EXCEPTIONAL_SHIFT = 2
TAGS = NODE | EXCEPTIONAL

INDEX_BITS = 64

Flags = NDArray[np.bool_]
Slots = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Entries:
    """What stands in a tree, ascending.

    Attributes:
        index: the first index of each entry.
        raw: the entry as it stands in its slot; 0 where the node that would tell is not in the dump, or none.
        order: it covers 1 << order indices.
    """

    index: Words
    raw: Words
    order: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Rules:
    """How a kind of tree tells links and siblings from entries.

    Attributes:
        node: the name of the struct.
        shifts: whether each node says how much a slot of it covers, and each slot whether it is a link; else
            all slots above the last level are links.
        internal: which slots are links, siblings, or other things that are no entries.
        sibling: of such slots (a row for each node, at these addresses), the slot that each refers to, -1 for none.
        lowest: no link is lower: what is, is neither.
    """

    node: str
    shifts: bool
    internal: Callable[[Words], Flags]
    sibling: Callable[[Words, Words], Slots]
    lowest: int = 1


NOTHING = Entries(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.uint8))


def entries(image: Image, root: int, first: int, last: int) -> Entries:
    """The entries of a radix tree that cover a part of [first, last].

    Args:
        root: virtual address of the struct radix_tree_root.
    Raises KernelDataError for a tree that cannot be.
    """
    view = image.struct("radix_tree_root", root)
    pointer = view["rnode"]
    if image.has("radix_tree_node.shift"):
        levels = None
        rules = Rules("radix_tree_node", True, lambda slots: (slots & np.uint64(TAGS)) == NODE, _own_slots(image))
    else:
        # Until 4.7 (d0891265bbc9) the root says how high the tree is.
        levels = view["height"] - 1
        rules = Rules("radix_tree_node", False, lambda slots: slots != 0, _no_siblings)
    if levels == -1 or (levels is None and not pointer & NODE):
        return single(pointer, first)
    return descend(image, rules, pointer & ~TAGS, levels, first, last)


def single(raw: int, first: int) -> Entries:
    """A tree whose root is its one entry, at index 0."""
    if not raw or first:
        return NOTHING
    return Entries(np.zeros(1, np.uint64), np.array([raw], np.uint64), np.zeros(1, np.uint8))


def _no_siblings(slots: Words, nodes: Words) -> Slots:
    return np.full(slots.shape, -1)


def _own_slots(image: Image) -> Callable[[Words, Words], Slots]:
    """A sibling points to the slot that it refers to, in its own node (e61452365372, 4.6)."""
    start, size = image.member("radix_tree_node.slots").offset, image.pointer_size

    def sibling(slots: Words, nodes: Words) -> Slots:
        offset = slots - np.uint64(NODE) - (nodes + np.uint64(start))[:, None]
        inside = offset < np.uint64(slots.shape[1] * size)
        return np.where(inside, (offset // np.uint64(size)).astype(np.int64), -1)

    return sibling


def descend(image: Image, rules: Rules, root: int, levels: int | None, first: int, last: int) -> Entries:
    """The entries below a node that cover a part of [first, last]; all nodes of a level are read at once.

    Args:
        root: virtual address of the top node.
        levels: how many there are below it; None where each node says its shift.
    Raises KernelDataError for more levels than an index has bits, and when two slots link one node.
    """
    bits = (image.member(f"{rules.node}.slots").size // image.pointer_size).bit_length() - 1
    nodes, bases = np.array([root], np.uint64), np.zeros(1, np.uint64)
    top = Structs(image, rules.node, nodes)
    if not top.held[0]:
        return Entries(bases, np.zeros(1, np.uint64), np.array([INDEX_BITS - 1], np.uint8))
    shift = bits * levels if levels is not None else int(top["shift"][0])
    if not (bits > 0 and 0 <= shift < INDEX_BITS and shift % bits == 0):
        raise KernelDataError(f"{rules.node} at {root:#x}: a shift of {shift} cannot be: the tree is damaged")
    found = []
    while len(nodes):
        level = _Level(image, rules, nodes, bases, shift, bits)
        found.append(level.entries(first, last))
        nodes, bases = level.links(first, last)
        shift -= bits
    index, raw, order = (np.concatenate([getattr(each, name) for each in found]) for name in Entries.__slots__)
    ascending = np.argsort(index, kind="stable")
    return Entries(index[ascending], raw[ascending], order[ascending])


class _Level:
    """The nodes of one level of a tree, as a row of slots each.

    Args:
        nodes: their virtual addresses.
        bases: the first index below each.
        shift: a slot covers 1 << shift indices.
        bits: a node has 1 << bits slots.
    """

    def __init__(self, image: Image, rules: Rules, nodes: Words, bases: Words, shift: int, bits: int) -> None:
        if len(np.unique(nodes)) < len(nodes):
            raise KernelDataError(f"{rules.node}: two slots link the same node: the tree is damaged")
        structs = Structs(image, rules.node, nodes)
        good = structs.held & (structs["shift"] == shift) if rules.shifts else structs.held
        self._lost = bases[~good]
        self._lost_order = min(shift + bits, INDEX_BITS - 1)
        self._shift = shift
        width = min(1 << bits, 1 << (INDEX_BITS - shift))
        self._slots = structs.words("slots", image.pointer_size)[good, :width]
        self._index = bases[good, None] + (np.arange(width, dtype=np.uint64) << np.uint64(shift))
        self._internal = rules.internal(self._slots) if rules.shifts or shift else np.zeros_like(self._slots, bool)
        self._sibling = np.where(self._internal, rules.sibling(self._slots, nodes[good]), -1)
        self._linked = self._internal & (self._sibling < 0) & (self._slots >= np.uint64(rules.lowest))

    def entries(self, first: int, last: int) -> Entries:
        """The entries that stand in this level; without data (raw 0) what lost nodes would have."""
        here = (self._slots != 0) & ~self._internal
        order = np.minimum(self._shift + self._spread()[here], INDEX_BITS - 1).astype(np.uint8)
        lost = np.full(len(self._lost), self._lost_order, np.uint8)
        index, raw = self._index[here], self._slots[here]
        index, order = np.concatenate([index, self._lost]), np.concatenate([order, lost])
        raw = np.concatenate([raw, np.zeros(len(self._lost), np.uint64)])
        wanted = _overlap(index, order, first, last)
        return Entries(index[wanted], raw[wanted], order[wanted])

    def links(self, first: int, last: int) -> tuple[Words, Words]:
        """The nodes below, and the first index of each."""
        if not self._shift:
            return NOTHING.index, NOTHING.index
        nodes, bases = self._slots[self._linked] & np.uint64(~TAGS % (1 << 64)), self._index[self._linked]
        wanted = _overlap(bases, np.full(len(bases), self._shift, np.uint8), first, last)
        return nodes[wanted], bases[wanted]

    def _spread(self) -> NDArray[np.int64]:
        """log2 of how many slots each entry takes: its own and those of its siblings."""
        rows, places = np.nonzero(self._sibling >= 0)
        width = self._slots.shape[1]
        heads = rows * width + self._sibling[rows, places]
        heads = heads[self._sibling[rows, places] < width]
        count = np.bincount(heads, minlength=self._slots.size).reshape(self._slots.shape)
        return np.frexp(count + 1)[1].astype(np.int64) - 1


def _overlap(index: Words, order: NDArray[np.uint8], first: int, last: int) -> Flags:
    """Which of the ranges of 1 << order indices have a part in [first, last]."""
    end = index | ((np.uint64(1) << order.astype(np.uint64)) - np.uint64(1))
    return (end >= np.uint64(first)) & (index <= np.uint64(last))
