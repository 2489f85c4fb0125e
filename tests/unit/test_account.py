"""The account of a process's memory: of each mapping, in all, and what --strict makes of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gcoretools.dumps import open_dump
from gcoretools.records import Done
from tests.processes import Runner
from tests.written_dumps import write_kdump
from tests.written_streams import read

ROW = re.compile(r"gc-pages: pid 101: ([0-9a-f]+-[0-9a-f]+) (\S{4}) ?(.*?): (\d+) KiB data, (\d+) KiB zero(.*)")
TOTAL = re.compile(r"gc-pages: pid 101: (\d+) KiB data, (\d+) KiB zero(.*)")


def gaps(text: str) -> dict[str, int]:
    """The bytes by reason out of ", 4 KiB a reason, 8 KiB another, that has a comma"."""
    rows = (row.split(" KiB ", 1) for row in re.split(r", (?=\d+ KiB )", text)[1:])
    return {reason: int(size) << 10 for size, reason in rows}


def test_each_mapping_and_all_of_them(runner: Runner, whole: bytes) -> None:
    """What is told of the mappings comes to what is told of the process, and stands in the `done` record."""
    ended = runner.run("gc-pages", "-f", "127", "-v", "1", stdin=whole)
    rows = [found for line in ended.err.splitlines() if (found := ROW.fullmatch(line))]
    (total,) = [found for line in ended.err.splitlines() if (found := TOTAL.fullmatch(line))]
    starts = [int(row[1].partition("-")[0], 16) for row in rows]
    assert starts == sorted(starts)
    assert rows[0].group(1, 2, 3, 4) == ("400000-402000", "r-xp", "/bin/cat", "4")
    assert [sum(int(row[i]) for row in rows) for i in (4, 5)] == [int(total[1]), int(total[2])]
    (done,) = [record for record in read(ended.out) if isinstance(record, Done)]
    assert (done.data, done.zero) == (int(total[1]) << 10, int(total[2]) << 10)
    summed: dict[str, int] = {}
    for row in rows:
        for reason, size in gaps(row[6]).items():
            summed[reason] = summed.get(reason, 0) + size
    assert summed == gaps(total[3]) == done.gaps != {}


def test_a_mapping_that_is_not_selected_has_no_row(runner: Runner, whole: bytes) -> None:
    ended = runner.run("gc-pages", "-f", "0", "-v", "1", stdin=whole)
    assert not [line for line in ended.err.splitlines() if ROW.fullmatch(line)]
    assert "gc-pages: pid 101: 0 KiB data, 0 KiB zero\n" in ended.err


STRICT = "pid 100: not all of the memory is there (--strict)\n"


@pytest.mark.parametrize(("filter_", "status"), [("127", 1), ("0", 0)])
def test_strict_ends_in_failure_when_all_is_written(
    runner: Runner, tmp_path: Path, filter_: str, status: int
) -> None:
    """The same output as without; what has no gaps is no failure."""
    dump = runner.machine.dump
    maps = runner.run("gc-maps", dump, "100").out
    pages, strict = (
        runner.run("gc-pages", "-v0", "-f", filter_, *more, stdin=maps) for more in ((), ("--strict",))
    )
    assert [*read(strict.out)][1:] == [*read(pages.out)][1:]
    core, from_stream = (runner.run("gc-elf", "-v0", *more, stdin=pages.out) for more in ((), ("--strict",)))
    assert from_stream.out == core.out != b""
    at_once = runner.run("gc-core", "-v0", "-f", filter_, "--strict", "-o", "core", dump, "100")
    assert (tmp_path / "core").read_bytes() == core.out
    for ended in (strict, from_stream, at_once):
        assert (ended.status, ended.err) == (status, f"{ended.name}: {STRICT}" if status else "")


def test_strict_names_the_processes(runner: Runner) -> None:
    maps = runner.run("gc-maps", runner.machine.dump, "100", "200").out
    ended = runner.run("gc-pages", "-v0", "-f", "127", "--strict", stdin=maps)
    assert ended.err == "gc-pages: " + STRICT


@pytest.mark.parametrize(
    ("level", "remedy"),
    [
        (31, "makedumpfile -d 31 leaves out page caches (2), page caches with private data (4), user pages (8): "
             "-d 17 keeps all memory of processes"),
        (9, "makedumpfile -d 9 leaves out user pages (8): -d 1 keeps all memory of processes"),
        (17, ""),
    ],
)  # fmt: skip
def test_what_to_do_against_gaps(runner: Runner, tmp_path: Path, level: int, remedy: str) -> None:
    """Told once, and not of the levels that leave out nothing of a process."""
    original = open_dump(runner.machine.dump)
    frames = {
        pa >> 12: original.read(pa, 4096) for start, size in original.ranges() for pa in each_page(start, size)
    }
    out = [pfn for pfn, data in frames.items() if data.startswith((b"heap", b"\x7fELF sh"))]
    kept = {pfn: data for pfn, data in frames.items() if pfn not in out}
    path = write_kdump(tmp_path / "kdump", kept, original.notes, level=level, excluded=out)
    maps = runner.run("gc-maps", path, "100", "200")
    told = runner.run("gc-pages", "-f", "127", stdin=maps.out).err
    assert told.count(f"KiB excluded from the dump (makedumpfile -d {level})") == 2
    assert [line for line in told.splitlines() if "leaves out" in line] == (
        [f"gc-pages: {remedy}"] if remedy else []
    )


def each_page(start: int, size: int) -> range:
    return range(start, start + size, 4096)
