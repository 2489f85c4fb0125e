"""The dump in examples/, and the scripts that show the commands on it: what users see first must work.

When a page is missing here, the commands read more than they did: python -m examples.make_dump makes the dump anew.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.check_core import BADGE, PROGRAM, WORKERS
from gcoretools.core.filter import ALL_BITS
from gcoretools.dumps import Dump, open_dump
from gcoretools.kernel.image import Image
from gcoretools.layout.code import code_pages
from gcoretools.layout.machine import describe
from gcoretools.layout.resolve import resolve_kernel
from gcoretools.records import Extent, Pages, Process, Record, Regs, Thread, Vma
from gcoretools.stages.ahead import read_here
from gcoretools.stages.maps import add_mappings
from gcoretools.stages.pages import add_pages
from gcoretools.stages.regs import add_registers
from gcoretools.stages.tasks import Tasks
from tests.lab.corefile import CoreFile

TOP = Path(__file__).parents[2]
EXAMPLES = TOP / "examples"
DUMP = EXAMPLES / "vmcore"
SIZE_LIMIT = 8 << 20  # bytes: it is in the repository

DESKS = {100: ("orderdesk", 5), 200: ("orderdesk", 3), 300: ("night-desk", 3)}

# Innermost function that the thread's own code is in, and what called it.
BACKTRACES = {
    100: ("wait_for_closing", "desk", "_start"),
    101: ("take_order", "wait_at_tables", "run_worker", "start_thread"),
    102: ("simmer", "cook_orders", "run_worker", "start_thread"),
    103: ("listen_for_the_bell", "mind_the_door", "run_worker", "start_thread"),
    104: ("count_the_till", "close_the_day", "run_worker", "start_thread"),
}


@pytest.fixture(scope="module")
def dump() -> Dump:
    return open_dump(DUMP)


@pytest.fixture(scope="module")
def image(dump: Dump) -> Image:
    return Image(dump, resolve_kernel(dump, use_cache=False))


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> CoreFile:
    """The core of process 100, by the commands."""
    path = tmp_path_factory.mktemp("example") / "core.100"
    with path.open("wb") as out:
        line = f"bin/gc-maps {DUMP} 100 | bin/gc-pages -f 127 | bin/gc-elf"
        subprocess.run(["bash", "-o", "pipefail", "-c", line], stdout=out, cwd=TOP, check=True)
    return CoreFile(path)


def records(image: Image, pid: int, chosen: int) -> Iterator[Record]:
    """All records of a process."""
    tasks = Tasks(image).selected([str(pid)])
    return read_here(add_pages(add_registers(add_mappings(tasks, image), image), image, {}, chosen))


def test_the_dump_is_small_and_has_no_code_of_the_kernel(dump: Dump, image: Image) -> None:
    assert DUMP.stat().st_size < SIZE_LIMIT
    code = code_pages(image.memory, describe(dump))
    assert len(code) > 1000
    assert not dump.present(code).any()


def test_all_stages_work_for_every_way_to_name_a_thread(image: Image) -> None:
    threads = [each for each in Tasks(image).everything() if isinstance(each, Thread)]
    for thread in threads:
        by_pid, by_address = ([*Tasks(image).selected([name])] for name in (str(thread.pid), f"{thread.task:x}"))
        assert by_pid == by_address
        found = add_pages(add_registers(add_mappings(by_pid, image), image), image, {}, None)
        assert {each.kind for each in found} >= {"process", "thread", "regs", "vma", "extent", "done"}
    assert len(threads) == 1 + sum(count for _, count in DESKS.values())


def test_the_tasks(image: Image) -> None:
    tasks = list(Tasks(image).everything(kernel_threads=True))
    processes = {each.tgid: each for each in tasks if isinstance(each, Process)}
    assert {pid: (processes[pid].comm, processes[pid].threads) for pid in DESKS} == DESKS
    assert processes[1].comm == "init"
    assert processes[2].comm == "kthreadd"
    assert [each.pid for each in tasks if isinstance(each, Thread) and each.active and each.pid] == [104]
    (selected,) = (each for each in Tasks(image).selected([]) if isinstance(each, Process))
    assert (selected.tgid, selected.pid) == (100, 104)


@pytest.mark.parametrize("pid", DESKS)
def test_the_registers(image: Image, pid: int) -> None:
    found = [each for each in records(image, pid, 0) if isinstance(each, Regs)]
    assert [each.pid for each in found] == list(range(pid, pid + DESKS[pid][1]))
    for each in found:
        worker = WORKERS[each.pid % 100][:4]
        assert {each.registers[name].to_bytes(8, "little").decode() for name in BADGE} == {
            f"{worker}.{name}" for name in BADGE
        }


@pytest.mark.parametrize("pid", DESKS)
def test_no_memory_of_the_desks_is_missing(image: Image, pid: int) -> None:
    found = list(records(image, pid, ALL_BITS))
    assert {each.what for each in found if isinstance(each, Extent)} == {"data", "zero"}
    vmas = [each for each in found if isinstance(each, Vma)]
    assert {vma.category for vma in vmas} == {"AP", "AS", "FP", "FS"}
    assert all(vma.dump_size == vma.size for vma in vmas)
    memory = b"".join(bytes(each.data) for each in found if isinstance(each, Pages))
    assert b"safe: MADV_DONTDUMP" in memory


def test_the_core(core: CoreFile) -> None:
    assert [note.kind for note in core.notes if note.kind in ("PRPSINFO", "AUXV", "FILE")] == [
        "PRPSINFO",
        "AUXV",
        "FILE",
    ]
    assert core.notes[0].kind == "PRSTATUS"
    assert list(core.threads) == [100, 101, 102, 103, 104]
    assert [load.va for load in core.loads] == sorted(load.va for load in core.loads)
    assert [load.filesz for load in core.loads if load.filesz < load.memsz] == [0]  # the safe
    assert core.read(core.loads[0].va, 4096) == PROGRAM.read_bytes()[:4096]


def test_gdb_understands_the_core(core: CoreFile) -> None:
    assert shutil.which("gdb"), "the tests need gdb: apt-get install gdb"
    commands = ("thread apply all backtrace", "print greeting.text", "x/s menu", "info registers r12")
    words = [word for command in commands for word in ("-ex", command)]
    done = subprocess.run(
        ["gdb", "-nx", "-batch", *words, str(PROGRAM), str(core.path)], capture_output=True, text=True, check=True
    )
    blocks = re.findall(r"Thread \d+ \(LWP (\d+)\):\n(.*?)(?:\n\n|\Z)", done.stdout, re.S)
    frames = {int(pid): tuple(re.findall(r"#\d+ .*? in (\w+) \(", text)) for pid, text in blocks}
    assert {pid: names[-len(BACKTRACES[pid]) :] for pid, names in frames.items()} == BACKTRACES
    assert "memory that outlives the kernel" in done.stdout
    assert "TODAY'S SPECIAL" in done.stdout
    assert "0x3231722e74736f68" in done.stdout  # host.r12


def run_script(name: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a script of examples/ from another folder, with its own place for temporary files."""
    temporary = folder / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [EXAMPLES / name], cwd=folder, env={**os.environ, "TMPDIR": str(temporary), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not list(temporary.iterdir())
    return done


SAID = {
    "demo": ("running on CPU 0", "[heap]", "cook.r12", "All as it should be"),
    "caching": ("No such file", "All four cores are the same"),
    "one-stage": ("302 cook       rip 0x", "nanosleep", "KiB zero"),
    "trim": ("small.vmcore", "left out of the dump by gc-trim", "small.300"),
    "several": ("Saved", "go.200", "core.night-desk", "of desk west", "of desk night"),
}


@pytest.mark.parametrize("name", SAID)
def test_a_script_works(name: str, tmp_path: Path) -> None:
    done = run_script(name, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [words for words in SAID[name] if words not in done.stdout] == []


def test_the_demo_says_what_it_skips(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "basename", "dirname", "env", "grep", "mktemp", "python3", "readlink", "rm", "sed", "sh"):
        (tools / name).symlink_to(shutil.which(name) or name)
    done = run_script("demo", tmp_path, PATH=str(tools))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gdb is not here" in done.stdout
    assert "readelf is not here" in done.stdout


def test_wrong_registers_are_told(core: CoreFile, tmp_path: Path) -> None:
    wrong = tmp_path / "core.100"
    wrong.write_bytes(core.path.read_bytes().replace(b"cook.r12", b"cook.r21"))
    command = [sys.executable, "-m", "examples.check_core", str(wrong)]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"{wrong}: the registers of thread 102 are not those of the cook\n"
