"""The notes of a thread by the table of register sets of a fake kernel, wherever it keeps the state."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from gcoretools.arch.x86_64 import PT_REGS
from gcoretools.core.notes import NT_PRSTATUS
from gcoretools.kernel.image import Image
from gcoretools.kernel.regsets import RegsetNotes, ThreadRegsets, last_notes
from gcoretools.layout.layout import Member
from gcoretools.records import Regs, Thread
from gcoretools.stages.regs import Recovery
from tests.fake_kernel import FakeKernel, FakeTask, Object
from tests.unit.test_xsave import COUNT, FEATURES, INITIAL, OFFSETS, SIZE, SIZES, TABLES, area, filled, legacy
from tests.written_streams import process

FPREGSET, TLS, IOPERM, XSTATE, SHSTK, LAYOUT = 2, 0x200, 0x201, 0x202, 0x204, 0x205
SETS = ((1, 27, 8), (FPREGSET, 64, 8), (IOPERM, 1024, 8), (XSTATE, SIZE // 8, 8), (SHSTK, 1, 8))
SETS_32 = ((1, 17, 4), (FPREGSET, 27, 4), (0x46E62B7F, 128, 4), (XSTATE, SIZE // 8, 8), (TLS, 3, 16))

# lock and byte [rax + flags of thread_info + 1], with bit 6 clear: TIF_NEED_FPU_LOAD is 14.
NEEDS_LOAD = 14


class Fpu:
    """A fake kernel with one process and all that the notes are made from.

    Args:
        sets: whether the CPU has XSAVE; without, its size in the kernel's table is 0.
    """

    def __init__(self, *, xsave: bool = True, without: tuple[str, ...] = (), seed: int = 1) -> None:
        self.kernel = kernel = FakeKernel(cpus=1, without=without, seed=seed)
        kernel.layout.constants["XFEATURE_MAX"] = COUNT
        for name, rows in (("user_x86_64_view", SETS), ("user_x86_32_view", SETS_32)):
            self._view(name, [row if xsave or row[0] != XSTATE else (XSTATE, 0, 8) for row in rows])
        if xsave:
            kernel.symbol("xstate_offsets", 4 * COUNT, struct.pack(f"<{COUNT}I", *TABLES.offsets))
            kernel.symbol("xstate_sizes", 4 * COUNT, struct.pack(f"<{COUNT}I", *TABLES.sizes))
            kernel.symbol(
                "xstate_flags", 4 * COUNT, struct.pack(f"<{COUNT}I", *(2 * (i == 4) for i in range(COUNT)))
            )
            kernel.symbol("xstate_fx_sw_bytes", 48, TABLES.software)
            kernel.symbols["fpu_user_cfg"] = kernel.new("fpu_state_config", max_features=FEATURES).address
            kernel.symbols["init_fpstate"] = kernel.new("fpstate", regs=INITIAL).address
            kernel.symbol("copy_xstate_to_uabi_buf")
        self.process = kernel.process(100, "cat")

    def _view(self, name: str, rows: list[tuple[int, int, int]]) -> None:
        kernel, step = self.kernel, self.kernel.all_sizes["user_regset"]
        at = kernel.alloc(step * len(rows))
        for i, (note, n, size) in enumerate(rows):
            row = Object(kernel, "user_regset", at + step * i)
            row["core_note_type"], row["n"], row["size"] = note, n, size
        kernel.symbols[name] = kernel.new("user_regset_view", regsets=at, n=len(rows)).address

    def fpstate(self, data: bytes) -> Object:
        state = self.kernel.new("fpstate", size=len(data), user_xfeatures=FEATURES)
        state["regs"] = data
        return state

    def saved(self, data: bytes, fpu: Object | None = None) -> None:
        """What the kernel has of the process's one thread."""
        fpu = fpu or Object(self.kernel, "fpu", self.process.at("thread.fpu"))
        fpu["fpstate"] = self.fpstate(data)

    def needs_load(self) -> None:
        """A function that clears bit 14 of the flags."""
        at = self.kernel.all_members["task_struct.thread_info.flags"].offset + NEEDS_LOAD // 8
        mask = 0xFF & ~(1 << NEEDS_LOAD % 8)
        self.kernel.symbol("switch_fpu_return", 256, b"\x90" * 50 + struct.pack("<3sIB", b"\xf0\x80\xa0", at, mask))


def thread(task: FakeTask, *, active: bool = False) -> Thread:
    return Thread(task.pid, task.address, task.stack, "cat", "S", 0, active, [1, 1, 1, 1], 0, 0, [0] * 4)


def of(fpu: Fpu, folder: Path, *, active: bool = False, bits: int = 64) -> RegsetNotes:
    image: Image = fpu.kernel.image(folder)
    return ThreadRegsets(image).of(thread(fpu.process, active=active), bits, 0x23, 0x2B)


@pytest.mark.parametrize("seed", range(3))
def test_notes_in_the_order_of_the_kernels_table(tmp_path: Path, seed: int) -> None:
    fpu = Fpu(seed=seed)
    fpu.saved(area(FEATURES))
    fpu.process["thread.pkru"] = 0x5C
    found = of(fpu, tmp_path)
    assert [kind for kind, _ in found.notes] == [FPREGSET, XSTATE]
    assert found.notes[0][1][:416] == legacy()[:416]
    xstate = found.notes[1][1]
    assert xstate[OFFSETS[2] :][: SIZES[2]] == filled(2, SIZES[2])
    assert xstate[OFFSETS[9] :] == struct.pack("<Q", 0x5C)
    assert found.fpu_origin == "from memory (not running)"


def test_behind_the_task_when_the_task_does_not_hold_it(tmp_path: Path) -> None:
    fpu = Fpu(without=("task_struct.thread.fpu",))
    kernel = fpu.kernel
    task = kernel.new("task_struct", more=kernel.all_sizes["fpu"], pid=100, flags=0)
    fpu.process.object, fpu.process.address = task, task.address
    fpu.saved(area(FEATURES), Object(kernel, "fpu", task.address + kernel.all_sizes["task_struct"]))
    image = kernel.image(tmp_path)
    notes = ThreadRegsets(image).of(thread(fpu.process)).notes
    assert [kind for kind, _ in notes] == [FPREGSET, XSTATE]


def test_in_the_task_itself_on_kernels_before_fpstate(tmp_path: Path) -> None:
    fpu = Fpu(without=("fpu.fpstate", "fpu.__task_fpstate"))
    fpu.kernel.symbols["init_fpstate"] = fpu.kernel.store(INITIAL)
    fpu.kernel.symbol("fpu_kernel_xstate_size", 4, SIZE)
    Object(fpu.kernel, "fpu", fpu.process.at("thread.fpu"))["state"] = area(FEATURES)
    assert [len(data) for _, data in of(fpu, tmp_path).notes] == [512, SIZE]


def test_a_cpu_without_xsave(tmp_path: Path) -> None:
    fpu = Fpu(xsave=False)
    fpu.kernel.layout.sizes["x86_xfeat_component"] = 16
    fpu.saved(legacy())
    image = fpu.kernel.image(tmp_path)
    assert ThreadRegsets(image).of(thread(fpu.process)).notes == [(FPREGSET, legacy())]
    assert last_notes(image) == []


def test_a_guest_of_kvm_has_the_registers(tmp_path: Path) -> None:
    """Then the thread's own state was put aside, and is current even while the thread runs."""
    fpu = Fpu(xsave=False)
    fpu.saved(bytes(512))
    Object(fpu.kernel, "fpu", fpu.process.at("thread.fpu"))["__task_fpstate"] = fpu.fpstate(legacy())
    found = of(fpu, tmp_path, active=True)
    assert found.notes == [(FPREGSET, legacy())]
    assert not found.fpu_origin.startswith("stale")


@pytest.mark.parametrize(("known", "flag", "stale"), [(True, 0, True), (True, 1, False), (False, 1, True)])
def test_a_running_thread_is_current_only_when_the_kernel_says_so(
    tmp_path: Path, known: bool, flag: int, stale: bool
) -> None:
    fpu = Fpu()
    fpu.saved(area(FEATURES))
    fpu.process["thread_info.flags"] = flag << NEEDS_LOAD
    if known:
        fpu.needs_load()
    found = of(fpu, tmp_path, active=True)
    assert found.fpu_origin.startswith("stale") is stale
    assert len(found.notes) == 2


def test_notes_of_what_only_some_threads_have(tmp_path: Path) -> None:
    fpu = Fpu()
    bitmap = bytes(range(256)) * 32
    fpu.process["thread.io_bitmap"] = fpu.kernel.new("io_bitmap", max=8, bitmap=bitmap)
    fpu.process["thread.features"] = 1
    kernels_own = 1 << 63 | FEATURES | 1 << 11
    fpu.saved(area(FEATURES | 1 << 11, kernels_own))
    found = dict(of(fpu, tmp_path).notes)
    assert list(found) == [FPREGSET, IOPERM, XSTATE, SHSTK]
    assert found[IOPERM] == bitmap
    assert found[SHSTK] == filled(11, 8)


def test_a_32_bit_process(tmp_path: Path) -> None:
    fpu = Fpu()
    fpu.saved(area(FEATURES))
    fpu.process["thread.tls_array"] = struct.pack("<QQQ", 0x56DFF3123456FFFF, 0, 0)
    found = of(fpu, tmp_path, bits=32).notes
    assert [(kind, len(data)) for kind, data in found] == [
        (FPREGSET, 108), (0x46E62B7F, 512), (XSTATE, SIZE), (TLS, 48),
    ]  # fmt: skip
    assert struct.unpack_from("<7I", found[0][1])[4::2] == (0x23, 0xFFFF002B)


def test_the_layout_note_comes_last_where_the_kernel_writes_it(tmp_path: Path) -> None:
    fpu = Fpu()
    fpu.kernel.layout.sizes["x86_xfeat_component"] = 16
    (note,) = last_notes(fpu.kernel.image(tmp_path))
    assert (note["owner"], note["type"]) == ("LINUX", LAYOUT)
    assert len(bytes(note["data"])) == 16 * len(OFFSETS)  # type: ignore[call-overload]


@pytest.mark.parametrize("damage", ["no state", "size", "table", "count", "sizes", "kernel thread"])
def test_damage_costs_the_floating_point_notes_only(tmp_path: Path, damage: str) -> None:
    fpu = Fpu()
    kernel = fpu.kernel
    fpu.saved(area(FEATURES))
    at = Object(kernel, "fpu", fpu.process.at("thread.fpu"))
    if damage == "no state":
        at["fpstate"] = 0
    elif damage == "size":
        Object(kernel, "fpstate", at["fpstate"])["size"] = 1 << 30
    elif damage == "table":
        kernel.exclude(kernel.symbols["user_x86_64_view"])
    elif damage == "count":
        Object(kernel, "user_regset_view", kernel.symbols["user_x86_64_view"])["n"] = 1 << 30
    elif damage == "sizes":
        kernel.write(kernel.symbols["xstate_sizes"], b"\xff" * 4 * COUNT)
    else:
        fpu.process["flags"] = 0x200000
    if damage == "table":
        found = of(fpu, tmp_path)
        assert found.fpu_origin.startswith("not recovered: ")
        return
    regs: Regs = Recovery(kernel.image(tmp_path)).of(process(), thread(fpu.process))
    assert regs.fpu_origin.startswith("not recovered: ")
    assert [note["type"] for note in regs.notes] == [NT_PRSTATUS]
    assert set(PT_REGS) <= regs.registers.keys()


@pytest.mark.parametrize("kept", ["i387", "xstate", "fpu"])
@pytest.mark.parametrize("used", [True, False])
def test_where_old_kernels_keep_it(tmp_path: Path, kept: str, used: bool) -> None:
    """In the thread itself, behind a pointer of it, or behind one of struct fpu; if it ever used the FPU."""
    fpu = Fpu(xsave=False, without=("fpu.fpstate", "fpu.__task_fpstate", "fpu.state"))
    kernel, process = fpu.kernel, fpu.process
    if kept != "fpu":
        del kernel.layout.members["task_struct.thread.fpu"]
    if kept == "i387":
        kernel.extend(task_struct__thread__i387=512)
    elif kept == "xstate":
        kernel.extend(task_struct__thread__xstate=8)
    else:
        kernel.layout.members["fpu.state"] = kernel.all_members["fpu.state"] = Member(0, 8)
    process = fpu.process = kernel.process(200, "dog")
    process["flags"] = 0x402000 if used else 0x400000
    if kept == "i387":
        process["thread.i387"] = legacy()
    elif kept == "xstate":
        process["thread.xstate"] = kernel.store(legacy())
    else:
        Object(kernel, "fpu", process.at("thread.fpu"))["state"] = kernel.store(legacy())
    found = of(fpu, tmp_path)
    assert [data for _, data in found.notes] == ([legacy()] if used else [])
    assert ("never used" in found.fpu_origin) is not used


def test_a_kernel_without_tables_of_register_sets(tmp_path: Path) -> None:
    """Two notes of a 32-bit thread, one of a 64-bit one; selectors where 32-bit programs look for them."""
    fpu = Fpu(xsave=False, without=("user_regset_view", "fpu.fpstate", "fpu.__task_fpstate", "elf_note_info"))
    kernel = fpu.kernel
    kernel.extend(task_struct__used_math=4, task_struct__thread__i387=512)
    del kernel.layout.members["task_struct.thread.fpu"]
    fpu.process = kernel.process(200, "dog")
    fpu.process["used_math"], fpu.process["thread.i387"] = 1, legacy()
    assert of(fpu, tmp_path).notes == [(FPREGSET, legacy())]
    (_, fsave), (kind, fxsave) = of(fpu, tmp_path, bits=32).notes
    assert (kind, len(fsave)) == (0x46E62B7F, 108)
    assert struct.unpack_from("<IxxxxI", fxsave, 12) == (0x23, 0x2B)
    assert fxsave[24:] == legacy()[24:]
    assert struct.unpack_from("<IxxxxI", fsave, 16) == (0xFFFF0023, 0xFFFF002B)


@pytest.mark.parametrize(
    ("views", "dumping", "wanted"),
    [(True, True, (0x10, 0x2B)), (True, False, (0x23, 0xFFFF002B)), (False, True, (0xFFFF0010, 0xFFFF002B))],
)
def test_x87_selectors_of_the_thread_that_dumps(
    tmp_path: Path, views: bool, dumping: bool, wanted: tuple[int, int]
) -> None:
    """Up to 2.6.36 the kernel's own cs."""
    fpu = Fpu(xsave=False, without=("elf_note_info", *(() if views else ("user_regset_view",))))
    fpu.saved(legacy())
    image = fpu.kernel.image(tmp_path)
    found = ThreadRegsets(image).of(thread(fpu.process), 32, 0x23, 0x2B, dumping)
    assert struct.unpack_from("<IxxxxI", found.notes[0][1], 16) == wanted
