"""zram: a swap device that keeps its pages compressed in memory (drivers/block/zram)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SIZE
from gcoretools.errors import KernelDataError, LayoutError, PageAbsent
from gcoretools.kernel.image import Image, Struct
from gcoretools.kernel.swap.store import HELD, LOST, Blocks, Bytes, Verdicts, bit, fill, words
from gcoretools.kernel.swap.zsmalloc import Zsmalloc
from gcoretools.paging import Words

# ZRAM_COMP_PRIORITY_MASK
PRIORITY_MASK = 3

NAME_LIMIT = 64

# ZRAM_MAX_COMPS, and more bytes than an entry of the table has with everything configured.
COMPRESSORS_LIMIT = 4
ENTRY_LIMIT = 256


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a zram keeps what we want.

    Attributes:
        table, disk: in struct zram, in bytes.
        entry: size of a zram_table_entry, in bytes.
        handle, flags, flags_size: in a zram_table_entry, in bytes.
        size_bits: low bits of flags that hold the size of the object.
        same, written_back, priority: bits of flags; the last is the first of two, where there are any.
    """

    table: int
    disk: int
    entry: int
    handle: int
    flags: int
    flags_size: int
    size_bits: int
    same: int
    written_back: int
    priority: int | None


# Of modules before 5.11 (36e68442d1af), and of kernels without BTF, the dump has no types: struct zram as 5.4
# to 6.1 have it begins with pointers to its table, its zs_pool, its zcomp and its disk; an entry of the table has
# two words, and with memory tracking a time of 8 bytes. Flags stand above this many bits of its size.
_OLD_COMP, _OLD_DISK, _OLD_NAME = 2, 3, 1
_OLD_TIMES = (8, 0)
_OLD_SIZE_BITS = (24, 13)


class Zram:
    """The pages of one zram device.

    Args:
        image: the kernel.
        name: of the swap area, for messages.
        disk: its struct gendisk.
        objects: the kernel's zsmalloc.
    Raises KernelDataError when the disk is no zram that we understand.
    """

    def __init__(self, image: Image, name: str, disk: Struct, objects: Zsmalloc) -> None:
        self._image = image
        self._objects = objects
        self._layout = _layout(image)
        self._known = image.has("zram.table")
        self._zram = disk["private_data"]
        if image.pointer(self._zram + self._layout.disk) != disk.address:
            raise KernelDataError(f"{name}: its struct zram at {self._zram:#x} is none that we know")
        self._table = image.pointer(self._zram + self._layout.table)
        self._blocks = [Blocks(name, compression) for compression in self._compressions()]
        self.reasons = (
            f"in {name}, whose memory is not in the dump",
            f"written back by {name} to a device of its own",
            *(blocks.reason for blocks in self._blocks),
        )

    def verdicts(self, offsets: Words) -> Verdicts:
        """HELD, or LOST and why, for each page."""
        slots = self._slots(offsets)
        found = np.full(len(offsets), HELD, np.uint8)
        lost = ~slots.held
        in_object = slots.held & ~slots.same & ~slots.written_back
        lost[in_object] = ~self._objects.find(slots.handle[in_object]).found
        for number, blocks in enumerate(self._blocks):
            if blocks.reason:
                found[in_object & (slots.priority == number) & (slots.size < PAGE_SIZE)] = LOST + 2 + number
        found[slots.written_back] = LOST + 1
        found[lost] = LOST
        return found

    def read(self, offsets: Words) -> Bytes:
        """The bytes of each page, a row each. Raises KernelDataError when one is corrupt."""
        slots = self._slots(offsets)
        rows = np.empty((len(offsets), PAGE_SIZE), np.uint8)
        fill(rows, slots.same, slots.handle, self._image.pointer_size)
        for number, blocks in enumerate(self._blocks):
            those = np.flatnonzero(~slots.same & (slots.priority == number))
            if len(those):
                blocks.unpack(rows, those.tolist(), self._objects.read(slots.handle[those], slots.size[those]))
        return rows

    def _slots(self, offsets: Words) -> Slots:
        if not self._known:
            self._layout = self._proven(offsets)
        return _slots(self._image, self._layout, self._table, offsets)

    def _proven(self, offsets: Words) -> Layout:
        """The old layout with which every entry makes sense."""
        for time, size_bits in product(_OLD_TIMES, _OLD_SIZE_BITS):
            layout = _old(self._image.pointer_size, time, size_bits)
            slots = _slots(self._image, layout, self._table, offsets)
            used = slots.same | slots.written_back | (slots.size > 0)
            if (~slots.held | used & (slots.size <= PAGE_SIZE)).all():
                return layout
        return self._layout

    def _compressions(self) -> list[str]:
        """The names of its compressors, the one of priority 0 first."""
        image = self._image
        if image.has("zram.comp_algs"):
            where = image.member("zram.comp_algs")
            count = min(where.size // image.pointer_size, COMPRESSORS_LIMIT)
            at = [self._zram + where.offset + n * image.pointer_size for n in range(count)]
            return [self._name(image.pointer(each)) for each in at]
        known = image.has("zram.comp", "zcomp.name")
        word = image.pointer_size
        comp = image.member("zram.comp").offset if known else _OLD_COMP * word
        name = image.member("zcomp.name").offset if known else _OLD_NAME * word
        return [self._name(image.pointer(image.pointer(self._zram + comp) + name))]

    def _name(self, address: int) -> str:
        try:
            text = self._image.memory.string(address, NAME_LIMIT) if address else b""
        except (KernelDataError, PageAbsent):
            text = b""
        return text.decode("ascii", "replace") or "a compressor whose name is not in the dump"


@dataclass(frozen=True, slots=True)
class Slots:
    """What a zram's table says of some pages.

    Attributes:
        held: the dump has the entry of the table.
        same: the page is one word again and again, which stands for its handle.
        written_back: it is on another device.
        handle: of zsmalloc, or that word.
        size: of the object in bytes.
        priority: which of the compressors made it.
    """

    held: NDArray[np.bool_]
    same: NDArray[np.bool_]
    written_back: NDArray[np.bool_]
    handle: Words
    size: NDArray[np.int64]
    priority: Words


def _slots(image: Image, layout: Layout, table: int, offsets: Words) -> Slots:
    rows, held = image.memory.gather(np.uint64(table) + offsets * np.uint64(layout.entry), layout.entry)
    handle = words(rows, layout.handle, image.pointer_size)
    flags = words(rows, layout.flags, layout.flags_size)
    size = (flags & np.uint64((1 << layout.size_bits) - 1)).astype(np.int64)
    priority = np.zeros(len(offsets), np.uint64)
    if layout.priority is not None:
        priority = flags >> np.uint64(layout.priority) & np.uint64(PRIORITY_MASK)
    written_back = (flags >> np.uint64(layout.written_back) & np.uint64(1)) != 0
    same = ((flags >> np.uint64(layout.same) & np.uint64(1)) != 0) | (handle == 0)
    return Slots(held, same & ~written_back, written_back, handle, size, priority)


def _old(word: int, time: int, size_bits: int) -> Layout:
    """Where a zram without types keeps things, by the size of a word in bytes."""
    return Layout(
        table=0,
        disk=_OLD_DISK * word,
        entry=2 * word + time,
        handle=0,
        flags=word,
        flags_size=word,
        size_bits=size_bits,
        same=size_bits + 1,
        written_back=size_bits + 2,
        priority=None,
    )


def _layout(image: Image) -> Layout:
    if not image.has("zram.table"):
        return _old(image.pointer_size, _OLD_TIMES[0], _OLD_SIZE_BITS[0])
    flags = image.member("zram_table_entry.flags")
    if image.size("zram_table_entry") > ENTRY_LIMIT:
        raise LayoutError("struct zram_table_entry is larger than it can be")
    return Layout(
        table=image.member("zram.table").offset,
        disk=image.member("zram.disk").offset,
        entry=image.size("zram_table_entry"),
        handle=image.member("zram_table_entry.handle").offset,
        flags=flags.offset,
        flags_size=flags.size,
        size_bits=int(bit(image, "ZRAM_FLAG_SHIFT")),
        same=int(bit(image, "ZRAM_SAME")),
        written_back=int(bit(image, "ZRAM_WB")),
        priority=int(bit(image, "ZRAM_COMP_PRIORITY_BIT1")) if image.has("ZRAM_COMP_PRIORITY_BIT1") else None,
    )
