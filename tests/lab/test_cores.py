"""Our cores are the kernel's own cores of the same processes, by the judge's rules."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from . import pipeline
from .corefile import CoreFile
from .facts import Facts
from .judge import judge
from .lab import Capture
from .regions import PAGE, expected_pages
from .variants import EVERYBODY, IA32

FULL_FILTER = "0x7f"

# Kernels that Debian 12's makedumpfile (1.7.2) knows: of later ones, level 31 leaves out task_structs, too.
MAKEDUMPFILE_KNOWS = ("5.10", "6.1")


def make_core(
    dump: Path, process: Facts, folder: Path, *options: str | Path
) -> tuple[CoreFile, list[tuple[int, int]]]:
    """A process's core by the commands, with -f 127 where that was its own filter, and the gaps in it.

    Args:
        options: more of gc-pages.
    """
    stream, core = folder / "pages.gc", folder / "core"
    filter_ = ("-f", "127") if process["filter"] == FULL_FILTER else ()
    pipeline.pipe(("gc-maps", dump, str(process["global_pid"])), ("gc-pages", *filter_, *options), stdout=stream)
    pipeline.run("gc-elf", stdin=stream, stdout=core)
    return CoreFile(core), pipeline.gaps(stream)


def stale_threads(dump: Path, process: Facts, stream: Path) -> set[int]:
    """Those threads, by tid, of which gc-regs says that memory has only old floating-point registers."""
    pipeline.run("gc-regs", dump, str(process["global_pid"]), stdout=stream)
    old = {
        each["pid"]
        for each in pipeline.records(stream)
        if each["kind"] == "regs" and each["fpu_origin"].startswith("stale")
    }
    return {thread["tid"] for thread in process["threads"] if thread["global_tid"] in old}


@pytest.mark.lab("max", "nehalem", "plain")
@pytest.mark.parametrize("role", [*EVERYBODY, "spin", "sysspin"])
def test_the_core_is_the_kernels(captured: Capture, role: str, tmp_path: Path) -> None:
    process = captured.process(role)
    core, gaps = make_core(captured.vmcore, process, tmp_path)
    stale = stale_threads(captured.vmcore, process, tmp_path / "regs.gc")
    judged = judge(core, CoreFile(captured.core(role)), gaps, process["threads"], stale)
    assert judged.differences == []
    assert gaps == []
    assert judged.pages > 500
    assert stale or role != "spin"
    assert [n.kind for n in core.notes].count("386_IOPERM") == (role == "threads")
    assert not stale or role in ("spin", "sysspin")


@pytest.mark.lab("ia32", "sysenter")
@pytest.mark.parametrize("role", IA32)
def test_the_core_of_a_32_bit_process_is_the_kernels(captured: Capture, role: str, tmp_path: Path) -> None:
    process = captured.process(role)
    core, gaps = make_core(captured.vmcore, process, tmp_path)
    stale = stale_threads(captured.vmcore, process, tmp_path / "regs.gc")
    judged = judge(core, CoreFile(captured.core(role)), gaps, process["threads"], stale)
    assert judged.differences == []
    assert gaps == []
    assert judged.pages > 100
    assert bool(stale) == (role == "spin")
    for thread in process["threads"]:
        if thread["kind"] != "exited":
            found = core.threads[thread["tid"]]
            assert {name: found[name] for name in thread["registers"]} == thread["registers"]


@pytest.mark.lab("segments", "fsgsbase")
def test_segments_behind_selectors(captured: Capture, tmp_path: Path) -> None:
    """Bases out of descriptors, of the thread and of the process: without FSGSBASE and with it."""
    process = captured.process("threads")
    core, gaps = make_core(captured.vmcore, process, tmp_path)
    judged = judge(core, CoreFile(captured.core("threads")), gaps, process["threads"])
    assert judged.differences == []
    for thread in process["threads"]:
        found = core.threads[thread["tid"]]
        assert (found["fs_base"], found["gs_base"]) == (thread["fs_base"], thread["gs_base"])
    selectors = {found[name] for found in core.threads.values() for name in ("fs", "gs")}
    assert {0, 12 << 3 | 3} < selectors


@pytest.mark.lab("max")
def test_the_first_thread_is_the_selected_one(captured: Capture, tmp_path: Path) -> None:
    process = captured.process("threads")
    for thread in process["threads"][:3]:
        core, _ = make_core(captured.vmcore, {**process, "global_pid": thread["tid"]}, tmp_path)
        assert next(iter(core.threads)) == thread["tid"]
        assert sorted(core.threads) == sorted(each["tid"] for each in process["threads"])


@pytest.mark.lab("max")
def test_one_moment_in_two_formats(captured: Capture, tmp_path: Path) -> None:
    """ELF and kdump-compressed of one stopped machine give the same file."""
    process = captured.process("memory")
    for name, dump in (("elf", captured.vmcore), ("kdump", captured.kdump)):
        (tmp_path / name).mkdir()
        make_core(dump, process, tmp_path / name)
    assert same_file(tmp_path / "elf/core", tmp_path / "kdump/core")


@pytest.mark.lab("kdump")
@pytest.mark.parametrize("role", [*EVERYBODY, "panic"])
def test_a_real_kdump_holds_what_the_processes_said(captured: Capture, role: str, tmp_path: Path) -> None:
    """No core of the kernel's own is to be had after a panic: the processes' own words judge."""
    process = captured.process(role)
    core, gaps = make_core(captured.vmcore, process, tmp_path)
    living = [thread for thread in process["threads"] if thread["kind"] != "exited"]
    assert sorted(core.threads) == sorted(thread["tid"] for thread in living)
    for thread in living:
        found = core.threads[thread["tid"]]
        wanted = {**thread["registers"], "fs_base": thread["fs_base"], "gs_base": thread["gs_base"]}
        assert {name: found[name] for name in wanted} == wanted
    if role.startswith("memory"):
        for name, address, page in expected_pages(process):
            assert is_missing(address, gaps) or core.read(address, PAGE) == page, name


@pytest.mark.lab("kdump-ia32")
@pytest.mark.parametrize("role", ["threads", "dynamic", "panic"])
def test_a_real_kdump_with_32_bit_processes(captured: Capture, role: str, tmp_path: Path) -> None:
    """Sleeping by each way into the kernel, spinning in user mode, and panicking in a system call."""
    process = captured.process(role)
    core, _ = make_core(captured.vmcore, process, tmp_path)
    assert core.shape.word == 4
    assert sorted(core.threads) == sorted(thread["tid"] for thread in process["threads"])
    for thread in process["threads"]:
        found = core.threads[thread["tid"]]
        assert {name: found[name] for name in thread["registers"]} == thread["registers"]
    stale = stale_threads(captured.vmcore, process, tmp_path / "regs.gc")
    assert stale >= {thread["tid"] for thread in process["threads"] if thread["kind"] == "spinning"}
    assert bool(stale) == (role == "panic")


@pytest.mark.lab("kdump")
def test_makedumpfile_leaves_the_core_as_it_is(captured: Capture, tmp_path: Path) -> None:
    """Levels 0 and 1 keep all user memory."""
    process = captured.process("memory")
    for kind in ("elf", "d0", "d1"):
        (tmp_path / kind).mkdir()
        make_core(captured.dumps[kind], process, tmp_path / kind)
        assert same_file(tmp_path / kind / "core", tmp_path / "elf/core")


@pytest.mark.lab("kdump")
def test_excluded_pages_are_gaps(captured: Capture, tmp_path: Path) -> None:
    """Of level 31 every page that is in the core is right, and every other one a gap that names the level."""
    process = captured.process("memory")
    if captured.boot.kernel.name not in MAKEDUMPFILE_KNOWS:
        with pytest.raises(AssertionError, match=r"excluded from the dump \(makedumpfile -d 31\)"):
            make_core(captured.dumps["d31"], process, tmp_path)
        return
    core, gaps = make_core(captured.dumps["d31"], process, tmp_path)
    reasons = {r["reason"] for r in pipeline.records(tmp_path / "pages.gc") if r["kind"] == "extent"}
    assert "excluded from the dump (makedumpfile -d 31)" in reasons
    (tmp_path / "whole").mkdir()
    whole, _ = make_core(captured.vmcore, process, tmp_path / "whole")
    judged = judge(core, whole, gaps, process["threads"])
    # Gaps split segments, and the page with the arguments is one.
    assert [d for d in judged.differences if not d.startswith(("segment", "PRPSINFO: psargs"))] == []
    assert judged.pages > 0


@pytest.mark.lab("kdump")
def test_the_current_task_is_the_one_that_panicked(captured: Capture, tmp_path: Path) -> None:
    pipeline.run("gc-maps", captured.vmcore, stdout=tmp_path / "maps.gc")
    (process,) = (r for r in pipeline.records(tmp_path / "maps.gc") if r["kind"] == "process")
    panic = captured.process("panic")
    panicking = next(thread for thread in panic["threads"] if thread["kind"] == "panics")
    assert (process["tgid"], process["pid"]) == (panic["global_pid"], panicking["global_tid"])


def test_cached_streams_give_the_same_core(captured: Capture, tmp_path: Path) -> None:
    """Stages one by one through files, the registers before or after the pages, the dump moved, or gone."""
    process = captured.process("threads")
    make_core(captured.vmcore, process, tmp_path)
    pid, core = str(process["global_pid"]), tmp_path / "core"
    moved = tmp_path / "moved"
    shutil.copyfile(captured.vmcore, moved)
    maps, pages, all_, again = (tmp_path / name for name in ("maps.gc", "pages.gc", "all.gc", "again"))
    pipeline.run("gc-maps", moved, pid, stdout=maps)
    moved = moved.rename(tmp_path / "elsewhere")
    pipeline.run("gc-pages", "-f", "127", "--dump", moved, stdin=maps, stdout=pages)
    pipeline.run("gc-regs", "--dump", moved, stdin=pages, stdout=all_)
    moved.unlink()
    pipeline.run("gc-elf", stdin=all_, stdout=again)
    assert same_file(again, core)
    first = ("gc-tasks", captured.vmcore, pid)
    pipeline.pipe(first, ("gc-maps",), ("gc-regs",), ("gc-pages", "-f", "127"), ("gc-elf",), stdout=again)
    assert same_file(again, core)


def test_a_vmlinux_gives_the_same_records(captured: Capture, tmp_path: Path) -> None:
    """With -k and without: all the same but for where types and symbols came from."""
    pid = str(captured.process("threads")["global_pid"])
    with_, without = tmp_path / "with.gc", tmp_path / "without.gc"
    pipeline.run("gc-maps", "--no-cache", "-k", captured.vmlinux(), captured.vmcore, pid, stdout=with_)
    pipeline.run("gc-maps", "--no-cache", captured.vmcore, pid, stdout=without)
    streams = [pipeline.records(stream) for stream in (with_, without)]
    kernels = [stream[0]["kernel"] for stream in streams]
    for origin in ("types_from", "symbols_from"):
        assert kernels[0].pop(origin) != kernels[1].pop(origin)
    for stream in streams:
        stream[0].pop("history")
    assert streams[0] == streams[1]


def test_a_vmlinux_of_another_kernel_is_refused(captured: Capture, tmp_path: Path) -> None:
    other = tmp_path / "vmlinux"
    shutil.copyfile(captured.sysroot / "bin/gctest", other)
    with pytest.raises(AssertionError, match=r"gc-tasks: .*vmlinux"):
        pipeline.run("gc-tasks", "-k", other, captured.vmcore)


def same_file(one: Path, other: Path) -> bool:
    """Whether two files have the same bytes, a piece at a time."""
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as a, other.open("rb") as b:
        return all(a.read(1 << 22) == b.read(1 << 22) for _ in range(0, one.stat().st_size, 1 << 22))


def is_missing(address: int, gaps: list[tuple[int, int]]) -> bool:
    """Whether an address lies in a gap."""
    return any(start <= address < start + size for start, size in gaps)
