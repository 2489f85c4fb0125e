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


@dataclass(frozen=True, slots=True)
class ElfClass:
    """A class of ELF files, little-endian.

    Attributes:
        number: EI_CLASS.
        bits: of an address.
        file_limit: the longest file whose offsets it can say, or that the kernel writes; in bytes.
        ehdr, phdr, shdr: ELF header, program header, section header.
        phdr_order: where each field of a program header stands among type, flags, offset, vaddr, paddr, filesz,
            memsz, align.
    """

    number: int
    bits: int
    file_limit: int
    ehdr: struct.Struct
    phdr: struct.Struct
    shdr: struct.Struct
    phdr_order: tuple[int, ...]

    def program_header(self, *fields: int) -> bytes:
        """A program header out of its fields in the order of ELF64."""
        return self.phdr.pack(*(fields[i] for i in self.phdr_order))


# MAX_LFS_FILESIZE of include/linux/fs.h limits the one, e_phoff and p_offset the other.
ELF64 = ElfClass(
    number=2,
    bits=64,
    file_limit=(1 << 63) - 1,
    ehdr=struct.Struct("<4sBBBB8xHHIQQQIHHHHHH"),
    phdr=struct.Struct("<IIQQQQQQ"),
    shdr=struct.Struct("<IIQQQQIIQQ"),
    phdr_order=(0, 1, 2, 3, 4, 5, 6, 7),
)
ELF32 = ElfClass(
    number=1,
    bits=32,
    file_limit=(1 << 32) - 1,
    ehdr=struct.Struct("<4sBBBB8xHHIIIIIHHHHHH"),
    phdr=struct.Struct("<IIIIIIII"),
    shdr=struct.Struct("<IIIIIIIIII"),
    phdr_order=(0, 2, 3, 4, 5, 6, 1, 7),
)
CLASSES = {each.bits: each for each in (ELF64, ELF32)}

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

    One, as the kernel writes it, when nothing is missing: what the filter left out is in memory, not in the file
    (p_filesz < p_memsz). A gap is in neither, for gdb shows zeros where a segment has no bytes in the file: the
    segment ends before it, and what follows begins a new one.
    """
    flags = sum(p for vm, p in PERMISSIONS if vma.flags & vm)
    rows: list[list[int]] = []
    end, top = vma.start, vma.start + vma.size
    for extent in extents:
        end = extent.start + extent.size
        if extent.what != "gap":
            _reach(rows, extent.start, end)
            rows[-1][1] = end
    if end < top:
        _reach(rows, end, top)
    return [Segment(start, stored - start, to - start, flags) for start, stored, to in rows or [[vma.start] * 3]]


def _reach(rows: list[list[int]], start: int, end: int) -> None:
    """Let [start, end) be in memory: in the last of the rows (start, end in the file, end) or in one of its own."""
    if not rows or rows[-1][2] < start:
        rows.append([start, start, start])
    rows[-1][2] = end


def headers(
    loads: Sequence[Segment], note_size: int, note_align: int, machine: int, form: ElfClass = ELF64
) -> bytes:
    """ELF header and program headers; the notes follow at once, the data at the next page.

    Args:
        note_size: bytes of all notes.
        note_align: p_align of PT_NOTE.
        machine: e_machine.
    Raises OutputError when the segments come to more than a file of that class can hold.
    """
    count = len(loads) + 1
    notes_at = form.ehdr.size + count * form.phdr.size
    at = data_offset(len(loads), note_size, form)
    rows = [form.program_header(PT_NOTE, 0, notes_at, 0, 0, note_size, 0, note_align)]
    for load in loads:
        _check(load, at, form)
        row = (PT_LOAD, load.flags, at, load.start, 0, load.file_size, load.size, PAGE_SIZE)
        rows.append(form.program_header(*row))
        at += load.file_size
    extended = count >= PN_XNUM
    header = form.ehdr.pack(
        *(b"\x7fELF", form.number, 1, 1, 0),
        *(ET_CORE, machine, 1, 0, form.ehdr.size, at if extended else 0, 0),
        *(form.ehdr.size, form.phdr.size, min(count, PN_XNUM)),
        *((form.shdr.size, 1, 0) if extended else (0, 0, 0)),
    )
    return header + b"".join(rows)


def _check(load: Segment, at: int, form: ElfClass) -> None:
    if at + load.file_size > form.file_limit:
        raise OutputError(f"the core would have more than {form.file_limit} bytes: the mappings are damaged")
    if load.start >= 1 << form.bits or load.size >= 1 << form.bits:
        raise OutputError(f"the mapping at {load.start:#x} is beyond {form.bits} bits: it is damaged")


def trailer(loads: Sequence[Segment], form: ElfClass = ELF64) -> bytes:
    """What follows the data: the section header that counts segments, when there are too many for e_phnum."""
    count = len(loads) + 1
    return form.shdr.pack(0, 0, 0, 0, 0, 1, 0, count, 0, 0) if count >= PN_XNUM else b""


def data_offset(loads: int, note_size: int, form: ElfClass = ELF64) -> int:
    """Where the data begins in the file, in bytes."""
    end = form.ehdr.size + (loads + 1) * form.phdr.size + note_size
    return -(-end // PAGE_SIZE) * PAGE_SIZE
