"""Work dealt out to a process on each CPU.

Processes, for threads wait for Python's lock at every page: two of them inflate hardly faster than one. A worker is
a copy of this process (fork), so that nothing has to be packed for it; what it makes it leaves in memory, or in a
file, that both have.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress
from signal import SIGKILL

WORKERS_LIMIT = 8

JOB, SMALL = 1 << 20, 1 << 14
"""Bytes of a job, at most, and how many a piece of it counts, at least: it takes memory, however small its data."""

DEALT, WORTH = 1024, 8
"""Jobs that are dealt out at a time, and how few are left to whoever has them."""


def workers() -> int:
    """How many there are at most."""
    return min(len(os.sched_getaffinity(0)), WORKERS_LIMIT)


def dealt(jobs: int, do: Callable[[int], None], ahead: int) -> Generator[bool]:
    """Have jobs done by workers, each of which has every n-th.

    Args:
        jobs: how many there are.
        do: does the job of a number, from 0 on, in another process.
        ahead: how many each worker may do before the first of them is taken.
    Returns: for each job in turn, whether it is done; else no worker could, or it was not worth one, and the caller
        has to. It counts as taken when the next is asked for. Close it when the rest is not wanted.
    """
    count = workers()
    with ExitStack() as stack:
        hired: list[_Worker] = []
        with suppress(OSError):  # there is no room for a process more
            for first in range(count) if count > 1 and jobs > WORTH else ():
                hired.append(_Worker(range(first, jobs, count), do, ahead, hired))
                stack.callback(hired[-1].end)
        for number in range(jobs):
            worker = hired[number % count] if number % count < len(hired) else None
            done = worker is not None and worker.has_done_one()
            yield done
            if worker and done:
                worker.let_on()


class _Worker:
    """A process that does jobs one after the other.

    Args:
        jobs: their numbers.
        do: see `dealt`, as `ahead`.
        others: the workers there are. It lets go of their lines, so that each ends when this process does.
    Raises OSError when the system has no room for it.
    """

    def __init__(self, jobs: range, do: Callable[[int], None], ahead: int, others: list[_Worker]) -> None:
        from socket import socketpair  # it takes time, and few commands have so much to do

        # A byte on the line stands for a job: done, or from this end taken.
        self._line, line = socketpair()
        self._failed = False
        self._pid = os.fork()
        if self._pid:
            line.close()
            return
        try:
            for worker in (*others, self):
                worker._line.close()
            for count, number in enumerate(jobs):
                if count >= ahead and not line.recv(1):
                    break
                do(number)
                line.send(b"\0")
        finally:
            os._exit(0)  # what went wrong is heard by whoever does the job in its place

    def has_done_one(self) -> bool:
        """Wait until its next job is done. When it has failed at one, none is from there on."""
        try:
            self._failed = self._failed or not self._line.recv(1)
        except ConnectionError:
            self._failed = True
        return not self._failed

    def let_on(self) -> None:
        """It may do one job more."""
        with suppress(ConnectionError):  # behind its last one it is gone
            self._line.send(b"\0")

    def end(self) -> None:
        """Behind this the process is gone, whatever it was doing."""
        self._line.close()
        with suppress(ProcessLookupError, ChildProcessError):  # where SIGCHLD is ignored nobody waits for it
            os.kill(self._pid, SIGKILL)
            os.waitpid(self._pid, 0)
