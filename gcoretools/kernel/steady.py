"""Pages of a running kernel's process, which change their place while they are read: migrated, merged, evicted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace

from gcoretools.dumps.dump import PAGE_SIZE, Buffer
from gcoretools.kernel.image import Image
from gcoretools.kernel.page_state import WITH_BYTES
from gcoretools.kernel.residence import Piece, Residence
from gcoretools.kernel.swap.swap import Swap
from gcoretools.records import Process, Vma

TRIES = 8
"""A kernel that moves pages at every one of them has more to do than we."""


class SteadyResidence(Residence):
    """Finds the pages of a process once, for a plan must stay what it was when its data comes."""

    def __init__(self, image: Image, process: Process, swap: Swap | None = None) -> None:
        super().__init__(image, process, swap)
        self._found: dict[int, list[Piece]] = {}
        self._starts: list[int] = []
        self._vmas: dict[int, Vma] = {}

    def pieces(self, vma: Vma, size: int) -> Iterator[Piece]:
        """The pieces of the first `size` bytes of a mapping, as they were found first."""
        if vma.start not in self._vmas or self._vmas[vma.start].dump_size < size:
            self._vmas[vma.start] = replace(vma, dump_size=size)
            self._starts = sorted(self._vmas)
            self._found[vma.start] = list(super().pieces(vma, size))
        end = vma.start + size
        yield from (piece for piece in self._found[vma.start] if piece.start < end)

    def read(self, piece: Piece, first: int, count: int) -> Buffer:
        """The bytes of pages of a piece, from where they are now, and still are when they have been read."""
        part = self._part(piece.start + first * PAGE_SIZE, count * PAGE_SIZE)
        if part.category == "special":  # the kernel's own pages, which stay where they are
            return super().read(piece, first, count)
        before = self._now(part)
        for _ in range(TRIES):
            if any(each.state not in WITH_BYTES for each in before):
                break
            data = b"".join(super(SteadyResidence, self).read(each, 0, each.size // PAGE_SIZE) for each in before)
            after = self._now(part)
            if _same(before, after):
                return data
            before = after
        return super().read(piece, first, count)

    def _now(self, part: Vma) -> list[Piece]:
        """The pieces as a new walk finds them."""
        return list(Residence(self._image, self._process, self._swap).pieces(part, part.size))

    def _part(self, start: int, size: int) -> Vma:
        """A piece of a mapping as if it were one."""
        vma = self._vmas[self._starts[bisect_right(self._starts, start) - 1]]
        return replace(vma, start=start, size=size, offset=vma.offset + start - vma.start)


def _same(one: list[Piece], other: list[Piece]) -> bool:
    return len(one) == len(other) and all(
        (a.start, a.state) == (b.start, b.state) and (a.places == b.places).all()
        for a, b in zip(one, other, strict=True)
    )
