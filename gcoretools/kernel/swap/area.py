"""Swap areas: the devices and files that swapon(2) was given (include/linux/swap.h, mm/swapfile.c)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gcoretools.errors import KernelDataError, PageAbsent
from gcoretools.kernel.image import Image, Struct
from gcoretools.kernel.path import Paths, Root
from gcoretools.kernel.swap.entry import TYPES

# include/linux/swap.h
SWP_USED = 1 << 0

# include/uapi/linux/stat.h
S_IFMT, S_IFBLK = 0o170000, 0o060000


@dataclass(frozen=True, slots=True)
class Area:
    """A swap area.

    Attributes:
        number: as the entries call it.
        name: as /proc/swaps shows it.
        size: pages, the first, which is its header, among them.
        on_device: it is a block device, and not a file.
        info: its swap_info_struct.
    """

    number: int
    name: str
    size: int
    on_device: bool
    info: Struct


def areas(image: Image) -> dict[int, Area]:
    """The areas in use, by their numbers. None where the kernel has no swap, or the dump not its table."""
    if not image.has("swap_info", "nr_swapfiles", "swap_info_struct"):
        return {}
    found: dict[int, Area] = {}
    for number, address in _table(image):
        try:
            area = _area(image, number, image.struct("swap_info_struct", address))
        except (KernelDataError, PageAbsent):
            continue
        if area:
            found[number] = area
    return found


def _table(image: Image) -> Iterator[tuple[int, int]]:
    """Number and address of each swap_info_struct; the table has pointers since efa90a981bbc (2.6.33)."""
    table, size = image.symbol("swap_info"), image.size("swap_info_struct")
    try:
        count = min(image.memory.integer(image.symbol("nr_swapfiles"), 4), TYPES)
        for number in range(count):
            if image.has("swap_info_struct.type"):
                address = image.pointer(table + number * image.pointer_size)
            else:
                address = table + number * size
            yield number, address
    except (KernelDataError, PageAbsent):
        return


def _area(image: Image, number: int, info: Struct) -> Area | None:
    if not info["flags"] & SWP_USED or not info["swap_file"]:
        return None
    file = image.struct("file", info["swap_file"])
    inode = image.struct("inode", image.struct("dentry", file["f_path.dentry"])["d_inode"])
    return Area(
        number=number,
        name=Paths(image, Root()).of(file),
        size=info["max"],
        on_device=inode["i_mode"] & S_IFMT == S_IFBLK,
        info=info,
    )


def disk(image: Image, area: Area) -> Struct | None:
    """The struct gendisk of an area on a block device."""
    if not area.on_device or not image.has("block_device.bd_disk", "gendisk.private_data"):
        return None
    device = image.struct("block_device", area.info["bdev"])
    return image.struct("gendisk", device["bd_disk"])
