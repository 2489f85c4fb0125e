"""A 32-bit kernel's memory, word by word: as much of it as tests need, all of it in its direct map."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gcoretools.arch import i386
from gcoretools.dumps import PAGE_SIZE, Note, open_dump
from gcoretools.kernel.image import Image
from gcoretools.kernel.pt_regs import pt_regs
from gcoretools.kernel.registers import Registers, ThreadRegisters
from gcoretools.layout.layout import Kernel, Layout, Member
from tests.fake_memory import FakeMemory, FakeTables
from tests.written_dumps import write_elf
from tests.written_streams import thread

PAGE_OFFSET = 0xC0000000
STACK_SIZE = 8192
USER_CS, KERNEL_CS = 0x73, 0x60
NO_CALL = 0xFFFFFFFF

MEMBERS = {
    "task_struct.tasks": Member(4, 8),
    "task_struct.pid": Member(16, 4, True),
    "task_struct.thread.fs": Member(24, 4),
    "task_struct.thread.gs": Member(32, 4),
    "task_struct.thread.sp0": Member(40, 4),
    "mm_struct.mmap": Member(0, 4),
    "mm_struct.context.vdso": Member(4, 4),
    "vm_area_struct.vm_start": Member(4, 4),
    "tss_struct.x86_tss.sp0": Member(4, 4),
    "pt_regs.fs": Member(36, 4),
    "pt_regs.gs": Member(40, 4),
    "task_struct.flags": Member(44, 4),
    "task_struct.mm": Member(0, 4),
    "task_struct.last_siginfo": Member(20, 4),
    "task_struct.thread.i387": Member(48, 512),
    "cpuinfo_x86.x86_capability": Member(4, 80),
    "maple_tree.ma_root": Member(8, 4),
    "maple_range_64.pivot": Member(4, 4 * 31),
    "maple_range_64.slot": Member(128, 4 * 32),
}


@dataclass
class Machine32:
    """The memory of a 32-bit kernel, all of it in its direct map.

    Attributes:
        levels: of its page tables, 2 or 3.
        lacking: members that its types do not have.
    """

    levels: int = 3
    lacking: frozenset[str] = frozenset()
    notes: list[Note] = field(default_factory=list)
    symbols: dict[str, int] = field(default_factory=dict)
    memory: FakeMemory = field(default_factory=FakeMemory)

    def __post_init__(self) -> None:
        self.memory.alloc(32)
        self.tables = FakeTables(self.memory, i386.paging(self.levels, inverted=False))

    def store(self, data: bytes, align: int = 16) -> int:
        """The virtual address of these bytes."""
        pa = self.memory.alloc(len(data), align)
        self.memory.write(pa, data)
        return PAGE_OFFSET + pa

    def words(self, *words: int, align: int = 16) -> int:
        """The virtual address of these words of 4 bytes."""
        return self.store(struct.pack(f"<{len(words)}I", *words), align)

    def dump(self, path: Path) -> Path:
        step = self.tables.paging.levels[-2].shift
        for pa in range(0, self.memory.top + PAGE_SIZE, 1 << step):
            self.tables.map(PAGE_OFFSET + pa, pa >> 12, shift=step)
        return write_elf(path, self.memory.pages(), self.notes)

    def image(self, folder: Path) -> Image:
        members = {name: member for name, member in MEMBERS.items() if name not in self.lacking}
        layout = Layout(members, {"thread_union": STACK_SIZE}, {}, self.symbols)
        kernel = Kernel("9.9", "", "i386", self.levels, self.tables.root, 0, 0, "made up", "made up", layout)
        return Image(open_dump(self.dump(folder / "vmcore")), kernel)


def registers(machine: Machine32, saved: dict[str, int], folder: Path, mm: int = 0, **options: Any) -> Registers:
    """What is recovered of a thread whose pt_regs, 16 bytes below its stack's end, has these registers."""
    kept = [name for name in i386.PT_REGS if f"pt_regs.{name}" not in machine.lacking]
    stack = options.setdefault("stack", machine.store(bytes(STACK_SIZE), PAGE_SIZE))
    top = stack + STACK_SIZE - 16
    data = struct.pack(f"<{len(kept)}I", *(saved[name] for name in kept))
    machine.memory.write(top - PAGE_OFFSET - len(data), data)
    task = machine.words(mm, 0, 0, 0, 0, 0, 0x100, 0, 0x101, 0, top, 0)
    of = thread(task=task, **options)
    image = machine.image(folder)
    assert pt_regs(image) == tuple(kept)
    return ThreadRegisters(image).of(of)


def cpu_note(pid: int, values: dict[str, int]) -> Note:
    """A CPU's NT_PRSTATUS: 144 bytes, pr_pid at 24, pr_reg at 72."""
    words = struct.pack("<17I", *(values[name] for name in i386.USER_REGS))
    return Note("CORE", 1, bytes(24) + struct.pack("<i", pid) + bytes(44) + words + bytes(4))
