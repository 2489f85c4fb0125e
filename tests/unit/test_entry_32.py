"""A thread at the door of a 32-bit kernel: registers out of its CPU's note and off its stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcoretools.arch import i386
from gcoretools.dumps import PAGE_SIZE
from gcoretools.kernel.registers import Registers
from tests.fake_i386 import KERNEL_CS, NO_CALL, STACK_SIZE, USER_CS, Machine32, cpu_note, registers


@pytest.fixture(params=[2, 3])
def machine(request: pytest.FixtureRequest) -> Machine32:
    return Machine32(request.param)


def at_door(
    machine: Machine32, folder: Path, pushed: int, saved: dict[str, int] | None = None, mm: int = 0, **values: int
) -> tuple[Registers, dict[str, int]]:
    """What is recovered where so many words of pt_regs are on the stack, and everything that the CPU has."""
    stack = machine.store(bytes(STACK_SIZE), PAGE_SIZE)
    top = stack + STACK_SIZE - 16
    in_cpu = {name: 0x3000 + number for number, name in enumerate(i386.USER_REGS)}
    in_cpu |= {"cs": KERNEL_CS, "eip": 0xC0801010, "esp": top - 4 * pushed, **values}
    on_stack = {name: 0xABCD2000 + number for number, name in enumerate(i386.PT_REGS)} | {"cs": 0xABCD0073}
    on_stack |= saved or {}
    machine.notes = [cpu_note(77, in_cpu)]
    return registers(machine, on_stack, folder, mm=mm, active=True, cpu=0, pid=77, stack=stack), in_cpu


@pytest.mark.parametrize("pushed", [5, 6, 9, 16])
def test_a_thread_at_the_door_of_an_interrupt(machine: Machine32, pushed: int, tmp_path: Path) -> None:
    """What is pushed is on the stack, everything else in the CPU, and gs there all the time."""
    found, in_cpu = at_door(machine, tmp_path, pushed)
    on_stack = {name: 0xABCD2000 + number for number, name in enumerate(i386.PT_REGS)} | {"cs": USER_CS}
    on_stack |= {name: on_stack[name] & 0xFFFF for name in i386.SELECTORS}
    split = len(i386.PT_REGS) - pushed
    expected = {name: (in_cpu if at < split else on_stack)[name] for at, name in enumerate(i386.PT_REGS)}
    expected |= {"gs": in_cpu["gs"]} | ({"orig_eax": NO_CALL} if pushed < 6 else {})
    assert found.values == expected
    assert found.origin == "the dump's note of CPU 0 and its stack (at the door of an interrupt)"


def test_a_thread_at_the_door_of_a_system_call(machine: Machine32, tmp_path: Path) -> None:
    machine.symbols["system_call"] = 0xC0801010
    found, in_cpu = at_door(machine, tmp_path, 5)
    assert found.values["orig_eax"] == in_cpu["eax"]


@pytest.mark.parametrize("pushed", [0, 4])
def test_a_stack_without_a_whole_frame(machine: Machine32, pushed: int, tmp_path: Path) -> None:
    found, _ = at_door(machine, tmp_path, pushed)
    assert (found.values, "has no frame of an interrupt" in found.origin) == ({}, True)


@pytest.mark.parametrize("pushed", [5, 17, 100])
def test_behind_sysenter_nothing_is_certain(machine: Machine32, pushed: int, tmp_path: Path) -> None:
    machine.symbols["sysenter_entry"] = 0xC0801000
    found, _ = at_door(machine, tmp_path, pushed)
    assert found.values == {}
    assert found.origin.startswith("not recovered: CPU 0 was in entry code at 0xc0801010")


@pytest.mark.parametrize(("pushed", "eip"), [(5, 0xC0700000), (100, 0xC0801010), (100, 0xC0700000)])
def test_entry_stacks(machine: Machine32, pushed: int, eip: int, tmp_path: Path) -> None:
    """A kernel that pushes on another stack and moves it: known is only what was when it was done."""
    machine.symbols |= {"__entry_text_start": 0xC0801000, "__entry_text_end": 0xC0802000}
    machine.symbols["cpu_tss_rw"] = machine.words(0, 0xFF406000)
    found, _ = at_door(machine, tmp_path, pushed, eip=eip)
    done = pushed == 100 and eip == 0xC0700000
    assert found.values.get("ebx") == (0xABCD2000 if done else None)
    entry, _ = at_door(machine, tmp_path, 0, eip=0xC0700000, esp=0xFF405FE8)
    assert entry.values == {}


def test_places_that_sysenter_fills_in_later(machine: Machine32, tmp_path: Path) -> None:
    found, _ = at_door(machine, tmp_path, 100, saved={"eip": 0, "esp": 0})
    assert (found.values, "had not yet saved" in found.origin) == ({}, True)


@pytest.mark.parametrize(("eip", "fetched"), [(0xB7FFF010, False), (0x08048010, True)])
def test_ebp_that_is_not_fetched_yet(machine: Machine32, eip: int, fetched: bool, tmp_path: Path) -> None:
    """It is the stack pointer then, as it may be anywhere but in the vdso."""
    mm = machine.words(0, 0xB7FFF000)
    found, _ = at_door(machine, tmp_path, 100, saved={"eip": eip, "esp": 0xB7000000, "ebp": 0xB7000000}, mm=mm)
    assert found.values.get("ebp") == (0xB7000000 if fetched else None)
    assert (found.values["eip"], found.values["esp"]) == (eip, 0xB7000000)
    assert found.origin.endswith("not recovered: ebp") == (not fetched)
