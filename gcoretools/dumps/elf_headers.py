"""The headers of an ELF file, of either class, as one table of segments."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.mapping import FileBytes, bytes_at
from gcoretools.errors import DumpError

PT_LOAD, PT_NOTE = 1, 4
ET_CORE = 4
PN_XNUM = 0xFFFF
NO_ADDRESS = {32: 0xFFFFFFFF, 64: 0xFFFFFFFFFFFFFFFF}
"""p_paddr of a segment without a physical address (fs/proc/kcore.c: vmalloc and modules)."""

SEGMENTS_LIMIT = 1 << 22
"""More segments than any dump has: makedumpfile -E begins one at each gap of 256 pages or so."""

_IDENT = struct.Struct("<4sBBB")
_TYPES = {0: "no type", 1: "an object file or module", 2: "an executable, such as a vmlinux", 3: "a shared object"}

_SEGMENT = np.dtype([(name, "<u8") for name in ("type", "offset", "paddr", "filesz", "memsz")])


@dataclass(frozen=True, slots=True)
class Class:
    """What differs between ELFCLASS32 and ELFCLASS64.

    Attributes:
        header: Elf32_Ehdr or Elf64_Ehdr behind e_ident: type, machine, version, entry, phoff, shoff, flags,
            ehsize, phentsize, phnum, shentsize, shnum, shstrndx.
        program: Elf32_Phdr or Elf64_Phdr.
        section_info: offset of sh_info in a section header, where PN_XNUM keeps the real number.
    """

    bits: int
    header: struct.Struct
    program: np.dtype[np.void]
    section_info: int


_CLASSES = {
    1: Class(
        32,
        struct.Struct("<HHIIIIIHHHHHH"),
        np.dtype([(n, "<u4") for n in ("type", "offset", "vaddr", "paddr", "filesz", "memsz", "flags", "align")]),
        28,
    ),
    2: Class(
        64,
        struct.Struct("<HHIQQQIHHHHHH"),
        np.dtype(
            [("type", "<u4"), ("flags", "<u4")]
            + [(n, "<u8") for n in ("offset", "vaddr", "paddr", "filesz", "memsz", "align")]
        ),
        44,
    ),
}


@dataclass(frozen=True, slots=True)
class Headers:
    """The program headers, and all header bytes as they stand in the file.

    Attributes:
        bits: 32 or 64.
        flags: e_flags.
        segments: rows of type, offset (file, bytes), paddr (physical, bytes), filesz and memsz (bytes).
    """

    bits: int
    flags: int
    segments: NDArray[np.void]
    raw: bytes


def read_headers(path: Path, data: FileBytes) -> Headers:
    """The headers of an ELF core. Raises DumpError when it is none, or what they say cannot be."""
    _, number, encoding, _ = _IDENT.unpack(bytes_at(data, 0, _IDENT.size, f"{path}: ELF header"))
    if encoding != 1:
        raise DumpError(f"{path}: a big-endian ELF file: only dumps of x86 machines are read")
    if number not in _CLASSES:
        raise DumpError(f"{path}: ELF class {number} cannot be: the header is damaged")
    kind = _CLASSES[number]
    header = bytes_at(data, 0, 16 + kind.header.size, f"{path}: ELF header")
    fields = kind.header.unpack_from(header, 16)
    e_type, phoff, shoff, flags, phentsize, phnum = (fields[i] for i in (0, 4, 5, 6, 8, 9))
    if e_type != ET_CORE:
        what = _TYPES.get(e_type, f"ELF type {e_type}")
        raise DumpError(f"{path}: an ELF file, but {what}, not a dump")
    if phnum == PN_XNUM:
        raw = bytes_at(data, shoff + kind.section_info, 4, f"{path}: number of segments (PN_XNUM)")
        (phnum,) = struct.unpack("<I", raw)
    if not phnum:
        raise DumpError(f"{path}: an ELF file without segments (a Xen guest's core is one), which is not read")
    if phentsize != kind.program.itemsize or phnum > SEGMENTS_LIMIT:
        raise DumpError(f"{path}: {phnum} program headers of {phentsize} bytes cannot be: the header is damaged")
    programs = bytes_at(data, phoff, phnum * phentsize, f"{path}: program headers")
    table = np.frombuffer(programs, dtype=kind.program)
    segments = np.empty(len(table), dtype=_SEGMENT)
    for name in _SEGMENT.names or ():
        segments[name] = table[name]
    return Headers(kind.bits, flags, segments, bytes(header) + bytes(programs))
