"""The bytes of a dump file, mapped and never read whole."""

from __future__ import annotations

import mmap
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from gcoretools.errors import DumpError

MADV_POPULATE_READ = 22
"""include/uapi/asm-generic/mman-common.h since 4ca9b3859dac (5.14); Python's mmap does not name it."""

POPULATED = 1 << 17
"""Fewer bytes are not worth a call."""


def map_file(path: Path) -> memoryview:
    """The file as one read-only view; it stays mapped for as long as anything refers to it.

    Raises DumpError when the file is missing, unreadable, empty, or no file.
    """
    try:
        with path.open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DumpError(f"{path}: not a regular file: a dump is read at random, so save it to one first")
            if not status.st_size:
                raise DumpError(f"{path}: the file is empty")
            return memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
    except OSError as error:
        raise DumpError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # a name out of a stream may have a NUL in it
        raise DumpError(f"{str(path)!r}: {error}") from error


def populate(data: memoryview, offset: int, size: int) -> None:
    """Have bytes of a mapped file ready in memory: one call for what would else be a fault for every 64 KiB.

    Args:
        data: as map_file gives it; of any other view nothing happens, and before Linux 5.14 neither.
    """
    if isinstance(data.obj, mmap.mmap):
        start = offset & -mmap.PAGESIZE
        with suppress(OSError):
            data.obj.madvise(MADV_POPULATE_READ, start, offset + size - start)


class FileBytes(Protocol):
    """The bytes of a file by slices: a view of the map, or pieces put together."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> memoryview: ...


def bytes_at(data: FileBytes, offset: int, size: int, what: str) -> memoryview:
    """`size` bytes at `offset` of the file. Raises DumpError, beginning with `what`, when the file ends before."""
    missing = offset + size - len(data)
    if missing > 0:
        raise DumpError(f"{what}: the file is truncated: {missing} bytes are missing")
    return data[offset : offset + size]
