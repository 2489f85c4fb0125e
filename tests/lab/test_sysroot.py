"""Programs on a disk whose caches were dropped: with their files, and without."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from signal import SIGUSR1

import pytest

from . import pipeline
from .corefile import CoreFile
from .disk import ON_DISK
from .facts import Facts
from .judge import Judged, judge
from .lab import Capture
from .regions import PAGE

NOT_IN_MEMORY = "a page of a file, not in memory"
# What is in a file that is no program is not taken from anywhere.
DATA = ("data-private", "data-shared")


def make_core(captured: Capture, process: Facts, folder: Path, *options: str | Path) -> tuple[Judged, list[Facts]]:
    """Make a process's core by the commands; how it compares with the kernel's, and the gaps in it."""
    stream, core = folder / "pages.gc", folder / "core"
    maps = ("gc-maps", captured.vmcore, str(process["global_pid"]))
    pipeline.pipe(maps, ("gc-pages", "-f", "127", *options), stdout=stream)
    pipeline.run("gc-elf", stdin=stream, stdout=core)
    gaps = [r for r in pipeline.records(stream) if r["kind"] == "extent" and r["what"] == "gap"]
    theirs = CoreFile(captured.core(process["role"]))
    missing = [(gap["start"], gap["size"]) for gap in gaps]
    return judge(CoreFile(core), theirs, missing, process["threads"]), gaps


def regions_with(process: Facts, gaps: list[Facts]) -> set[str]:
    """The process's regions that have gaps in them; "elsewhere" when one lies beside them."""
    found = set()
    for page in (at for gap in gaps for at in range(gap["start"], gap["start"] + gap["size"], PAGE)):
        names = (r["name"] for r in process["regions"] if r["start"] <= page < r["start"] + r["size"])
        found.add(next(names, "elsewhere"))
    return found


@pytest.mark.lab("disk")
@pytest.mark.parametrize("role", ON_DISK)
def test_what_is_on_the_disk_alone_is_a_gap(captured: Capture, role: str, tmp_path: Path) -> None:
    process = captured.process(role)
    judged, gaps = make_core(captured, process, tmp_path)
    assert judged.differences == []
    assert {gap["reason"] for gap in gaps} == {NOT_IN_MEMORY}
    assert regions_with(process, gaps) >= {"constants", "variables", *DATA}
    assert sum(gap["size"] for gap in gaps) > 400 * PAGE


@pytest.mark.lab("disk")
@pytest.mark.parametrize("role", ON_DISK)
def test_files_fill_the_gaps_of_programs(captured: Capture, role: str, tmp_path: Path) -> None:
    """Executable, loader and libraries, constant and written mappings: every page is that of the kernel's core."""
    process = captured.process(role)
    judged, gaps = make_core(captured, process, tmp_path, "--sysroot", captured.sysroot)
    assert judged.differences == []
    assert regions_with(process, gaps) == set(DATA)
    assert judged.pages > 600


def other_byte(path: Path) -> None:
    """Change a byte of the first page: it is in memory."""
    data = bytearray(path.read_bytes())
    data[8] ^= 1
    path.write_bytes(data)


def shorter(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)


# What is done to a file in the folder, and what is said of it then.
WRONG: dict[str, tuple[str, Callable[[Path], object]]] = {
    "disk-static": (r"its build ID is [0-9a-f]{40}, that of the mapped file [0-9a-f]{40}", lambda path: shutil.copy(
        path.with_name("disk-dynamic"), path)),
    "disk-dynamic": (r"its size is \d+ bytes, that of the mapped file \d+", shorter),
    "disk-unnamed": ("its page at offset 0x0 differs from the mapped file's", other_byte),
}  # fmt: skip


@pytest.mark.lab("disk")
@pytest.mark.parametrize("role", WRONG)
def test_the_wrong_file_is_refused_by_name(captured: Capture, role: str, tmp_path: Path) -> None:
    """And the core is the one that is made without it."""
    process, (words, spoil) = captured.process(role), WRONG[role]
    root = tmp_path / "root"
    shutil.copytree(captured.sysroot / "mnt/bin", root / "mnt/bin")
    spoil(root / "mnt/bin" / role)
    pid, stream = str(process["global_pid"]), tmp_path / "maps.gc"
    pipeline.run("gc-maps", captured.vmcore, pid, stdout=stream)
    with stream.open("rb") as maps, (tmp_path / "pages.gc").open("wb") as pages:
        command = [str(pipeline.BIN / "gc-pages"), "-f", "127", "--sysroot", str(root)]
        done = subprocess.run(command, stdin=maps, stdout=pages, stderr=subprocess.PIPE, text=True, check=True)
    refused = [line for line in done.stderr.splitlines() if f"/mnt/bin/{role}: not taken from {root}: " in line]
    assert len(refused) == 1
    assert re.search(words, refused[0])
    found = pipeline.gaps(tmp_path / "pages.gc")
    make_core(captured, process, tmp_path)
    assert found == pipeline.gaps(tmp_path / "pages.gc")


@pytest.mark.lab("disk")
def test_signals_that_wait_and_those_that_are_blocked(captured: Capture, tmp_path: Path) -> None:
    """As the kernel's core has them (the judge looks): the program blocked two, and one of them came."""
    process = captured.process("disk-static")
    make_core(captured, process, tmp_path)
    (status,) = (note for note in CoreFile(tmp_path / "core").notes if note.kind == "PRSTATUS")
    pending, blocked = struct.unpack_from("<QQ", status.data, 16)
    assert pending == 1 << SIGUSR1 - 1
    assert pending < blocked
    assert blocked & pending
