"""What the guest's processes said of themselves, and what their /proc said, as one plain value."""

import json
from pathlib import Path
from typing import Any

Facts = dict[str, Any]


def _tasks(text: str) -> dict[str, str]:
    """The lines of `grep -H '' FILE...`, gathered per file: "task/12/stat" -> its text."""
    files: dict[str, str] = {}
    for line in text.splitlines():
        path, _, words = line.partition(":")
        name = path.split("/", 3)[3]
        files[name] = files.get(name, "") + words + "\n"
    return files


def _proc(folder: Path) -> Facts:
    """/proc/PID as text; auxv in hexadecimal, cmdline as a list."""
    return {
        "auxv": (folder / "auxv").read_bytes().hex(),
        "cmdline": (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1],
        "maps": (folder / "maps").read_text(),
        "smaps": (folder / "smaps").read_text(),
        **_tasks((folder / "tasks").read_text(errors="replace")),
    }


def collect(folder: Path) -> Facts:
    """{"processes": [...]} out of the guest's /facts folder; each has its role, threads, regions and proc."""
    processes = []
    for path in sorted(folder.glob("*.json")):
        process = json.loads(path.read_text())
        if process.get("bits") == 32:
            for thread in process["threads"]:
                thread["registers"] = {f"e{name[1:]}": value for name, value in thread["registers"].items()}
        process["proc"] = _proc(folder / "proc" / str(process["global_pid"]))
        processes.append(process)
    return {"processes": sorted(processes, key=lambda process: int(process["global_pid"]))}
