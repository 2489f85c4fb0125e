"""How a core file is laid out: segments out of mappings and extents, headers, notes, data (elf_core_dump)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gcoretools.dumps.dump import PAGE_SIZE
from gcoretools.errors import OutputError
from gcoretools.kernel.vma import VM_EXEC, VM_READ, VM_WRITE
from gcoretools.records import Extent, Vma

PT_LOAD, PT_NOTE = 1, 4
ET_CORE = 4

# More program headers than e_phnum can hold: their number is then in the one section header.
PN_XNUM = 0xFFFF

# The longest file that the kernel writes (MAX_LFS_FILESIZE of include/linux/fs.h), in bytes.
FILE_LIMIT = (1 << 63) - 1

# ELF64 header, program header and section header, little-endian.
EHDR = struct.Struct("<4sBBBB8xHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")
SHDR = struct.Struct("<IIQQQQIIQQ")

# p_flags by what vm_flags allow.
PERMISSIONS = ((VM_READ, 4), (VM_WRITE, 2), (VM_EXEC, 1))


@dataclass(frozen=True, slots=True)
class Segment:
    """A PT_LOAD: address, bytes in the file, bytes in memory, p_flags."""

    start: int
    file_size: int
    size: int
    flags: int


def core_order(vmas: Sequence[Vma], by_size: bool) -> list[Vma]:
    """The mappings in the order of their segments: by address, or by size where this kernel sorts them."""
    return sorted(vmas, key=lambda vma: vma.dump_size) if by_size else list(vmas)


def segments(vma: Vma, extents: Iterable[Extent]) -> list[Segment]:
    """The segments of one mapping.

    One, as the kernel writes it, when nothing is missing. A gap has no bytes in the file: the segment that
    it stands in ends there in the file (p_filesz < p_memsz), and what follows the gap begins a new one.
    """
    flags = sum(p for vm, p in PERMISSIONS if vma.flags & vm)
    found = []
    start = end = file_end = vma.start
    for extent in extents:
        if extent.what != "gap":
            if file_end < end:
                found.append(Segment(start, file_end - start, end - start, flags))
                start = extent.start
            file_end = extent.start + extent.size
        end = extent.start + extent.size
    last = vma.start + vma.size
    return [*found, Segment(start, max(file_end - start, 0), last - start, flags)]


def headers(loads: Sequence[Segment], note_size: int, note_align: int, machine: int) -> bytes:
    """ELF header and program headers; the notes follow at once, the data at the next page.

    Args:
        note_size: bytes of all notes.
        note_align: p_align of PT_NOTE.
        machine: e_machine.
    Raises OutputError when the segments come to more than a file can hold.
    """
    count = len(loads) + 1
    notes_at = EHDR.size + count * PHDR.size
    at = data_offset(len(loads), note_size)
    rows = [PHDR.pack(PT_NOTE, 0, notes_at, 0, 0, note_size, 0, note_align)]
    for load in loads:
        rows.append(PHDR.pack(PT_LOAD, load.flags, at, load.start, 0, load.file_size, load.size, PAGE_SIZE))
        at += load.file_size
        if at > FILE_LIMIT:
            raise OutputError(f"the core would have more than {FILE_LIMIT} bytes: the mappings are damaged")
    extended = count >= PN_XNUM
    header = EHDR.pack(
        *(b"\x7fELF", 2, 1, 1, 0),
        *(ET_CORE, machine, 1, 0, EHDR.size, at if extended else 0, 0),
        *(EHDR.size, PHDR.size, min(count, PN_XNUM)),
        *((SHDR.size, 1, 0) if extended else (0, 0, 0)),
    )
    return header + b"".join(rows)


def trailer(loads: Sequence[Segment]) -> bytes:
    """What follows the data: the section header that counts segments, when there are too many for e_phnum."""
    count = len(loads) + 1
    return SHDR.pack(0, 0, 0, 0, 0, 1, 0, count, 0, 0) if count >= PN_XNUM else b""


def data_offset(loads: int, note_size: int) -> int:
    """Where the data begins in the file, in bytes."""
    end = EHDR.size + (loads + 1) * PHDR.size + note_size
    return -(-end // PAGE_SIZE) * PAGE_SIZE
