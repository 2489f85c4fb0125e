"""Physical memory and page tables, written entry by entry, that become a dump."""

from __future__ import annotations

from pathlib import Path

from gcoretools.dumps import PAGE_SHIFT, PAGE_SIZE, Dump, Note, open_dump
from gcoretools.paging import Paging
from tests.written_dumps import write_elf

# Entries of page tables as the CPU reads them: present, writable, user, accessed, dirty; and the large bit.
PRESENT, PROTNONE, LARGE, SPECIAL = 0x1, 0x100, 0x80, 0x200
USER_PAGE = 0x67
TABLE = 0x67

# Where frames are handed out: one by one from here on, and in runs from there on.
SINGLE_PFN = 0x80000
ARENA_PFN = 0x1000


class FakeMemory:
    """Frames by number; only those that were handed out are in the dump."""

    def __init__(self) -> None:
        self.frames: dict[int, bytearray] = {}
        self.excluded: set[int] = set()
        self._single = SINGLE_PFN
        self._top = ARENA_PFN << PAGE_SHIFT

    def frame(self, content: bytes = b"") -> int:
        """The number of a new frame that begins with `content`."""
        # Not the next one: what lies side by side in a process is seldom so in memory.
        self._single += 3
        self.frames[self._single] = bytearray(content.ljust(PAGE_SIZE, b"\0"))
        return self._single

    def frames_at(self, size_shift: int, content: bytes = b"") -> int:
        """The first number of new frames that make a page of 1 << size_shift bytes; only what is written exists."""
        step = 1 << (size_shift - PAGE_SHIFT)
        self._single = (self._single // step + 2) * step
        first = self._single
        for i in range(0, len(content), PAGE_SIZE):
            self.frames[first + i // PAGE_SIZE] = bytearray(content[i : i + PAGE_SIZE].ljust(PAGE_SIZE, b"\0"))
        self._single += step
        return first

    def alloc(self, size: int, align: int = 16) -> int:
        """The physical address of new contiguous memory."""
        at = -(-self._top // align) * align
        self._top = at + size
        for pfn in range(at >> PAGE_SHIFT, (self._top + PAGE_SIZE - 1) >> PAGE_SHIFT):
            self.frames.setdefault(pfn, bytearray(PAGE_SIZE))
        return at

    def write(self, pa: int, data: bytes) -> None:
        """Bytes at a physical address."""
        while data:
            start = pa & (PAGE_SIZE - 1)
            here = data[: PAGE_SIZE - start]
            self.frames[pa >> PAGE_SHIFT][start : start + len(here)] = here
            pa, data = pa + len(here), data[len(here) :]

    def read(self, pa: int, size: int) -> bytes:
        """Bytes at a physical address."""
        first, last = pa >> PAGE_SHIFT, (pa + size - 1) >> PAGE_SHIFT
        start = pa & (PAGE_SIZE - 1)
        return b"".join(self.frames[pfn] for pfn in range(first, last + 1))[start : start + size]

    @property
    def top(self) -> int:
        """Where contiguous memory ends, in bytes."""
        return self._top

    def pages(self) -> dict[int, bytes]:
        """What the dump holds."""
        return {pfn: bytes(data) for pfn, data in self.frames.items() if pfn not in self.excluded}

    def dump(self, path: Path, notes: tuple[Note, ...] = ()) -> Dump:
        """The memory as an ELF dump."""
        return open_dump(write_elf(path, self.pages(), notes))


class FakeTables:
    """The page tables of one address space.

    Args:
        memory: where the tables lie.
        paging: their geometry.
    """

    def __init__(self, memory: FakeMemory, paging: Paging) -> None:
        self.memory = memory
        self.paging = paging
        size = paging.entry_size << paging.levels[0].bits  # PAE's has 32 bytes, the others are pages
        self.root = memory.alloc(size, size)

    def map(self, va: int, pfn: int, flags: int = USER_PAGE, shift: int = PAGE_SHIFT) -> None:
        """Map the page of 1 << shift bytes at `va` to a frame; frame bits are inverted where the kernel does so."""
        entry = pfn << PAGE_SHIFT
        if self.paging.inverted and not flags & PRESENT:
            entry = ~entry & self.paging.frame_mask & ~((1 << shift) - 1)
        self.put(va, entry | flags | (LARGE if shift > PAGE_SHIFT else 0), shift)

    def put(self, va: int, entry: int, shift: int = PAGE_SHIFT) -> None:
        """Write a raw entry at the level whose entries map 1 << shift bytes, with the tables above it."""
        self.memory.write(self.entry_address(va, shift), entry.to_bytes(self.paging.entry_size, "little"))

    def entry_address(self, va: int, shift: int = PAGE_SHIFT) -> int:
        """Physical address of the entry of `va` at a level; tables that are missing are made."""
        table, width = self.root, self.paging.entry_size
        for level in self.paging.levels:
            at = table + width * (va >> level.shift & ((1 << level.bits) - 1))
            if level.shift == shift:
                return at
            table = int.from_bytes(self.memory.read(at, width), "little") & self.paging.frame_mask
            if not table:
                table = self.memory.alloc(PAGE_SIZE, PAGE_SIZE)
                self.memory.write(at, (table | TABLE).to_bytes(width, "little"))
        raise AssertionError(f"no level has entries of 1 << {shift} bytes")

    def table_pfn(self, va: int, shift: int = PAGE_SHIFT) -> int:
        """The frame of the table that holds the entry of `va` at a level."""
        return self.entry_address(va, shift) >> PAGE_SHIFT
