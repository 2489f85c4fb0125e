"""gc-core writes the pipeline's files; and gc-trim's dumps give the same streams and cores as the whole ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import pipeline
from .lab import Capture
from .test_cores import MAKEDUMPFILE_KNOWS, same_file

# Most of it is the kernel's symbols and types.
SIZE_LIMIT = 16 << 20


def stream(dump: Path, pid: str, folder: Path) -> Path:
    """Everything of a process, in a file."""
    target = folder / f"{dump.name}.gc"
    pipeline.pipe(("gc-maps", dump, pid), ("gc-pages", "-f", "127"), ("gc-regs",), stdout=target)
    return target


def said(stream: Path) -> list[dict[str, object]]:
    """A stream as JSON, but for where it came from."""
    header, *rest = pipeline.records(stream)
    return [header | {"dump": 0, "history": 0}, *rest]


@pytest.mark.parametrize("role", ["memory", "threads"])
def test_gc_core_writes_the_file_of_the_pipeline(captured: Capture, role: str, tmp_path: Path) -> None:
    pid = str(captured.process(role)["global_pid"])
    pipeline.run("gc-elf", stdin=stream(captured.vmcore, pid, tmp_path), stdout=tmp_path / "piped")
    for dump in (captured.vmcore, captured.kdump):
        said = pipeline.run("gc-core", "-f", "127", "-o", tmp_path / "core.%p", dump, pid)
        assert said == f"Saved {tmp_path}/core.{pid}\n"
        assert same_file(tmp_path / f"core.{pid}", tmp_path / "piped")


@pytest.mark.lab("max", "kdump")
def test_a_trimmed_dump_gives_the_same(captured: Capture, tmp_path: Path) -> None:
    """Of a whole dump, and of one with gaps where this makedumpfile leaves out nothing that the commands need."""
    known = captured.boot.kernel.name in MAKEDUMPFILE_KNOWS
    dump = captured.dumps["d31"] if known and "d31" in captured.dumps else captured.vmcore
    trimmed_is_the_same(dump, str(captured.process("memory")["global_pid"]), tmp_path)


@pytest.mark.lab("zram")
def test_a_trimmed_dump_has_what_was_swapped_out(captured: Capture, tmp_path: Path) -> None:
    trimmed_is_the_same(captured.vmcore, str(captured.process("zram-lzo")["global_pid"]), tmp_path)


def trimmed_is_the_same(dump: Path, pid: str, folder: Path) -> None:
    """What gc-trim makes of all that there is of a process gives the same stream, and the same core."""
    whole, small = stream(dump, pid, folder), folder / "small"
    pipeline.run("gc-trim", small, whole)
    assert small.stat().st_size < SIZE_LIMIT
    assert said(stream(small, pid, folder)) == said(whole)
    for name, source in (("one", dump), ("other", small)):
        pipeline.run("gc-core", "-f", "127", "-o", folder / name, source, pid)
    assert same_file(folder / "one", folder / "other")
