"""The peers see the same tasks: drgn in the formats that it reads, crash on the kernels that it knows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from . import pipeline
from .lab import Capture

# Kernels that Debian 12's crash (8.0.2) knows: of later ones it finds few tasks, or none.
CRASH_KNOWS = ("5.10",)

# Dumps that drgn 0.3.0 reads: not those of QEMU's dump-guest-memory -z, which say nothing of their architecture.
DRGN_READS = {"elf", "d0"}

# Threads that have exited and wait for their parent are no threads of ours.
DRGN = """
import json
from drgn.helpers.linux.pid import for_each_task
for task in for_each_task(prog):
    if not task.exit_state:
        print(json.dumps([task.pid.value_(), task.value_(), task.comm.string_().decode()]))
"""


def our_tasks(dump: Path, folder: Path) -> set[tuple[int, int, str]]:
    """PID, task address and name of every thread, as gc-tasks -a gives them."""
    pipeline.run("gc-tasks", "-a", dump, stdout=folder / "tasks.gc")
    threads = (r for r in pipeline.records(folder / "tasks.gc") if r["kind"] == "thread")
    return {(thread["pid"], thread["task"], thread["comm"]) for thread in threads}


@pytest.mark.lab("max", "kdump")
def test_drgn_sees_the_same_tasks(captured: Capture, tmp_path: Path) -> None:
    script = tmp_path / "tasks.py"
    script.write_text(DRGN)
    for kind in DRGN_READS & captured.dumps.keys():
        dump = captured.dumps[kind]
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "drgn",
            "-q",
            "-c",
            dump,
            "-s",
            captured.vmlinux(),
            script,
        ]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        theirs = {tuple(json.loads(line)) for line in told.splitlines()}
        assert len(theirs) > 100, kind
        assert theirs == our_tasks(dump, tmp_path), kind


def test_crash_sees_the_same_tasks(captured: Capture, tmp_path: Path) -> None:
    if captured.boot.kernel.name not in CRASH_KNOWS:
        pytest.skip("crash 8.0.2 does not know this kernel")
    for kind, dump in captured.dumps.items():
        command: list[str | Path] = ["crash", "-s", captured.vmlinux(), dump]
        told = subprocess.run(command, input="ps\nquit\n", capture_output=True, text=True, check=True).stdout
        rows = re.findall(r"(?m)^[> ] +(\d+) +\d+ +\d+ +([0-9a-f]+) +(\w+) ", told)
        theirs = {(int(pid), int(task, 16)) for pid, task, state in rows if int(pid) and state not in ("ZO", "DE")}
        assert len(theirs) > 100, kind
        assert theirs == {(pid, task) for pid, task, _ in our_tasks(dump, tmp_path)}, kind
