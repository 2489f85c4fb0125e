"""Writing a core: to standard output, or to a file that gets its name only when it is whole."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gcoretools.core.copying import Copying, Read
from gcoretools.core.room import Room
from gcoretools.errors import OutputError
from gcoretools.transfer import write_all

# How much of a run of zeros is written at a time where the output cannot have holes.
ZEROS = bytes(1 << 16)


class CoreFile:
    """An output that data and runs of zeros are appended to; runs become holes where it can have them.

    An OSError of it is left to whoever opened the descriptor, and knows its name.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._at = self._hole = 0
        self._sparse = _can_have_holes(fd)
        self._copying = Copying(fd)
        self._room = Room(fd) if self._sparse else None

    def expect(self, size: int) -> None:
        """`size` bytes without a hole are appended next, by as many calls as it takes."""
        if self._room:
            self._room.expect(self._at + self._hole, size)

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        if len(data):
            self._begin(len(data))
            write_all(self._fd, [data])

    def copy(self, read: Read, size: int) -> None:
        """Append the `size` bytes that `read` gives; in a file by several processes, at the latest in `finish`."""
        start = self._begin(size)
        if self._sparse:
            self._copying.copy(read, size, start)
            os.lseek(self._fd, size, os.SEEK_CUR)
        else:
            write_all(self._fd, [read()])

    def zeros(self, size: int) -> None:
        """Append `size` zero bytes."""
        self._hole += size

    def finish(self) -> None:
        """Write what is still pending. Raises what `read` raises."""
        self._copying.finish()
        if self._hole and self._sparse:
            os.ftruncate(self._fd, os.lseek(self._fd, self._hole, os.SEEK_CUR))
            self._hole = 0
        self._close_hole()

    def _begin(self, size: int) -> int:
        """The offset of the next `size` bytes, for which there is room now."""
        self._close_hole()
        start, self._at = self._at, self._at + size
        if self._room:
            self._room.reach(self._at)
        return start

    def _close_hole(self) -> None:
        size, self._hole = self._hole, 0
        self._at += size
        if self._sparse and size:
            os.lseek(self._fd, size, os.SEEK_CUR)
            return
        while size > 0:
            step = min(size, len(ZEROS))
            write_all(self._fd, [ZEROS[:step]])
            size -= step


@contextmanager
def new_file(path: Path) -> Iterator[int]:
    """A descriptor of a new file, mode 0600, that is renamed to `path` when the block ends well.

    When it does not, nothing is left behind, and a file that had the name is as it was.
    Raises OutputError when the file cannot be made, or the name is that of a device, a pipe or a folder.
    """
    with _output_errors(path):
        if "\0" in str(path) or (path.exists() and not path.is_file()):
            raise OutputError(f"cannot write {path}: that is no regular file")
        fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with _output_errors(path):
            yield fd
            closing, fd = fd, -1
            os.close(closing)
            os.rename(temporary, path)
    except BaseException:
        if fd >= 0:
            os.close(fd)
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def standard_output() -> Iterator[int]:
    """The descriptor of standard output; a file there that was empty is emptied again when the block fails.

    Raises OutputError when it cannot be written.
    """
    was_empty = _can_have_holes(1)
    try:
        with _output_errors():
            yield 1
    except BaseException:
        if was_empty:
            with suppress(OSError):
                os.ftruncate(1, 0)
        raise


@contextmanager
def _output_errors(path: Path | None = None) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        name = path or "standard output"
        raise OutputError(f"cannot write {name}: {error.strerror}") from error


def _can_have_holes(fd: int) -> bool:
    """An empty regular file, and not one opened for appending, where seeking has no effect.

    In a file that has bytes already they would show in the holes.
    """
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size:
        return False
    return os.lseek(fd, 0, os.SEEK_CUR) == 0 and not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
