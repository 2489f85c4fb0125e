"""Xarrays and radix trees: whatever stands in them, in ranges, and every kind of damage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcoretools.errors import KernelDataError
from gcoretools.kernel import radix_tree, xarray
from gcoretools.kernel.image import Image
from gcoretools.kernel.radix_tree import Entries
from tests.fake_kernel import FakeKernel, Object
from tests.fake_page_tree import write_radix_tree, write_xarray

TOP = (1 << 64) - 1

# What each kind of tree is called by; the height stood in the root until 4.7.
KINDS: dict[str, tuple[str, ...]] = {
    "xarray": (),
    "radix": ("xarray", "radix_tree_root.height"),
    "old": ("xarray", "radix_tree_node.shift"),
}


class Tree:
    """A tree of one kind in a fake kernel."""

    def __init__(self, kind: str, seed: int = 1) -> None:
        self.kind = kind
        self.kernel = FakeKernel(cpus=1, seed=seed, without=KINDS[kind])
        self.root = self.kernel.new("xarray" if kind == "xarray" else "radix_tree_root")

    def fill(self, entries: Mapping[int, tuple[int, int]]) -> list[Object]:
        write = write_xarray if self.kind == "xarray" else write_radix_tree
        return write(self.kernel, self.root, entries)

    def read(self, image: Image, first: int = 0, last: int = TOP) -> Entries:
        read = xarray.entries if self.kind == "xarray" else radix_tree.entries
        return read(image, self.root.address, first, last)


def plain(found: Entries) -> dict[int, tuple[int, int]]:
    rows = zip(found.index.tolist(), found.raw.tolist(), found.order.tolist(), strict=True)
    return {index: (raw, order) for index, raw, order in rows}


def pointer(number: int) -> int:
    return 0xFFFF_8880_0000_0000 + 64 * number


@st.composite
def contents(draw: st.DrawFn, orders: bool) -> dict[int, tuple[int, int]]:
    """Entries that do not overlap: pointers and values, near 0, far apart, and up to the last index."""
    starts = draw(st.lists(st.one_of(st.integers(0, 300), st.integers(0, 1 << 40)), max_size=40))
    found, taken = {}, -1
    for number, start in enumerate(sorted(starts)):
        order = draw(st.sampled_from([0, 0, 0, 1, 4, 6, 9])) if orders else 0
        index = start >> order << order
        if index > taken:
            value = draw(st.booleans())
            found[index] = (number << 2 | 3 if value else pointer(number)), order
            taken = index + (1 << order) - 1
    return found


@given(st.sampled_from(sorted(KINDS)), st.data(), st.integers(0, 99))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(tmp_path: Path, kind: str, data: st.DataObject, seed: int) -> None:
    tree = Tree(kind, seed)
    written = data.draw(contents(orders=kind != "old"))
    if kind != "xarray":  # where bit 0 is a link's, values have bit 1
        written = {index: (raw & ~3 | 2 if raw & 1 else raw, order) for index, (raw, order) in written.items()}
    tree.fill(written)
    image = tree.kernel.image(tmp_path)
    assert plain(tree.read(image)) == dict(sorted(written.items()))
    first, last = sorted(data.draw(st.tuples(st.integers(0, 1 << 41), st.integers(0, 1 << 41))))
    wanted = {i: each for i, each in sorted(written.items()) if i + (1 << each[1]) > first and i <= last}
    assert plain(tree.read(image, first, last)) == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_trees_without_nodes(tmp_path: Path, kind: str) -> None:
    for written in ({}, {0: (pointer(7), 0)}):
        tree = Tree(kind)
        assert tree.fill(written) == []
        image = tree.kernel.image(tmp_path)
        assert plain(tree.read(image)) == written
        assert plain(tree.read(image, 1, TOP)) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_that_is_not_in_the_dump(tmp_path: Path, kind: str) -> None:
    """What it would tell stands there as entries of nothing; all else is given."""
    tree = Tree(kind)
    tree.fill({0: (pointer(1), 0), 64: (pointer(2), 0), 200: (pointer(3), 0)})
    lost = tree.kernel.new("xa_node" if kind == "xarray" else "radix_tree_node", align=4096, more=4096)
    top = _top(tree)
    tag = {"xarray": 2, "radix": 1, "old": 0}[kind]
    tree.kernel.write(top.at("slots") + 8, (lost.address | tag).to_bytes(8, "little"))
    tree.kernel.exclude(lost.address)
    found = plain(tree.read(tree.kernel.image(tmp_path)))
    assert found == {0: (pointer(1), 0), 64: (0, 6), 200: (pointer(3), 0)}


def _top(tree: Tree) -> Object:
    member = "xa_head" if tree.kind == "xarray" else "rnode"
    name = "xa_node" if tree.kind == "xarray" else "radix_tree_node"
    return Object(tree.kernel, name, tree.root[member] & ~3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_root_that_is_not_in_the_dump(tmp_path: Path, kind: str) -> None:
    """Nothing is known of any index."""
    tree = Tree(kind)
    tree.fill({1: (pointer(1), 0)})
    lost = tree.kernel.alloc(4096, 4096)
    member = "xa_head" if kind == "xarray" else "rnode"
    tree.root[member] = lost | (2 if kind == "xarray" else 1)
    tree.kernel.exclude(lost)
    assert plain(tree.read(tree.kernel.image(tmp_path))) == {0: (0, 63)}


@pytest.mark.parametrize("kind", ["xarray", "radix"])
def test_a_node_of_another_level(tmp_path: Path, kind: str) -> None:
    """It was freed and used again, or is none: what it says is not believed."""
    tree = Tree(kind)
    nodes = tree.fill({0: (pointer(1), 0), 64: (pointer(2), 0)})
    nodes[-1]["shift"] = 12
    assert plain(tree.read(tree.kernel.image(tmp_path))) == {0: (pointer(1), 0), 64: (0, 6)}


@pytest.mark.parametrize(("kind", "shift"), [("xarray", 5), ("xarray", 66), ("radix", 255)])
def test_a_shift_that_cannot_be(tmp_path: Path, kind: str, shift: int) -> None:
    tree = Tree(kind)
    tree.fill({1: (pointer(1), 0)})
    _top(tree)["shift"] = shift
    with pytest.raises(KernelDataError, match=f"a shift of {shift} cannot be"):
        tree.read(tree.kernel.image(tmp_path))


def test_a_height_that_cannot_be(tmp_path: Path) -> None:
    tree = Tree("old")
    tree.fill({1: (pointer(1), 0)})
    tree.root["height"] = 0xFFFFFFFF
    with pytest.raises(KernelDataError, match="cannot be"):
        tree.read(tree.kernel.image(tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_two_ways_to_one_node(tmp_path: Path, kind: str) -> None:
    """So a few nodes could stand for any number of entries."""
    tree = Tree(kind)
    tree.fill({0: (pointer(1), 0), 64: (pointer(2), 0)})
    at = _top(tree).at("slots")
    tree.kernel.write(at + 8, tree.kernel.read(at, 8))
    with pytest.raises(KernelDataError, match="two slots link the same node"):
        tree.read(tree.kernel.image(tmp_path))


def test_marks_are_no_entries(tmp_path: Path) -> None:
    """XA_RETRY_ENTRY and XA_ZERO_ENTRY, in the root and in nodes."""
    tree = Tree("xarray")
    tree.root["xa_head"] = 257 << 2 | 2
    assert plain(tree.read(tree.kernel.image(tmp_path))) == {}
    tree.fill({1: (256 << 2 | 2, 0), 2: (257 << 2 | 2, 0), 64: (257 << 2 | 2, 0), 65: (pointer(1), 0)})
    assert plain(tree.read(tree.kernel.image(tmp_path))) == {65: (pointer(1), 0)}


def test_many_entries_are_read_at_once(tmp_path: Path) -> None:
    tree = Tree("xarray")
    tree.fill({i: (pointer(i), 0) for i in range(20_000)})
    found = tree.read(tree.kernel.image(tmp_path))
    assert np.array_equal(found.index, np.arange(20_000))
    assert np.array_equal(found.raw, np.array([pointer(i) for i in range(20_000)], np.uint64))
