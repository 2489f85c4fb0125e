"""ELF files of programs for tests: a header, program headers and the notes that they name."""

from __future__ import annotations

import struct


def note(owner: bytes, kind: int, desc: bytes) -> bytes:
    """A note as it stands in a file."""
    parts = (each.ljust(len(each) + 3 & ~3, b"\0") for each in (owner, desc))
    return struct.pack("<III", len(owner), len(desc), kind) + b"".join(parts)


def elf(*segments: bytes, bits: int = 64, kind: int = 4) -> bytes:
    """An ELF file with program headers and what they name."""
    if bits == 64:
        head, entry = struct.Struct("<4sB27xQ14xHH6x"), "<I4xQ16xQ16x"
    else:
        head, entry = struct.Struct("<4sB23xI10xHH6x"), "<II8xI12x"
    at = head.size + len(segments) * struct.calcsize(entry)
    headers = b""
    for segment in segments:
        headers += struct.pack(entry, kind, at, len(segment))
        at += len(segment)
    start = head.pack(b"\x7fELF", bits // 32, head.size, struct.calcsize(entry), len(segments))
    return (start + headers + b"".join(segments)).ljust(4096, b"\0")
