"""A virtual address space of the dump: the kernel's own, or a process's."""

from __future__ import annotations

import numpy as np

from gcoretools.dumps.dump import PAGE_SIZE, Dump
from gcoretools.errors import KernelDataError
from gcoretools.paging import Paging

# Translations kept for later; a kernel's direct map takes a few thousand, its stacks as many as there are tasks.
TRANSLATIONS_KEPT = 1 << 16

# The largest single structure that we ever read in one piece (BTF of a large kernel is some 10 MiB).
READ_LIMIT = 1 << 28


class NotMapped(KernelDataError):
    """The page table has no page at that address."""


class AddressSpace:
    """Reads by virtual address through one page table.

    Args:
        dump: the physical memory.
        paging: geometry of the page table.
        root: physical address of the top table, in bytes.
    """

    def __init__(self, dump: Dump, paging: Paging, root: int) -> None:
        self.dump = dump
        self.paging = paging
        self.root = root
        self._known: dict[int, tuple[int, int]] = {}
        self._large = tuple(level.shift for level in reversed(paging.levels) if level.can_be_leaf)

    def translate(self, va: int) -> tuple[int, int]:
        """Physical address of `va`, and how many bytes from there on are contiguous.

        Raises NotMapped when there is no page, PageAbsent when a page table is not in the dump.
        """
        for shift in self._large:
            kept = self._known.get(va >> shift << 6 | shift)
            if kept:
                offset = va & (kept[1] - 1)
                return kept[0] + offset, kept[1] - offset
        pa, shift = self._walk(va)
        if len(self._known) >= TRANSLATIONS_KEPT:
            self._known.clear()
        size = 1 << shift
        self._known[va >> shift << 6 | shift] = pa, size
        offset = va & (size - 1)
        return pa + offset, size - offset

    def read(self, va: int, size: int) -> bytes:
        """`size` bytes at virtual address `va`. Raises NotMapped or PageAbsent."""
        if size > READ_LIMIT:
            raise KernelDataError(f"{size} bytes at {va:#x} are asked for: a length in the dump is damaged")
        pieces = []
        while size > 0:
            pa, contiguous = self.translate(va)
            count = min(size, contiguous)
            pieces.append(self.dump.read(pa, count))
            va += count
            size -= count
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def integer(self, va: int, size: int) -> int:
        """An unsigned little-endian integer of `size` bytes."""
        return int.from_bytes(self.read(va, size), "little")

    def pointer(self, va: int) -> int:
        """The pointer that stands at a virtual address."""
        return self.integer(va, self.paging.pointer_size)

    def string(self, va: int, limit: int = PAGE_SIZE) -> bytes:
        """The bytes up to the NUL, at most `limit`."""
        found = b""
        while len(found) < limit:
            step = min(PAGE_SIZE - (va & (PAGE_SIZE - 1)), limit - len(found))
            piece, nul, _ = self.read(va, step).partition(b"\0")
            found += piece
            if nul:
                break
            va += step
        return found

    def _walk(self, va: int) -> tuple[int, int]:
        """Physical address and log2 of the size of the page that holds `va`."""
        paging = self.paging
        table, width = self.root, paging.entry_size
        if not paging.is_address(va):
            raise NotMapped(f"{va:#x} is not an address")
        for level in paging.levels:
            index = (va >> level.shift) & ((1 << level.bits) - 1)
            entry = int.from_bytes(self.dump.read(table + index * width, width), "little")
            last = level is paging.levels[-1]
            if last or (level.can_be_leaf and entry & paging.large):
                return self._leaf(va, entry, 1 << level.shift), level.shift
            if not entry & paging.present:
                raise NotMapped(f"no page is mapped at {va:#x}")
            table = entry & paging.frame_mask
        raise AssertionError("the last level is a leaf")

    def _leaf(self, va: int, entry: int, page_size: int) -> int:
        if entry & self.paging.present:  # by far the most: arrays take their time for a single one
            return entry & self.paging.frame_mask & ~(page_size - 1)
        raw = np.array([entry], np.uint64)
        if not self.paging.names_frame(raw, page_size)[0]:
            raise NotMapped(f"no page is mapped at {va:#x}")
        return int(self.paging.physical(raw, page_size)[0])
