"""gc-core: the files of the pipeline, in one go."""

from __future__ import annotations

import io
import re
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gcoretools.commands import progress
from gcoretools.records import Done, Extent, Pages, Process, Record
from tests.fake_machine import FakeMachine
from tests.processes import Ended, Runner
from tests.written_streams import process

FULL = ("-f", "127", "-v0")


def piped(runner: Runner, folder: Path, *selectors: str, options: tuple[str, ...] = ()) -> dict[str, bytes]:
    """What the pipeline writes of these, by name."""
    folder.mkdir()
    maps = runner.run("gc-maps", runner.machine.dump, *selectors)
    pages = runner.run("gc-pages", *FULL, stdin=maps.out)
    ended = runner.run("gc-elf", "-o", folder / "core.%p", "-v0", *options, stdin=pages.out)
    assert ended.status == 0, ended
    return files(folder)


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def failed(ended: Ended) -> str:
    assert ended.status == 1, ended
    return ended.sentence()


@pytest.mark.parametrize("options", [(), ("--gaps", "zero")], ids=" ".join)
@pytest.mark.parametrize("selectors", [("100",), ("102",), ("200", "101")], ids=" ".join)
def test_the_files_are_those_of_the_pipeline(
    runner: Runner, tmp_path: Path, selectors: tuple[str, ...], options: tuple[str, ...]
) -> None:
    wanted = piped(runner, tmp_path / "piped", *selectors, options=options)
    ended = runner.run("gc-core", *FULL, *options, runner.machine.dump, *selectors)
    assert (ended.status, ended.err) == (0, "")
    assert files(tmp_path) == wanted
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("core.*")} == {0o600}


def test_each_argument_in_the_order_given(runner: Runner, tmp_path: Path) -> None:
    """Two threads of one process are two cores: the first thread in the core is the selected one."""
    address = f"{runner.machine.cat.leader.address:x}"
    ended = runner.run("gc-core", *FULL, runner.machine.dump, "200", address, "102", "-o", "%p.%i")
    assert ended.out.decode().splitlines() == ["Saved 200.200", "Saved 100.100", "Saved 100.102"]
    one, other = files(tmp_path)["100.100"], files(tmp_path)["100.102"]
    assert one != other
    assert one == piped(runner, tmp_path / "piped", "100")["core.100"]
    ended = runner.run("gc-core", *FULL, runner.machine.dump, "100", "102", "101", "102")
    assert ended.out.decode().splitlines() == ["Saved core.100"] * 4
    assert files(tmp_path)["core.100"] == other


def test_without_a_filter_it_is_the_process_s_own(runner: Runner, tmp_path: Path) -> None:
    own = next(each for each in runner.machine.records("100") if isinstance(each, Process)).coredump_filter
    for name, options in {"own": (), "same": ("-f", str(own)), "other": ("-f", str(own ^ 1))}.items():
        assert runner.run("gc-core", "-v0", *options, runner.machine.dump, "100", "-o", name).status == 0
    found = files(tmp_path)
    assert found["own"] == found["same"] != found["other"]


def test_what_is_said(runner: Runner) -> None:
    ended = runner.run("gc-core", "-v5", "-f", "127", runner.machine.dump, "100")
    assert (ended.status, ended.out) == (0, b"Saved core.100\n")
    lines = ended.err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["gc-core"] * len(lines)
    assert [line for line in lines if re.match("gc-core: thread 10[012]: registers from ", line)] == lines[:3]
    assert re.match(r"gc-core: pid 100: \d+ KiB data, \d+ KiB zero, \d+ KiB ", lines[-2])
    assert any(line.startswith("gc-core: pid 100: 400000-402000 r-xp /bin/cat: 4 KiB data") for line in lines)
    assert lines[-1] == "gc-core: pid 100: cat: done"


@pytest.mark.parametrize(
    ("selector", "words"),
    [("2", "kthreadd is a kernel thread"), ("300", "zombie has exited"), ("99999", "no thread of that number")],
)
def test_what_was_saved_before_a_failure_stays(runner: Runner, tmp_path: Path, selector: str, words: str) -> None:
    found = runner.run("gc-core", *FULL, runner.machine.dump, "200", selector, "100")
    assert words in failed(found)
    assert sorted(files(tmp_path)) == ([] if selector == "99999" else ["core.200"])


def test_a_dump_that_is_cut_leaves_no_half_core(runner: Runner, tmp_path: Path, machine: FakeMachine) -> None:
    (tmp_path / "core.100").write_text("of yesterday")
    assert "cannot write" in failed(runner.run("gc-core", *FULL, machine.dump, "100", "-o", "nowhere/core"))
    cut = tmp_path / "cut"
    cut.write_bytes(machine.dump.read_bytes()[:-5000])
    assert "truncated" in failed(runner.run("gc-core", *FULL, cut, "100"))
    assert sorted(files(tmp_path)) == ["core.100", "cut"]
    assert files(tmp_path)["core.100"] == b"of yesterday"


class Terminal(io.StringIO):
    """A standard error that says that it is one."""

    def isatty(self) -> bool:
        """It is."""
        return True


def records() -> Iterator[Record]:
    """Those of a process whose pages take their time."""
    yield process(pid=123)
    yield Extent(0x1000, 0x3000, "data")
    yield Extent(0x4000, 0x1000, "zero")
    for at in range(0x1000, 0x4000, 0x1000):
        time.sleep(0.3)
        yield Pages(at, bytes(0x1000))
    yield Done(123)


def test_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    shown = list(progress.shown(records()))
    assert [each.kind for each in shown] == [each.kind for each in records()]
    assert isinstance(sys.stderr, Terminal)
    steps = re.findall(r"pid 123: +(\d+)%\|.*\| (\S+)/12\.0k ", sys.stderr.getvalue())
    assert steps
    assert ("100", "12.0k") not in steps[:-1]
    assert sys.stderr.getvalue().endswith("\r")


def test_no_bar_where_nobody_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    assert [type(each) for each in progress.shown([process(), Done(100)])] == [Process, Done]
    assert stderr.getvalue() == ""
