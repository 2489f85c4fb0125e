"""The image of a swap device or file, given beside the dump: what is on disk (mm/swapfile.c: read_swap_header)."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

from gcoretools.dumps.dump import PAGE_SIZE
from gcoretools.errors import FileError, KernelDataError
from gcoretools.kernel.swap.area import Area
from gcoretools.kernel.swap.store import HELD, LOST, Bytes, Verdicts
from gcoretools.paging import Words

# union swap_header of include/linux/swap.h: version, last_page and nr_badpages behind 1 KiB of boot block.
HEADER = struct.Struct("<1024xIII")
SIGNATURE = b"SWAPSPACE2"
VERSION = 1

# What images are in that are not the plain bytes of the device, by how they begin.
WRAPPED = {b"QFI\xfb": "qcow2", b"KDMV": "vmdk", b"conectix": "vpc", b"vhdxfile": "vhdx"}


class SwapImage:
    """The pages of one swap area in its image.

    Args:
        area: what the kernel knows of it.
        path: the image, the plain bytes of the device or file.
    Raises FileError when it cannot be read or is not an image of this area.
    """

    def __init__(self, area: Area, path: Path) -> None:
        self._path = path
        self.reasons = (f"swapped out to {area.name}, beyond the end of {path}",)
        try:
            self._file = path.open("rb", buffering=0)
            self._pages = os.stat(self._file.fileno()).st_size // PAGE_SIZE
            header = os.pread(self._file.fileno(), PAGE_SIZE, 0)
        except OSError as error:
            raise FileError(f"{path}: {error.strerror}") from error
        _check(header, area, path)

    def verdicts(self, offsets: Words) -> Verdicts:
        """HELD, or LOST where the image ends before the page."""
        return np.where(offsets < np.uint64(self._pages), HELD, LOST).astype(np.uint8)

    def read(self, offsets: Words) -> Bytes:
        """The bytes of each page, a row each; neighbours are read together. Raises KernelDataError."""
        order = np.argsort(offsets, kind="stable")
        rows = np.empty((len(offsets), PAGE_SIZE), np.uint8)
        ascending = offsets[order]
        for run in np.split(np.arange(len(offsets)), np.flatnonzero(np.diff(ascending) != 1) + 1):
            if len(run):
                rows[order[run]] = self._run(int(ascending[run[0]]), len(run))
        return rows

    def _run(self, first: int, count: int) -> Bytes:
        try:
            data = os.pread(self._file.fileno(), count * PAGE_SIZE, first * PAGE_SIZE)
        except OSError as error:
            raise KernelDataError(f"{self._path}: page {first}: {error.strerror}") from error
        if len(data) != count * PAGE_SIZE:
            raise KernelDataError(f"{self._path}: it became shorter while it was read")
        return np.frombuffer(data, np.uint8).reshape(count, PAGE_SIZE)


def _check(header: bytes, area: Area, path: Path) -> None:
    """Raises FileError when this is not the first page of the area."""
    kind = next((kind for magic, kind in WRAPPED.items() if header.startswith(magic)), None)
    if kind:
        raise FileError(f"{path}: a {kind} image: convert it with qemu-img convert -O raw")
    if len(header) < PAGE_SIZE or not header.endswith(SIGNATURE):
        raise FileError(f"{path}: not the image of a swap area (it has no {SIGNATURE.decode()} in its first page)")
    version, last, _ = HEADER.unpack_from(header)
    if version != VERSION:
        raise FileError(
            f"{path}: a swap area of version {version}, not {VERSION}: it is of another kind of machine"
        )
    if last + 1 != area.size:
        raise FileError(
            f"{path}: a swap area of {last + 1} pages, but {area.name} has {area.size}: it is another one"
        )
