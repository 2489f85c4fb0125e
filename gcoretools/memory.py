"""A virtual address space of the dump: the kernel's own, or a process's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE, Dump
from gcoretools.errors import KernelDataError, PageAbsent
from gcoretools.paging import Linear, Paging, Words

# Translations kept for later; a kernel's direct map takes a few thousand, its stacks as many as there are tasks.
TRANSLATIONS_KEPT = 1 << 16

# What stands for the frame of an address without a page; no dump has it.
NO_FRAME = (1 << 64) - 1

# Bytes of pages and of structures that `gather` handles together.
GATHER_LIMIT = 1 << 24

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
        linear: addresses that go without the table, where it is not in the dump.
    """

    def __init__(self, dump: Dump, paging: Paging, root: int, linear: tuple[Linear, ...] = ()) -> None:
        self.linear = linear
        self.dump = dump
        self.paging = paging
        self.root = root
        self._known: dict[int, tuple[int, int]] = {}
        self._large = tuple(level.shift for level in reversed(paging.levels) if level.can_be_leaf)

    def translate(self, va: int) -> tuple[int, int]:
        """Physical address of `va`, and how many bytes from there on are contiguous.

        Raises NotMapped when there is no page, PageAbsent when a page table is not in the dump.
        """
        for each in self.linear:
            if each.start <= va < each.start + each.size:
                return va - each.start + each.pa, each.start + each.size - va
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

    def frames(self, addresses: Words) -> Words:
        """The page frame of each of these virtual addresses, NO_FRAME where there is no page or no table of it."""
        pages, back = np.unique(addresses >> np.uint64(PAGE_SHIFT), return_inverse=True)
        frames = np.full(len(pages), NO_FRAME, np.uint64)
        at = 0
        while at < len(pages):
            first, end = int(pages[at]), at + 1
            try:
                pa, contiguous = self.translate(first << PAGE_SHIFT)
            except (KernelDataError, PageAbsent):
                pass
            else:
                end = int(np.searchsorted(pages, np.uint64(first + (contiguous >> PAGE_SHIFT))))
                frames[at:end] = pages[at:end] - np.uint64(first) + np.uint64(pa >> PAGE_SHIFT)
            at = end
        found: Words = frames[back.reshape(-1)]
        return found

    def gather(self, addresses: Words, size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The `size` bytes at each of many virtual addresses.

        Returns:
            a row of bytes for each address, and which of them the dump has; rows that it has not are zeros.
        """
        rows = np.zeros((len(addresses), size), np.uint8)
        held = np.zeros(len(addresses), np.bool_)
        spanned = (size + PAGE_SIZE - 2) // PAGE_SIZE + 1
        step = max(GATHER_LIMIT // (8 * size + spanned * PAGE_SIZE), 1)
        for at in range(0, len(addresses), step):
            part = slice(at, at + step)
            self._gather(addresses[part], rows[part], held[part], spanned)
        return rows, held

    def _gather(self, addresses: Words, rows: NDArray[np.uint8], held: NDArray[np.bool_], spanned: int) -> None:
        """Fills in `rows` and `held`; each row lies in at most `spanned` pages."""
        size = rows.shape[1]
        starts = addresses & np.uint64(PAGE_SIZE - 1)
        used = (starts + np.uint64(size + PAGE_SIZE - 1)) >> np.uint64(PAGE_SHIFT)
        pages = addresses[:, None] + np.arange(spanned, dtype=np.uint64) * np.uint64(PAGE_SIZE)
        pages = np.minimum(pages, (addresses + (used - np.uint64(1)) * np.uint64(PAGE_SIZE))[:, None])
        frames = self.frames(pages.ravel()).reshape(pages.shape)
        held[:] = self.dump.present(frames.ravel()).reshape(pages.shape).all(axis=1)
        if not held.any():
            return
        needed, places = np.unique(frames[held], return_inverse=True)
        data = np.frombuffer(self.dump.pages(needed), np.uint8)
        inside = starts[held].astype(np.int64)[:, None] + np.arange(size)
        page = np.take_along_axis(places.reshape(-1, spanned), inside >> PAGE_SHIFT, axis=1)
        rows[held] = data[(page << PAGE_SHIFT) + (inside & (PAGE_SIZE - 1))]

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
