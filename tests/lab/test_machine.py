"""A machine that does not do as it should is ended, and the reason told with the end of its console."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .errors import LabError
from .machine import Machine

# No disk, no kernel: the firmware has nothing to start.
EMPTY = ("-nodefaults", "-display", "none", "-accel", "tcg", "-m", "16M")

FAILURES: dict[str, Callable[[Machine], object]] = {
    "no 'GC READY' within 1 s": lambda machine: machine.expect("GC READY", 1),
    "the machine ended before 'GC READY'": lambda machine: (machine.qmp("quit"), machine.expect("GC READY", 60)),
    "the guest failed before 'GC READY'": lambda machine: machine.expect("GC READY", 60, fatal="BIOS"),
    "qemu: dump-guest-memory: Could not open": lambda machine: machine.dump(Path("/nowhere/vmcore"), "elf"),
    "timed out after": lambda machine: machine.process.wait(0.1),
}


def run(machine: Machine, failure: Callable[[Machine], object]) -> None:
    """Do with a machine that is on what fails."""
    with machine:
        failure(machine)


@pytest.mark.parametrize("reason", FAILURES)
def test_the_reason_comes_with_the_console(reason: str, tmp_path: Path) -> None:
    machine = Machine(EMPTY, tmp_path)
    machine.text = "SeaBIOS (as if)\n"
    with pytest.raises(LabError) as caught:
        run(machine, FAILURES[reason])
    assert reason in str(caught.value)
    assert str(caught.value).endswith("the console's end:\nSeaBIOS (as if)\n")
    assert machine.process.returncode is not None
    assert (tmp_path / "serial.log").read_text() == "SeaBIOS (as if)\n"
    assert not (tmp_path / "qmp").exists()
