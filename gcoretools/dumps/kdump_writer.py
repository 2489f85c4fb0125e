"""A kdump-compressed dump of some page frames of another dump (makedumpfile: IMPLEMENTATION, diskdump_mod.h)."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.compression import PLAIN, ZLIB
from gcoretools.dumps.dump import PAGE_SIZE, Dump, Note, Pfns
from gcoretools.dumps.kdump_headers import KDUMP, MACHINES
from gcoretools.dumps.kdump_pages import DESCRIPTOR
from gcoretools.dumps.notes import VMCOREINFO, note_bytes

VERSION = 6

# Pages that are read and compressed together.
BATCH = 256

# Level 9 takes no longer than 6 for a page, and is a hundredth smaller.
LEVEL = 9

# What the header says of makedumpfile's -d: everything that can be left out may be.
LEAVES_OUT = 31

NT_PRSTATUS = 1

MACHINE_NAMES = {64: b"x86_64", 32: b"i686"}

_SUB_SIZE = 512
_U32 = 0xFFFFFFFF
_ZERO = bytes(PAGE_SIZE)
_ZERO_STORED = zlib.compress(_ZERO, LEVEL)
_BITS = np.left_shift(np.uint8(1), np.arange(8, dtype=np.uint8))


def write_kdump(fd: int, dump: Dump, pfns: Pfns, notes: Sequence[Note], release: str, bits: int) -> None:
    """Write page frames of a dump, compressed with zlib.

    Args:
        fd: of a new file.
        pfns: ascending; the dump holds them.
        notes: all notes of the new dump.
        release: of the dumped kernel.
        bits: 64 or 32, of the dumped kernel.
    Raises what Dump.pages raises, OSError.
    """
    bitmap = _bitmap(pfns)
    head = _headers(notes, release, bits, bitmap.size // PAGE_SIZE, int(pfns[-1]) + 1 if len(pfns) else 1)
    table = np.zeros(len(pfns), DESCRIPTOR)
    with open(fd, "wb", closefd=False) as file:
        file.write(head)
        for _ in range(2):  # of the pages that exist, and of those that are here: nothing is known of others
            _write_sparse(file, bitmap)
        table_at = file.tell()
        file.seek(table.nbytes, os.SEEK_CUR)
        _write_pages(file, dump, pfns, table)
        file.seek(table_at)
        file.write(table.tobytes())


def _write_pages(file: BinaryIO, dump: Dump, pfns: Pfns, table: NDArray[np.void]) -> None:
    """The data of the pages, and into the table where each lies; all pages of zeros have the same data."""
    zero = file.tell(), len(_ZERO_STORED), ZLIB, 0
    file.write(_ZERO_STORED)
    batches = [pfns[at : at + BATCH] for at in range(0, len(pfns), BATCH)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for first, stored in zip(count(0, BATCH), pool.map(partial(_stored, dump), batches), strict=False):
            rows = table[first : first + len(stored)]
            size = np.array([len(data) for data in stored], np.uint32)
            rows["offset"] = file.tell() + size.cumsum(dtype=np.uint64) - size
            rows["size"], rows["flags"] = size, np.where(size < PAGE_SIZE, ZLIB, PLAIN)
            rows[size == 0] = zero
            file.write(b"".join(stored))


def _stored(dump: Dump, pfns: Pfns) -> list[bytes]:
    """Pages as they are stored: compressed where that makes them smaller, nothing of those that are zero."""
    whole = memoryview(dump.pages(pfns))
    stored = []
    for at in range(0, len(whole), PAGE_SIZE):
        page = bytes(whole[at : at + PAGE_SIZE])
        stored.append(b"" if page == _ZERO else min(page, zlib.compress(page, LEVEL), key=len))
    return stored


def _headers(notes: Sequence[Note], release: str, bits: int, bitmap_blocks: int, max_mapnr: int) -> bytes:
    """disk_dump_header, kdump_sub_header and the notes behind it."""
    machine = next(machine for machine in MACHINES if machine.bits == bits)
    raw = b"".join(map(note_bytes, notes))
    notes_at = PAGE_SIZE + _SUB_SIZE
    text = next((note.desc for note in notes if note.owner == VMCOREINFO), b"")
    sub = machine.sub.pack(
        *(0, LEAVES_OUT, 0, 0, 0),
        *(notes_at + raw.find(text) if text else 0, len(text), notes_at, len(raw), 0, 0),
        *(0, 0, max_mapnr),
    )
    behind = sub.ljust(_SUB_SIZE, b"\0") + raw
    sub_blocks = -(-len(behind) // PAGE_SIZE)
    utsname = (b"Linux", b"", release.encode(), b"", MACHINE_NAMES[bits], b"")
    names = b"".join(name[:64].ljust(65, b"\0") for name in utsname)
    cpus = sum((note.owner, note.type) == ("CORE", NT_PRSTATUS) for note in notes)
    numbers = struct.pack(
        "<10I", ZLIB, PAGE_SIZE, sub_blocks, 2 * bitmap_blocks, max_mapnr & _U32, 0, 0, 0, 0, cpus
    )
    first = (KDUMP + struct.pack("<i", VERSION) + names).ljust(machine.status, b"\0") + numbers
    return first.ljust(PAGE_SIZE, b"\0") + behind.ljust(sub_blocks * PAGE_SIZE, b"\0")


def _bitmap(pfns: Pfns) -> NDArray[np.uint8]:
    """A bit for each page frame, in whole blocks."""
    blocks = int(pfns[-1]) // (8 * PAGE_SIZE) + 1 if len(pfns) else 1
    bitmap = np.zeros(blocks * PAGE_SIZE, np.uint8)
    np.bitwise_or.at(bitmap, (pfns >> np.uint64(3)).astype(np.int64), _BITS[(pfns & np.uint64(7)).astype(np.int64)])
    return bitmap


def _write_sparse(file: BinaryIO, blocks: NDArray[np.uint8]) -> None:
    """Whole blocks, those of zeros as holes: of a machine of 4 TiB a bitmap has 128 MiB, nearly all zero."""
    start = file.tell()
    rows = blocks.reshape(-1, PAGE_SIZE)
    for row in np.flatnonzero(rows.any(axis=1)).tolist():
        file.seek(start + row * PAGE_SIZE)
        file.write(rows[row].tobytes())
    file.seek(start + blocks.size)
