"""Maple trees: whatever their shape, and every kind of damage."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcoretools.errors import KernelDataError, PageAbsent
from gcoretools.kernel import maple_tree
from tests.fake_kernel import FakeKernel, Object
from tests.fake_maple_tree import ARANGE, RANGE, TOP, write_maple_tree

# Pointers to things, as they stand in slots: aligned, and no smaller than a node.
FIRST_ENTRY = 0xFFFF_8880_0000_0000


class Tree:
    """A tree in a kernel, read back by the code under test."""

    def __init__(self, seed: int = 1) -> None:
        self.kernel = FakeKernel(seed=seed, cpus=1)
        self.tree = self.kernel.new("maple_tree")

    def read(self, folder: Path, limit: int = 10_000) -> list[int]:
        return list(maple_tree.entries(self.kernel.image(folder), self.tree.address, limit))

    def node(self, encoded: int, kind: str = "maple_range_64") -> Object:
        return Object(self.kernel, kind, encoded & ~0xFF)


@st.composite
def ranges(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Ranges of pages, some with gaps between them, some at both ends of all addresses."""
    steps = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 1 << 20)), max_size=80))
    found, at = [], draw(st.sampled_from([0, 0, 0x1000, 1 << 40]))
    for i, (gap, size) in enumerate(steps):
        first = at + gap * 0x1000
        found.append((first, first + size - 1, FIRST_ENTRY + i * 0x100))
        at = first + size
    to_the_top = draw(st.booleans())
    if found and to_the_top:
        first, _, entry = found[-1]
        found[-1] = (first, TOP, entry)
    return found


@given(ranges(), st.sampled_from([ARANGE, RANGE]), st.integers(2, 16), st.integers(2, 10), st.integers(0, 99))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(
    tmp_path: Path, given_: list[tuple[int, int, int]], inner: str, leaf: int, fill: int, seed: int
) -> None:
    tree = Tree(seed)
    tree.tree["ma_root"] = write_maple_tree(tree.kernel, given_, inner=inner, leaf_fill=leaf, inner_fill=fill)
    assert tree.read(tmp_path) == [entry for _, _, entry in given_]


def test_an_empty_tree_and_one_of_a_single_entry(tmp_path: Path) -> None:
    tree = Tree()
    assert tree.read(tmp_path) == []
    # An entry for [0, 0] stands in ma_root itself, with bit 1 clear.
    tree.tree["ma_root"] = FIRST_ENTRY
    assert tree.read(tmp_path) == [FIRST_ENTRY]


def test_the_types_are_the_kernels_own_or_else_known(tmp_path: Path) -> None:
    tree = Tree()
    tree.kernel.layout.constants.clear()
    given_ = [(i << 12, (i << 12) + 0xFFF, FIRST_ENTRY + i * 256) for i in range(40)]
    tree.tree["ma_root"] = write_maple_tree(tree.kernel, given_)
    assert len(tree.read(tmp_path)) == 40


def many(count: int = 60) -> list[tuple[int, int, int]]:
    return [(i << 13, (i << 13) + 0xFFF, FIRST_ENTRY + i * 256) for i in range(count)]


def test_a_node_that_leads_back_to_the_root(tmp_path: Path) -> None:
    tree = Tree()
    root = write_maple_tree(tree.kernel, many())
    tree.tree["ma_root"] = root
    node = tree.node(root, "maple_arange_64")
    tree.kernel.write(node.at("slot") + 8, root.to_bytes(8, "little"))
    with pytest.raises(KernelDataError, match=r"the tree is damaged|out of order"):
        tree.read(tmp_path)


def test_nodes_that_lead_to_each_other_by_every_slot_end(tmp_path: Path) -> None:
    tree = Tree()
    node = tree.kernel.new("maple_arange_64", align=256)
    encoded = node.address | 3 << 3 | 2
    node["slot"] = encoded.to_bytes(8, "little") * 10
    tree.tree["ma_root"] = encoded
    with pytest.raises(KernelDataError, match="the tree is damaged"):
        tree.read(tmp_path)


def test_more_nodes_than_there_can_be(tmp_path: Path) -> None:
    tree = Tree()
    tree.tree["ma_root"] = write_maple_tree(tree.kernel, many(200), leaf_fill=2, inner_fill=2)
    with pytest.raises(KernelDataError, match="the tree is damaged"):
        tree.read(tmp_path, limit=50)


@pytest.mark.parametrize("kind", [0, 4, 7, 15])
def test_a_node_of_no_type(tmp_path: Path, kind: int) -> None:
    tree = Tree()
    root = write_maple_tree(tree.kernel, many())
    tree.tree["ma_root"] = root & ~(0xF << 3) | kind << 3
    with pytest.raises(KernelDataError, match="the tree is damaged"):
        tree.read(tmp_path)


def test_pivots_out_of_order(tmp_path: Path) -> None:
    tree = Tree()
    root = write_maple_tree(tree.kernel, many(3))
    node = tree.node(root)
    tree.kernel.write(node.at("pivot") + 16, (5).to_bytes(8, "little"))
    tree.tree["ma_root"] = root
    with pytest.raises(KernelDataError, match="pivots out of order"):
        tree.read(tmp_path)


@pytest.mark.parametrize("pointer", [0xDEAD_0000_0000_0000, 0xFFFF_8880_7000_0000, 0x2000])
def test_a_wild_pointer(tmp_path: Path, pointer: int) -> None:
    tree = Tree()
    tree.tree["ma_root"] = pointer | 1 << 3 | 2
    with pytest.raises((KernelDataError, PageAbsent), match="maple_range_64 at"):
        tree.read(tmp_path)


def test_a_node_whose_page_is_not_in_the_dump(tmp_path: Path) -> None:
    tree = Tree()
    node = tree.kernel.new("maple_range_64", align=4096, more=4096)
    tree.tree["ma_root"] = node.address | 1 << 3 | 2
    tree.kernel.exclude(node.address)
    with pytest.raises(PageAbsent, match="maple_range_64 at"):
        tree.read(tmp_path)


def test_the_writer_fills_leaves_as_told() -> None:
    """The judge of this module is judged: 60 ranges with gaps take eight leaves of 16 and their root."""
    tree = Tree()
    before = tree.kernel.memory.top
    root = write_maple_tree(tree.kernel, many())
    assert root >> 3 & 0xF == 3
    assert tree.kernel.memory.top - before > 9 * 256
    assert write_maple_tree(tree.kernel, many(1)) >> 3 & 0xF == 1
