"""32-bit processes of a 64-bit kernel: their registers, their cores, and the kind of which there are none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment

from gcoretools.arch import ia32
from gcoretools.core.formats import core_format
from gcoretools.errors import GcoreError
from gcoretools.records import Done, Extent, Pages, Process, Record, Regs, Thread
from gcoretools.stages.elf import write_cores
from gcoretools.stages.regs import add_registers
from gcoretools.stages.tasks import Tasks
from tests.fake_kernel import FakeKernel, FakeProcess, spelled
from tests.written_streams import header, process, regs, thread, vma

COMPAT_CS = 0x23


@pytest.fixture
def cat() -> FakeProcess:
    """A 32-bit process whose registers have upper halves that its core must not show."""
    kernel = FakeKernel()
    cat = kernel.process(100, "cat")
    cat.mm["binfmt"], cat.mm["context.flags"] = kernel.symbol("compat_elf_format"), 1
    cat.registers |= {"cs": COMPAT_CS, "rip": 0xFFFF_8000_0804_8000, "orig_rax": (1 << 64) - 1}
    for name, value in (("ds", 0x2B), ("es", 0x2B), ("gsindex", 0x63)):
        cat[f"thread.{name}"] = value
    return cat


def records(cat: FakeProcess, folder: Path) -> list[Record]:
    image = cat.kernel.image(folder)
    return list(add_registers(Tasks(image).selected(["100"]), image))


def test_the_registers(cat: FakeProcess, tmp_path: Path) -> None:
    of, _, found, _ = records(cat, tmp_path)
    assert isinstance(of, Process)
    assert (of.bits, of.abi) == (32, "ia32")
    assert isinstance(found, Regs)
    assert list(found.registers) == list(ia32.CORE.registers)
    assert found.registers["ebx"] == spelled("rbx") & 0xFFFFFFFF
    assert found.registers["eip"] == 0x8048000
    assert found.registers["orig_eax"] == 0xFFFFFFFF
    assert [found.registers[name] for name in ("ds", "es", "fs", "gs", "cs")] == [0x2B, 0x2B, 0, 0x63, COMPAT_CS]
    assert found.notes[0]["type"] == 1
    data = found.notes[0]["data"]
    assert isinstance(data, bytes)
    assert data[72:76] == b"rbx."
    assert len(data) == 144


def test_lost_registers_are_zeros(cat: FakeProcess, tmp_path: Path) -> None:
    cat["stack"] = 0xDEAD << 48
    _, _, found, _ = records(cat, tmp_path)
    assert isinstance(found, Regs)
    assert found.registers == {}
    data = found.notes[0]["data"]
    assert isinstance(data, bytes)
    assert data[72:140] == bytes(68)


def test_there_are_no_cores_of_x32(cat: FakeProcess, tmp_path: Path) -> None:
    cat.mm["context.flags"] = 0
    with pytest.raises(GcoreError, match="pid 100: cat is a process of kind 'x32', of which cores are not written"):
        records(cat, tmp_path)
    with pytest.raises(GcoreError, match="x32"):
        list(write_cores(header(), [process(abi="x32"), thread(), vma(), Done(100)], nowhere, lost, False))
    with pytest.raises(GcoreError, match="kind 'toaster'"):
        core_format(process(abi="toaster"))


@contextmanager
def nowhere(of: Process) -> Iterator[int]:
    raise AssertionError(f"a core of {of.comm} is begun")
    yield 0


def lost(of: Process, thread: Thread) -> Regs:
    raise AssertionError(f"the registers of {thread.pid} are asked for")


def test_a_core(tmp_path: Path) -> None:
    @contextmanager
    def opened(of: Process) -> Iterator[int]:
        fd = os.open(tmp_path / "core", os.O_CREAT | os.O_RDWR)
        yield fd
        os.close(fd)

    parts = [
        process(abi="ia32", bits=32), thread(), regs(), vma(0xFFFFF000, 0x1000), Extent(0xFFFFF000, 0x1000, "data"),
        Pages(0xFFFFF000, b"x" * 0x1000), Done(100),
    ]  # fmt: skip
    assert len(list(write_cores(header(), parts, opened, lost, False))) == 1
    with (tmp_path / "core").open("rb") as file:
        read = ELFFile(file)
        assert (read.elfclass, read["e_machine"]) == (32, "EM_386")
        note, load = read.iter_segments()
        assert isinstance(note, NoteSegment)
        assert [n["n_descsz"] for n in note.iter_notes()] == [9, 124, 16, 8]
        assert (load["p_vaddr"], load.data()) == (0xFFFFF000, b"x" * 0x1000)
