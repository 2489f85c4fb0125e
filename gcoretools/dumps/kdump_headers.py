"""The headers of a kdump-compressed dump: disk_dump_header and kdump_sub_header (makedumpfile, diskdump_mod.h)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from gcoretools.dumps.dump import PAGE_SIZE
from gcoretools.dumps.mapping import FileBytes, bytes_at
from gcoretools.errors import DumpError

KDUMP, DISKDUMP = b"KDUMP   ", b"DISKDUMP"

INCOMPLETE = 0x8
"""disk_dump_header.status of makedumpfile: it ran out of space. (In a diskdump the bit means compressed.)"""

_MACHINE = slice(8 + 4 + 4 * 65, 8 + 4 + 5 * 65)

_MAIN = ("status", "block_size", "sub_hdr_size", "bitmap_blocks", "max_mapnr")

_SUB = (
    ("phys_base", 0),
    ("dump_level", 1),
    ("split", 2),
    ("start_pfn", 2),
    ("end_pfn", 2),
    ("offset_vmcoreinfo", 3),
    ("size_vmcoreinfo", 3),
    ("offset_note", 4),
    ("size_note", 4),
    ("offset_eraseinfo", 5),
    ("size_eraseinfo", 5),
    ("start_pfn_64", 6),
    ("end_pfn_64", 6),
    ("max_mapnr_64", 6),
)
"""Fields of kdump_sub_header, and the header_version that brought each."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The dumped machine's word size decides where the fields stand.

    Attributes:
        status: offset of disk_dump_header.status, behind utsname and a struct timeval.
        sub: kdump_sub_header; i386 aligns its 64-bit fields to 4 bytes.
    """

    bits: int
    status: int
    sub: struct.Struct


MACHINES = (
    Machine(64, 424, struct.Struct("<QIIQQ QQQQQQ QQQ")),
    Machine(32, 412, struct.Struct("<IIIII QIQIQI QQQ")),
)


@dataclass(frozen=True, slots=True)
class Headers:
    """What the headers say; sizes in bytes, offsets in the file.

    Attributes:
        status: compression of the pages, and other flags.
        dump_level: makedumpfile's -d; QEMU writes 1 and leaves nothing out.
        bitmap: offset of the bitmaps; `bitmap_size` is that of one.
        two_bitmaps: whether the second, of the pages that are in the dump, follows the first, of those that exist.
        descriptors: offset of the page descriptors.
        max_mapnr: number of page frames.
        first, end: the page frames whose descriptors are in this file: all, but in one part of a split dump.
        incomplete: its writer ran out of space: the descriptors of what is missing are zero.
        notes, vmcoreinfo: (offset, size).
        raw: the header bytes themselves.
    """

    version: int
    status: int
    dump_level: int
    bitmap: int
    bitmap_size: int
    two_bitmaps: bool
    descriptors: int
    max_mapnr: int
    first: int
    end: int
    split: bool
    incomplete: bool
    notes: tuple[int, int]
    vmcoreinfo: tuple[int, int]
    raw: bytes


def read_headers(path: Path, data: FileBytes) -> Headers:
    """The headers. Raises DumpError when they cannot be."""
    first = bytes_at(data, 0, PAGE_SIZE, f"{path}: header")
    signature = bytes(first[:8])
    (version,) = struct.unpack_from("<i", first, 8)
    machine, main = _main_header(path, first)
    sub = dict.fromkeys((name for name, _ in _SUB), 0)
    sub_bytes = b""
    if signature == KDUMP:
        sub_bytes = bytes(bytes_at(data, PAGE_SIZE, machine.sub.size, f"{path}: sub-header"))
        values = machine.sub.unpack(sub_bytes)
        sub |= {name: value for (name, since), value in zip(_SUB, values, strict=True) if version >= since}
    raw = bytes(first[: machine.status + 64]) + sub_bytes
    incomplete = signature == KDUMP and bool(main["status"] & INCOMPLETE)
    return _arranged(path, version, main, sub, raw, incomplete)


def _arranged(
    path: Path, version: int, main: dict[str, int], sub: dict[str, int], raw: bytes, incomplete: bool
) -> Headers:
    """The headers with the places of what follows them worked out."""
    max_mapnr = sub["max_mapnr_64"] if version >= 6 else main["max_mapnr"]
    blocks = main["bitmap_blocks"]
    if max_mapnr > blocks * PAGE_SIZE * 8:
        raise DumpError(f"{path}: a bitmap of {blocks} blocks cannot hold {max_mapnr} pages: the header is damaged")
    two = blocks % 2 == 0 and max_mapnr <= blocks // 2 * PAGE_SIZE * 8
    bitmap = (1 + main["sub_hdr_size"]) * PAGE_SIZE
    first, end = _part(sub, version, max_mapnr)
    return Headers(
        version=version,
        status=main["status"],
        dump_level=sub["dump_level"],
        bitmap=bitmap,
        bitmap_size=blocks // (2 if two else 1) * PAGE_SIZE,
        two_bitmaps=two,
        descriptors=bitmap + blocks * PAGE_SIZE,
        max_mapnr=max_mapnr,
        first=first,
        end=end,
        split=bool(sub["split"]),
        incomplete=incomplete,
        notes=(sub["offset_note"], sub["size_note"]),
        vmcoreinfo=(sub["offset_vmcoreinfo"], sub["size_vmcoreinfo"]),
        raw=raw,
    )


def _part(sub: dict[str, int], version: int, max_mapnr: int) -> tuple[int, int]:
    """The page frames, end exclusive, whose data is in this file."""
    if not sub["split"]:
        return 0, max_mapnr
    wide = "_64" if version >= 6 else ""
    end = min(sub[f"end_pfn{wide}"], max_mapnr)
    return min(sub[f"start_pfn{wide}"], end), end


def _main_header(path: Path, first: memoryview) -> tuple[Machine, dict[str, int]]:
    """The word size of the dumped machine, which no field tells, and the main header read by it."""
    name = bytes(first[_MACHINE]).split(b"\0", 1)[0]
    order = MACHINES if b"64" in name or not name else MACHINES[::-1]
    headers = [(m, dict(zip(_MAIN, struct.unpack_from("<5I", first, m.status), strict=True))) for m in order]
    for machine, main in headers:
        if main["block_size"] == PAGE_SIZE and main["bitmap_blocks"]:
            return machine, main
    size = headers[0][1]["block_size"]
    raise DumpError(
        f"{path}: pages of {size} bytes: only x86 dumps, with 4096, are read (or the header is damaged)"
    )
