"""A reader of ELF64 core files for the tests: nothing of it is shared with what it judges."""

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
# struct user_regs_struct of arch/x86/include/asm/user_64.h, at pr_reg of struct elf_prstatus
REGISTERS = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
)  # fmt: skip


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
    def segments(self) -> list[Segment]:
        """The program headers, in their order."""
        start, entry, count = *struct.unpack_from("<Q", self.at(0, 64), 32), *struct.unpack("<HH", self.at(54, 4))
        table = self.at(start, entry * count)
        return [Segment(*struct.unpack_from("<IIQQQQQQ", table, entry * i)) for i in range(count)]

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
                values = struct.unpack_from(f"<{len(REGISTERS)}Q", note.data, 112)
                found[struct.unpack_from("<i", note.data, 32)[0]] = dict(zip(REGISTERS, values, strict=True))
        return found

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
