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

# No red-black tree of so many entries as an area has pages (32 bits) is higher.
HEIGHT_LIMIT = 64

_NONE = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Entries:
    """What zswap has of an area, or of a part of it, by ascending offsets: a zswap_entry each."""

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
    Every method raises KernelDataError, LayoutError and PageAbsent when zswap's trees cannot be read.
    """

    def __init__(self, image: Image, area: Area, objects: Zsmalloc) -> None:
        self._image = image
        self._area = area
        self._objects = objects
        self._trees = image.pointer(image.symbol("zswap_trees") + area.number * image.pointer_size)
        self._split = image.has("nr_zswap_trees")
        self._parts: dict[int, Entries] = {}
        self._pools: dict[int, Pool] = {}

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why a page cannot be had: the memory of zswap is missing, then what is known of each pool."""
        return ("in zswap, whose memory is not in the dump", *(pool.reason for pool in self._pools.values()))

    def verdicts(self, offsets: Words) -> Verdicts:
        """UNKNOWN for what is not in zswap, HELD, or LOST and why."""
        found = np.full(len(offsets), UNKNOWN, np.uint8)
        here, entries = self._find(offsets)
        verdicts = np.where(entries.held, HELD, LOST).astype(np.uint8)
        for number, pool, those in self._by_pool(entries):
            if pool.reason:
                verdicts[those] = LOST + 1 + number
            elif pool.allocator == "zsmalloc":
                verdicts[those] = np.where(self._objects.find(entries["handle"][those]).found, HELD, LOST)
        found[here] = verdicts
        return found

    def read(self, offsets: Words) -> Bytes:
        """The bytes of each page, a row each. Raises KernelDataError when one is corrupt."""
        rows = np.empty((len(offsets), PAGE_SIZE), np.uint8)
        _, entries = self._find(offsets)
        handles, sizes = entries["handle"], entries["length"].astype(np.int64)
        # Until 6.11 an entry without length was a page of one word, which stood for the handle.
        fill(rows, sizes == 0, handles, self._image.pointer_size)
        for _, pool, those in self._by_pool(entries):
            pool.blocks.unpack(rows, those.tolist(), self._blocks(pool, handles[those], sizes[those]))
        return rows

    def _by_pool(self, entries: Structs) -> Iterator[tuple[int, Pool, NDArray[np.intp]]]:
        """Each pool by its number, and which of these entries have an object in it."""
        pools, stored = entries["pool"], entries.held & (entries["length"] != 0)
        for address in np.unique(pools[stored]).tolist():
            if address not in self._pools:
                self._pools[address] = _pool(self._image, address)
            number = [*self._pools].index(address)
            yield number, self._pools[address], np.flatnonzero(stored & (pools == np.uint64(address)))

    def _blocks(self, pool: Pool, handles: Words, sizes: NDArray[np.int64]) -> Iterator[Buffer]:
        """The compressed data of some entries of a pool; a handle of zbud is its address."""
        if pool.allocator == "zsmalloc":
            return (block[pool.header :] for block in self._objects.read(handles, sizes + pool.header))
        read, pairs = self._image.memory.read, zip(handles.tolist(), sizes.tolist(), strict=True)
        return (read(handle + pool.header, min(size, PAGE_SIZE)) for handle, size in pairs)

    def _find(self, offsets: Words) -> tuple[NDArray[np.bool_], Structs]:
        """Which of these pages are here, and the zswap_entry of each that is."""
        address = np.zeros(len(offsets), np.uint64)
        parts = offsets >> np.uint64(TREE_SHIFT) if self._split else np.zeros_like(offsets)
        for part in np.unique(parts).tolist():
            those, known = np.flatnonzero(parts == part), self._entries(part)
            if len(known.offset):
                at = np.minimum(np.searchsorted(known.offset, offsets[those]), len(known.offset) - 1)
                address[those] = np.where(known.offset[at] == offsets[those], known.address[at], np.uint64(0))
        here = address != 0
        return here, Structs(self._image, "zswap_entry", address[here])

    def _entries(self, part: int) -> Entries:
        """The entries in one of the area's trees; of the others there are none."""
        if part not in self._parts:
            walk = _of_red_black if self._image.has("zswap_tree.rbroot") else _of_xarray
            there = self._trees and part << TREE_SHIFT < self._area.size
            found = walk(self._image, self._trees, part) if there else Entries(_NONE, _NONE)
            ascending = np.argsort(found.offset, kind="stable")
            self._parts[part] = Entries(found.offset[ascending], found.address[ascending])
        return self._parts[part]


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


def _of_xarray(image: Image, trees: int, part: int) -> Entries:
    """The entries of one of an array of struct xarray (796c2c23e14e, 6.10)."""
    found = xarray.entries(image, trees + part * image.size("xarray"), 0, LAST_INDEX)
    those = (found.raw != 0) & ((found.raw & np.uint64(xarray.TAGS)) == 0)
    return Entries(found.index[those], found.raw[those])


def _of_red_black(image: Image, trees: int, part: int) -> Entries:
    """The entries of one of an array of struct zswap_tree, each a red-black tree: all of a level are read at once.

    Raises KernelDataError for a tree that is none: two nodes with the same child, or too high.
    """
    root = trees + (part * image.size("zswap_tree") if part else 0) + image.member("zswap_tree.rbroot").offset
    level = np.array([image.struct("rb_root", root)["rb_node"]], np.uint64)
    nodes: list[Words] = []
    while len(level := level[level != 0]):
        if len(np.unique(level)) < len(level) or len(nodes) >= HEIGHT_LIMIT:
            raise KernelDataError(f"zswap_tree at {root:#x} is no tree: it is damaged")
        nodes.append(level)
        children = Structs(image, "rb_node", level)
        level = np.concatenate([children["rb_left"], children["rb_right"]])
    address = np.concatenate([_NONE, *nodes]) - np.uint64(image.member("zswap_entry.rbnode").offset)
    entries = Structs(image, "zswap_entry", address)
    return Entries(entries["offset"][entries.held], address[entries.held])
