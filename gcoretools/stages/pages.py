"""gc-pages: which memory goes into the core, what of it there is, and its bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from gcoretools.core.elf import core_order
from gcoretools.core.filter import dump_size, from_kernel
from gcoretools.dumps.dump import PAGE_SIZE
from gcoretools.errors import GcoreError, KernelDataError, PageAbsent, StreamError
from gcoretools.kernel.core_rules import ELF_MAGIC
from gcoretools.kernel.image import Image
from gcoretools.kernel.page_state import DATA, STORED, WITH_BYTES, ZERO
from gcoretools.kernel.residence import Piece, Residence
from gcoretools.kernel.steady import SteadyResidence
from gcoretools.kernel.swap.swap import Swap
from gcoretools.records import DATA_LIMIT, Done, Extent, Pages, Process, Record, Unread, Vma
from gcoretools.sysroot.backing import Backed, Sysroot


def add_pages(
    records: Iterable[Record],
    image: Image,
    rules: dict[str, object],
    chosen: int | None,
    sysroot: Sysroot | None = None,
    swap: Swap | None = None,
) -> Iterator[Record]:
    """The records with the decision in each `vma`, and before each `done` all `extent`s and then all `unread`s.

    Args:
        rules: gcoretools.kernel.core_rules of the kernel, as the header carries them.
        chosen: bits of -f; None takes each process's own coredump_filter.
        sysroot: files in place of what is not in memory of executables and libraries.
        swap: the kernel's swapped pages, when images of its swap devices go with them.
    Earlier decisions, extents and pages are made anew. Raises StreamError for a process without mappings.
    """
    plan: _Plan | None = None
    swap = swap or Swap(image)
    for record in records:
        if isinstance(record, Extent | Pages):
            continue
        if isinstance(record, Process):
            plan = _Plan(image, record, rules, chosen, sysroot, swap)
        elif isinstance(record, Vma) and plan:
            record = plan.decide(record)
        elif isinstance(record, Done) and plan:
            plan.check()
            yield from plan.extents()
            yield from plan.pages()
            record = replace(record, data=plan.data, zero=plan.zero, gaps=plan.gaps)
        yield record


class _Plan:
    """What goes into the core of one process."""

    def __init__(
        self,
        image: Image,
        process: Process,
        rules: dict[str, object],
        chosen: int | None,
        sysroot: Sysroot | None,
        swap: Swap,
    ) -> None:
        self._process = process
        self._rules = rules
        self._chosen = from_kernel(process.coredump_filter) if chosen is None else chosen
        self._slow = (STORED, DATA) if image.dump.compressed else (STORED,)
        kind = SteadyResidence if image.dump.moving else Residence
        self._residence = kind(image, process, swap)
        self._vmas: list[Vma] = []
        self._chain = Backed(image, self._residence, self._vmas, sysroot) if sysroot else self._residence
        self.data = self.zero = 0
        self.gaps: dict[str, int] = {}

    def decide(self, vma: Vma) -> Vma:
        """The mapping with the number of bytes that the filter selects."""
        decided = replace(vma, dump_size=dump_size(vma, self._chosen, self._rules, self._begins_elf))
        self._vmas.append(decided)
        return decided

    def check(self) -> None:
        """Raises StreamError when no stage has given the mappings."""
        if not self._vmas:
            raise StreamError(f"pid {self._process.pid}: the stream has no mappings: put gc-maps before gc-pages")

    def extents(self) -> Iterator[Extent]:
        """The whole plan, in the order of the core."""
        for vma in self._ordered():
            last: Extent | None = None
            for piece in self._pieces(vma):
                what, reason = self._meaning(piece)
                if last and (last.what, last.reason) == (what, reason):
                    last.size += piece.size
                    continue
                if last:
                    yield self._counted(last)
                last = Extent(piece.start, piece.size, what, reason)
            if last:
                yield self._counted(last)

    def pages(self) -> Iterator[Unread]:
        """The bytes of all data extents, in the same order."""
        for vma in self._ordered():
            for piece in self._pieces(vma):
                if piece.state in WITH_BYTES:
                    yield from self._read(piece)

    def _ordered(self) -> list[Vma]:
        return core_order(self._vmas, bool(self._rules.get("sorted")))

    def _pieces(self, vma: Vma) -> Iterator[Piece]:
        if not vma.dump_size:
            return
        try:
            yield from self._chain.pieces(vma, vma.dump_size)
        except GcoreError as error:
            raise type(error)(f"pid {self._process.pid}: mapping at {vma.start:#x}: {error}") from error

    def _meaning(self, piece: Piece) -> tuple[str, str]:
        if piece.state in WITH_BYTES:
            return "data", ""
        return ("zero", "") if piece.state == ZERO else ("gap", self._chain.reasons[piece.state])

    def _counted(self, extent: Extent) -> Extent:
        if extent.what == "gap":
            self.gaps[extent.reason] = self.gaps.get(extent.reason, 0) + extent.size
        elif extent.what == "data":
            self.data += extent.size
        else:
            self.zero += extent.size
        return extent

    def _read(self, piece: Piece) -> Iterator[Unread]:
        step = DATA_LIMIT // PAGE_SIZE
        for at in range(0, len(piece.places), step):
            start, count = piece.start + at * PAGE_SIZE, min(step, len(piece.places) - at)
            read = partial(self._chain.read, piece, at, count)
            yield Unread(start, count * PAGE_SIZE, read, piece.state in self._slow)

    def _begins_elf(self, vma: Vma) -> bool:
        """Whether a mapping begins with the ELF magic. A page that is not there may: it becomes a gap."""
        try:
            (page,) = self._residence.pieces(vma, PAGE_SIZE)
            if page.state in WITH_BYTES:
                return bytes(self._residence.read(page, 0, 1)[: len(ELF_MAGIC)]) == ELF_MAGIC
        except (KernelDataError, PageAbsent):
            return True
        return page.state != ZERO
