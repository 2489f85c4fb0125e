"""gc-maps and gc-tasks say what the guest's own /proc said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from . import pipeline
from .facts import Facts
from .lab import Capture
from .variants import EVERYBODY, IA32

LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)")


def proc_maps(text: str) -> list[tuple[str, ...]]:
    """/proc/PID/maps as rows: start, end, permissions, offset, major, minor, inode, name."""
    rows = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(rows)
    return [tuple(v if i in (2, 7) else v.lstrip("0") or "0" for i, v in enumerate(r.groups())) for r in rows if r]


def our_maps(vmas: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """gc-maps in the same rows."""
    return [
        (
            f"{vma['start']:x}",
            f"{vma['start'] + vma['size']:x}",
            "".join(c if vma["flags"] & 1 << i else "-" for i, c in enumerate("rwx"))
            + ("s" if vma["flags"] & 0x80 else "p"),
            f"{vma['offset']:x}",
            *(f"{number:x}" for number in vma["device"]),
            str(vma["inode"]),
            vma["name"].replace("\n", "\\012"),
        )
        for vma in vmas
    ]


@pytest.mark.lab("max", "nehalem", "kdump")
@pytest.mark.parametrize("role", [role for role in EVERYBODY if role != "zleader"])  # /proc shows none of its
def test_mappings_are_those_of_proc(captured: Capture, role: str, tmp_path: Path) -> None:
    hold_mappings(captured, role, tmp_path)


@pytest.mark.lab("ia32", "sysenter", "pae", "highmem")
@pytest.mark.parametrize("role", [role for role in IA32 if role != "zleader"])
def test_mappings_of_32_bit_processes(captured: Capture, role: str, tmp_path: Path) -> None:
    hold_mappings(captured, role, tmp_path)


def hold_mappings(captured: Capture, role: str, tmp_path: Path) -> None:
    """Hold ours against those of /proc."""
    process = captured.process(role)
    pipeline.run(
        "gc-maps", *captured.options, captured.vmcore, str(process["global_pid"]), stdout=tmp_path / "maps.gc"
    )
    found = [r for r in pipeline.records(tmp_path / "maps.gc") if r["kind"] == "vma"]
    assert our_maps(found) == proc_maps(process["proc"]["maps"])


@pytest.mark.lab("max", "nehalem", "plain", "kdump", "ia32", "pae", "highmem")
def test_tasks_are_those_of_proc(captured: Capture, tmp_path: Path) -> None:
    pipeline.run("gc-tasks", *captured.options, captured.vmcore, stdout=tmp_path / "tasks.gc")
    groups = {r["tgid"]: r for r in pipeline.records(tmp_path / "tasks.gc") if r["kind"] == "process"}
    threads = {r["pid"] for r in pipeline.records(tmp_path / "tasks.gc") if r["kind"] == "thread"}
    for process in captured.facts["processes"]:
        status = proc_status(process)
        group = groups[process["global_pid"]]
        assert str(group["ppid"]) == status["PPid"]
        assert str(group["uid"]) == status["Uid"].split()[0]
        assert [str(number) for number in group["namespace_ids"][:1]] == status["NSpid"].split()[-1:]
        assert group["comm"].encode("unicode_escape").decode() == status["Name"].encode().decode()
        assert group["vsz"] >> 10 == int(status["VmSize"].split()[0]) if "VmSize" in status else True
        living = {thread["global_tid"] for thread in process["threads"] if thread["kind"] != "exited"}
        assert living <= threads
        assert group["threads"] == len(living)


@pytest.mark.lab("max", "pae", "highmem")
def test_resident_memory_is_that_of_proc(captured: Capture, tmp_path: Path) -> None:
    """Of processes that only wait: the others' counters go on."""
    pipeline.run("gc-tasks", *captured.options, captured.vmcore, stdout=tmp_path / "tasks.gc")
    groups = {r["tgid"]: r for r in pipeline.records(tmp_path / "tasks.gc") if r["kind"] == "process"}
    compared = 0
    for process in captured.facts["processes"]:
        resident = proc_status(process).get("VmRSS")
        if resident and all(thread["kind"] == "blocked" for thread in process["threads"]):
            assert groups[process["global_pid"]]["rss"] >> 10 == int(resident.split()[0]), process["role"]
            compared += 1
    assert compared >= 5


@pytest.mark.lab("max", "pae", "highmem")
def test_running_threads_are_marked(captured: Capture, tmp_path: Path) -> None:
    pipeline.run("gc-tasks", *captured.options, captured.vmcore, stdout=tmp_path / "tasks.gc")
    active = {r["pid"] for r in pipeline.records(tmp_path / "tasks.gc") if r["kind"] == "thread" and r["active"]}
    (spinner,) = (t["global_tid"] for t in captured.process("spin")["threads"] if t["kind"] == "spinning")
    assert spinner in active
    assert len(active) <= 2  # the guest has two CPUs


def test_kernel_threads_come_with_a(captured: Capture, tmp_path: Path) -> None:
    names = []
    for options in ((), ("-a",)):
        pipeline.run("gc-tasks", *options, captured.vmcore, stdout=tmp_path / "tasks.gc")
        names.append({r["comm"] for r in pipeline.records(tmp_path / "tasks.gc") if r["kind"] == "process"})
    assert "kthreadd" not in names[0]
    assert "kthreadd" in names[1]


def proc_status(process: Facts) -> dict[str, str]:
    """/proc/PID/status as a map."""
    rows = (line.partition(":") for line in process["proc"]["status"].splitlines())
    return {name: value.strip() for name, _, value in rows}
