"""Dumps written from a table of pages, to be read back: page frame number -> 4,096 bytes.

    write_elf(path, {0x100: b"A" * 4096, 0x101: b"B" * 4096}, notes=[Note("VMCOREINFO", 0, b"OSRELEASE=6.1\\n")])

Every option makes the file differ from what QEMU writes in one way that real dumps do.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from gcoretools.dumps import PAGE_SIZE, Note

Pages = Mapping[int, bytes]


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


def runs_of(pages: Pages) -> list[tuple[int, int]]:
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
    """
    loads = [
        (first << 12, b"".join(pages[pfn] for pfn in range(first, end)))
        for first, end in (runs_of(pages) if segments is None else segments)
    ]
    loads += [(pa & (1 << bits) - 1, data) for pa, data in extra]
    note = note_bytes(notes)
    rows = [(4, 0, note, 0)] + [(1, pa, data, memsz_more) for pa, data in loads]
    phoff, phsize = (64, 56) if bits == 64 else (52, 32)
    section = phoff + phsize * len(rows)
    at = section + (64 if xnum else 0)
    table, body = b"", b""
    for kind, pa, data, more in rows:
        body += bytes(pad)
        table += _program_header(bits, kind, at + len(body), pa, len(data), len(data) + more)
        body += data
    head = _elf_header(bits, phoff, section if xnum else 0, phsize, 0xFFFF if xnum else len(rows))
    sections = (
        struct.pack("<7I", 0, 0, 0, 0, 0, 0, 0) + struct.pack("<I", len(rows))
        if bits == 32
        else bytes(44) + struct.pack("<I", len(rows))
    )
    path.write_bytes(head + table + (sections.ljust(64, b"\0") if xnum else b"") + body)
    return path


def _elf_header(bits: int, phoff: int, shoff: int, phsize: int, phnum: int) -> bytes:
    ident = b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9)
    layout, machine = ("<HHIQQQIHHHHHH", 62) if bits == 64 else ("<HHIIIIIHHHHHH", 3)
    return ident + struct.pack(layout, 4, machine, 1, 0, phoff, shoff, 0, phoff, phsize, phnum, 0, bool(shoff), 0)


def _program_header(bits: int, kind: int, offset: int, pa: int, filesz: int, memsz: int) -> bytes:
    if bits == 64:
        return struct.pack("<IIQQQQQQ", kind, 0, offset, 0, pa, filesz, memsz, 0)
    return struct.pack("<IIIIIIII", kind, offset, 0, pa, filesz, memsz, 0, 0)
