"""dumps/verified.py, gc-pages --verify and gc-core: a page whose data is damaged is a gap, and the rest goes on."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from gcoretools.dumps import PAGE_SHIFT, PAGE_SIZE, Dump, Pfns, open_dump
from gcoretools.dumps.verified import REASON, VerifiedDump
from gcoretools.errors import PageCorrupt
from tests.fake_machine import FakeMachine
from tests.processes import Runner
from tests.written_dumps import write_kdump
from tests.written_streams import read

PID, FULL = "100", ("-f", "127")
SAID = "its data in the dump is damaged"


def all_pages(dump: Dump) -> dict[int, bytes]:
    """Every page of a dump by its page frame number."""
    pages: dict[int, bytes] = {}
    for pa, size in dump.ranges():
        for at in range(pa, pa + size, PAGE_SIZE):
            pages[at >> PAGE_SHIFT] = dump.read(at, PAGE_SIZE)
    return pages


def damaged(path: Path, pages: dict[int, bytes], pfns: list[int], dump: Dump) -> Path:
    """A kdump of these pages, with the data of some damaged."""
    write_kdump(path, pages, dump.notes)
    raw = bytearray(path.read_bytes())
    sub_blocks, bitmap_blocks = struct.unpack_from("<II", raw, 432)
    for pfn in pfns:
        row = (1 + sub_blocks + bitmap_blocks) * PAGE_SIZE + 24 * sorted(pages).index(pfn)
        (offset,) = struct.unpack_from("<Q", raw, row)
        raw[offset : offset + 8] = b"\xa5" * 8
    path.write_bytes(raw)
    return path


@pytest.fixture(scope="module")
def pages(machine: FakeMachine) -> dict[int, bytes]:
    return all_pages(open_dump(machine.dump))


def test_damaged_pages_are_absent_and_say_so(machine: FakeMachine, pages: dict[int, bytes], tmp_path: Path) -> None:
    here: Pfns = np.array(sorted(pages), np.uint64)
    bad = [int(here[3]), int(here[40]), int(here[41])]
    inner = open_dump(damaged(tmp_path / "vmcore", pages, bad, open_dump(machine.dump)))
    dump = VerifiedDump(inner)
    assert here[~dump.present(here)].tolist() == bad
    assert {dump.reasons[each] for each in dump.why(np.array(bad, np.uint64))} == {REASON}
    nowhere: Pfns = np.array([1 << 40], np.uint64)
    assert not dump.present(nowhere)[0]
    assert dump.why(nowhere)[0] == inner.why(nowhere)[0]
    others = here[dump.present(here)]
    assert bytes(dump.pages(others)) == b"".join(pages[pfn] for pfn in others.tolist())
    assert dump.fingerprint == inner.fingerprint
    with pytest.raises(PageCorrupt):
        dump.pages(here)


@pytest.fixture
def broken(machine: FakeMachine, pages: dict[int, bytes], runner: Runner, tmp_path: Path) -> tuple[Path, int]:
    """A dump in which a page of a process is damaged, and the address of that page."""
    stream = read(runner.run("gc-pages", *FULL, stdin=runner.run("gc-maps", machine.dump, PID).out).out)
    by_bytes: dict[bytes, list[int]] = {}
    for pfn, page in pages.items():
        by_bytes.setdefault(page, []).append(pfn)
    for record in stream:
        if record.kind == "pages":
            start, data = record.start, bytes(record.data)  # type: ignore[attr-defined]
            for at in range(0, len(data), PAGE_SIZE):
                where = by_bytes.get(data[at : at + PAGE_SIZE], [])
                if len(where) == 1 and any(data[at : at + PAGE_SIZE]):
                    return damaged(tmp_path / "broken", pages, where, open_dump(machine.dump)), start + at
    raise AssertionError("the process has no page that is like no other")


def test_without_verify_a_damaged_page_ends_gc_pages(broken: tuple[Path, int], runner: Runner) -> None:
    maps = runner.run("gc-maps", broken[0], PID)
    ended = runner.run("gc-pages", *FULL, stdin=maps.out)
    assert ended.status == 1
    assert SAID in ended.err.splitlines()[-1]
    assert ended.err.endswith("(with --verify such pages become gaps)\n")


def test_with_verify_it_is_a_gap(broken: tuple[Path, int], runner: Runner) -> None:
    maps = runner.run("gc-maps", broken[0], PID)
    ended = runner.run("gc-pages", *FULL, "--verify", stdin=maps.out)
    assert ended.status == 0, ended.err
    gaps = [r for r in read(ended.out) if r.kind == "extent" and r.reason == REASON]  # type: ignore[attr-defined]
    assert [(gap.start, gap.size) for gap in gaps] == [(broken[1], PAGE_SIZE)]  # type: ignore[attr-defined]


def test_gc_core_goes_on_by_itself(broken: tuple[Path, int], runner: Runner, tmp_path: Path) -> None:
    maps = runner.run("gc-maps", broken[0], PID)
    piped = runner.run("gc-elf", stdin=runner.run("gc-pages", *FULL, "--verify", stdin=maps.out).out)
    ended = runner.run("gc-core", *FULL, "-o", tmp_path / "core.%p", broken[0], "200", PID)
    assert ended.status == 0, ended.err
    assert f"{SAID}" in ended.err
    assert "once more, with every page tried before" in ended.err
    assert (tmp_path / f"core.{PID}").read_bytes() == piped.out
    assert (tmp_path / "core.200").exists()
    assert ended.out.count(b"Saved") == 2
