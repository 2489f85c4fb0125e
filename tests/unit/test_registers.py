"""Registers of threads: from the kernel stack, or from the note of the CPU that they ran on."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcoretools.arch import x86_64
from gcoretools.dumps import Note
from gcoretools.kernel.registers import Registers, ThreadRegisters, stack_padding, stack_size
from gcoretools.kernel.segments import selected_base
from gcoretools.records import Thread
from gcoretools.stages.tasks import Tasks
from tests.fake_kernel import FakeKernel, FakeProcess, FakeTask, prstatus_note, qemu_note, registers, spelled

KERNEL_CS, USER_CS, COMPAT_CS = 0x10, 0x33, 0x23
NO_CALL = (1 << 64) - 1


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel(cpus=2)


@pytest.fixture
def cat(kernel: FakeKernel) -> FakeProcess:
    return kernel.process(100, "cat")


def recovered(task: FakeTask, folder: Path) -> Registers:
    image = task.kernel.image(folder)
    threads = [r for r in Tasks(image).selected([str(task.pid)]) if isinstance(r, Thread)]
    assert threads[0].pid == task.pid
    return ThreadRegisters(image).of(threads[0])


def qemu(kernel: FakeKernel, *cpus: dict[str, int]) -> None:
    """The notes that QEMU writes: one NT_PRSTATUS a CPU, then its own notes in the same order."""
    kernel.notes += [prstatus_note(number + 1, values) for number, values in enumerate(cpus)]
    kernel.notes += [qemu_note(values, kernel_gs_base=spelled("swapgs")) for values in cpus]


def test_of_a_sleeping_thread(cat: FakeProcess, tmp_path: Path) -> None:
    thread = cat.thread(101, "worker")
    thread.registers["rip"], thread["thread.fsbase"] = 0x401234, 0x7F0000001000
    for name, value in (("ds", 1), ("es", 2), ("fsindex", 3), ("gsindex", 4)):
        thread[f"thread.{name}"] = value
    found = recovered(thread, tmp_path)
    assert found.values == thread.registers | {
        "fs_base": 0x7F0000001000, "gs_base": spelled("gs_base"), "ds": 1, "es": 2, "fs": 3, "gs": 4,
    }  # fmt: skip
    assert found.origin == "the kernel stack (not running)"
    assert set(found.values) == set(x86_64.USER_REGS)


def test_a_sleeping_thread_has_nothing_of_its_cpus_note(cat: FakeProcess, tmp_path: Path) -> None:
    qemu(cat.kernel, registers(), registers())
    assert recovered(cat, tmp_path).values["rax"] == spelled("rax")


@pytest.mark.parametrize("cpu", [0, 1])
def test_running_in_user_mode_as_qemu_says(cat: FakeProcess, tmp_path: Path, cpu: int) -> None:
    cat.kernel.run(cpu, cat)
    notes = [registers({"cs": KERNEL_CS}), registers({"cs": KERNEL_CS})]
    notes[cpu] = registers({"cs": USER_CS, "rip": 0x401234})
    qemu(cat.kernel, *notes)
    found = recovered(cat, tmp_path)
    assert found.origin == f"the dump's note of CPU {cpu} (running in user mode)"
    # QEMU's selectors are 32 bits wide; the bases stand in its own note.
    selectors = {name: spelled(name.upper()) & 0xFFFFFFFF for name in ("ds", "es", "fs", "gs")}
    assert found.values == notes[cpu] | selectors | {"orig_rax": NO_CALL}


def test_running_in_the_kernel_as_qemu_says(cat: FakeProcess, tmp_path: Path) -> None:
    """The user's GS base is the one that SWAPGS has put aside; general registers are those on the stack."""
    cat.kernel.run(1, cat)
    qemu(cat.kernel, registers(), registers({"cs": KERNEL_CS, "ds": 7, "es": 0, "fs": 0, "gs": 0}))
    found = recovered(cat, tmp_path)
    assert found.origin == "the kernel stack (running in the kernel on CPU 1)"
    assert found.values == cat.registers | {
        "fs_base": spelled("FS_BASE"), "gs_base": spelled("swapgs"), "ds": 7, "es": 0, "fs": 0, "gs": 0,
    }  # fmt: skip


def test_a_crashing_kernels_notes_go_by_pid(cat: FakeProcess, tmp_path: Path) -> None:
    """They come in the order in which the CPUs answered, and some CPUs may not have."""
    other = cat.kernel.process(200, "other")
    cat.kernel.run(0, cat)
    cat.kernel.run(1, other)
    cat.kernel.notes += [
        prstatus_note(200, registers({"cs": KERNEL_CS, "rip": 2})),
        prstatus_note(100, registers({"rip": 1})),
    ]
    found = recovered(cat, tmp_path)
    assert (found.values["rip"], found.origin) == (1, "the dump's note of CPU 0 (running in user mode)")
    assert found.values["gs_base"] == spelled("GS_BASE")
    assert recovered(other, tmp_path).values["rip"] == spelled("rip")


def test_running_on_a_cpu_without_a_note(cat: FakeProcess, tmp_path: Path) -> None:
    cat.kernel.run(0, cat)
    found = recovered(cat, tmp_path)
    assert found.values["rip"] == spelled("rip")
    assert found.origin == "the kernel stack (running on CPU 0, of which the dump has no note: may be old)"
    cat.kernel.notes.append(prstatus_note(999, registers()))
    assert recovered(cat, tmp_path) == found


def test_fewer_notes_than_cpus(cat: FakeProcess, tmp_path: Path) -> None:
    cat.kernel.run(1, cat)
    qemu(cat.kernel, registers())
    assert "no note" in recovered(cat, tmp_path).origin


@pytest.mark.parametrize(
    "note",
    [
        Note("CORE", 1, bytes(100)),
        Note("LINUX", 1, bytes(336)),
        Note("CORE", 3, bytes(336)),
        Note("QEMU", 0, b"short"),
    ],
    ids=["short", "not of CORE", "PRPSINFO", "QEMU's, short"],
)
def test_notes_that_are_not_a_cpus_registers(cat: FakeProcess, tmp_path: Path, note: Note) -> None:
    cat.kernel.run(0, cat)
    cat.kernel.notes.append(note)
    found = recovered(cat, tmp_path)
    assert found.values["rip"] == spelled("rip")
    assert "no note" in found.origin


def test_a_note_of_qemus_that_is_short_leaves_the_bases_as_they_are(cat: FakeProcess, tmp_path: Path) -> None:
    cat.kernel.run(0, cat)
    cat.kernel.notes += [prstatus_note(1, registers()), Note("QEMU", 0, bytes(8))]
    assert recovered(cat, tmp_path).values["fs_base"] == spelled("FS_BASE")


def test_a_32_bit_thread_on_a_64_bit_kernel(cat: FakeProcess, tmp_path: Path) -> None:
    cat.registers["cs"] = COMPAT_CS
    assert recovered(cat, tmp_path).values["cs"] == COMPAT_CS


def descriptor(base: int) -> bytes:
    """A flat, present data segment of user mode with that base."""
    low = 0xFFFF | (base & 0xFFFFFF) << 16 | 0xF3 << 40 | 0xCF << 48
    return (low | (base >> 24) << 56).to_bytes(8, "little")


@pytest.mark.parametrize("fsgsbase", [False, True])
def test_bases_behind_selectors(tmp_path: Path, fsgsbase: bool) -> None:
    """Out of the descriptors, but for CPUs with FSGSBASE: there the kernel has saved the bases themselves."""
    cat = FakeKernel(fsgsbase=fsgsbase).process(100, "cat")
    cat["thread.tls_array"] = descriptor(1) + descriptor(0x12345678) + bytes(8)
    table = cat.kernel.store(bytes(8) + descriptor(0xFEDCBA98))
    cat.mm["context.ldt"] = cat.kernel.new("ldt_struct", entries=table, nr_entries=2)
    cat["thread.fsindex"], cat["thread.gsindex"] = 13 << 3 | 3, 1 << 3 | 7
    found = recovered(cat, tmp_path).values
    saved = (spelled("fs_base"), spelled("gs_base"))
    assert (found["fs_base"], found["gs_base"]) == (saved if fsgsbase else (0x12345678, 0xFEDCBA98))


def test_the_null_selectors_bases_are_saved(tmp_path: Path) -> None:
    cat = FakeKernel(fsgsbase=False).process(100, "cat")
    cat["thread.gsindex"] = 5 << 3 | 7  # there is no local table
    found = recovered(cat, tmp_path).values
    assert (found["fs_base"], found["gs_base"]) == (spelled("fs_base"), 0)


def test_a_damaged_local_table(tmp_path: Path) -> None:
    cat = FakeKernel(fsgsbase=False).process(100, "cat")
    cat.mm["context.ldt"] = cat.kernel.new("ldt_struct", nr_entries=8193)
    cat["thread.gsindex"] = 7
    found = recovered(cat, tmp_path)
    assert (found.values, found.origin[:13]) == ({}, "not recovered")


@pytest.mark.parametrize(
    ("selector", "base"),
    [(12 << 3 | 3, 0x11), (14 << 3 | 3, 0x33), (11 << 3 | 3, 0), (15 << 3 | 3, 0), (3, 0), (7, 0x44), (15, 0x55),
     (23, 0), (0xFFFF, 0), (0xFFFB, 0)],
)  # fmt: skip
def test_selectors(selector: int, base: int) -> None:
    tls, ldt = (b"".join(map(descriptor, bases)) for bases in ((0x11, 0x22, 0x33), (0x44, 0x55)))
    assert selected_base(selector, tls, ldt) == base


@pytest.mark.parametrize("cs", [0, KERNEL_CS, 0x30, 1 << 40])
def test_a_stack_without_registers_of_user_mode(cat: FakeProcess, tmp_path: Path, cs: int) -> None:
    cat.registers["cs"] = cs
    found = recovered(cat, tmp_path)
    assert found.values == {}
    assert found.origin.startswith("not recovered: the top of the kernel stack, ")


def test_a_stack_that_is_not_in_the_dump(cat: FakeProcess, tmp_path: Path) -> None:
    cat.kernel.exclude(cat.stack + 8192 - 8)
    found = recovered(cat, tmp_path)
    assert found.values == {}
    assert "not in the dump" in found.origin


def test_a_stack_that_is_nowhere(cat: FakeProcess, tmp_path: Path) -> None:
    cat["stack"] = 0xDEAD << 48
    assert recovered(cat, tmp_path).origin.startswith("not recovered: ")


def test_the_note_of_a_running_thread_serves_when_its_stack_does_not(cat: FakeProcess, tmp_path: Path) -> None:
    cat.kernel.run(0, cat)
    cat.kernel.exclude(cat.stack + 8192 - 8)
    qemu(cat.kernel, registers({"rip": 5}), registers())
    assert recovered(cat, tmp_path).values["rip"] == 5


def test_the_size_of_a_stack(tmp_path: Path) -> None:
    """What the kernel says of its first stack; else the union; else what the architecture is known to have."""
    kernel = FakeKernel(cpus=1)
    assert stack_size(kernel.image(tmp_path)) == 8192
    kernel.symbols |= {"__start_init_stack": 0x1000, "__end_init_stack": 0x9000}
    assert stack_size(kernel.image(tmp_path)) == 0x8000
    lacking = FakeKernel(cpus=1, without=("thread_union",))
    assert stack_size(lacking.image(tmp_path)) == 16384


def test_the_padding_of_fred(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1)
    assert stack_padding(kernel.image(tmp_path)) == 0
    kernel.symbol("asm_fred_entrypoint_user")
    cat = kernel.process(100, "cat")
    assert stack_padding(kernel.image(tmp_path)) == 16
    assert recovered(cat, tmp_path).values["rip"] == spelled("rip")
