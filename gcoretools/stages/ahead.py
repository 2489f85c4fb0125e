"""Page data read before its turn comes, where reading takes longer than handing on.

That is so of compressed dumps and of the kernel's own compressed stores.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby, islice

from gcoretools.records import DATA_LIMIT, Pages, Record, Unread
from gcoretools.workers import DEALT, SMALL, dealt, workers

AHEAD = 8
"""Jobs that each worker is ahead, at most."""


@dataclass
class Job:
    """Data records that follow each other, together no larger than one can be."""

    unreads: list[Unread] = field(default_factory=list)
    room: int = DATA_LIMIT

    def add(self, unread: Unread) -> None:
        """One more, for which there is room."""
        self.unreads.append(unread)
        self.room -= max(unread.size, SMALL)

    def read(self) -> Iterator[Pages]:
        """The data, read by this process."""
        return map(_read, self.unreads)

    def read_into(self, memory: memoryview) -> None:
        """The data into memory, one after the other."""
        at = 0
        for unread in self.unreads:
            memory[at : at + unread.size] = unread.read()
            at += unread.size

    def taken(self, memory: memoryview) -> Iterator[Pages]:
        """The data out of memory, where it was read into."""
        at = 0
        for unread in self.unreads:
            yield Pages(unread.start, memory[at : at + unread.size])
            at += unread.size


def read_here(records: Iterable[Record]) -> Iterator[Record]:
    """The records, with `pages` in place of the `unread`s, all read by this process. Raises what reading raises."""
    for record in records:
        yield _read(record) if isinstance(record, Unread) else record


def read_ahead(records: Iterable[Record]) -> Iterator[Record]:
    """Likewise, with what is `slow` to read read ahead; its bytes hold until the next record is asked for."""
    for slow, run in groupby(records, lambda record: isinstance(record, Unread) and record.slow):
        read = _ahead if slow else read_here
        yield from read(run)


def _ahead(unreads: Iterable[Record]) -> Iterator[Pages]:
    jobs = _jobs(unreads)
    while some := list(islice(jobs, DEALT)):
        yield from _done(some)


def _jobs(unreads: Iterable[Record]) -> Iterator[Job]:
    job = Job()
    for unread in unreads:
        assert isinstance(unread, Unread)
        if unread.size > job.room:
            yield job
            job = Job()
        job.add(unread)
    yield job


def _read(unread: Unread) -> Pages:
    return Pages(unread.start, memoryview(unread.read()))


def _done(jobs: list[Job]) -> Iterator[Pages]:
    """The data of all jobs, in their order."""
    memory = memoryview(mmap.mmap(-1, AHEAD * workers() * DATA_LIMIT))

    def slot(number: int) -> memoryview:
        at = number * DATA_LIMIT % len(memory)
        return memory[at : at + DATA_LIMIT]

    with closing(dealt(len(jobs), lambda number: jobs[number].read_into(slot(number)), AHEAD)) as all_done:
        for number, done in enumerate(all_done):
            yield from jobs[number].taken(slot(number)) if done else jobs[number].read()
