"""Every way a dump is taken: one moment, in every format that is read, gives the same cores and the same tasks."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gcoretools.dumps import PAGE_SHIFT, PAGE_SIZE, Note, open_dump
from tests.written_dumps import flatten, write_avml, write_elf, write_kdump, write_lime, write_raw

from . import pipeline
from .lab import Capture, capture
from .packages import run

SLEEPERS = ("threads", "zleader", "memory-default", "dynamic", "namespaced")
"""Roles of processes that do not run: formats without notes do not tell the registers of a running thread."""


class Memory(dict[int, bytes]):
    """The pages of a dump by page frame number, views of the map of its file."""

    def __init__(self, path: Path) -> None:
        dump = open_dump(path)
        self.notes: tuple[Note, ...] = dump.notes
        for pa, size in dump.ranges():
            first = pa >> PAGE_SHIFT
            if pa >= 0xF0000000:
                continue  # the firmware of QEMU's machine
            run = memoryview(dump.pages(np.arange(first, first + (size >> PAGE_SHIFT), dtype=np.uint64)))
            for at in range(0, size, PAGE_SIZE):
                self[first + (at >> PAGE_SHIFT)] = run[at : at + PAGE_SIZE]  # type: ignore[assignment]


def written_flattened(path: Path, memory: Memory) -> Path:
    plain = write_elf(path.with_suffix(".plain"), memory, memory.notes)
    flatten(plain, path, piece=1 << 20)
    plain.unlink()
    return path


WRITTEN: dict[str, Callable[[Path, Memory], Path]] = {
    "elf32 class": lambda path, memory: write_elf(path, memory, memory.notes, bits=32),
    "kdump snappy": lambda path, memory: write_kdump(path, memory, memory.notes, flags=0x04),
    "kdump zstd": lambda path, memory: write_kdump(path, memory, memory.notes, flags=0x20, shuffle=1),
    "kdump incomplete": lambda path, memory: write_kdump(path, memory, memory.notes, status=0x9),
    "flattened elf": written_flattened,
    "lime": lambda path, memory: write_lime(path, memory),
    "avml": lambda path, memory: write_avml(path, memory),
    "raw": lambda path, memory: write_raw(path, memory),
}


def by_makedumpfile(*options: str) -> Callable[[Path, Path], str]:
    def made(source: Path, target: Path) -> str:
        run(["makedumpfile", *options, source, target])
        return str(target)

    return made


def in_parts(source: Path, target: Path) -> str:
    parts = [target.with_suffix(f".{number}") for number in range(3)]
    run(["makedumpfile", "-c", "-d", "1", "--split", source, *parts])
    return ",".join(map(str, parts[::-1]))


def flattened(*options: str) -> Callable[[Path, Path], str]:
    def made(source: Path, target: Path) -> str:
        with target.open("wb") as sink:
            subprocess.run(
                ["makedumpfile", "-F", *options, source], stdout=sink, stderr=subprocess.PIPE, check=True
            )
        return str(target)

    return made


MADE: dict[str, Callable[[Path, Path], str]] = {
    "plain": by_makedumpfile("-d", "1"),
    "zlib": by_makedumpfile("-c", "-d", "1"),
    "lzo": by_makedumpfile("-l", "-d", "1"),
    "elf": by_makedumpfile("-E", "-d", "0"),
    "split": in_parts,
    "flattened": flattened("-c", "-d", "1"),
    "flattened elf": flattened("-E", "-d", "0"),
}


def data_of(path: Path) -> str:
    """A digest of all pages of a sparse file that are not zero, and where they are: holes do not matter."""
    digest = hashlib.sha256()
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA) & -PAGE_SIZE
            except OSError:  # there is nothing but a hole
                break
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            os.lseek(file.fileno(), at, os.SEEK_SET)
            for start in range(at, end, PAGE_SIZE):
                if any(page := file.read(PAGE_SIZE)):
                    digest.update(b"%d %s" % (start, page))
            at = -(-end // PAGE_SIZE) * PAGE_SIZE
    return f"{size} {digest.hexdigest()}"


def cores(dump: str | Path, pids: list[str], folder: Path) -> dict[str, str]:
    """What is in the cores of processes out of a dump, each with its own filter."""
    folder.mkdir()
    pipeline.run("gc-core", "--no-cache", "-o", str(folder / "core.%p"), str(dump), *pids)
    return {path.name: data_of(path) for path in sorted(folder.iterdir())}


def tasks(dump: str | Path, folder: Path) -> list[dict[str, object]]:
    """Every process and thread that gc-tasks tells, but for the header with the path."""
    pipeline.run("gc-tasks", "--no-cache", "-a", str(dump), stdout=folder / "tasks.gc")
    return [each for each in pipeline.records(folder / "tasks.gc") if each["kind"] != "header"]


def sleepers(captured: Capture) -> list[str]:
    return [str(captured.process(role)["global_pid"]) for role in SLEEPERS]


@dataclass(frozen=True)
class Moment:
    """One moment of a machine: cores and tasks out of its ELF dump, which others judge by the kernel's own."""

    captured: Capture
    cores: dict[str, str]
    tasks: list[dict[str, object]]


def moment(variant: str, folder: Path) -> Moment:
    """Of one kernel: which it is makes no difference to a format."""
    captured = capture("6.1", variant)
    found = cores(captured.vmcore, sleepers(captured), folder / "cores")
    assert len(found) == len(SLEEPERS)
    return Moment(captured, found, tasks(captured.vmcore, folder))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Moment:
    return moment("max", tmp_path_factory.mktemp("stopped"))


@pytest.fixture(scope="module")
def panicked(tmp_path_factory: pytest.TempPathFactory) -> Moment:
    return moment("kdump", tmp_path_factory.mktemp("panicked"))


@pytest.fixture(scope="module")
def memory(stopped: Moment) -> Memory:
    return Memory(stopped.captured.vmcore)


@pytest.mark.parametrize("form", WRITTEN)
def test_a_form_that_the_test_writes(stopped: Moment, memory: Memory, form: str, tmp_path: Path) -> None:
    dump = WRITTEN[form](tmp_path / "vmcore", memory)
    assert cores(dump, sleepers(stopped.captured), tmp_path / "cores") == stopped.cores
    if open_dump(dump).notes:
        assert tasks(dump, tmp_path) == stopped.tasks
    dump.unlink()


@pytest.mark.parametrize("form", MADE)
def test_a_form_that_makedumpfile_makes(panicked: Moment, form: str, tmp_path: Path) -> None:
    dump = MADE[form](panicked.captured.vmcore, tmp_path / "vmcore")
    assert cores(dump, sleepers(panicked.captured), tmp_path / "cores") == panicked.cores
    assert tasks(dump, tmp_path) == panicked.tasks
    for part in dump.split(","):
        Path(part).unlink()
