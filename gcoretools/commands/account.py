"""The account of a process's memory: what of it is there, and why the rest is not."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gcoretools.commands import show
from gcoretools.commands.report import PAGE_FAULTS, PROGRESS, Report
from gcoretools.dumps.dump import Dump
from gcoretools.errors import GcoreError
from gcoretools.records import Done, Extent, Process, Record, Vma

# How many processes --strict names.
NAMED = 5


@dataclass
class _Total:
    """Bytes by what they are, and of gaps by the reason."""

    data: int = 0
    zero: int = 0
    gaps: dict[str, int] = field(default_factory=dict)

    def add(self, extent: Extent) -> None:
        if extent.what == "data":
            self.data += extent.size
        elif extent.what == "zero":
            self.zero += extent.size
        else:
            self.gaps[extent.reason] = self.gaps.get(extent.reason, 0) + extent.size

    def __str__(self) -> str:
        return show.totals(self.data, self.zero, self.gaps)


class Account:
    """What is there of the memory of each process: told as -v asks, in all and of each mapping.

    Args:
        report: where to.
        dump: which may say what to do against the pages that it left out.
    """

    def __init__(self, report: Report, dump: Dump | None = None) -> None:
        self._report = report
        self._dump = dump
        self._with_gaps: list[int] = []

    def noted(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records; which processes have gaps is kept in mind."""
        process = None
        for record in records:
            if isinstance(record, Process):
                process = record
            elif isinstance(record, Done) and process and record.gaps:
                self._with_gaps.append(process.pid)
            yield record

    def told(self, records: Iterable[Record]) -> Iterator[Record]:
        """Likewise; the account of a process is told at its end."""
        process, mappings = None, _Mappings()
        for record in self.noted(records):
            if isinstance(record, Process):
                process, mappings = record, _Mappings()
            elif isinstance(record, Done) and process:
                self._tell(process, record, mappings)
            elif isinstance(record, Vma | Extent) and self._report.says(PROGRESS):
                mappings.add(record)
            yield record

    def demand_whole(self) -> None:
        """Raises GcoreError when a process had gaps: for --strict, once all that is there has been written."""
        if self._with_gaps:
            named = ", ".join(map(str, self._with_gaps[:NAMED]))
            more = f" and {len(self._with_gaps) - NAMED} more" if len(self._with_gaps) > NAMED else ""
            raise GcoreError(f"pid {named}{more}: not all of the memory is there (--strict)")

    def _tell(self, process: Process, done: Done, mappings: _Mappings) -> None:
        for vma, total in mappings:
            where = f"{vma.start:x}-{vma.start + vma.size:x} {show.permissions(vma)} {vma.name}".rstrip()
            self._report.say(PROGRESS, f"pid {process.pid}: {where}: {total}")
        kind = PROGRESS | (PAGE_FAULTS if done.gaps else 0)
        self._report.say(kind, f"pid {process.pid}: {show.totals(done.data, done.zero, done.gaps)}")
        if self._dump and self._dump.absent_reason in done.gaps and self._dump.remedy:
            self._report.say(PAGE_FAULTS, self._dump.remedy)
            self._dump = None  # once is enough


class _Mappings:
    """The mappings of a process, each each with its total; each extent lies in one of them."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._rows: list[tuple[Vma, _Total]] = []

    def add(self, record: Vma | Extent) -> None:
        if isinstance(record, Vma):
            self._starts.append(record.start)
            self._rows.append((record, _Total()))
        elif self._rows:
            self._rows[bisect_right(self._starts, record.start) - 1][1].add(record)

    def __iter__(self) -> Iterator[tuple[Vma, _Total]]:
        return (row for row in self._rows if row[0].dump_size > 0)
