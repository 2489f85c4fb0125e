"""The build ID in an ELF file, through whatever reads it (elf(5); NT_GNU_BUILD_ID of the GNU linker)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress

from gcoretools.dumps.dump import Note
from gcoretools.dumps.notes import parse_notes
from gcoretools.errors import DumpError

ELF_MAGIC = b"\x7fELF"
PT_NOTE = 4
NT_GNU_BUILD_ID = 3

# The longer of the two ELF headers, in bytes.
HEAD_SIZE = 64

# More program headers and longer notes than files of programs have: theirs is damaged.
HEADERS_LIMIT = 1 << 10
NOTES_LIMIT = 1 << 16

# By EI_CLASS: e_phoff to e_phnum (e_shoff, e_flags and e_ehsize skipped), with the offset they begin at; then
# p_type, p_offset and p_filesz.
_HEADERS = {
    1: (28, struct.Struct("<I10xHH"), struct.Struct("<II8xI12x")),
    2: (32, struct.Struct("<Q14xHH"), struct.Struct("<I4xQ16xQ16x")),
}

# `size` bytes at an offset of the file; fewer where they are not to be had.
Read = Callable[[int, int], bytes]


def build_id(read: Read) -> str | None:
    """The build ID of an ELF file in hex digits: "" when it has none, None when too little of it can be read."""
    segments = _note_segments(read)
    if segments is None:
        return None
    found = [read(offset, size) for offset, size in segments]
    for note in (note for data in found for note in _notes(data)):
        if note.owner == "GNU" and note.type == NT_GNU_BUILD_ID:
            return note.desc.hex()
    return "" if all(len(data) == size for data, (_, size) in zip(found, segments, strict=True)) else None


def is_elf(read: Read) -> bool:
    """Whether it begins as an ELF file does."""
    return read(0, len(ELF_MAGIC)) == ELF_MAGIC


def _note_segments(read: Read) -> list[tuple[int, int]] | None:
    """Offset and size of each PT_NOTE, in bytes; None when the headers cannot be read."""
    head = read(0, HEAD_SIZE)
    if len(head) < HEAD_SIZE or not head.startswith(ELF_MAGIC) or head[4] not in _HEADERS:
        return None
    at, fields, header = _HEADERS[head[4]]
    offset, entry_size, count = fields.unpack_from(head, at)
    if entry_size != header.size or count > HEADERS_LIMIT:
        return None
    table = read(offset, entry_size * count)
    if len(table) < entry_size * count:
        return None
    return [(start, min(size, NOTES_LIMIT)) for kind, start, size in header.iter_unpack(table) if kind == PT_NOTE]


def _notes(data: bytes) -> Iterator[Note]:
    """The notes of a segment, as far as they are whole."""
    with suppress(DumpError):
        yield from parse_notes(memoryview(data), "notes")
