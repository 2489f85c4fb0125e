"""Page frames and their struct page, either from the other (include/asm-generic/memory_model.h).

Where the kernel keeps all struct pages in one virtual array (SPARSEMEM_VMEMMAP: 8f6aac419bd5, 2.6.24) it begins
at vmemmap_base, which KASLR moves (021182e52fe0, 4.8), or at a fixed address; without, there is an array for each
section of memory, for each node, or for all memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE
from gcoretools.errors import LayoutError
from gcoretools.kernel.image import Image
from gcoretools.memory import NO_FRAME
from gcoretools.paging import Words

# Documentation/arch/x86/x86_64/mm.rst, by levels of page tables; until 2.6.31 (c898faf91b3e) the last one.
VMEMMAP_BASES = {5: (0xFFD4000000000000,), 4: (0xFFFFEA0000000000, 0xFFFFE20000000000)}

# arch/x86/include/asm/sparsemem.h, by levels: log2 of the bytes in a section, and how many sections there are.
SECTIONS = {2: (26, 1 << 6), 3: (29, 1 << 7), 4: (27, 1 << 19)}

# SPARSEMEM_EXTREME, which 64-bit kernels take: so many bytes of them together, and pointers to those.
ROOT_SIZE = PAGE_SIZE

# include/linux/mmzone.h: the low bits of section_mem_map are flags, of which the first says that there is one.
SECTION_HAS_MAP, SECTION_FLAGS = 1 << 0, 0x3F

# include/linux/numa.h: NODES_SHIFT is at most 10.
NODE_LIMIT = 1 << 10

# No machine of our range has more memory: 52 bits of physical address.
FRAME_LIMIT = 1 << 40


@dataclass(frozen=True, slots=True)
class Run:
    """An array of struct page: the virtual address of its first, that one's frame, and how many there are."""

    address: int
    frame: int
    count: int


class Pages:
    """The struct pages of a kernel.

    Raises LayoutError when nothing tells where they are.
    """

    def __init__(self, image: Image) -> None:
        self._size = image.size("page")
        runs = sorted(_runs(image), key=lambda run: run.address)
        if not runs:
            raise LayoutError("nothing in the kernel's symbols tells where its struct pages are")
        self._address, self._frame, self._count = (
            np.array([getattr(run, name) for run in runs], np.uint64) for name in ("address", "frame", "count")
        )
        self._by_frame = np.argsort(self._frame)

    def pfns(self, addresses: Words) -> Words:
        """The page frame of each struct page, by virtual addresses; NO_FRAME for what is none."""
        at = np.maximum(np.searchsorted(self._address, addresses, side="right"), 1) - 1
        offset = addresses - self._address[at]  # wraps around below the first, and is then beyond any count
        number = offset // np.uint64(self._size)
        known = (number < self._count[at]) & (offset == number * np.uint64(self._size))
        return np.where(known, self._frame[at] + number, np.uint64(NO_FRAME))

    def addresses(self, pfns: Words) -> Words:
        """The virtual address of the struct page of each frame; 0 for a frame without one."""
        order = self._by_frame
        at = order[np.maximum(np.searchsorted(self._frame[order], pfns, side="right"), 1) - 1]
        number = pfns - self._frame[at]
        addresses = self._address[at] + number * np.uint64(self._size)
        return np.where(number < self._count[at], addresses, np.uint64(0))


def _runs(image: Image) -> Iterator[Run]:
    """The arrays of struct page, by whichever memory model the kernel has."""
    base = _vmemmap(image)
    if base:
        yield Run(base, 0, FRAME_LIMIT)
    elif _has_sections(image) and image.has("mem_section.section_mem_map"):
        yield from _sections(image)
    elif image.has("node_data", "pglist_data.node_mem_map"):
        yield from _nodes(image)
    elif image.has("mem_map", "max_mapnr"):
        yield Run(image.pointer(image.symbol("mem_map")), 0, image.pointer(image.symbol("max_mapnr")))


def _has_sections(image: Image) -> bool:
    """Whether there is the variable; the struct has the same name."""
    return "mem_section" in image.kernel.layout.symbols


def _vmemmap(image: Image) -> int:
    """Where the virtual array begins; 0 when there is none."""
    if image.has("vmemmap_base"):
        return image.pointer(image.symbol("vmemmap_base"))
    if not _has_sections(image):
        return 0
    # The array is there, but its first pages need not be: the frames of the kernel's own page table have some.
    size = image.size("page")
    frame = np.uint64(image.kernel.page_root >> PAGE_SHIFT)
    bases = np.array(VMEMMAP_BASES.get(len(image.paging.levels), ()), np.uint64)
    mapped = image.memory.frames(bases + frame * np.uint64(size)) != NO_FRAME
    return int(bases[mapped][0]) if mapped.any() else 0


def _sections(image: Image) -> Iterator[Run]:
    """Classic SPARSEMEM: what a section holds is the address that the struct page of frame 0 would have."""
    bits, count = SECTIONS.get(len(image.paging.levels), (0, 0))
    frames = 1 << bits >> PAGE_SHIFT
    word = 1 << 8 * image.member("mem_section.section_mem_map").size
    for number, address in _section_addresses(image, count):
        coded = image.struct("mem_section", address)["section_mem_map"]
        if coded & SECTION_HAS_MAP:
            first = number * frames
            yield Run(((coded & ~SECTION_FLAGS) + first * image.size("page")) % word, first, frames)


def _section_addresses(image: Image, count: int) -> Iterator[tuple[int, int]]:
    """The number of each section that the kernel has a struct of, and the virtual address of that."""
    size, table = image.size("mem_section"), image.symbol("mem_section")
    if image.pointer_size == 4:
        yield from ((number, table + number * size) for number in range(count))
        return
    together = ROOT_SIZE // size
    roots = image.memory.read(table, count // together * image.pointer_size)
    for number, root in enumerate(np.frombuffer(roots, "<u8").tolist()):
        if root:
            yield from ((number * together + i, root + i * size) for i in range(together))


def _nodes(image: Image) -> Iterator[Run]:
    """DISCONTIGMEM: each node of a NUMA machine has an array of its own."""
    for number in range(NODE_LIMIT):
        at = image.pointer(image.symbol("node_data") + number * image.pointer_size)
        if not at:
            return
        node = image.struct("pglist_data", at)
        yield Run(node["node_mem_map"], node["node_start_pfn"], node["node_spanned_pages"])
