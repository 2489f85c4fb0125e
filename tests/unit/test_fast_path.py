"""Entries into old kernels that save a part of the registers: what the stack has, and what is told of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcoretools.kernel.registers import Registers, ThreadRegisters
from gcoretools.kernel.unwind import CALLEE_SAVED
from gcoretools.layout.cfi import Row
from gcoretools.records import Thread
from gcoretools.stages.tasks import Tasks
from tests.fake_kernel import FakeKernel, FakeProcess, prstatus_note, qemu_note, registers, spelled
from tests.unit.test_unwind import Rows

CODE = 0xFFFFFFFF81000000
SYMBOLS = {
    "system_call": 0x000, "stub_clone": 0x100, "retint_careful": 0x200, "retint_signal": 0x280,
    "divide_error": 0x400, "ia32_sysenter_target": 0x500, "ia32_ptregs_common": 0x600, "ret_from_intr": 0x700,
    "thread_return": 0x800,
}  # fmt: skip
CALL, RETURN_32, CAREFUL, TIMER, SLEEP, SWITCH = (CODE + at for at in (0x80, 0x580, 0x240, 0x300, 0x900, 0x801))

# schedule() has pushed everything and finds its frame by rbp; so has the system call before it, but for r15.
ROWS = {
    SWITCH: Row((6, 16), {16: -8, 6: -16, 15: -24, 14: -32, 13: -40, 12: -48, 3: -56}, {}),
    SLEEP: Row((6, 16), {16: -8, 6: -16, 14: -24, 13: -32, 12: -40, 3: -48}, {}),
}
USERS = {name: spelled(name) for name in CALLEE_SAVED}
USER_RSP = 0x7FFE12345678


class Old:
    """A kernel that saves nothing of the callee-saved registers, and a thread in its system call."""

    def __init__(self, entry: int = CALL) -> None:
        self.kernel = kernel = FakeKernel(cpus=2, without=("inactive_task_frame", "fpu.fpstate"))
        kernel.extend(task_struct__thread__usersp=8)
        kernel.symbols |= {name: CODE + at for name, at in SYMBOLS.items()}
        self.cat: FakeProcess = kernel.process(100, "cat")
        self.cat["thread.usersp"] = USER_RSP
        self.cat.registers |= {"rbx": entry, "cs": 0xBAD, "rsp": 0xBAD, "r11": 0x213, "orig_rax": 34}
        self.slot = self.cat.stack + kernel.all_sizes["thread_union"] - 21 * 8 + 5 * 8

    def sleep(self) -> None:
        """The frames of schedule() and of the system call, the entry code's return address above them."""
        inner, outer = self.slot - 0x100, self.slot - 8
        self.call()
        junk = (spelled("junk") for _ in range(4))
        self.kernel.write(inner + 8, SLEEP.to_bytes(8, "little"))
        self.words(inner, outer, USERS["r15"], *junk)
        self.kernel.write(inner - 64, inner.to_bytes(8, "little"))
        self.cat["thread.sp"] = inner - 64

    def call(self) -> None:
        """What the system call pushed, below the entry code's return address: where pt_regs has other registers."""
        pushed = {"rbp": "rbp", "r12": "r14", "r13": "r13", "r14": "r12", "r15": "rbx"}
        self.cat.registers |= {slot: USERS[name] for slot, name in pushed.items()}

    def words(self, at: int, *values: int) -> None:
        """One below the other from an address on."""
        for i, value in enumerate(values):
            self.kernel.write(at - 8 * i, value.to_bytes(8, "little"))

    def recovered(self, folder: Path, rows: dict[int, Row] | None = None) -> Registers:
        image = self.kernel.image(folder)
        (thread,) = (r for r in Tasks(image).selected(["100"]) if isinstance(r, Thread))
        return ThreadRegisters(image, Rows(rows) if rows else None).of(thread)


def test_by_call_frame_information(tmp_path: Path) -> None:
    old = Old()
    old.sleep()
    found = old.recovered(tmp_path, ROWS)
    assert {name: found.values[name] for name in USERS} == USERS
    # SYSCALL keeps neither stack pointer nor segments, and the kernel shows no rcx.
    assert {name: found.values[name] for name in ("rsp", "cs", "ss", "eflags", "rcx", "orig_rax", "rdi")} == {
        "rsp": USER_RSP, "cs": 0x33, "ss": 0x2B, "eflags": 0x213, "rcx": (1 << 64) - 1, "orig_rax": 34,
        "rdi": spelled("rdi"),
    }  # fmt: skip
    assert found.origin == "the kernel stack (not running); callee-saved ones by call-frame information"


def test_by_frame_pointers(tmp_path: Path) -> None:
    old = Old()
    old.sleep()
    found = old.recovered(tmp_path)
    assert found.values["rbp"] == USERS["rbp"]
    assert not {"rbx", "r12", "r13", "r14", "r15"} & found.values.keys()
    assert found.origin == (
        "the kernel stack (not running); callee-saved ones by frame pointers; not recovered: rbx, r12, r13, r14, "
        "r15 (without call-frame information: give a vmlinux with --unwind)"
    )


@pytest.mark.parametrize("link", [0, 8, 1 << 40])
def test_frame_pointers_that_lead_elsewhere(tmp_path: Path, link: int) -> None:
    old = Old()
    old.sleep()
    old.kernel.write(old.slot - 0x100, (old.slot - link if link == 8 << 1 else link).to_bytes(8, "little"))
    found = old.recovered(tmp_path)
    assert not USERS.keys() & found.values.keys()
    assert "not recovered: rbx, rbp, r12" in found.origin


def test_frames_that_lead_elsewhere(tmp_path: Path) -> None:
    """The frame pointer is right all the same."""
    old = Old()
    old.sleep()
    found = old.recovered(tmp_path, ROWS | {SLEEP: Row((6, 24), ROWS[SLEEP].saved, {})})
    assert found.values.keys() & USERS.keys() == {"rbp"}
    assert "does not lead to the entry code" in found.origin


def test_a_register_whose_rule_is_not_read(tmp_path: Path) -> None:
    old = Old()
    old.sleep()
    saved = {n: at for n, at in ROWS[SLEEP].saved.items() if n != 3}
    found = old.recovered(tmp_path, ROWS | {SLEEP: Row((6, 16), saved, {3: "EXPRESSION"})})
    assert found.values.keys() & USERS.keys() == USERS.keys() - {"rbx"}
    assert "not recovered: rbx (" in found.origin


@pytest.mark.parametrize("entry", [RETURN_32, CAREFUL])
def test_entries_with_a_stack_pointer_of_their_own(tmp_path: Path, entry: int) -> None:
    """int 0x80, sysenter, and an interrupt after which another thread ran first: the CPU or the code pushed it."""
    old = Old(entry)
    old.cat.registers |= {"cs": 0x23, "rsp": 0xFFFFD000}
    old.sleep()
    found = old.recovered(tmp_path, ROWS)
    assert {name: found.values[name] for name in (*USERS, "rsp", "cs")} == USERS | {"rsp": 0xFFFFD000, "cs": 0x23}


def test_an_entry_that_saved_everything(tmp_path: Path) -> None:
    old = Old(entry=CODE + 0x2000)
    old.cat.registers |= {"cs": 0x33, "r12": 12}
    found = old.recovered(tmp_path)
    assert (found.values["rbx"], found.values["r12"]) == (CODE + 0x2000, 12)
    assert found.origin == "the kernel stack (not running)"


class Running(Old):
    """The same thread on CPU 1, which is in the kernel."""

    def __init__(self, entry: int = CALL) -> None:
        super().__init__(entry)
        self.kernel.run(1, self.cat)
        self.stack = self.kernel.alloc(4096, 4096) + 2048

    def note(self, **values: int) -> None:
        cpus = [registers(), registers({"cs": 0x10, **values})]
        self.kernel.notes += [prstatus_note(number + 1, each) for number, each in enumerate(cpus)]
        self.kernel.notes += [qemu_note(each, kernel_gs_base=0) for each in cpus]


def test_running_in_a_system_call(tmp_path: Path) -> None:
    """From where the CPU was; the user's stack pointer is still the CPU's own."""
    old = Running()
    old.kernel.symbols["old_rsp"] = 0x40
    old.call()
    old.note(rip=SLEEP - 1, rsp=old.slot - 0x80, rbp=old.slot - 8, r15=USERS["r15"])
    old.kernel.shares[0x40] = [0, 0x12345678]
    found = old.recovered(tmp_path, ROWS)
    assert {name: found.values[name] for name in (*USERS, "rsp")} == USERS | {"rsp": 0x12345678}


@pytest.mark.parametrize("pushed", [True, False])
def test_interrupted_on_a_stack_of_its_own(tmp_path: Path, pushed: bool) -> None:
    """The entry code keeps rbp, and since 2.6.18 makes a frame pointer of it; all else is as the user left it."""
    old = Running(entry=USERS["rbp"])
    old.cat.registers |= {"orig_rax": (1 << 64) - 0xF0, "cs": 0x33}
    old.words(
        old.stack, TIMER, old.slot if pushed else USERS["rbp"], *(USERS[n] for n in ("r14", "r13", "r12", "rbx"))
    )
    old.note(rip=SLEEP - 1, rsp=old.stack - 0x80, rbp=old.stack - 8, r15=USERS["r15"])
    found = old.recovered(tmp_path, ROWS)
    assert {name: found.values[name] for name in USERS} == USERS
    without = old.recovered(tmp_path)
    assert not USERS.keys() & without.values.keys()


def test_running_on_a_cpu_without_a_note(tmp_path: Path) -> None:
    old = Running(entry=CAREFUL)
    old.cat.registers |= {"cs": 0x33}
    assert "the dump has no registers of CPU 1" in old.recovered(tmp_path, ROWS).origin
