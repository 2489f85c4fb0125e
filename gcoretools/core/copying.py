"""Memory copied into a file by several threads, each piece to a place of its own.

Neither gathering pages nor writing them holds Python's lock; while one thread waits for the file's, another reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Semaphore

Read = Callable[[], bytes | bytearray | memoryview]

# More do not write faster: the kernel lets one at a time into a file.
THREADS = min(4, len(os.sched_getaffinity(0)) + 1)

# Pieces that wait to be copied, at most.
BACKLOG = 64


class Copying:
    """Threads that copy into one file.

    Args:
        fd: open for writing, at any place.
    """

    def __init__(self, fd: int) -> None:
        from concurrent.futures import ThreadPoolExecutor  # it takes time, and a pipeline has no need of it

        self._fd = fd
        self._pool = ThreadPoolExecutor(THREADS)
        self._room = Semaphore(BACKLOG)
        self._failures: list[BaseException] = []

    def copy(self, read: Read, at: int) -> None:
        """Have what `read` gives written at offset `at` of the file. Raises what has failed so far."""
        self._room.acquire()
        self._raise()
        self._pool.submit(self._copy, read, at)

    def finish(self) -> None:
        """Wait until everything is written. Raises what failed."""
        self._pool.shutdown()
        self._raise()

    def abandon(self) -> None:
        """Write nothing more; when this returns, nobody uses the file any longer."""
        self._pool.shutdown(cancel_futures=True)

    def _copy(self, read: Read, at: int) -> None:
        try:
            if not self._failures:
                _write_at(self._fd, memoryview(read()), at)
        except BaseException as error:
            self._failures.append(error)
        finally:
            self._room.release()

    def _raise(self) -> None:
        if self._failures:
            raise self._failures[0]


def _write_at(fd: int, data: memoryview, at: int) -> None:
    while len(data):
        written = os.pwrite(fd, data, at)
        data, at = data[written:], at + written
