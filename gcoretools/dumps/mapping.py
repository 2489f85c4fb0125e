"""The bytes of a dump file, mapped and never read whole."""

from __future__ import annotations

import os
import stat
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Protocol

from gcoretools.errors import DumpError, PageAbsent
from gcoretools.transfer import MappedFile

FLATTENED = b"makedumpfile\0"
"""The first bytes of a flattened dump."""


class FileBytes(Protocol):
    """The bytes of a file by slices: a view of the map, what is read when asked, or pieces put together."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> memoryview: ...


class Unmapped:
    """The bytes of a file that cannot be mapped, read when asked for: /proc/kcore is one."""

    def __init__(self, path: Path, file: FileIO, size: int) -> None:
        self._path = path
        self._file = file
        self._size = size
        # The kernel has one buffer for each open /proc/kcore (fs/proc/kcore.c, open_kcore), and reads mix in it.
        self._one_at_a_time = Lock()

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: slice) -> memoryview:
        """Raises PageAbsent when the file cannot be read there."""
        start, stop, _ = index.indices(self._size)
        data = bytearray()
        while len(data) < stop - start:
            try:
                with self._one_at_a_time:
                    piece = os.pread(self._file.fileno(), stop - start - len(data), start + len(data))
            except OSError as error:
                piece, words = b"", error.strerror
            else:
                words = "the file ends there"
            if not piece:
                raise PageAbsent(f"{self._path}: cannot be read at offset {start + len(data):#x}: {words}")
            data += piece
        return memoryview(data)


def map_file(path: Path) -> memoryview | Unmapped:
    """The file as one read-only view; it stays mapped, or open, for as long as anything refers to it.

    Raises DumpError when the file is missing, unreadable, empty, or no file.
    """
    try:
        file = FileIO(path)
        size = _size(path, file)
        try:
            return memoryview(MappedFile(file))
        except OSError:
            return Unmapped(path, file, size)
    except OSError as error:
        raise DumpError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # a name out of a stream may have a NUL in it
        raise DumpError(f"{str(path)!r}: {error}") from error


def _size(path: Path, file: FileIO) -> int:
    status = os.fstat(file.fileno())
    if stat.S_ISFIFO(status.st_mode) and file.read(len(FLATTENED)) == FLATTENED:
        raise DumpError(
            f"{path}: a flattened dump in a pipe: `makedumpfile -R FILE` writes it to a file: name that"
        )
    if not stat.S_ISREG(status.st_mode):
        raise DumpError(f"{path}: not a regular file: a dump is read at random, so save it to one first")
    if not status.st_size:
        raise DumpError(f"{path}: the file is empty")
    return status.st_size


def bytes_at(data: FileBytes, offset: int, size: int, what: str) -> memoryview:
    """`size` bytes at `offset` of the file. Raises DumpError, beginning with `what`, when the file ends before."""
    missing = offset + size - len(data)
    if missing > 0:
        raise DumpError(f"{what}: the file is truncated: {missing} bytes are missing")
    return data[offset : offset + size]
