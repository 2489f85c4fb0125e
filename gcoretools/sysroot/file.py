"""A file of this machine, read a piece at a time, that must stay what it was."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from gcoretools.errors import FileError


class File:
    """A regular file.

    Args:
        path: the file itself, no symbolic link.

    Attributes:
        path: likewise.
        size: in bytes.
    Raises OSError when it cannot be looked at and FileError when it is something else than a regular file.
    """

    def __init__(self, path: Path) -> None:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            raise FileError("not a regular file")
        self.path = path
        self.size = found.st_size
        self._state = _state(found)

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes at an offset, less what lies beyond the end.

        Raises FileError when the file is no longer what it was, or cannot be read.
        """
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                data = os.pread(file, max(min(size, self.size - offset), 0), offset)
                changed = _state(os.fstat(file)) != self._state
            finally:
                os.close(file)
        except OSError as error:
            raise FileError(f"{self.path}: {error.strerror}") from error
        if changed or len(data) < min(size, self.size - offset):
            raise FileError(f"{self.path}: it changed while it was being read")
        return data


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
