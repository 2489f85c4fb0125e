"""Swapped pages, written into a fake kernel: areas, zsmalloc, zram, zswap and the swap cache."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gcoretools.dumps import PAGE_SHIFT, PAGE_SIZE
from gcoretools.paging import Words
from tests.fake_kernel import FakeKernel, Object
from tests.fake_page_tree import write_xarray

# Frames that have a struct page: more than any fake kernel's memory.
FRAMES = 1 << 14

MAGIC = 0x58
PAGE_FLAG_UPTODATE, PAGE_FLAG_OWNER_PRIV_1 = 1 << 2, 1 << 9

# Where the first word of a zspage has its size class and its magic, and the tag of an object's number, by release.
FORMS = {"5.10": (1, 2, 14, None), "6.1": (1, 3, 15, 0), "6.6": (1, 5, 17, 0), "6.12": (0, 5, 14, 0)}


def struct_pages(kernel: FakeKernel) -> int:
    """A flat array of struct page; its address."""
    base = kernel.alloc(FRAMES * kernel.all_sizes["page"])
    kernel.symbol("mem_map", 8, base)
    kernel.symbol("max_mapnr", 8, FRAMES)
    return base


@dataclass
class FakeSwap:
    """The swap of a kernel, with struct pages for its memory.

    Args:
        kernel: to write it into.
        form: the release whose zsmalloc it has, a key of FORMS.
    """

    kernel: FakeKernel
    form: str = "6.12"
    areas: list[Object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pages = struct_pages(self.kernel)
        self._room: dict[int, tuple[list[int], int]] = {}
        self.table = self.kernel.symbol("swap_info", 8 * 32)
        self.kernel.symbol("nr_swapfiles", 4)
        self.kernel.symbol("swapper_spaces", 8 * 32)
        self.kernel.symbol("nr_swapper_spaces", 4 * 32)

    # Areas

    def area(self, name: str, size: int, **members: int) -> Object:
        """A swap area on a block device."""
        disk = self.kernel.new("gendisk", disk_name=name.rpartition("/")[2].ljust(32, "\0"))
        info = self.kernel.new("swap_info_struct", flags=1, type=len(self.areas), max=size, **members)
        info["swap_file"] = self.kernel.file(name, mode=0o060600)
        info["bdev"] = self.kernel.new("block_device", bd_disk=disk)
        self.kernel.write(self.table + 8 * len(self.areas), info.address.to_bytes(8, "little"))
        self.areas.append(info)
        self.kernel.write(self.kernel.symbols["nr_swapfiles"], len(self.areas).to_bytes(4, "little"))
        return info

    def disk(self, area: Object) -> Object:
        """The struct gendisk of an area."""
        device = Object(self.kernel, "block_device", area["bdev"])
        return Object(self.kernel, "gendisk", device["bd_disk"])

    # Pages

    def page(self, pfn: int) -> Object:
        """The struct page of a frame."""
        return Object(self.kernel, "page", self._pages + pfn * self.kernel.all_sizes["page"])

    def frame(self, data: bytes = b"") -> int:
        """A new page frame with these bytes; its number."""
        at = self.kernel.alloc(PAGE_SIZE, PAGE_SIZE)
        self.kernel.write(at, data)
        return self.kernel.physical(at) >> PAGE_SHIFT

    def cached(self, area: Object, pages: Mapping[int, int], part: int = 0) -> None:
        """The swap cache of a part of an area: {index: struct page}."""
        size = self.kernel.all_sizes["address_space"]
        at = self.kernel.symbols["swapper_spaces"] + 8 * area["type"]
        spaces = int.from_bytes(self.kernel.read(at, 8), "little")
        if not spaces:
            spaces = self.kernel.alloc(size * -(-area["max"] >> 14))
            self.kernel.write(at, spaces.to_bytes(8, "little"))
        space = Object(self.kernel, "address_space", spaces + part * size)
        root = Object(self.kernel, "xarray", space.at("i_pages"))
        write_xarray(self.kernel, root, {index: (page, 0) for index, page in pages.items()})

    # zsmalloc

    def keep(self, data: bytes) -> int:
        """An object of zsmalloc; its handle."""
        tag, class_shift, magic_shift, huge_bit = FORMS[self.form]
        if len(data) == PAGE_SIZE:
            word = 254 << class_shift | MAGIC << magic_shift | (1 << huge_bit if huge_bit is not None else 0)
            (pfn,) = self._zspage(word, 1)
            if huge_bit is None:
                self.page(pfn)["flags"] = PAGE_FLAG_OWNER_PRIV_1
            self._fill([pfn], 0, data)
            return self._handle(pfn << 24)
        number_of_class = max(-(-(len(data) + 8 - 32) // 16), 0)
        size = 32 + 16 * number_of_class
        frames, number = self._room.get(number_of_class, ([], 0))
        if not frames or size * (number + 1) > len(frames) * PAGE_SIZE:
            frames, number = self._zspage(number_of_class << class_shift | MAGIC << magic_shift, 2), 0
        self._room[number_of_class] = frames, number + 1
        handle = self._handle(frames[size * number // PAGE_SIZE] << 24 | number << tag)
        self._fill(frames, size * number, (handle | 1).to_bytes(8, "little") + data)
        return handle

    def _zspage(self, word: int, count: int) -> list[int]:
        """The frames of a new zspage, linked."""
        frames = [self.frame() for _ in range(count)]
        zspage = self.kernel.alloc(64)
        self.kernel.write(zspage, word.to_bytes(4, "little"))
        for pfn, following in zip(frames, [*frames[1:], None], strict=True):
            page = self.page(pfn)
            page["private"] = zspage
            page["index"] = self.page(following).address if following else 0
        return frames

    def _handle(self, coded: int) -> int:
        handle = self.kernel.alloc(8)
        self.kernel.write(handle, coded.to_bytes(8, "little"))
        return handle

    def _fill(self, frames: list[int], start: int, data: bytes) -> None:
        """Bytes from a place in a zspage on, over the end of a page."""
        while data:
            pfn, inside = frames[start // PAGE_SIZE], start % PAGE_SIZE
            part = data[: PAGE_SIZE - inside]
            self.kernel.write(self.kernel.direct_map + (pfn << PAGE_SHIFT) + inside, part)
            start, data = start + len(part), data[len(part) :]

    # zswap

    def zswap(self, area: Object, pages: Mapping[int, bytes | int], *, allocator: str, compressor: str) -> None:
        """An area's pages in zswap, in one tree: {offset: compressed data, or the word of a same-filled page}.

        Args:
            allocator: zsmalloc or zbud; the latter names each entry before its data.
        """
        kernel = self.kernel
        driver = kernel.new("zpool_driver", type=kernel.store(allocator.encode()))
        zpool = kernel.new("zpool", driver=driver, evictable=int(allocator == "zbud"))
        pool = kernel.new("zswap_pool", tfm_name=compressor.ljust(128, "\0"), zpool=zpool)
        nodes = []
        for offset, page in sorted(pages.items()):
            entry = kernel.new("zswap_entry", offset=offset, pool=pool)
            if isinstance(page, int):
                entry["handle"] = page
            else:
                entry["length"] = len(page)
                entry["handle"] = self.keep(page) if allocator == "zsmalloc" else kernel.store(bytes(8) + page)
            nodes.append(Object(kernel, "rb_node", entry.at("rbnode")))
        tree = kernel.new("zswap_tree")
        Object(kernel, "rb_root", tree.at("rbroot"))["rb_node"] = _balanced(nodes)
        trees = kernel.symbols.get("zswap_trees") or kernel.symbol("zswap_trees", 8 * 32)
        kernel.write(trees + 8 * area["type"], tree.address.to_bytes(8, "little"))

    # zram

    def zram(self, name: str, size: int, compressors: tuple[str, ...]) -> FakeZram:
        """A swap area that is a zram device."""
        return FakeZram(self, name, size, compressors)


class FakeZram:
    """A zram device.

    Attributes:
        area: its swap_info_struct.
    """

    def __init__(self, swap: FakeSwap, name: str, size: int, compressors: tuple[str, ...]) -> None:
        kernel = swap.kernel
        self.swap = swap
        self.area = swap.area(name, size)
        self.zram = kernel.new("zram", disk=swap.disk(self.area))
        self.zram["table"] = kernel.alloc(size * kernel.all_sizes["zram_table_entry"])
        swap.disk(self.area)["private_data"] = self.zram
        names = [kernel.store(each.encode()) for each in compressors]
        kernel.write(self.zram.at("comp_algs"), b"".join(each.to_bytes(8, "little") for each in names))
        self.zram["comp"] = kernel.new("zcomp", name=names[0])

    def slot(self, offset: int) -> Object:
        """The entry of the table for a page."""
        kernel = self.swap.kernel
        size = kernel.all_sizes["zram_table_entry"]
        return Object(kernel, "zram_table_entry", self.zram["table"] + offset * size)

    def put(self, offset: int, block: bytes, priority: int = 0) -> int:
        """A page by its compressed data; the handle."""
        slot = self.slot(offset)
        handle = self.swap.keep(block)
        slot["handle"], slot["flags"] = handle, len(block) | priority << 19
        return handle

    def put_same(self, offset: int, word: int) -> None:
        """A page that is one word again and again."""
        slot = self.slot(offset)
        slot["handle"], slot["flags"] = word, 1 << 14


def _balanced(nodes: list[Object]) -> int:
    """Link the nodes of a tree in their order; the address of the top one."""
    if not nodes:
        return 0
    middle = len(nodes) // 2
    nodes[middle]["rb_left"] = _balanced(nodes[:middle])
    nodes[middle]["rb_right"] = _balanced(nodes[middle + 1 :])
    return nodes[middle].address


def swap_entries(area: int, *offsets: int) -> Words:
    """Entries of an area as gcoretools.kernel.swap.entry has them."""
    return np.array([area << 58 | offset for offset in offsets], np.uint64)


def deflated(page: bytes) -> bytes:
    """As the kernel's crypto does it: no header, a window of 2 KiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -11)
    return packer.compress(page) + packer.flush()


def swap_image(path: Path, pages: Mapping[int, bytes], size: int, *, header: bytes = b"") -> Path:
    """The image of a swap area of so many pages, as mkswap(8) begins one."""
    first = header or b"\0" * 1024 + struct.pack("<III", 1, size - 1, 0)
    with path.open("wb") as file:
        file.write(first.ljust(PAGE_SIZE - 10, b"\0") + b"SWAPSPACE2")
        for offset, page in pages.items():
            file.seek(offset * PAGE_SIZE)
            file.write(page.ljust(PAGE_SIZE, b"\0"))
        file.truncate(max([*pages, 0]) * PAGE_SIZE + PAGE_SIZE)
    return path
