"""Memory copied into a file by several processes, each piece to a place of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing

from gcoretools.workers import DEALT, JOB, SMALL, dealt

Read = Callable[[], bytes | bytearray | memoryview]


class Copying:
    """What is to be copied into one file.

    Args:
        fd: open for writing, at any place.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._jobs: list[list[tuple[Read, int]]] = []
        self._room = 0

    def copy(self, read: Read, size: int, at: int) -> None:
        """Have the `size` bytes that `read` gives written at offset `at` of the file, now or later.

        Raises what reading an earlier piece raises, and OSError.
        """
        if size > self._room:
            if len(self._jobs) == DEALT:
                self.finish()
            self._jobs.append([])
            self._room = JOB
        self._jobs[-1].append((read, at))
        self._room -= max(size, SMALL)

    def finish(self) -> None:
        """Behind this everything is written. Raises what reading raises, and OSError."""
        with closing(dealt(len(self._jobs), self._do, DEALT)) as all_done:
            for number, done in enumerate(all_done):
                if not done:
                    self._do(number)
        self._jobs, self._room = [], 0

    def _do(self, number: int) -> None:
        for read, at in self._jobs[number]:
            _write_at(self._fd, memoryview(read()), at)


def _write_at(fd: int, data: memoryview, at: int) -> None:
    while len(data):
        written = os.pwrite(fd, data, at)
        data, at = data[written:], at + written
