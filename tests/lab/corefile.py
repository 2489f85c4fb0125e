"""A reader of ELF core files of both classes for the tests: nothing of it is shared with what it judges."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PT_LOAD, PT_NOTE = 1, 4
NOTES = {
    1: "PRSTATUS", 2: "FPREGSET", 3: "PRPSINFO", 6: "AUXV", 0x200: "386_TLS", 0x201: "386_IOPERM",
    0x202: "X86_XSTATE", 0x204: "X86_SHSTK", 0x205: "X86_XSAVE_LAYOUT", 0x46494C45: "FILE", 0x46E62B7F: "PRXFPREG",
    0x53494749: "SIGINFO",
}  # fmt: skip
# struct user_regs_struct of arch/x86/include/asm/user_64.h
REGISTERS_64 = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
)  # fmt: skip
# struct user_regs_struct of arch/x86/include/asm/user_32.h
REGISTERS_32 = (
    "ebx", "ecx", "edx", "esi", "edi", "ebp", "eax", "ds", "es", "fs", "gs", "orig_eax", "eip", "cs", "eflags",
    "esp", "ss",
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """Where things lie in the cores of one class, in bytes.

    Attributes:
        offsets: in the ELF header, of what the class decides: e_phoff, e_flags, e_phentsize.
        segment: a program header, and the order of its fields in a Segment.
        registers: pr_reg of struct elf_prstatus, each of `word` bytes; before them pr_pid to pr_sid from `ids` on.
    """

    word: int
    offsets: dict[str, int]
    segment: str
    order: tuple[int, ...]
    ids: int
    pr_reg: int
    registers: tuple[str, ...]


# By EI_CLASS.
SHAPES = {
    1: Shape(
        4, {"phoff": 28, "flags": 36, "phentsize": 42}, "<IIIIIIII", (0, 6, 1, 2, 3, 4, 5, 7), 24, 72, REGISTERS_32
    ),
    2: Shape(
        8, {"phoff": 32, "flags": 48, "phentsize": 54}, "<IIQQQQQQ", (0, 1, 2, 3, 4, 5, 6, 7), 32, 112, REGISTERS_64
    ),
}


@dataclass(frozen=True)
class Segment:
    """One program header: offsets and sizes in bytes."""

    kind: int
    flags: int
    offset: int
    va: int
    pa: int
    filesz: int
    memsz: int
    align: int


@dataclass(frozen=True)
class Note:
    """One note with its name as the table has it, or its number."""

    owner: str
    kind: str
    data: bytes


class CoreFile:
    """One core file, read as it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size

    def at(self, offset: int, size: int) -> bytes:
        """Bytes of the file."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    @cached_property
    def shape(self) -> Shape:
        """How cores of its class are laid out."""
        return SHAPES[self.at(4, 1)[0]]

    @cached_property
    def segments(self) -> list[Segment]:
        """The program headers, in their order."""
        shape, header = self.shape, self.at(0, 64)
        entry, count = struct.unpack_from("<HH", header, shape.offsets["phentsize"])
        phoff = shape.offsets["phoff"]
        table = self.at(int.from_bytes(header[phoff : phoff + shape.word], "little"), entry * count)
        rows = (struct.unpack_from(shape.segment, table, entry * i) for i in range(count))
        return [Segment(*(row[place] for place in shape.order)) for row in rows]

    @cached_property
    def notes(self) -> list[Note]:
        """All notes, in their order."""
        (segment,) = (each for each in self.segments if each.kind == PT_NOTE)
        return list(_notes(self.at(segment.offset, segment.filesz)))

    @cached_property
    def loads(self) -> list[Segment]:
        """The PT_LOAD headers, in their order."""
        return [each for each in self.segments if each.kind == PT_LOAD]

    @cached_property
    def threads(self) -> dict[int, dict[str, int]]:
        """The general registers by pr_pid, in the order of the file."""
        found = {}
        for note in self.notes:
            if note.kind == "PRSTATUS":
                found[self.pid(note)] = dict(zip(self.shape.registers, self._registers(note), strict=True))
        return found

    def pid(self, status: Note) -> int:
        """pr_pid of an NT_PRSTATUS."""
        pid: int = struct.unpack_from("<i", status.data, self.shape.ids)[0]
        return pid

    def _registers(self, status: Note) -> tuple[int, ...]:
        letter = "Q" if self.shape.word == 8 else "I"
        return struct.unpack_from(f"<{len(self.shape.registers)}{letter}", status.data, self.shape.pr_reg)

    def read(self, va: int, size: int) -> bytes | None:
        """Memory at a virtual address, or None when the file does not hold it."""
        for load in self.loads:
            if load.va <= va and va + size <= load.va + load.filesz:
                return self.at(load.offset + va - load.va, size)
        return None


def _notes(data: bytes) -> Iterator[Note]:
    at = 0
    while at < len(data):
        namesz, descsz, kind = struct.unpack_from("<III", data, at)
        name, desc = at + 12, at + 12 + (namesz + 3 & ~3)
        yield Note(data[name : name + namesz - 1].decode(), NOTES.get(kind, str(kind)), data[desc : desc + descsz])
        at = desc + (descsz + 3 & ~3)
