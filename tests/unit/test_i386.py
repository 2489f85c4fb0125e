"""32-bit kernels: pointers of 4 bytes, the shapes of their pt_regs, and what QEMU's and a crash's notes say."""

from __future__ import annotations

import re
import struct
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

import gcoretools
from gcoretools.arch import architecture, i386, ia32, x86_64
from gcoretools.arch.i387 import fxsave_head
from gcoretools.core.formats import core_format
from gcoretools.dumps import Note, open_dump
from gcoretools.errors import LayoutError
from gcoretools.kernel import cpu, maple_tree
from gcoretools.kernel.path import Paths, Root
from gcoretools.kernel.regsets import NT_PRFPREG, NT_PRXFPREG, ThreadRegsets
from gcoretools.kernel.siginfo import signal_of
from gcoretools.kernel.vma import Mappings
from gcoretools.layout.machine import describe, locate
from tests.fake_i386 import KERNEL_CS, NO_CALL, PAGE_OFFSET, USER_CS, Machine32, cpu_note, registers
from tests.written_streams import process, thread


@pytest.fixture(params=[2, 3])
def machine(request: pytest.FixtureRequest) -> Machine32:
    return Machine32(request.param)


def test_page_tables_have_two_or_three_levels() -> None:
    assert (i386.paging(2, inverted=True).inverted, i386.paging(3, inverted=True).inverted) == (False, True)
    with pytest.raises(LayoutError, match="2 or 3 levels, not of 4"):
        i386.paging(4, inverted=False)


@pytest.mark.parametrize("arch", [i386, x86_64])
def test_an_architecture_has_all_that_is_asked_of_one(arch: ModuleType) -> None:
    """But for what QEMU says of segment bases, which only 64-bit kernels have."""
    sources = [path.read_text() for path in Path(gcoretools.__file__).parent.rglob("*.py")]
    asked = {name for text in sources for name in re.findall(r"\barch\.([A-Z][A-Z_]+)\b", text)}
    assert {"PT_REGS", "CORE", "DIRECT_MAPS"} < asked
    assert {name for name in asked if not hasattr(arch, name)} <= {
        "QEMU_SEGMENTS",
        "QEMU_SEGMENT_BASE",
        "QEMU_KERNEL_GS_BASE",
    }


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


@pytest.mark.parametrize(("capability", "kinds"), [(0, [NT_PRFPREG]), (1 << 24, [NT_PRFPREG, NT_PRXFPREG])])
def test_what_a_cpu_without_fxsave_saves(
    machine: Machine32, capability: int, kinds: list[int], tmp_path: Path
) -> None:
    """The notes of a kernel before 2.6.25: FSAVE's 108 bytes alone, or FXSAVE's 512 and the same once more."""
    area = bytes(range(256)) * 2
    machine.symbols["boot_cpu_data"] = machine.words(0xDEAD, capability, *[0] * 19)
    task = machine.store(bytes(44) + (0x2000).to_bytes(4, "little") + area)
    found = ThreadRegsets(machine.image(tmp_path)).of(thread(task=task), bits=32)
    assert [kind for kind, _ in found.notes] == kinds
    data = dict(found.notes)
    if capability:
        assert data == {NT_PRFPREG: fxsave_head(area), NT_PRXFPREG: area}
    else:
        assert data == {NT_PRFPREG: area[:108]}


def test_siginfo_of_a_thread_before_its_tracer(machine: Machine32, tmp_path: Path) -> None:
    """32 bytes; what stands behind them is not of it."""
    info = (11).to_bytes(4, "little") + bytes(range(28))
    task = machine.words(0, 0, 0, 0, 0, machine.store(info + b"not of it"), 0)
    image = machine.image(tmp_path)
    assert signal_of(image, image.struct("task_struct", task)) == (11, info.ljust(128, b"\0"))
    assert (i386.CORE.compat, ia32.CORE.compat) == (False, True)


@pytest.mark.parametrize(("own", "names"), [(0xFFFFE000, ["[vdso]"]), (0xB7FFF000, []), (None, ["[vdso]"])])
def test_the_vdso_of_all_processes(machine: Machine32, own: int | None, names: list[str], tmp_path: Path) -> None:
    """It has a segment where processes have no mapping of it, and on kernels that know of none."""
    machine.symbols["gate_vma"] = machine.words(0, 0xFFFFE000)
    mm = machine.words(0, own or 0)
    if own is None:
        machine.lacking |= {"mm_struct.context.vdso"}
    image = machine.image(tmp_path)
    found = list(Mappings(image, mm, Paths(image, Root()), 32))
    assert [vma.name for vma in found] == names
    assert all(
        (vma.start, vma.size, vma.flags & 7, vma.category) == (0xFFFFE000, 4096, 5, "special") for vma in found
    )


def test_the_kernel_is_where_its_page_table_maps_itself(machine: Machine32, tmp_path: Path) -> None:
    table = PAGE_OFFSET + machine.tables.root
    lines = f"OSRELEASE=9.9\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)={table:x}\nSYMBOL(_stext)=c1200000\nEND=1\n"
    machine.notes = [Note("VMCOREINFO", 0, lines.encode())]
    dump = open_dump(machine.dump(tmp_path / "vmcore"))
    found = locate(dump, describe(dump))
    assert (found.arch, found.page_levels, found.page_root) == ("i386", machine.levels, machine.tables.root)
    assert found.kaslr_offset == 0x200000
    assert found.running(found.linked(table)) == table
