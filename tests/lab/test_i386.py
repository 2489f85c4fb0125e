"""32-bit kernels, with PAE and without: our cores are the kernel's own cores of the same processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcoretools.dumps import open_dump
from gcoretools.layout import sources
from gcoretools.layout.machine import describe, locate
from gcoretools.layout.place import find_kernel
from gcoretools.layout.vmlinux import Vmlinux
from tests.written_dumps import write_elf

from . import pipeline
from .corefile import CoreFile
from .facts import Facts
from .judge import judge
from .lab import Capture
from .test_cores import same_file
from .test_gdb import by_thread, gdb, loaded
from .variants import IA32


def make_core(captured: Capture, dump: Path, process: Facts, folder: Path) -> CoreFile:
    """A process's core by the commands; folder/regs.gc is the stream that it was made of."""
    maps = ("gc-maps", *captured.options, dump, str(process["global_pid"]))
    stream, core = folder / "regs.gc", folder / "core"
    pipeline.pipe(maps, ("gc-regs",), ("gc-pages", "-f", "127"), stdout=stream)
    pipeline.run("gc-elf", stdin=stream, stdout=core)
    return CoreFile(core)


def stale_threads(stream: Path, process: Facts) -> set[int]:
    """Those threads, by tid, of which memory has only old floating-point registers."""
    regs = [each for each in pipeline.records(stream) if each["kind"] == "regs"]
    old = {each["pid"] for each in regs if each["fpu_origin"].startswith("stale")}
    return {thread["tid"] for thread in process["threads"] if thread["global_tid"] in old}


@pytest.mark.lab("pae", "highmem")
@pytest.mark.parametrize("role", IA32)
def test_the_core_is_the_kernels(captured: Capture, role: str, tmp_path: Path) -> None:
    process = captured.process(role)
    core = make_core(captured, captured.vmcore, process, tmp_path)
    stream = tmp_path / "regs.gc"
    stale = stale_threads(stream, process)
    judged = judge(core, CoreFile(captured.core(role)), pipeline.gaps(stream), process["threads"], stale)
    assert judged.differences == []
    assert judged.pages > 500
    assert bool(stale) == (role == "spin")
    for thread in process["threads"]:
        if thread["kind"] != "exited":
            found = core.threads[thread["tid"]]
            assert {name: found[name] for name in thread["registers"]} == thread["registers"]


@pytest.mark.lab("pae", "highmem")
def test_gdb_opens_the_core(captured: Capture, tmp_path: Path) -> None:
    """Threads, backtraces, x87, SSE and AVX registers: as in the kernel's core, and as the threads said."""
    process = captured.process("threads")
    make_core(captured, captured.vmcore, process, tmp_path)
    cores = (tmp_path / "core", captured.core("threads"))
    traces = [by_thread(gdb(captured, "threads", core, "thread apply all backtrace")) for core in cores]
    assert traces[0] == traces[1]
    commands = ("set print repeats 0", "thread apply all info registers float vector")
    shown = [by_thread(gdb(captured, "threads", core, *commands)) for core in cores]
    assert shown[0] == shown[1]
    for thread in process["threads"]:
        assert loaded(shown[0][thread["tid"]]) == (thread["xmm"][:8], thread["st"])


@pytest.mark.lab("pae")
def test_one_moment_in_three_containers(captured: Capture, tmp_path: Path) -> None:
    """QEMU's ELF64 and kdump-compressed of one stopped machine, and ELF32, as /proc/vmcore of such a kernel is."""
    process = captured.process("threads")
    whole = open_dump(captured.vmcore)
    memory = [(pa, whole.read(pa, size)) for pa, size in whole.ranges()]
    small = write_elf(tmp_path / "vmcore", {}, whole.notes, bits=32, extra=memory)
    for name, dump in (("elf", captured.vmcore), ("kdump", captured.kdump), ("elf32", small)):
        (tmp_path / name).mkdir()
        make_core(captured, dump, process, tmp_path / name)
        assert same_file(tmp_path / name / "core", tmp_path / "elf/core")


@pytest.mark.lab("pae", "highmem")
def test_the_kernel_is_found_without_vmcoreinfo(captured: Capture) -> None:
    """By the vmlinux alone, wherever KASLR has put it."""
    dump, vmlinux = open_dump(captured.vmcore), Vmlinux(captured.vmlinux())
    info, linked = describe(dump), sources.from_file(vmlinux).layout
    release, machine = find_kernel(dump, linked, vmlinux)
    assert release == info.release
    assert machine == locate(dump, info).told(linked.symbols["_stext"], info.symbols["_stext"])
