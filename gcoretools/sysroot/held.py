"""What the dump holds of a file: the pages of it that a process has mapped and that nobody can have changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gcoretools.dumps.dump import PAGE_SIZE
from gcoretools.errors import KernelDataError, LayoutError, PageAbsent
from gcoretools.kernel.image import Image
from gcoretools.kernel.page_state import WITH_BYTES
from gcoretools.kernel.residence import Residence
from gcoretools.records import DATA_LIMIT, Vma


class Held:
    """The file behind mappings of one process.

    Args:
        image: the kernel.
        residence: finds the process's pages.
        vmas: its mappings of the file. Where one has been written to, its pages can be the process's own.
    """

    def __init__(self, image: Image, residence: Residence, vmas: list[Vma]) -> None:
        self._image = image
        self._residence = residence
        self._mapping = vmas[0].mapping
        self._vmas = [vma for vma in vmas if not vma.written]

    def size(self) -> int | None:
        """The file's size in bytes; None when the dump does not tell."""
        try:
            host = self._image.struct("address_space", self._mapping)["host"]
            return self._image.struct("inode", host)["i_size"]
        except (KernelDataError, LayoutError, PageAbsent):
            return None

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes at an offset of the file; nothing when one of them is not held."""
        first = offset - offset % PAGE_SIZE
        for vma in self._vmas:
            if vma.offset <= first and offset + size <= vma.offset + vma.size:
                at = first - vma.offset
                part = replace(vma, start=vma.start + at, size=vma.size - at, offset=first)
                found = b"".join(data for _, data in self._data(part, -(-(offset + size - first) // PAGE_SIZE)))
                return found[offset - first :][:size] if len(found) >= offset + size - first else b""
        return b""

    def data(self) -> Iterator[tuple[int, bytes]]:
        """All that is held: pieces of at most DATA_LIMIT, each with its offset in the file."""
        for vma in self._vmas:
            yield from self._data(vma, vma.size // PAGE_SIZE)

    def _data(self, vma: Vma, pages: int) -> Iterator[tuple[int, bytes]]:
        step = DATA_LIMIT // PAGE_SIZE
        for piece in self._residence.pieces(vma, pages * PAGE_SIZE):
            if piece.state in WITH_BYTES:
                for at in range(0, len(piece.places), step):
                    offset = piece.start - vma.start + vma.offset + at * PAGE_SIZE
                    yield offset, bytes(self._residence.read(piece, at, step))
