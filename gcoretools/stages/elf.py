"""gc-elf: a core file out of the records of a process, written as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from gcoretools.arch import architecture
from gcoretools.arch.formats import CoreFormat
from gcoretools.core import elf, notes
from gcoretools.core.formats import core_format
from gcoretools.core.writer import CoreFile
from gcoretools.errors import StreamError
from gcoretools.records import Done, Extent, Header, Pages, Process, Record, Regs, Thread, Unread, Vma

# Gives the registers of threads that came without.
Recover = Callable[[Process, Thread], Regs]

# Opens the output of a process.
Open = Callable[[Process], AbstractContextManager[int]]


@dataclass
class _Parts:
    """What has come of a process so far: everything that must be known before the first byte is written."""

    process: Process
    threads: list[Thread] = field(default_factory=list)
    regs: dict[int, Regs] = field(default_factory=dict)
    vmas: list[Vma] = field(default_factory=list)
    extents: list[Extent] = field(default_factory=list)


def write_cores(
    header: Header, records: Iterable[Record], open_output: Open, recover: Recover, gaps_are_zero: bool
) -> Iterator[Process]:
    """Write a core for each process of a stream; each process is given back when its core is whole.

    Args:
        header: of the stream; `records` are those behind it.
        open_output: where each process's core goes.
        recover: registers of threads that have no `regs` record.
        gaps_are_zero: write gaps as zeros instead of leaving them out.
    Raises StreamError when records are missing or contradict each other, OutputError.
    """
    architecture(header.kernel.get("arch"))  # whose cores we do not know, we do not write
    stream = iter(records)
    for record in stream:
        if not isinstance(record, Process):
            continue
        parts, first = _collect(record, stream)
        with open_output(record) as fd:
            _Core(header, parts, recover, gaps_are_zero).write(CoreFile(fd), first, stream)
        yield record


def _collect(process: Process, stream: Iterator[Record]) -> tuple[_Parts, Record]:
    """Everything up to the first data (or the end) of a process, and that record."""
    parts = _Parts(process)
    for record in stream:
        if isinstance(record, Pages | Unread | Done):
            _check(parts)
            return parts, record
        if isinstance(record, Thread):
            parts.threads.append(record)
        elif isinstance(record, Regs):
            parts.regs[record.pid] = record
        elif isinstance(record, Vma):
            parts.vmas.append(record)
        elif isinstance(record, Extent):
            parts.extents.append(record)
        elif isinstance(record, Process):
            break
    raise StreamError(f"pid {process.pid}: the stream has no end of this process")


def _check(parts: _Parts) -> None:
    pid = parts.process.pid
    if not parts.vmas:
        raise StreamError(f"pid {pid}: the stream has no mappings: put gc-maps before gc-elf")
    if any(vma.dump_size < 0 for vma in parts.vmas):
        raise StreamError(f"pid {pid}: the stream has no pages: put gc-pages before gc-elf")
    if not parts.threads:
        raise StreamError(f"pid {pid}: the stream has no threads of this process")
    core_format(parts.process)


class _Core:
    """One core: its segments and notes out of the parts, then its data out of the stream."""

    def __init__(self, header: Header, parts: _Parts, recover: Recover, gaps_are_zero: bool) -> None:
        self._parts = parts
        form = core_format(parts.process)
        self._machine, self._class = form.machine, elf.CLASSES[form.bits]
        self._note_align = 4 if header.rules.get("note_align") else 0
        self._vmas = elf.core_order(parts.vmas, bool(header.rules.get("sorted")))
        if gaps_are_zero:
            for extent in parts.extents:
                extent.what = "zero" if extent.what == "gap" else extent.what
        self._loads = [load for vma, extents in self._with_extents() for load in elf.segments(vma, extents)]
        last = header.rules.get("last_notes") or []
        own = _notes(parts, self._vmas, recover, form, header.rules)
        self._notes = b"".join([*own, *map(_plain_note, _rows(last))])

    def write(self, core: CoreFile, first: Record, stream: Iterator[Record]) -> None:
        """Headers, notes, then data as it comes. Raises StreamError when it is not what the extents say."""
        headers = elf.headers(self._loads, len(self._notes), self._note_align, self._machine, self._class)
        core.write(headers)
        core.write(self._notes)
        data_offset = elf.data_offset(len(self._loads), len(self._notes), self._class)
        core.zeros(data_offset - len(headers) - len(self._notes))
        data = self._data(first, stream)
        for extent in self._parts.extents:
            if extent.what == "zero":
                core.zeros(extent.size)
            elif extent.what == "data":
                self._copy(core, extent, data)
        if any(True for _ in data):
            raise StreamError(f"pid {self._parts.process.pid}: the stream has more pages than its extents say")
        core.write(elf.trailer(self._loads, self._class))
        core.finish()

    def _copy(self, core: CoreFile, extent: Extent, data: Iterator[Pages | Unread]) -> None:
        core.expect(extent.size)
        at, end = extent.start, extent.start + extent.size
        while at < end:
            pages = next(data, None)
            if pages is None or pages.start != at or at + pages.size > end:
                raise StreamError(f"the stream's pages are not those that its extents say, at {at:#x}")
            if isinstance(pages, Pages):
                core.write(pages.data)
            elif pages.slow:
                core.copy(pages.read, pages.size)
            else:
                core.write(memoryview(pages.read()))
            at += pages.size

    def _data(self, first: Record, stream: Iterator[Record]) -> Iterator[Pages | Unread]:
        record: Record | None = first
        while not isinstance(record, Done):
            if isinstance(record, Pages | Unread):
                yield record
            elif record is None or isinstance(record, Process | Vma | Extent):
                raise StreamError(f"pid {self._parts.process.pid}: the stream has no end of this process")
            record = next(stream, None)

    def _with_extents(self) -> Iterator[tuple[Vma, list[Extent]]]:
        """Each mapping with the extents of its selected part, which they must cover exactly."""
        left = iter(self._parts.extents)
        for vma in self._vmas:
            mine, at = [], vma.start
            while at < vma.start + vma.dump_size:
                extent = next(left, None)
                if extent is None or extent.start != at or extent.what not in ("data", "zero", "gap"):
                    raise StreamError(f"the stream's extents do not cover the mapping at {vma.start:#x}")
                mine.append(extent)
                at += extent.size
            if at != vma.start + max(vma.dump_size, 0) or vma.dump_size > vma.size:
                raise StreamError(f"the stream's extents reach beyond the mapping at {vma.start:#x}")
            yield vma, mine
        if next(left, None):
            raise StreamError("the stream has extents of no mapping")


def _notes(
    parts: _Parts, vmas: list[Vma], recover: Recover, form: CoreFormat, rules: dict[str, object]
) -> Iterator[bytes]:
    """All notes in the kernel's order: the process's stand behind the first thread's NT_PRSTATUS."""
    for i, thread in enumerate(parts.threads):
        own = [_plain_note(row) for row in (parts.regs.get(thread.pid) or recover(parts.process, thread)).notes]
        yield from own[:1]
        if i == 0:
            yield from _process_notes(parts.process, thread, vmas, form, rules)
        yield from own[1:]


def _process_notes(
    process: Process, first: Thread, vmas: list[Vma], form: CoreFormat, rules: dict[str, object]
) -> Iterator[bytes]:
    yield notes.note("CORE", notes.NT_PRPSINFO, notes.prpsinfo(process, form))
    if process.task_struct:
        yield notes.note("CORE", notes.NT_TASKSTRUCT, process.task_struct)
    if first.siginfo and not form.compat and rules.get("siginfo_note", True):
        yield notes.note("CORE", notes.NT_SIGINFO, first.siginfo)
    yield notes.note("CORE", notes.NT_AUXV, process.auxv)
    if rules.get("file_note", True):
        yield notes.note("CORE", notes.NT_FILE, notes.file_note(vmas, form))


def _rows(value: object) -> list[dict[str, object]]:
    if not (isinstance(value, list) and all(isinstance(row, dict) for row in value)):
        raise StreamError("the header's last notes are not a list of notes")
    return value


def _plain_note(row: dict[str, object]) -> bytes:
    owner, kind, data = row.get("owner"), row.get("type"), row.get("data")
    if not (isinstance(owner, str) and isinstance(data, bytes) and type(kind) is int and 0 <= kind < 1 << 32):
        raise StreamError("the stream has a note without a proper owner, type or data")
    return notes.note(owner, kind, data)
