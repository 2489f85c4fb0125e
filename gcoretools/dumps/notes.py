"""ELF notes: what a dump says about itself and its CPUs."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from gcoretools.dumps.dump import Dump, Note
from gcoretools.dumps.mapping import FileBytes, bytes_at
from gcoretools.errors import DumpError

NOTES_LIMIT = 64 << 20
"""More bytes of notes than any machine writes (8,192 CPUs write some 10 MiB): beyond it the header lies."""

VMCOREINFO = "VMCOREINFO"

_HEADER = struct.Struct("<III")


def parse_notes(data: memoryview, where: str) -> Iterator[Note]:
    """The notes in a PT_NOTE segment, or in the notes of a kdump sub-header, in their order.

    Args:
        data: the segment (Elf32_Nhdr and Elf64_Nhdr are the same; names and payloads are padded to 4 bytes).
        where: how an error names the place, such as "vmcore: notes".

    An all-zero header ends the segment: the kernel clears the per-CPU buffers before it fills them
    (kernel/crash_core.c, final_note). Raises DumpError for a note that is cut.
    """
    position = 0
    while position + _HEADER.size <= len(data):
        name_size, desc_size, kind = _HEADER.unpack_from(data, position)
        if not (name_size or desc_size or kind):
            return
        name_at = position + _HEADER.size
        desc_at = name_at + _padded(name_size)
        end = desc_at + desc_size
        if end > len(data):
            missing = end - len(data)
            raise DumpError(f"{where}: the note at offset {position:#x} is cut: {missing} bytes are missing")
        owner = bytes(data[name_at : name_at + name_size]).split(b"\0", 1)[0].decode("latin-1")
        yield Note(owner, kind, bytes(data[desc_at:end]))
        position = desc_at + _padded(desc_size)


def note_bytes(note: Note) -> bytes:
    """A note as it stands in a segment: header, owner and payload, each padded to 4 bytes."""
    owner = note.owner.encode("latin-1") + b"\0"
    head = _HEADER.pack(len(owner), len(note.desc), note.type)
    return b"".join(part.ljust(_padded(len(part)), b"\0") for part in (head, owner, note.desc))


def bounded(data: FileBytes, offset: int, size: int, where: str) -> memoryview:
    """`size` bytes of notes at `offset` of the file. Raises DumpError when that cannot be, or the file is cut."""
    if size > NOTES_LIMIT:
        raise DumpError(f"{where}: {size} bytes of notes cannot be: the header is damaged")
    return bytes_at(data, offset, size, where)


def joined(notes: Iterable[Note]) -> bytes:
    """The notes as one string, for a fingerprint."""
    return b"".join(b"%s\0%d\0%s" % (note.owner.encode(), note.type, note.desc) for note in notes)


def vmcoreinfo_note(dump: Dump) -> bytes | None:
    """The text of the VMCOREINFO note, "KEY=value" lines (kernel/crash_core.c), or None when there is none.

    Zero bytes behind the text are left out: QEMU copies what the guest declared, which can be a whole page.
    """
    for note in dump.notes:
        if note.owner == VMCOREINFO and note.type == 0:
            return note.desc.split(b"\0", 1)[0]
    return None


def _padded(size: int) -> int:
    return size + 3 & ~3
