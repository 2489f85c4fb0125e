"""Dumps written from a table of pages, to be read back: page frame number -> 4,096 bytes.

    write_elf(path, {0x100: b"A" * 4096, 0x101: b"B" * 4096}, notes=[Note("VMCOREINFO", 0, b"OSRELEASE=6.1\\n")])
    write_kdump(path, {pfn: numbered(pfn) for pfn in range(0x100, 0x180)}, level=31, excluded=[0x200])
    flatten(path, flattened)

Every option makes the file differ from what QEMU writes in one way that real dumps do.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import cramjam
import lzallright

from gcoretools.dumps import PAGE_SIZE, Note

Pages = Mapping[int, bytes]


COMPRESSORS: dict[int, Callable[[bytes], bytes]] = {
    0x01: lambda page: zlib.compress(page, 1),
    0x02: lambda page: lzallright.LZOCompressor().compress(page),
    0x04: lambda page: bytes(cramjam.snappy.compress_raw(page)),
    0x20: lambda page: bytes(cramjam.zstd.compress(page, 1)),
}


def numbered(pfn: int) -> bytes:
    """A page that spells its own page frame number."""
    return (b"pfn %#011x\n" % pfn * (PAGE_SIZE // 15 + 1))[:PAGE_SIZE]


def note_bytes(notes: Iterable[Note]) -> bytes:
    """Notes as they stand in a PT_NOTE segment."""
    out = b""
    for note in notes:
        name = note.owner.encode() + b"\0"
        out += struct.pack("<III", len(name), len(note.desc), note.type)
        for part in (name, note.desc):
            out += part + bytes(-len(part) % 4)
    return out


def runs_of(pages: Iterable[int]) -> list[tuple[int, int]]:
    """(first pfn, end pfn) of each contiguous run, ascending."""
    runs: list[tuple[int, int]] = []
    for pfn in sorted(pages):
        if runs and runs[-1][1] == pfn:
            runs[-1] = (runs[-1][0], pfn + 1)
        else:
            runs.append((pfn, pfn + 1))
    return runs


def write_elf(
    path: Path,
    pages: Pages,
    notes: Iterable[Note] = (),
    *,
    bits: int = 64,
    pad: int = 0,
    segments: list[tuple[int, int]] | None = None,
    memsz_more: int = 0,
    extra: Iterable[tuple[int, bytes]] = (),
    xnum: bool = False,
    flags: int = 0,
) -> Path:
    """Writes an ELF dump.

    Args:
        path: the file to write; it is returned.
        pages: what to write, pfn -> 4,096 bytes.
        notes: the one PT_NOTE segment, which stands first.
        bits: 32 or 64, the ELF class.
        pad: bytes put before each segment's data, so that p_offset is not a multiple of the page size.
        segments: (first pfn, end pfn) of each PT_LOAD in file order; by default one per run, ascending.
        memsz_more: what p_memsz has beyond p_filesz (bytes).
        extra: further segments, (physical address in bytes, data), written behind the others; data need not be
            whole pages, and the address may be -1.
        xnum: writes the number of segments the PN_XNUM way.
        flags: e_flags.
    """
    loads = [
        (first << 12, b"".join(pages[pfn] for pfn in range(first, end)))
        for first, end in (runs_of(pages) if segments is None else segments)
    ]
    loads += [(pa & (1 << bits) - 1, data) for pa, data in extra]
    rows = [(4, 0, note_bytes(notes), 0)] + [(1, pa, data, memsz_more) for pa, data in loads]
    phoff, phsize = (64, 56) if bits == 64 else (52, 32)
    section = phoff + phsize * len(rows)
    sections = (bytes(44 if bits == 64 else 28) + struct.pack("<I", len(rows))).ljust(64, b"\0") if xnum else b""
    table, body = b"", bytearray()
    for kind, pa, data, more in rows:
        body += bytes(pad)
        offset = section + len(sections) + len(body)
        table += _program_header(bits, kind, offset, pa, len(data), len(data) + more)
        body += data
    head = _elf_header(bits, phoff, section if xnum else 0, phsize, 0xFFFF if xnum else len(rows), flags)
    path.write_bytes(head + table + sections + body)
    return path


def _elf_header(bits: int, phoff: int, shoff: int, phsize: int, phnum: int, flags: int) -> bytes:
    ident = b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9)
    layout, machine = ("<HHIQQQIHHHHHH", 62) if bits == 64 else ("<HHIIIIIHHHHHH", 3)
    return ident + struct.pack(
        layout, 4, machine, 1, 0, phoff, shoff, flags, phoff, phsize, phnum, 0, bool(shoff), 0
    )


def _program_header(bits: int, kind: int, offset: int, pa: int, filesz: int, memsz: int) -> bytes:
    if bits == 64:
        return struct.pack("<IIQQQQQQ", kind, 0, offset, 0, pa, filesz, memsz, 0)
    return struct.pack("<IIIIIIII", kind, offset, 0, pa, filesz, memsz, 0, 0)


def write_kdump(
    path: Path,
    pages: Pages,
    notes: Iterable[Note] = (),
    *,
    version: int = 6,
    bits: int = 64,
    level: int = 0,
    excluded: Iterable[int] = (),
    compressed: bool = True,
    flags: int = 0x1,
    lost: Iterable[int] = (),
    status: int | None = None,
    split: tuple[int, int] | None = None,
    vmcoreinfo: bytes = b"",
    signature: bytes = b"KDUMP   ",
    block_size: int = PAGE_SIZE,
    shuffle: int | None = None,
) -> Path:
    """Writes a kdump-compressed dump.

    Args:
        path: the file to write; it is returned.
        pages: what to write, pfn -> 4,096 bytes.
        notes: the notes of the sub-header (version 4 and up).
        version: header_version, 1 to 6; what a version does not have is written as garbage where it would stand.
        bits: 64 (x86_64) or 32 (i386), the word size of the headers.
        level: makedumpfile's -d. With bit 1 all zero pages have one and the same data.
        excluded: page frame numbers that the machine had and the dump has not.
        compressed: zlib where it makes a page smaller; otherwise pages are written as they are.
        flags: what a compressed page's descriptor says, and how it is compressed (zlib where no such way is).
        lost: page frame numbers whose descriptors are zero, as an incomplete dump has them.
        status: the header's status; by default what `compressed` and `flags` come to.
        split: (first pfn, end pfn) of a part of a split dump: all of the bitmap, but only its own descriptors.
        vmcoreinfo: its text, which only the sub-header then tells of (version 3 and up).
        signature: b"KDUMP   " or b"DISKDUMP".
        block_size: what the header says.
        shuffle: a seed: the data of the pages is written in random order.
    """
    top = max([*pages, *excluded], default=0) + 1
    bitmap_size = -(-top // (8 * PAGE_SIZE)) * PAGE_SIZE
    raw_notes = note_bytes(notes)
    behind = PAGE_SIZE + 512
    sub_blocks = -(-(512 + len(raw_notes) + len(vmcoreinfo)) // PAGE_SIZE)
    values = [
        0,
        level,
        bool(split),
        *(split or (0, 0)),
        behind + len(raw_notes) if vmcoreinfo else 0,
        len(vmcoreinfo),
    ]
    values += [behind if raw_notes else 0, len(raw_notes), 0, 0, *(split or (0, 0)), top]
    since = (0, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 6)
    known = [value if version >= need else 0x5A5A5A5A for value, need in zip(values, since, strict=True)]
    sub = struct.pack("<QIIQQQQQQQQQQQ" if bits == 64 else "<IIIIIQIQIQIQQQ", *known)
    if status is None:
        status = flags if compressed else 0
    numbers = struct.pack("<10I", status, block_size, sub_blocks, 2 * bitmap_size // PAGE_SIZE, top, 0, 0, 0, 0, 1)
    machine = b"x86_64" if bits == 64 else b"i686"
    names = b"".join(name.ljust(65, b"\0") for name in (b"Linux", b"host", b"6.1.0", b"#1", machine, b""))
    main = (signature + struct.pack("<i", version) + names).ljust(424 if bits == 64 else 412, b"\0") + numbers
    bitmaps = _bitmap([*pages, *excluded], bitmap_size) + _bitmap(pages, bitmap_size)
    head = main.ljust(PAGE_SIZE, b"\0") + (sub.ljust(512, b"\0") + raw_notes + vmcoreinfo).ljust(
        sub_blocks * PAGE_SIZE, b"\0"
    )
    mine = {pfn: page for pfn, page in pages.items() if not split or split[0] <= pfn < split[1]}
    table, body = _page_data(mine, len(head) + len(bitmaps), flags if compressed else 0, level, shuffle)
    for pfn in lost:
        at = 24 * sorted(mine).index(pfn)
        table = table[:at] + bytes(24) + table[at + 24 :]
    path.write_bytes(head + bitmaps + table + body)
    return path


def _bitmap(pfns: Iterable[int], size: int) -> bytes:
    bits = bytearray(size)
    for pfn in pfns:
        bits[pfn // 8] |= 1 << pfn % 8
    return bytes(bits)


def _page_data(pages: Pages, offset: int, flags: int, level: int, shuffle: int | None) -> tuple[bytes, bytes]:
    """The descriptors, by page frame number, and the data of the pages, in any order."""
    order = sorted(pages)
    if shuffle is not None:
        random.Random(shuffle).shuffle(order)
    start = offset + 24 * len(order)
    rows: dict[int, bytes] = {}
    body = bytearray()
    zero: bytes | None = None
    for pfn in order:
        page = pages[pfn]
        if level & 1 and not any(page) and zero is not None:
            rows[pfn] = zero
            continue
        small = COMPRESSORS.get(flags, COMPRESSORS[1])(page) if flags else page
        stored, how = (small, flags) if len(small) < PAGE_SIZE else (page, 0)
        rows[pfn] = struct.pack("<QIIQ", start + len(body), len(stored), how, 0)
        if not any(page):
            zero = rows[pfn]
        body += stored
    return b"".join(rows[pfn] for pfn in sorted(pages)), bytes(body)


def flatten(source: Path, path: Path, *, piece: int = 5000, shuffle: int | None = None, rewritten: int = 0) -> Path:
    """Writes a file the way makedumpfile -F does.

    Args:
        source: the file whose bytes are written.
        path: the flattened file; it is returned.
        piece: bytes in each piece.
        shuffle: a seed: the pieces come in random order.
        rewritten: so many bytes at the beginning are first written as garbage and at the end as they are.
    """
    data = source.read_bytes()
    pieces = [(at, data[at : at + piece]) for at in range(0, len(data), piece)]
    if shuffle is not None:
        random.Random(shuffle).shuffle(pieces)
    if rewritten:
        pieces = [(at, b"\xa5" * len(part) if at < rewritten else part) for at, part in pieces]
        pieces.append((0, data[: rewritten + piece]))
    header = (b"makedumpfile".ljust(16, b"\0") + struct.pack(">qq", 1, 1)).ljust(PAGE_SIZE, b"\0")
    body = b"".join(struct.pack(">qq", at, len(part)) + part for at, part in pieces)
    path.write_bytes(header + body + struct.pack(">qq", -1, -1))
    return path


def write_lime(path: Path, pages: Pages, *, step: int = 1 << 30) -> Path:
    """Writes a LiME image, a range for each run of pages, of at most `step` bytes."""
    path.write_bytes(b"".join(_range(b"EMiL", 1, first, data) + data for first, data in _ranges(pages, step)))
    return path


def write_avml(path: Path, pages: Pages, *, block: int = 16 << 20, zeros: bool = False) -> Path:
    """Writes a compressed AVML image, a block for each run of pages, of at most `block` bytes (`zeros`, too)."""
    with path.open("wb") as out:
        for first, data in _ranges(pages, block):
            if zeros or any(data):
                stream = bytes(cramjam.snappy.compress(data))
                out.write(_range(b"AVML", 2, first, data) + stream + struct.pack("<Q", len(stream)))
    return path


def write_raw(path: Path, pages: Pages) -> Path:
    """Writes memory as it is, from address 0 to the last page, and 1 MiB at least."""
    with path.open("wb") as out:
        out.truncate(max(max(pages, default=0) + 1 << 12, 1 << 20))
        for pfn, page in pages.items():
            out.seek(pfn << 12)
            out.write(page)
    return path


def _ranges(pages: Pages, step: int) -> Iterator[tuple[int, bytes]]:
    """Physical address and bytes of each run of pages, cut into pieces of `step` bytes."""
    for first, end in runs_of(pages):
        for at in range(first, end, step >> 12):
            here = range(at, min(at + (step >> 12), end))
            yield at << 12, b"".join(pages[pfn] for pfn in here)


def _range(magic: bytes, version: int, first: int, data: bytes) -> bytes:
    return struct.pack("<4sIQQQ", magic, version, first, first + len(data) - 1, 0)
