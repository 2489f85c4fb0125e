"""Threads whose CPU stood in the kernel's entry code: what is on a stack, and what is still in the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcoretools.arch import x86_64
from gcoretools.kernel.registers import Registers
from tests.fake_kernel import FakeKernel, FakeProcess, prstatus_note, qemu_note, registers, spelled
from tests.unit.test_registers import KERNEL_CS, NO_CALL, recovered

# mov %rsp, %gs:0x6014, with three bytes before it and all else behind.
SAVING_RSP = {
    "absolute": bytes.fromhex("0f01f8 654889242514600000"),
    "relative": bytes.fromhex("0f01f8 65488925 859fda02"),
}
SYSRETQ, IRETQ = bytes.fromhex("480f07"), bytes.fromhex("48cf")
USER_RSP = 0x7FFD00001230
SP2 = 0x7FFD00004560
# pt_regs from its end on, as the entry code pushes it.
PUSHED = tuple(reversed(x86_64.PT_REGS))


class Door:
    """A thread current on CPU 0, which stands somewhere in a made-up entry code."""

    def __init__(self, mov: str = "absolute") -> None:
        self.kernel = kernel = FakeKernel(cpus=1)
        self.cat: FakeProcess = kernel.process(100, "cat")
        kernel.run(0, self.cat)
        self.cat.registers.update({name: spelled(name) for name in PUSHED} | {"cs": 0x33})
        self.text = kernel.alloc(4096, 4096)
        code = {0x100: SAVING_RSP[mov], 0x200: b"\x90" * 99 + SYSRETQ, 0x400: b"\x90" * 150 + IRETQ}
        for at, data in code.items():
            kernel.write(self.text + at, data)
        names = {
            "__entry_text_start": 0, "entry_SYSCALL_64": 0x100, "syscall_return_via_sysret": 0x200,
            "swapgs_restore_regs_and_return_to_usermode": 0x400, "__entry_text_end": 0x1000,
        }  # fmt: skip
        kernel.symbols |= {name: self.text + at for name, at in names.items()}
        self.tss = kernel.new("tss_struct")
        self.entry_stack = kernel.alloc(4096, 4096) + 4096
        self.tss["x86_tss.sp0"], self.tss["x86_tss.sp2"] = self.entry_stack, SP2
        self.top = self.cat.stack + kernel.all_sizes["thread_union"]

    def push(self, top: int, count: int) -> int:
        """The first so many of pt_regs on a stack, each in lower case; the stack pointer behind them."""
        for i, name in enumerate(PUSHED[:count]):
            value = 0x33 if name == "cs" else spelled(name)
            self.kernel.write(top - 8 - 8 * i, value.to_bytes(8, "little"))
        return top - 8 * count

    def found(self, folder: Path, at: int, rsp: int, before_swapgs: bool = False, **values: int) -> Registers:
        """What is recovered when the CPU holds capitals, stands `at` in the entry code and has that rsp."""
        held = registers({"cs": KERNEL_CS, "rip": self.text + at, "rsp": rsp, **values})
        kernel, finish = self.kernel, self.kernel._finish_cpus

        def finish_cpus() -> None:
            finish()
            offset = int.from_bytes(kernel.read(kernel.symbols["__per_cpu_offset"], 8), "little")
            kernel.symbols["cpu_tss_rw"] = (self.tss.address - offset) % (1 << 64)
            aside = offset if before_swapgs else spelled("swapgs")
            kernel.notes += [prstatus_note(1, held), qemu_note(held, kernel_gs_base=aside)]

        kernel._finish_cpus = finish_cpus  # type: ignore[method-assign]
        return recovered(self.cat, folder)


@pytest.fixture
def door() -> Door:
    return Door()


def test_the_first_instructions_of_a_system_call(door: Door, tmp_path: Path) -> None:
    """All is in the CPU; SYSCALL has put rip into rcx and eflags into r11."""
    found = door.found(tmp_path, 0x103, USER_RSP)
    values = found.values
    assert (values["rip"], values["eflags"]) == (spelled("RCX"), spelled("R11"))
    assert (values["cs"], values["ss"], values["rsp"]) == (0x33, 0x2B, USER_RSP)
    assert (values["orig_rax"], values["rdi"], values["r15"]) == (spelled("RAX"), spelled("RDI"), spelled("R15"))
    assert found.origin == "the dump's note of CPU 0 and its stack (at the door of a system call)"


@pytest.mark.parametrize("mov", SAVING_RSP)
def test_the_stack_pointer_put_aside(mov: str, tmp_path: Path) -> None:
    """Then rsp is a page table's address for a while, which looks like a user's."""
    found = Door(mov).found(tmp_path, 0x103 + len(SAVING_RSP[mov]) - 3, 0x138F6000)
    assert found.values["rsp"] == SP2


def test_a_stack_pointer_that_cannot_be_told(door: Door, tmp_path: Path) -> None:
    door.kernel.write(door.text + 0x100, bytes(12))
    found = door.found(tmp_path, 0x110, 0x138F6000)
    assert "rsp" not in found.values
    assert found.origin.endswith("; not recovered: rsp")


@pytest.mark.parametrize("count", range(21))
def test_every_push_of_a_system_call(door: Door, tmp_path: Path, count: int) -> None:
    found = door.found(tmp_path, 0x120, door.push(door.top, count))
    on_stack, in_cpu = PUSHED[:count], PUSHED[count:]
    for name in on_stack:
        assert found.values[name] == (0x33 if name == "cs" else spelled(name))
    others = {"rip": "RCX", "eflags": "R11", "orig_rax": "RAX"}
    told = {"rsp": SP2, "cs": 0x33, "ss": 0x2B}
    for name in in_cpu:
        assert found.values[name] == told.get(name, spelled(others.get(name, name.upper())))
    assert found.values["gs_base"] == spelled("swapgs")


def test_a_whole_pt_regs_is_taken_as_ever(door: Door, tmp_path: Path) -> None:
    found = door.found(tmp_path, 0x130, door.push(door.top, 21))
    assert found.values["rdi"] == spelled("rdi")
    assert found.origin == "the kernel stack (running in the kernel on CPU 0)"


@pytest.mark.parametrize("rsp", ["stack", "entry", "user"])
@pytest.mark.parametrize("at", [0x200, 0x263, 0x400, 0x496])
def test_on_the_way_out_pt_regs_stands_where_it_stood(door: Door, tmp_path: Path, at: int, rsp: str) -> None:
    found = door.found(
        tmp_path, at, {"stack": door.top - 40, "entry": door.entry_stack - 16, "user": USER_RSP}[rsp]
    )
    names = ("rax", "rip", "rsp", "r15")
    assert [found.values[name] for name in names] == [spelled(name) for name in names]


@pytest.mark.parametrize("count", [6, 7, 12, 21])
def test_the_entry_stack(door: Door, tmp_path: Path, count: int) -> None:
    """An interrupt's frame is on the CPU's entry stack, then all of pt_regs, before it is copied."""
    found = door.found(tmp_path, 0x800, door.push(door.entry_stack, count))
    for name in PUSHED[:count]:
        wanted = {"cs": 0x33, "orig_rax": NO_CALL}.get(name, spelled(name))
        assert found.values[name] == wanted
    for name in PUSHED[count:]:
        assert found.values[name] == spelled(name.upper())
    assert found.origin == "the dump's note of CPU 0 and its stack (at the door of an interrupt)"


def test_a_return_address_in_a_registers_place(door: Door, tmp_path: Path) -> None:
    """The code that pushes is called: where rdi will stand, there is at first the address to return to."""
    rsp = door.push(door.entry_stack, 7)
    door.kernel.write(rsp, (door.text + 0x777).to_bytes(8, "little"))
    assert door.found(tmp_path, 0x800, rsp).values["rdi"] == spelled("RDI")


def test_a_32_bit_programs_interrupt(door: Door, tmp_path: Path) -> None:
    """It can be a system call: then the number is lost."""
    rsp = door.push(door.entry_stack, 6)
    door.kernel.write(door.entry_stack - 32, (0x23).to_bytes(8, "little"))
    found = door.found(tmp_path, 0x800, rsp)
    assert "orig_rax" not in found.values
    assert found.origin.endswith("not recovered: orig_rax")


def test_entry_code_that_is_not_known(door: Door, tmp_path: Path) -> None:
    found = door.found(tmp_path, 0x900, door.kernel.alloc(4096) + 64)
    assert found.values == {}
    assert found.origin.startswith("not recovered: CPU 0 was in entry code at")


def test_gs_before_swapgs(door: Door, tmp_path: Path) -> None:
    """What SWAPGS would bring is then the kernel's own: the user's is still active."""
    found = door.found(tmp_path, 0x100, USER_RSP, before_swapgs=True, gs_base=0x1234)
    assert found.values["gs_base"] == 0x1234


def test_without_the_symbols_all_is_as_ever(door: Door, tmp_path: Path) -> None:
    for name in [name for name in door.kernel.symbols if "entry" in name or "ret" in name]:
        del door.kernel.symbols[name]
    assert door.found(tmp_path, 0x110, USER_RSP).origin == "the kernel stack (running in the kernel on CPU 0)"
