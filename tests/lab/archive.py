"""What the guest packed onto its disk: files of a tar archive, taken out without their holes."""

import os
import tarfile
from pathlib import Path

CHUNK = 1 << 20


def _copy_data(source: int, start: int, size: int, target: Path) -> None:
    """Copy size bytes from an open file; where the source has a hole the copy has one too."""
    out = os.open(target, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    os.truncate(target, size)
    at, end = start, start + size
    while at < end:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole up to the end
            break
        stop = min(os.lseek(source, at, os.SEEK_HOLE), end)
        while at < stop:
            data = os.pread(source, min(CHUNK, stop - at), at)
            os.pwrite(out, data, at - start)
            at += len(data)
    os.close(out)


def unpack(disk: Path, folder: Path) -> None:
    """Take every file of the archive on a disk image out, below a folder."""
    source = os.open(disk, os.O_RDONLY)
    with tarfile.open(disk, "r:") as archive:
        for member in archive:
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy_data(source, member.offset_data, member.size, target)
    os.close(source)
