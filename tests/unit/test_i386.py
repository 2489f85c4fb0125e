"""32-bit kernels: pointers of 4 bytes, the shapes of their pt_regs, and what QEMU's and a crash's notes say."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gcoretools.arch import architecture, i386
from gcoretools.core.formats import core_format
from gcoretools.dumps import PAGE_SIZE, Note, open_dump
from gcoretools.errors import LayoutError
from gcoretools.kernel import cpu, maple_tree
from gcoretools.kernel.image import Image
from gcoretools.kernel.registers import Registers, ThreadRegisters, pt_regs
from gcoretools.layout.layout import Kernel, Layout, Member
from gcoretools.layout.machine import describe, locate
from tests.fake_memory import FakeMemory, FakeTables
from tests.written_dumps import write_elf
from tests.written_streams import process, thread

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
    "pt_regs.fs": Member(36, 4),
    "pt_regs.gs": Member(40, 4),
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


@pytest.fixture(params=[2, 3])
def machine(request: pytest.FixtureRequest) -> Machine32:
    return Machine32(request.param)


def test_page_tables_have_two_or_three_levels() -> None:
    assert (i386.paging(2, inverted=True).inverted, i386.paging(3, inverted=True).inverted) == (False, True)
    with pytest.raises(LayoutError, match="2 or 3 levels, not of 4"):
        i386.paging(4, inverted=False)


def test_its_processes_have_cores_of_their_own_kind() -> None:
    assert architecture("i386") is i386
    assert core_format(process(bits=32, abi="i386")).registers == i386.USER_REGS


def test_lists(machine: Machine32, tmp_path: Path) -> None:
    """Links of 4 bytes, with other numbers beside them."""
    head = machine.words(0, 0)
    tasks = [machine.words(0xDEAD, 0, 0, 0xDEAD, pid, 0) for pid in (7, 8, 9)]
    ring = [head, *(task + 4 for task in tasks), head]
    for at, following in pairwise(ring):
        machine.memory.write(at - PAGE_OFFSET, struct.pack("<I", following))
        machine.memory.write(following + 4 - PAGE_OFFSET, struct.pack("<I", at))
    found = list(machine.image(tmp_path).list(head, "task_struct.tasks"))
    assert [task["pid"] for task in found] == [7, 8, 9]


def test_per_cpu_addresses_wrap_around(machine: Machine32, tmp_path: Path) -> None:
    machine.symbols["__per_cpu_offset"] = machine.words(0x1000, 0xFFFFF000)
    image = machine.image(tmp_path)
    assert [cpu.per_cpu(image, 0xC0002000, number) for number in (0, 1)] == [0xC0003000, 0xC0001000]


def test_a_maple_tree_of_words_of_4_bytes(machine: Machine32, tmp_path: Path) -> None:
    pivots = [0x08047FFF, 0x08048FFF, 0xB7FFFFFF, 0xB8000FFF] + [0] * 27
    slots = [0, 0xC1111000, 0, 0xC2222000] + [0] * 28
    node = machine.words(0xDEAD, *pivots, *slots, align=256)
    tree = machine.words(0, 0, node | 1 << 3 | 2)
    assert list(maple_tree.entries(machine.image(tmp_path), tree, 10)) == [0xC1111000, 0xC2222000]


@pytest.mark.parametrize(
    ("lacking", "absent"),
    [((), ()), (("pt_regs.gs",), ("gs",)), (("pt_regs.fs", "pt_regs.gs"), ("fs", "gs"))],
)
@pytest.mark.parametrize("canary", [False, True])
def test_pt_regs_and_what_is_saved_elsewhere(
    lacking: tuple[str, ...], absent: tuple[str, ...], canary: bool, tmp_path: Path
) -> None:
    """68, 64 or 60 bytes; gs is in the CPU all the time unless the kernel itself needs it."""
    machine = Machine32(lacking=frozenset(lacking))
    if canary:
        machine.symbols["stack_canary"] = 0xC0001000
    saved = {name: 0xABCD0000 | number for number, name in enumerate(i386.PT_REGS)} | {"cs": 0xABCD0073}
    found = registers(machine, saved, tmp_path)
    expected = {name: value & 0xFFFF if name in i386.SELECTORS else value for name, value in saved.items()}
    expected |= {name: 0x100 | number for number, name in enumerate(("fs", "gs")) if name in absent}
    if not canary:
        expected["gs"] = 0x101
    assert found.values == expected
    assert found.origin == "the kernel stack (not running)"


def registers(machine: Machine32, saved: dict[str, int], folder: Path, **options: Any) -> Registers:
    """What is recovered of a thread whose pt_regs, 16 bytes below its stack's end, has these registers."""
    kept = [name for name in i386.PT_REGS if f"pt_regs.{name}" not in machine.lacking]
    stack = options.setdefault("stack", machine.store(bytes(STACK_SIZE), PAGE_SIZE))
    top = stack + STACK_SIZE - 16
    data = struct.pack(f"<{len(kept)}I", *(saved[name] for name in kept))
    machine.memory.write(top - PAGE_OFFSET - len(data), data)
    task = machine.words(0, 0, 0, 0, 0, 0, 0x100, 0, 0x101, 0, top, 0)
    of = thread(task=task, **options)
    image = machine.image(folder)
    assert pt_regs(image) == tuple(kept)
    return ThreadRegisters(image).of(of)


def cpu_note(pid: int, values: dict[str, int]) -> Note:
    """A CPU's NT_PRSTATUS: 144 bytes, pr_pid at 24, pr_reg at 72."""
    words = struct.pack("<17I", *(values[name] for name in i386.USER_REGS))
    return Note("CORE", 1, bytes(24) + struct.pack("<i", pid) + bytes(44) + words + bytes(4))


@pytest.mark.parametrize("qemu", [False, True])
def test_a_thread_that_was_running(machine: Machine32, qemu: bool, tmp_path: Path) -> None:
    values = {name: 0x1000 + number for number, name in enumerate(i386.USER_REGS)} | {"cs": USER_CS}
    machine.notes = [cpu_note(77, values), *([Note("QEMU", 0, bytes(440))] if qemu else [])]
    found = registers(machine, values, tmp_path, active=True, cpu=0, pid=77)
    assert found.values == values | {"orig_eax": NO_CALL}
    assert found.origin == "the dump's note of CPU 0 (running in user mode)"


def test_a_thread_that_was_running_in_the_kernel(machine: Machine32, tmp_path: Path) -> None:
    """Its registers are on its stack, but gs, which the kernel leaves alone."""
    saved = {name: 0x2000 + number for number, name in enumerate(i386.USER_REGS)} | {"cs": USER_CS}
    values = {name: 0x3000 + number for number, name in enumerate(i386.USER_REGS)} | {"cs": KERNEL_CS}
    machine.notes = [cpu_note(77, values)]
    found = registers(machine, saved, tmp_path, active=True, cpu=0, pid=77)
    assert found.values == saved | {"gs": values["gs"]}


@pytest.mark.parametrize("door", [{"eip": 0xC0801010}, {"esp": -16 - 4}, {"esp": -16}])
def test_a_thread_at_the_kernels_door(machine: Machine32, door: dict[str, int], tmp_path: Path) -> None:
    """In the entry code, or with pt_regs pushed in part: no registers are better than old ones."""
    stack = machine.store(bytes(STACK_SIZE), PAGE_SIZE)
    values = {name: 0x3000 + number for number, name in enumerate(i386.USER_REGS)} | {"cs": KERNEL_CS}
    values |= {name: at if name == "eip" else stack + STACK_SIZE + at for name, at in door.items()}
    machine.symbols |= {"__entry_text_start": 0xC0801000, "__entry_text_end": 0xC0802000}
    machine.notes = [cpu_note(77, values)]
    running = {"active": True, "cpu": 0, "pid": 77, "stack": stack}
    found = registers(machine, values | {"cs": USER_CS}, tmp_path, **running)
    assert found.values == {}
    assert found.origin.startswith(f"not recovered: CPU 0 was in entry code at {values['eip']:#x}")


def test_the_kernel_is_where_its_page_table_maps_itself(machine: Machine32, tmp_path: Path) -> None:
    table = PAGE_OFFSET + machine.tables.root
    lines = f"OSRELEASE=9.9\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)={table:x}\nSYMBOL(_stext)=c1200000\nEND=1\n"
    machine.notes = [Note("VMCOREINFO", 0, lines.encode())]
    dump = open_dump(machine.dump(tmp_path / "vmcore"))
    found = locate(dump, describe(dump))
    assert (found.arch, found.page_levels, found.page_root) == ("i386", machine.levels, machine.tables.root)
    assert found.kaslr_offset == 0x200000
    assert found.running(found.linked(table)) == table
