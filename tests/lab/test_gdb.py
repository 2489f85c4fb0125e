"""gdb sees the same in our cores as in the kernel's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from .facts import Facts
from .lab import Capture
from .test_cores import MAKEDUMPFILE_KNOWS, make_core

ROLES = ("threads", "dynamic", "zleader", "spin", "forked")


def gdb(captured: Capture, role: str, core: Path, *commands: str) -> str:
    """What gdb says of a core, with the guest's own programs and libraries."""
    program = captured.sysroot / "bin" / ("gctest-dynamic" if role == "dynamic" else "gctest")
    first = (f"set sysroot {captured.sysroot}", "set width 0", f"file {program}", f"core-file {core}")
    words = [word for each in (*first, *commands) for word in ("-ex", each)]
    return subprocess.run(["gdb", "-batch", "-nx", *words], capture_output=True, text=True, check=True).stdout


def by_thread(text: str) -> dict[int, str]:
    """The parts of `thread apply all` by LWP."""
    parts = re.split(r"(?m)^Thread \d+ \((?:Thread \S+ )?\(?LWP (\d+)\)+:\n", text)[1:]
    return {int(lwp): body for lwp, body in zip(parts[::2], parts[1::2], strict=True)}


def frames(body: str, spinning: bool) -> list[str]:
    """The frames of a backtrace; of a spinning thread's innermost one, which goes on, only its function."""
    found = re.findall(r"(?m)^#\d+ .*", body)
    return [re.sub(r"^#0 .*?(\w+) \(.*", r"#0 \1", found[0]), *found[1:]] if spinning else found


def spinners(process: Facts) -> set[int]:
    return {thread["tid"] for thread in process["threads"] if thread["kind"] == "spinning"}


@pytest.mark.lab("max", "nehalem", "ia32", "sysenter")
@pytest.mark.parametrize("role", ROLES)
def test_threads_and_backtraces(captured: Capture, role: str, tmp_path: Path) -> None:
    process = captured.process(role)
    make_core(captured.vmcore, process, tmp_path)
    cores = (tmp_path / "core", captured.core(role))
    mine, theirs = (by_thread(gdb(captured, role, core, "thread apply all backtrace")) for core in cores)
    living = {thread["tid"] for thread in process["threads"] if thread["kind"] != "exited"}
    assert mine.keys() == theirs.keys() >= living
    for lwp, body in mine.items():
        spinning = lwp in spinners(process)
        assert frames(body, spinning) == frames(theirs[lwp], spinning)
        assert "??" not in body or "??" in theirs[lwp]


@pytest.mark.lab("max", "ia32")
@pytest.mark.parametrize("role", ROLES)
def test_info_threads(captured: Capture, role: str, tmp_path: Path) -> None:
    process = captured.process(role)
    make_core(captured.vmcore, process, tmp_path)
    cores = (tmp_path / "core", captured.core(role))
    rows = [re.findall(r"LWP (\d+)\)* +(.*)", gdb(captured, role, core, "info threads")) for core in cores]
    still = [{lwp: frame for lwp, frame in each if int(lwp) not in spinners(process)} for each in rows]
    assert still[0] == still[1]
    assert len(rows[0]) == len(rows[1]) > 0


@pytest.mark.lab("max", "ia32")
@pytest.mark.parametrize("role", ["threads", "dynamic", "memory"])
def test_memory_and_mappings(captured: Capture, role: str, tmp_path: Path) -> None:
    make_core(captured.vmcore, captured.process(role), tmp_path)
    commands = ("x/64xg $sp", "x/8i $pc", "info proc mappings", "info auxv")
    mine, theirs = (gdb(captured, role, core, *commands) for core in (tmp_path / "core", captured.core(role)))
    assert without_signal(mine) == without_signal(theirs)
    assert "Mapped address spaces" in mine


def without_signal(text: str) -> list[str]:
    """gdb's words but for what it says of the signal, which only the killed process has, and of the threads,
    whose order is by the kernel's chance."""
    told = r"Program terminated|\[Current thread|\[New LWP|#0 "
    return [line for line in text.splitlines() if not re.match(told, line)]


def loaded(body: str) -> tuple[list[str], list[float]]:
    """The bytes of the vector registers as text, and st0 to st3, in `info registers float vector`."""
    rows = re.findall(r"(?m)^[xy]mm\d+ .* v(?:16|32)_int8 = \{(.*?)\}", body)
    texts = [bytes(int(number, 16) for number in row.split(", ")).decode() for row in rows]
    return texts, [float(value) for value in re.findall(r"(?m)^st[0-3] +(\S+)", body)]


def vectors_of(process: Facts) -> int:
    """How many vector registers a process has."""
    return 8 if process.get("bits") == 32 else 16


@pytest.mark.lab("kdump", "kdump-ia32")
def test_floating_point_registers_of_a_real_kdump(captured: Capture, tmp_path: Path) -> None:
    """No core of the kernel's own is to be had after a panic: the processes' own words judge."""
    process = captured.process("threads")
    make_core(captured.vmcore, process, tmp_path)
    commands = ("set print repeats 0", "thread apply all info registers float vector")
    shown = by_thread(gdb(captured, "threads", tmp_path / "core", *commands))
    for thread in process["threads"]:
        assert loaded(shown[thread["tid"]]) == (thread["xmm"][: vectors_of(process)], thread["st"])


@pytest.mark.lab("max", "nehalem", "ia32", "sysenter")
def test_floating_point_registers(captured: Capture, tmp_path: Path) -> None:
    """x87, SSE, AVX and the rest: the same as in the kernel's core, and what the threads had loaded."""
    process = captured.process("threads")
    make_core(captured.vmcore, process, tmp_path)
    commands = ("set print repeats 0", "thread apply all info registers float vector")
    cores = (tmp_path / "core", captured.core("threads"))
    mine, theirs = (by_thread(gdb(captured, "threads", core, *commands)) for core in cores)
    assert mine == theirs
    for thread in process["threads"]:
        assert loaded(mine[thread["tid"]]) == (thread["xmm"][: vectors_of(process)], thread["st"])


@pytest.mark.lab("kdump")
def test_a_core_with_gaps_opens(captured: Capture, tmp_path: Path) -> None:
    """Of level 31: all threads where they were; and where there is no memory gdb has none, rather than zeros."""
    if captured.boot.kernel.name not in MAKEDUMPFILE_KNOWS:
        return  # test_excluded_pages_are_gaps has what is said of these
    process = captured.process("threads")
    _, gaps = make_core(captured.dumps["d31"], process, tmp_path)
    shown = gdb(captured, "threads", tmp_path / "core", "info threads")
    threads = re.findall(r"LWP (\d+)\)* +0x[0-9a-f]+ in marked \(\)", shown)
    assert {int(lwp) for lwp in threads} == {thread["tid"] for thread in process["threads"]}
    for start, size in gaps[:2]:
        assert not is_accessible(tmp_path / "core", start)
        assert not is_accessible(tmp_path / "core", start + size - 8)


def is_accessible(core: Path, address: int) -> bool:
    """Whether gdb has memory at an address of a core, without the program's files."""
    command = ["gdb", "-batch", "-nx", "-ex", f"core-file {core}", "-ex", f"x/xg {address:#x}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    words = f"Cannot access memory at address {address:#x}" in done.stderr
    assert words != (f"{address:#x}" in done.stdout and done.returncode == 0), done
    return not words
