"""Trees of page caches, written node by node: xarrays, and radix trees of each time."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fake_kernel import FakeKernel, Object

BITS = 6
SLOTS = 1 << BITS


def write_xarray(kernel: FakeKernel, root: Object, entries: Mapping[int, tuple[int, int]]) -> list[Object]:
    """Fill a struct xarray with {index: (entry, order)}; its nodes, the top one first."""
    if set(entries) <= {0} and not any(order for _, order in entries.values()):
        root["xa_head"] = entries.get(0, (0, 0))[0]
        return []
    writer = _Writer(kernel, "xa_node", link=2, sibling=lambda node, slot: slot << 2 | 2)
    root["xa_head"] = writer.fill(entries)
    return writer.nodes


def write_radix_tree(kernel: FakeKernel, root: Object, entries: Mapping[int, tuple[int, int]]) -> list[Object]:
    """Fill a struct radix_tree_root; of the kind that the kernel's layout tells. Old trees have no orders."""
    if set(entries) <= {0} and not any(order for _, order in entries.values()):
        root["rnode"], root["height"] = entries.get(0, (0, 0))[0], 0
        return []
    marked = "radix_tree_node.shift" in kernel.layout.members
    writer = _Writer(
        kernel,
        "radix_tree_node",
        link=1 if marked else 0,
        sibling=lambda node, slot: (node.at("slots") + 8 * slot) | 1,
    )
    pointer = writer.fill(entries)
    root["rnode"], root["height"] = pointer | 1, writer.height
    return writer.nodes


class _Writer:
    def __init__(self, kernel: FakeKernel, struct: str, link: int, sibling) -> None:  # type: ignore[no-untyped-def]
        self.kernel = kernel
        self.struct = struct
        self.link = link
        self.sibling = sibling
        self.height = 0
        self.nodes: list[Object] = []
        self.by_place: dict[tuple[int, int], Object] = {}

    def fill(self, entries: Mapping[int, tuple[int, int]]) -> int:
        """All entries; the tagged pointer to the top node."""
        top = max(index + (1 << order) - 1 for index, (_, order) in entries.items())
        self.height = max(-(-top.bit_length() // BITS), *(order // BITS + 1 for _, order in entries.values()), 1)
        root = self.node((self.height - 1) * BITS, 0)
        for index, (raw, order) in entries.items():
            shift = order // BITS * BITS
            node = self.node(shift, index)
            first = index >> shift & SLOTS - 1
            self.put(node, first, raw)
            for slot in range(first + 1, first + (1 << order - shift)):
                self.put(node, slot, self.sibling(node, first))
        return root.address | self.link

    def node(self, shift: int, index: int) -> Object:
        """The node whose slots cover 1 << shift indices, linked from its parents."""
        place = shift, index >> shift + BITS
        if place not in self.by_place:
            made = self.by_place[place] = self.kernel.new(self.struct, align=64, shift=shift)
            self.nodes.append(made)
            if shift < (self.height - 1) * BITS:
                parent = self.node(shift + BITS, index)
                self.put(parent, index >> shift + BITS & SLOTS - 1, made.address | self.link)
        return self.by_place[place]

    def put(self, node: Object, slot: int, raw: int) -> None:
        """A slot of a node."""
        self.kernel.write(node.at("slots") + 8 * slot, raw.to_bytes(8, "little"))
