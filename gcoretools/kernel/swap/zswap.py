"""zswap: a compressed cache in memory before the swap devices (mm/zswap.c)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SIZE, Buffer
from gcoretools.errors import KernelDataError
from gcoretools.kernel import xarray
from gcoretools.kernel.image import Image
from gcoretools.kernel.structs import Structs
from gcoretools.kernel.swap.area import Area
from gcoretools.kernel.swap.store import HELD, LOST, UNKNOWN, Blocks, Bytes, Verdicts, fill
from gcoretools.kernel.swap.zsmalloc import Zsmalloc
from gcoretools.paging import Words

# ZSWAP_ADDRESS_SPACE_SHIFT: pages of an area that have a tree of their own.
TREE_SHIFT = 14

LAST_INDEX = (1 << 64) - 1

_NONE = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Entries:
    """What zswap has of an area, by ascending offsets: a zswap_entry each."""

    offset: Words
    address: Words


@dataclass(frozen=True, slots=True)
class Pool:
    """A zswap_pool.

    Attributes:
        allocator: what keeps its objects: zsmalloc, zbud or z3fold.
        header: bytes before the data of an object.
        blocks: what unpacks them.
        reason: why its pages cannot be read, or "".
    """

    allocator: str
    header: int
    blocks: Blocks
    reason: str


class Zswap:
    """The pages of one swap area that are in zswap.

    Args:
        image: the kernel.
        area: the swap area.
        objects: the kernel's zsmalloc.
    Raises KernelDataError, LayoutError and PageAbsent when zswap's trees cannot be read.
    """

    def __init__(self, image: Image, area: Area, objects: Zsmalloc) -> None:
        self._image = image
        self._objects = objects
        self._entries = _entries(image, area)
        pools = np.unique(Structs(image, "zswap_entry", self._entries.address)["pool"])
        self._pools = {address: _pool(image, address) for address in pools.tolist()}
        self.reasons = (
            "in zswap, whose memory is not in the dump",
            *(pool.reason for pool in self._pools.values()),
        )

    def verdicts(self, offsets: Words) -> Verdicts:
        """UNKNOWN for what is not in zswap, HELD, or LOST and why."""
        found = np.full(len(offsets), UNKNOWN, np.uint8)
        here, addresses = self._find(offsets)
        entries = Structs(self._image, "zswap_entry", addresses)
        verdicts = np.where(entries.held, HELD, LOST).astype(np.uint8)
        for number, (address, pool) in enumerate(self._pools.items()):
            those = entries.held & (entries["pool"] == np.uint64(address)) & (entries["length"] != 0)
            if pool.reason:
                verdicts[those] = LOST + 1 + number
            elif pool.allocator == "zsmalloc":
                verdicts[those] = np.where(self._objects.find(entries["handle"][those]).found, HELD, LOST)
        found[here] = verdicts
        return found

    def read(self, offsets: Words) -> Bytes:
        """The bytes of each page, a row each. Raises KernelDataError when one is corrupt."""
        rows = np.empty((len(offsets), PAGE_SIZE), np.uint8)
        _, addresses = self._find(offsets)
        entries = Structs(self._image, "zswap_entry", addresses)
        handles, sizes = entries["handle"], entries["length"].astype(np.int64)
        # Until 6.11 an entry without length was a page of one word, which stood for the handle.
        fill(rows, sizes == 0, handles, self._image.pointer_size)
        for address, pool in self._pools.items():
            those = np.flatnonzero((sizes != 0) & (entries["pool"] == np.uint64(address)))
            if len(those):
                blocks = self._blocks(pool, handles[those], sizes[those])
                pool.blocks.unpack(rows, those.tolist(), blocks)
        return rows

    def _blocks(self, pool: Pool, handles: Words, sizes: NDArray[np.int64]) -> Iterator[Buffer]:
        """The compressed data of some entries of a pool; a handle of zbud is its address."""
        if pool.allocator == "zsmalloc":
            whole = self._objects.read(handles, sizes + pool.header)
            return (block[pool.header :] for block in whole)
        memory, header = self._image.memory, pool.header
        pairs = zip(handles.tolist(), sizes.tolist(), strict=True)
        return (memory.read(handle + header, size) for handle, size in pairs)

    def _find(self, offsets: Words) -> tuple[NDArray[np.bool_], Words]:
        """Which of these pages are here, and the address of the entry of each that is."""
        known = self._entries
        if not len(known.offset):
            return np.zeros(len(offsets), np.bool_), known.address
        at = np.minimum(np.searchsorted(known.offset, offsets), len(known.offset) - 1)
        here = known.offset[at] == offsets
        return here, known.address[at[here]]


def _pool(image: Image, address: int) -> Pool:
    view = image.struct("zswap_pool", address)
    allocator, header = "zsmalloc", 0
    if view.has("zpool"):
        zpool = image.struct("zpool", view["zpool"])
        driver = image.struct("zpool_driver", zpool["driver"])
        allocator = image.memory.string(driver["type"], 32).decode("ascii", "replace")
        # A zswap_header names the entry where the pool itself writes back what is old (until 6.5).
        if zpool.has("evictable") and zpool["evictable"] and image.has("zswap_header"):
            header = image.size("zswap_header")
    blocks = Blocks("zswap", view.string("tfm_name"))
    unread = "" if allocator in ("zsmalloc", "zbud") else f"in zswap's {allocator}, which is not read"
    return Pool(allocator, header, blocks, unread or blocks.reason)


def _entries(image: Image, area: Area) -> Entries:
    """All entries of an area: in trees for each 64 MiB since 44c7c734a513 (6.8), in one tree before."""
    trees = image.pointer(image.symbol("zswap_trees") + area.number * image.pointer_size)
    parts = -(-area.size >> TREE_SHIFT) if image.has("nr_zswap_trees") else 1
    walk = _of_red_black if image.has("zswap_tree.rbroot") else _of_xarray
    found = [walk(image, trees, part, area.size) for part in range(parts)] if trees else []
    offset = np.concatenate([_NONE, *(each.offset for each in found)])
    address = np.concatenate([_NONE, *(each.address for each in found)])
    ascending = np.argsort(offset, kind="stable")
    return Entries(offset[ascending], address[ascending])


def _of_xarray(image: Image, trees: int, part: int, size: int) -> Entries:
    """The entries of one of an array of struct xarray (796c2c23e14e, 6.10)."""
    found = xarray.entries(image, trees + part * image.size("xarray"), 0, LAST_INDEX)
    those = (found.raw != 0) & ((found.raw & np.uint64(xarray.TAGS)) == 0)
    return Entries(found.index[those], found.raw[those])


def _of_red_black(image: Image, trees: int, part: int, size: int) -> Entries:
    """The entries of one of an array of struct zswap_tree: a red-black tree, read level by level.

    Raises KernelDataError for more entries than the area has pages: a cycle.
    """
    root = trees + (part * image.size("zswap_tree") if part else 0) + image.member("zswap_tree.rbroot").offset
    offset = image.member("zswap_entry.rbnode").offset
    level = np.array([image.struct("rb_root", root)["rb_node"]], np.uint64)
    addresses: list[Words] = []
    count = 0
    while len(level := level[level != 0]):
        count += len(level)
        if count > size:
            raise KernelDataError(
                f"zswap_tree at {trees:#x}: more entries than the swap area has pages: it is damaged"
            )
        addresses.append(level - np.uint64(offset))
        nodes = Structs(image, "rb_node", level)
        level = np.concatenate([nodes["rb_left"], nodes["rb_right"]])
    address = np.concatenate([_NONE, *addresses])
    entries = Structs(image, "zswap_entry", address)
    return Entries(entries["offset"][entries.held], address[entries.held])
