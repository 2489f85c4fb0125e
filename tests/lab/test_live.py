"""The running kernel by /proc/kcore, and a capture kernel by /proc/vmcore: our commands run in the guest itself."""

from __future__ import annotations

from pathlib import Path

from .corefile import CoreFile
from .judge import judge
from .lab import capture
from .live import LIVE, Lived, live, peak
from .test_formats import cores, data_of

MEMORY_LIMIT = 100 << 10
"""What a command may have in a capture kernel, in KiB."""

MOVING = "is the memory of the running kernel"


def test_in_the_guest_itself(tmp_path: Path) -> None:
    """One kernel is enough; one test, for the guest takes a minute, and workers share nothing."""
    lived = live(capture("6.1"), tmp_path)
    check_the_running_kernel(lived)
    check_the_capture_kernel(lived, tmp_path)
    peaks = {name: peak(lived.captured, name) for name in ("tasks", "cores", "maps", "pages", "core")}
    assert {name: size for name, size in peaks.items() if size > MEMORY_LIMIT} == {}


def check_the_running_kernel(lived: Lived) -> None:
    """Cores out of /proc/kcore are those that the kernel writes of the same processes moments later."""
    killed = [process for process in lived.facts if (lived.cores / f"core.{process['global_pid']}").exists()]
    assert len(killed) == len(LIVE.roles) - 1
    for process in killed:
        ours = CoreFile(lived.live / f"core.{process['global_pid']}")
        judged = judge(ours, CoreFile(lived.cores / f"core.{process['global_pid']}"), [], process["threads"])
        assert judged.differences == []
        assert judged.pages > 100
    for name in ("cores", "tasks"):
        assert MOVING in (lived.live / f"{name}.words").read_text()


def check_the_capture_kernel(lived: Lived, folder: Path) -> None:
    """Cores out of /proc/vmcore, by gc-core and by the pipeline, are those out of the saved file."""
    found = [path for path in lived.captured.glob("core.*") if path.suffix[1:].isdigit()]
    there = {path.name: data_of(path) for path in found}
    assert len(there) == 1
    assert there == cores(lived.vmcore, [path.suffix[1:] for path in found], folder / "outside")
    assert [data_of(lived.captured / "core")] == list(there.values())
