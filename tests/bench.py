"""`make bench`: how long the commands take, as ratios to cp of the same core and to the peers, in one run.

Every figure is the best of several runs, in turn with runs of what it is compared with: what disturbs a run makes
it longer. Peers (drgn, crash) are measured where they are installed.
"""

from __future__ import annotations

import compileall
import mmap
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import gcoretools
from tests.lab.lab import Capture, capture
from tests.lab.pipeline import BIN
from tests.lab.variants import CROWDS, SWAPPED_OUT

RUNS = 5

# What the measured process has resident, in MiB.
RESIDENT = 1536
KERNEL = "6.1"

# drgn's way to the same: the task list, and a process's memory a page at a time.
DRGN_TASKS = """
from drgn.helpers.linux.pid import for_each_task
for task in for_each_task(prog):
    print(task.pid.value_(), task.comm.string_().decode(errors="replace"))
"""
DRGN_PAGES = """
import sys
from drgn import FaultError
from drgn.helpers.linux.mm import access_remote_vm, for_each_vma
from drgn.helpers.linux.pid import find_task
task = find_task(prog, int(sys.argv[1]))
with open(sys.argv[2], "wb") as core:
    for vma in for_each_vma(task.mm):
        for page in range(vma.vm_start.value_(), vma.vm_end.value_(), 4096):
            try:
                core.write(access_remote_vm(task.mm, page, 4096))
            except FaultError:
                pass
"""

# Every page of a kdump inflated, and forgotten: by a process for each CPU, each with every n-th page.
INFLATE = """
import os, sys, zlib
from pathlib import Path
import numpy as np
from gcoretools.dumps.bitmap import Bitmap
from gcoretools.dumps.kdump_headers import read_headers
from gcoretools.dumps.kdump_pages import DESCRIPTOR
from gcoretools.dumps.mapping import map_file
path = Path(sys.argv[1])
data = map_file(path)
headers = read_headers(path, data)
bitmap = data[headers.bitmap + headers.bitmap_size : headers.descriptors]
pages = Bitmap(bitmap, headers.max_mapnr).total
table = np.frombuffer(data[headers.descriptors :][: pages * DESCRIPTOR.itemsize], DESCRIPTOR)
cpus = len(os.sched_getaffinity(0))
children = []
for cpu in range(cpus):
    children.append(os.fork())
    if not children[-1]:
        rows = table[cpu::cpus]
        for offset, size, flags in zip(*(rows[name].tolist() for name in ("offset", "size", "flags"))):
            if flags & 1:
                zlib.decompress(data[offset : offset + size], bufsize=4096)
        os._exit(0)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def main() -> None:
    """Measure everything and print the table."""
    compileall.compile_dir(Path(gcoretools.__file__).parent, quiet=1)  # as pip does where it installs
    small, large = capture(KERNEL, "max"), capture(KERNEL, "bench")
    print(f"{os.cpu_count()} CPUs, page cache warm, the best of {RUNS} runs each\n")
    print("| what | seconds | beside | ratio |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=small.folder.parent) as folder:
        _tasks(small)
        _core(large, Path(folder))
        _inflated(large, Path(folder))
        _page_by_page(large, Path(folder))
        _threads(capture(KERNEL, "crowd"), Path(folder))
        _mappings(capture(KERNEL, "many"), Path(folder))
        _swapped(capture(KERNEL, "swapbench"), Path(folder))
        _memory(large, Path(folder))


def _tasks(small: Capture) -> None:
    cached, fresh = _timed("gc-tasks", small.vmcore), _timed("gc-tasks", "--no-cache", small.vmcore)
    _compare("`gc-tasks`, no cache", fresh)
    _compare("`gc-tasks`, layout cached", cached)
    if _has_drgn():
        command = ("-c", str(small.vmcore), "-s", str(small.vmlinux()))
        _compare("`gc-tasks`, no cache", fresh, "drgn, task list", lambda: _drgn(DRGN_TASKS, command))
    if shutil.which("crash"):
        _compare("`gc-tasks`, no cache", fresh, "crash, `ps`", lambda: _crash(small))


def _core(large: Capture, folder: Path) -> None:
    """A process with 1.5 GiB resident: maps, pages and core in one pipe, beside cp of that core."""
    pid = str(large.process("bench")["global_pid"])
    core, copy, again = folder / "core", folder / "copy", folder / "again"
    _pipeline(large.vmcore, pid, core)()
    size = core.stat().st_size >> 20
    if size < RESIDENT:
        sys.exit(f"the core has {size} MiB, not the {RESIDENT} that the process wrote")
    cp = partial(_run, ["cp", str(core), str(copy)])
    for what, ours in (
        (f"`gc-maps \\| gc-pages \\| gc-elf`, core of {size} MiB", _pipeline(large.vmcore, pid, again)),
        ("`gc-core`, the same core", _one_shot(large.vmcore, pid, again)),
    ):
        _compare(what, ours, "`cp` of the core", cp, before=partial(_settle, again, copy))
    for path in (core, copy, again):
        path.unlink(missing_ok=True)


def _page_by_page(large: Capture, folder: Path) -> None:
    """The same process as drgn reads it."""
    if not _has_drgn():
        return
    pid, core, other = str(large.process("bench")["global_pid"]), folder / "core", folder / "other"
    command = ("-c", str(large.vmcore), "-s", str(large.vmlinux()))
    _compare(
        "`gc-maps \\| gc-pages \\| gc-elf`, the same core",
        _pipeline(large.vmcore, pid, core),
        "drgn, a page at a time",
        lambda: _drgn(DRGN_PAGES, command, pid, str(other)),
        runs=1,
        before=partial(_settle, core, other),
    )


def _inflated(large: Capture, folder: Path) -> None:
    """The same process out of a zlib kdump, beside inflating the pages of that dump alone on all CPUs."""
    pid = str(large.process("bench")["global_pid"])
    kdump, core, stream = folder / "kdump", folder / "core", folder / "stream.gc"
    _run(["bash", "-o", "pipefail", "-c", f"{BIN}/gc-maps {large.vmcore} {pid} | {BIN}/gc-pages > {stream}"])
    seconds = _seconds(lambda: _run([str(BIN / "gc-trim"), str(kdump), str(stream)]))
    print(f"| `gc-trim`, the same process, once | {seconds:.2f} | | |", flush=True)
    stream.unlink()
    size = kdump.stat().st_size >> 20
    inflate = [sys.executable, "-c", INFLATE, str(kdump)]
    what = f"`gc-core` from a zlib kdump of {size} MiB"
    _compare(
        what,
        _one_shot(kdump, pid, core),
        "inflating its pages alone",
        lambda: _run(inflate),
        before=partial(_settle, core),
    )


def _settle(*old: Path) -> None:
    """No file is to be taken away or written out in measured time."""
    for path in old:
        path.unlink(missing_ok=True)
    os.sync()


def _threads(crowd: Capture, folder: Path) -> None:
    """Processes with ever more threads: each takes its share, whatever the number of the others."""
    for role in CROWDS:
        pid, count = str(crowd.process(role)["global_pid"]), int(role.rpartition("-")[2])
        _compare(
            f"`gc-maps \\| gc-pages \\| gc-elf`, {count:,} threads",
            _pipeline(crowd.vmcore, pid, folder / "core"),
            "`gc-tasks` of it alone",
            _timed("gc-tasks", crowd.vmcore, pid),
            before=partial(_settle, folder / "core"),
        )


def _swapped(swapbench: Capture, folder: Path) -> None:
    """Processes with 100,800 pages in zram: by how much their pages take longer than those of frames."""
    print("\n| swapped out | pages | seconds | pages per second |")
    print("|---|---|---|---|")
    for role in SWAPPED_OUT:
        pid, maps, pages = str(swapbench.process(role)["global_pid"]), folder / "maps.gc", folder / "pages.gc"
        _run(["bash", "-c", f"{BIN}/gc-maps {swapbench.vmcore} {pid} > {maps}"])
        read = partial(_run, ["bash", "-c", f"{BIN}/gc-pages < {maps} > {pages}"])
        seconds = min(_seconds(read) for _ in range(RUNS))
        count = sum(region["size"] for region in swapbench.process(role)["regions"]) // 4096
        print(
            f"| `gc-pages`, zram, {role.partition('-')[2]} | {count:,} | {seconds:.2f} | {count / seconds:,.0f} |"
        )


# What each of the processes with much of one thing has.
MUCH = {
    "sparse": "1 TiB of which 100 pages were touched",
    "sparse-file": "a file of 1 TiB of which 100 pages are in memory",
    "mappings-10000": "10,000 mappings",
    "mappings-100000": "100,000 mappings",
}


def _mappings(many: Capture, folder: Path) -> None:
    """A mapping that is nearly all holes, and ever more mappings."""
    for role, what in MUCH.items():
        pid = str(many.process(role)["global_pid"])
        core = folder / "core"
        ours, before = _pipeline(many.vmcore, pid, core), partial(_settle, core)
        _compare(f"`gc-maps \\| gc-pages \\| gc-elf`, {what}", ours, before=before)


def _pipeline(vmcore: Path, pid: str, core: Path) -> Callable[[], None]:
    """Maps, pages and core in one pipe."""
    line = f"{BIN}/gc-maps {vmcore} {pid} | {BIN}/gc-pages | {BIN}/gc-elf > {core}"
    return partial(_run, ["bash", "-o", "pipefail", "-c", line])


def _one_shot(vmcore: Path, pid: str, core: Path) -> Callable[[], None]:
    """The core in one process."""
    return partial(_run, [str(BIN / "gc-core"), str(vmcore), pid, "-o", str(core)])


def _memory(large: Capture, folder: Path) -> None:
    """The most that each stage has resident, with its workers, mapped pages of the dump aside."""
    pid = str(large.process("bench")["global_pid"])
    maps, pages = folder / "maps.gc", folder / "pages.gc"
    stages = (
        (["gc-maps", str(large.vmcore), pid], None, maps),
        (["gc-pages"], maps, pages),
        (["gc-elf"], pages, folder / "core"),
        (["gc-core", str(folder / "kdump"), pid, "-o", str(folder / "core")], None, Path(os.devnull)),
    )
    print("\n| stage | peak of its own memory, MiB |")
    print("|---|---|")
    for command, source, sink in stages:
        print(f"| `{command[0]}` | {_peak(command, source, sink):.0f} |")


def _peak(command: list[str], source: Path | None, sink: Path) -> float:
    """Peak in MiB, looked at every 10 ms."""
    with open(source or os.devnull, "rb") as stdin, sink.open("wb") as stdout:
        process = subprocess.Popen(
            [BIN / command[0], *command[1:]], stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(0.01)
    if process.wait():
        sys.exit(f"{command[0]} failed")
    return peak / 1024


def _resident(pid: int) -> int:
    """Memory of a process and its workers in KiB, the file mappings aside; what they share counts for each."""
    resident = 0
    with suppress(OSError):  # it has ended meanwhile
        workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (str(pid), *workers):
            status = Path(f"/proc/{each}/status").read_text().splitlines()
            resident += sum(int(line.split()[1]) for line in status if line.startswith(("RssAnon", "RssShmem")))
    return resident


def _compare(
    what: str,
    ours: Callable[[], None],
    beside: str = "",
    theirs: Callable[[], None] | None = None,
    runs: int = RUNS,
    before: Callable[[], None] = lambda: None,
) -> None:
    """A row of the table: the best of both, run in turn; `before` each, untimed."""
    for warm_up in (ours, theirs):
        if warm_up:
            _seconds(warm_up, before)
    with _memory_in_pieces():
        turns = [(_seconds(ours, before), _seconds(theirs, before) if theirs else 0.0) for _ in range(runs)]
    mine, other = map(min, zip(*turns, strict=True))
    compared = f"{beside}: {other:.2f} | {mine / other:.2f}" if theirs else "|"
    print(f"| {what} | {mine:.2f} | {compared} |", flush=True)


@contextmanager
def _memory_in_pieces() -> Iterator[None]:
    """Inside, what memory is free is so in pieces of less than 2 MiB, enough for the files that are written.

    A virtual machine may give its host what is free in larger ones (mm/page_reporting.c), and then waits for it:
    the same command takes 0.5 or 0.7 s.
    """
    size, piece, page = 4 * RESIDENT << 20, 2 << 20, mmap.PAGESIZE
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for at in range(0, size, page):
            memory[at] = 1
        for at in range(0, size, piece):
            memory.madvise(mmap.MADV_DONTNEED, at + page, piece - page)
        yield


def _seconds(call: Callable[[], None], before: Callable[[], None] = lambda: None) -> float:
    before()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _timed(command: str, *arguments: str | Path) -> Callable[[], None]:
    return lambda: _run([str(BIN / command), *map(str, arguments)])


def _has_drgn() -> bool:
    return find_spec("drgn") is not None


def _drgn(script: str, options: tuple[str, ...], *arguments: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(script)
        file.flush()
        _run([sys.executable, "-m", "drgn", "-q", *options, file.name, *arguments])


def _crash(small: Capture) -> None:
    _run(["crash", "-s", str(small.vmlinux()), str(small.vmcore)], stdin="ps\nquit\n")


def _run(command: list[str], stdin: str = "") -> None:
    done = subprocess.run(command, input=stdin.encode(), capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stderr.decode(errors='replace')}")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
