"""The running kernel by /proc/kcore, and a capture kernel by /proc/vmcore: our commands run in the guest itself."""

from __future__ import annotations

import pytest

from .corefile import CoreFile
from .judge import judge
from .lab import Capture
from .live import LIVE, Lived, live, peak
from .test_formats import cores, data_of

MEMORY_LIMIT = 100 << 10
"""What a command may have in a capture kernel, in KiB."""

MOVING = "is the memory of the running kernel"


@pytest.fixture(scope="module")
def lived(captured: Capture, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    return live(captured, tmp_path_factory.mktemp("live"))


@pytest.mark.lab("max")
def test_a_process_of_the_running_kernel(lived: Lived) -> None:
    killed = [process for process in lived.facts if (lived.cores / f"core.{process['global_pid']}").exists()]
    assert len(killed) == len(LIVE.roles) - 1
    for process in killed:
        ours = CoreFile(lived.live / f"core.{process['global_pid']}")
        judged = judge(ours, CoreFile(lived.cores / f"core.{process['global_pid']}"), [], process["threads"])
        assert judged.differences == []
        assert judged.pages > 100
    assert MOVING in (lived.live / "cores.words").read_text()
    assert MOVING in (lived.live / "tasks.words").read_text()


@pytest.mark.lab("max")
def test_in_a_capture_kernel_as_outside(lived: Lived, tmp_path_factory: pytest.TempPathFactory) -> None:
    pids = [str(process["global_pid"]) for process in lived.facts]
    there = {
        path.name: data_of(path) for path in sorted(lived.captured.glob("core.*")) if path.suffix[1:].isdigit()
    }
    alive = [pid for pid in pids if f"core.{pid}" in there]
    assert alive
    assert there == cores(lived.vmcore, alive, tmp_path_factory.mktemp("outside") / "cores")
    assert data_of(lived.captured / "core") in there.values()


@pytest.mark.lab("max")
@pytest.mark.parametrize("command", ["tasks", "cores", "maps", "pages", "core"])
def test_the_memory_of_a_command_in_a_capture_kernel(lived: Lived, command: str) -> None:
    assert peak(lived.captured, command) < MEMORY_LIMIT
