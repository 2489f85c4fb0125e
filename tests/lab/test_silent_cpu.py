"""A CPU that did not answer the panicking one left no note (kernel/crash_core.c)."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from . import pipeline
from .corefile import CoreFile, Note
from .lab import Capture


def written(note: Note, kind: int) -> bytes:
    """A note as it stands in a dump."""
    owner = note.owner.encode() + b"\0"
    head = struct.pack("<III", len(owner), len(note.data), kind)
    return head + b"".join(part.ljust(len(part) + 3 & ~3, b"\0") for part in (owner, note.data))


def silence(source: Path, target: Path, pid: int) -> None:
    """A copy of a dump without the registers of the CPU that ran a thread."""
    dump = CoreFile(source)
    (segment,) = (s for s in dump.segments if s.kind == 4)
    kinds = {"PRSTATUS": 1, "0": 0}
    kept = [note for note in dump.notes if note.kind != "PRSTATUS" or dump.pid(note) != pid]
    assert len(kept) == len(dump.notes) - 1
    data = b"".join(written(note, kinds[note.kind]) for note in kept)
    shutil.copyfile(source, target)
    with target.open("r+b") as file:
        file.seek(segment.offset)
        file.write(data.ljust(segment.filesz, b"\0"))


@pytest.mark.lab("kdump")
def test_registers_of_a_cpu_that_did_not_answer(captured: Capture, tmp_path: Path) -> None:
    """They are those of the last entry into the kernel, and said to be possibly old; the other threads' stay."""
    process = captured.process("panic")
    (spinner,) = (thread["tid"] for thread in process["threads"] if thread["kind"] == "spinning")
    silence(captured.vmcore, tmp_path / "vmcore", spinner)
    found = {}
    for name, dump in (("whole", captured.vmcore), ("silent", tmp_path / "vmcore")):
        pipeline.run("gc-regs", dump, str(process["global_pid"]), stdout=tmp_path / name)
        found[name] = {r["pid"]: r for r in pipeline.records(tmp_path / name) if r["kind"] == "regs"}
    assert found["whole"].pop(spinner)["origin"].startswith("the dump's note of CPU")
    silent = found["silent"].pop(spinner)
    assert silent["origin"].endswith("of which the dump has no note: may be old)")
    assert silent["registers"]["cs"] & 3 == 3
    assert found["silent"] == found["whole"]
