"""Bytes on their way out, whole, whatever the descriptor takes at a time.

Those of a mapped file go past its map: a pipe takes pages of a file as they are, and for any other descriptor they
are read in half the time that mapping them takes.
"""

from __future__ import annotations

import mmap
import os
from errno import EINVAL
from io import FileIO

import numpy as np

from gcoretools.errors import DumpError

LARGE = 1 << 16
"""Fewer bytes are not worth a call of their own."""


class MappedFile(mmap.mmap):
    """The bytes of a file, to read, which are still known to be those of the file.

    Attributes:
        file: it stays open.
    """

    file: FileIO
    _address: int

    def __new__(cls, file: FileIO) -> MappedFile:
        """Raises OSError for a file that cannot be mapped, ValueError for an empty one."""
        mapped = super().__new__(cls, file.fileno(), 0, prot=mmap.PROT_READ)
        mapped.file, mapped._address = file, _address(mapped)
        return mapped

    def offset(self, view: memoryview) -> int:
        """Where in the file a view of these bytes begins."""
        return _address(view) - self._address


def write_all(fd: int, pieces: list[bytearray | bytes | memoryview]) -> None:
    """Write pieces one after the other.

    Raises OSError when the descriptor takes no more, DumpError when a mapped file has been cut.
    """
    together: list[memoryview] = []
    for piece in pieces:
        view = memoryview(piece)
        if view.nbytes >= LARGE and isinstance(view.obj, MappedFile):
            _write(fd, together)
            _write_mapped(fd, view, view.obj)
            together = []
        elif view.nbytes:
            together.append(view.cast("B"))
    _write(fd, together)


def _write(fd: int, left: list[memoryview]) -> None:
    while left:
        written = os.writev(fd, left)
        while left and written >= left[0].nbytes:
            written -= left.pop(0).nbytes
        if written:
            left[0] = left[0][written:]


def _write_mapped(fd: int, view: memoryview, mapped: MappedFile) -> None:
    offset, left = mapped.offset(view), view.nbytes
    while left:
        moved = _move(mapped.file.fileno(), offset, left, fd)
        if not moved:
            raise DumpError(f"{mapped.file.name}: the file was cut at offset {offset:#x} while it was read")
        offset, left = offset + moved, left - moved


def _move(file: int, offset: int, size: int, fd: int) -> int:
    """How many of these bytes have gone from the file to the descriptor now: none when it ends there."""
    try:
        return os.splice(file, fd, size, offset)
    except OSError as error:
        if error.errno != EINVAL:  # the descriptor is no pipe
            raise
    data = os.pread(file, size, offset)
    _write(fd, [memoryview(data)])
    return len(data)


def _address(data: mmap.mmap | memoryview) -> int:
    return int(np.frombuffer(data, np.uint8).__array_interface__["data"][0])
