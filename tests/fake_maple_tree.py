"""Writes maple trees as lib/maple_tree.c leaves them in memory: any fill, gaps as empty slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fake_kernel import FakeKernel

TOP = (1 << 64) - 1
LEAF, RANGE, ARANGE = "maple_leaf_64", "maple_range_64", "maple_arange_64"
SLOTS = {LEAF: 16, RANGE: 16, ARANGE: 10}

# (first, last, entry): the entry is 0 where nothing is.
Range = tuple[int, int, int]


def write_maple_tree(
    kernel: FakeKernel, ranges: Sequence[Range], *, inner: str = ARANGE, leaf_fill: int = 16, inner_fill: int = 10
) -> int:
    """What goes into ma_root for these entries.

    Args:
        ranges: ascending, without overlap; what lies between them is empty.
        inner: the type of nodes above the leaves.
        leaf_fill, inner_fill: how many slots of a node are used at most, 2 to 16 and 2 to 10.
    """
    row = _with_gaps(ranges)
    if len(row) == 1 and not row[0][2]:
        return 0
    kind, fill = LEAF, leaf_fill
    while True:
        groups = [row[i : i + fill] for i in range(0, len(row), fill)]
        row = [(group[0][0], group[-1][1], _node(kernel, kind, group)) for group in groups]
        if len(row) == 1:
            return row[0][2]
        kind, fill = inner, min(inner_fill, SLOTS[inner])


def _with_gaps(ranges: Sequence[Range]) -> list[Range]:
    """The ranges with empty ones between them, from 0 to the highest address."""
    row: list[Range] = []
    at = 0
    for first, last, entry in ranges:
        if first > at:
            row.append((at, first - 1, 0))
        row.append((first, last, entry))
        at = last + 1
    if at <= TOP:
        row.append((at, TOP, 0))
    return row


def _node(kernel: FakeKernel, kind: str, group: Sequence[Range]) -> int:
    """Writes a node; its encoded pointer: the address with the type in bits 3 to 6, and xa_is_node's bit 1."""
    shape = ARANGE if kind == ARANGE else RANGE
    node = kernel.new(shape, align=256)
    pivots = [last for _, last, _ in group][: SLOTS[kind] - 1]
    if len(group) < SLOTS[kind] and group[-1][1] == TOP:
        pivots[-1] = 0 if len(group) > 1 else TOP  # the last used pivot of the whole tree may be left unset
    node["pivot"] = b"".join(pivot.to_bytes(8, "little") for pivot in pivots)
    node["slot"] = b"".join(entry.to_bytes(8, "little") for _, _, entry in group)
    if len(group) < SLOTS[kind]:
        # struct maple_metadata lies over the last slot: numbers that are no pointer.
        last = node.at("slot") + 8 * (SLOTS[kind] - 1)
        kernel.write(last, bytes([len(group) - 1, 3]) if shape == RANGE else b"")
    return node.address | {LEAF: 1, RANGE: 2, ARANGE: 3}[kind] << 3 | 2 | 4
