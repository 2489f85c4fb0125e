"""gc-trim: the dump that it writes gives the same streams and cores; on the dump of the examples."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gcoretools.commands import run, trim
from gcoretools.dumps import Dump, Pfns, open_dump
from gcoretools.dumps.kdump_writer import write_kdump
from tests.processes import Ended, Runner
from tests.written_streams import packed, read, wires

EXAMPLE = Path(__file__).parents[2] / "examples/vmcore"
DUMP = "{dump}"

Command = tuple[str, ...]

# Streams of every kind: by what was chosen, and by how far the pipe goes.
PIPES: dict[str, tuple[Command, ...]] = {
    "tasks": (("gc-tasks", DUMP),),
    "kernel threads": (("gc-tasks", DUMP, "-a"),),
    "by name": (("gc-tasks", DUMP, "--comm", "night-desk"), ("gc-maps",)),
    "by PID": (("gc-tasks", DUMP, "301", "100"), ("gc-regs",)),
    "registers": (("gc-regs", DUMP, "201"),),
    "the current task": (("gc-maps", DUMP), ("gc-pages",)),
    "some memory": (("gc-maps", DUMP, "200"), ("gc-regs",), ("gc-pages", "-f", "AP,ELF")),
    "everything": (("gc-tasks", DUMP), ("gc-maps",), ("gc-pages", "-f", "1023"), ("gc-regs",)),
}


def stream(runner: Runner, dump: Path, pipe: tuple[Command, ...]) -> bytes:
    """What comes out of a pipe."""
    data = b""
    for name, *arguments in pipe:
        ended = runner.run(name, "-v0", *(word.format(dump=dump) for word in arguments), stdin=data)
        assert ended.status == 0, ended
        data = ended.out
    return data


def trimmed(runner: Runner, data: bytes, *options: str) -> Path:
    """The dump that gc-trim makes of a stream."""
    ended = runner.run("gc-trim", *options, runner.folder / "small", stdin=data)
    assert (ended.status, ended.err) == (0, ""), ended
    assert ended.out.decode() == f"Saved {runner.folder}/small\n"
    return runner.folder / "small"


def said(data: bytes) -> list[dict[str, Any]]:
    """A stream, but for where it came from."""
    header, *rest = wires(read(data))
    return [header | {"dump": 0, "history": 0}, *rest]


def failed(ended: Ended) -> str:
    assert ended.status == 1, ended
    return ended.sentence()


@pytest.mark.parametrize("pipe", PIPES.values(), ids=PIPES)
def test_the_same_stream(runner: Runner, pipe: tuple[Command, ...]) -> None:
    whole = stream(runner, EXAMPLE, pipe)
    small = trimmed(runner, whole)
    assert said(stream(runner, small, pipe)) == said(whole)
    assert small.stat().st_size <= EXAMPLE.stat().st_size


@pytest.mark.parametrize("names", [("gc-maps", "gc-pages"), ("gc-maps", "gc-pages", "gc-regs")], ids="|".join)
def test_the_same_core(runner: Runner, names: tuple[str, ...]) -> None:
    """Whether the registers were in the stream or not."""
    pipe = tuple((name, DUMP, "101") if name == "gc-maps" else (name,) for name in names)
    small = trimmed(runner, stream(runner, EXAMPLE, pipe))
    for name, dump in (("one", EXAMPLE), ("other", small)):
        assert runner.run("gc-core", dump, "101", "-o", name, "-v0").status == 0
    assert (runner.folder / "one").read_bytes() == (runner.folder / "other").read_bytes()


def test_what_was_left_out_is_told(runner: Runner) -> None:
    small = trimmed(runner, stream(runner, EXAMPLE, (("gc-maps", DUMP, "300"), ("gc-pages", "-f", "AP"))))
    ended = runner.run("gc-core", "-f", "1023", small, "300")
    assert ended.status == 0
    assert ended.sentence().endswith("KiB left out of the dump by gc-trim")
    assert "left out of the dump by gc-trim" in failed(runner.run("gc-core", small, "100"))


def test_several_streams(runner: Runner) -> None:
    pipes = PIPES["kernel threads"], PIPES["some memory"]
    for i, pipe in enumerate(pipes):
        (runner.folder / f"{i}.gc").write_bytes(stream(runner, EXAMPLE, pipe))
    assert runner.run("gc-trim", "small", "0.gc", "1.gc").status == 0
    for i, pipe in enumerate(pipes):
        assert said(stream(runner, runner.folder / "small", pipe)) == said((runner.folder / f"{i}.gc").read_bytes())


def test_trimming_once_more_leaves_it_as_it_is(runner: Runner) -> None:
    pipe = PIPES["some memory"]
    once = trimmed(runner, stream(runner, EXAMPLE, pipe)).read_bytes()
    (runner.folder / "once").write_bytes(once)
    assert trimmed(runner, stream(runner, runner.folder / "once", pipe)).read_bytes() == once


def test_without_the_kernel_s_code(runner: Runner) -> None:
    """The dump of the examples has none."""
    data = stream(runner, EXAMPLE, PIPES["some memory"])
    whole = trimmed(runner, data).read_bytes()
    assert trimmed(runner, data, "--no-code").read_bytes() == whole


def test_types_out_of_the_cache_may_be_more(runner: Runner) -> None:
    """Those of modules that were loaded at another boot."""
    data = stream(runner, EXAMPLE, PIPES["by name"])
    maps: list[dict[str, Any]] = list(wires(read(data)))
    maps[0]["kernel"]["types_from"] += ", and BTF of zram in the dump"
    maps[0]["kernel"]["layout"]["members"]["zram.table"] = [0, 8, False]
    trimmed(runner, packed(maps))


def test_the_dump_has_moved(runner: Runner) -> None:
    data = stream(runner, EXAMPLE, PIPES["by name"])
    maps = list(wires(read(data)))
    maps[0]["dump"] = {**maps[0]["dump"], "path": "/nowhere"}  # type: ignore[dict-item]
    assert "/nowhere: No such file" in failed(runner.run("gc-trim", "small", stdin=packed(maps)))
    assert runner.run("gc-trim", "small", "--dump", EXAMPLE, stdin=packed(maps)).status == 0


def changed(data: bytes, change: Callable[[list[dict[str, Any]]], object]) -> bytes:
    maps: list[dict[str, Any]] = list(wires(read(data)))
    change(maps)
    return packed(maps)


WRONG: dict[str, Callable[[list[dict[str, Any]]], object]] = {
    "is not what these stages make of": lambda maps: maps[1].update(nice=7),
    "is not what these stages make of .* now": lambda maps: maps.pop(2),
    "does not say which tasks": lambda maps: maps[0].update(history=[]),
    "does not say which tasks were": lambda maps: maps[0]["history"][0].update(settings={}),
    "went through grep, which": lambda maps: maps[0]["history"].append({"stage": "grep"}),
    "does not say what gc-maps did": lambda maps: maps[0]["history"][1].pop("settings"),
    "'x' is neither a PID": lambda maps: maps[0]["history"][0]["settings"].update(selectors=["x"]),
    "had selectors 5, which cannot": lambda maps: maps[0]["history"][0]["settings"].update(selectors=5),
    "/nowhere: No such file": lambda maps: maps[0]["history"][0]["settings"].update(k="/nowhere"),
    "had k {}, which cannot": lambda maps: maps[0]["history"][0]["settings"].update(k={}),
    "gc-maps had filter -1, which cannot": lambda maps: maps[0]["history"][1]["settings"].update(filter=-1),
    "gc-maps had colour 'red', which": lambda maps: maps[0]["history"][1]["settings"].update(colour="red"),
}


@pytest.mark.parametrize("words", WRONG)
def test_a_stream_that_cannot_be_made_once_more(runner: Runner, words: str) -> None:
    data = changed(stream(runner, EXAMPLE, (("gc-tasks", DUMP, "200"), ("gc-maps",))), WRONG[words])
    ended = runner.run("gc-trim", "small", stdin=data)
    assert re.search(words, failed(ended))
    assert list(runner.folder.iterdir()) == []


def test_streams_of_two_dumps(runner: Runner, whole: bytes) -> None:
    (runner.folder / "one.gc").write_bytes(stream(runner, EXAMPLE, PIPES["by name"]))
    (runner.folder / "two.gc").write_bytes(whole)
    assert "two.gc: the stream is of another dump" in failed(runner.run("gc-trim", "small", "one.gc", "two.gc"))


def test_nothing_is_kept_when_it_fails(runner: Runner) -> None:
    data = stream(runner, EXAMPLE, PIPES["by name"])
    assert "was cut" in failed(runner.run("gc-trim", "small", stdin=data[:-3]))
    assert "cannot write nowhere/small" in failed(runner.run("gc-trim", "nowhere/small", stdin=data))
    assert list(runner.folder.iterdir()) == []


def test_a_dump_that_does_not_give_the_stream_is_not_kept(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here because pages get lost on the way into it."""
    file, small = runner.folder / "pages.gc", runner.folder / "small"
    file.write_bytes(stream(runner, EXAMPLE, PIPES["some memory"]))
    for lost, words in ((slice(9, None), "left out of the dump by gc-trim"), (slice(None, None, 2), "")):

        def write(fd: int, dump: Dump, pfns: Pfns, *rest: Any, lost: slice = lost) -> None:
            write_kdump(fd, dump, np.setdiff1d(pfns, pfns[lost]), *rest)

        monkeypatch.setattr(trim, "write_kdump", write)
        monkeypatch.setattr(run, "_forget_output", lambda: None)  # the tests' own
        assert trim.main([str(small), str(file)]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"gc-trim: {small} does not give {file} again, and is not kept: ")
        assert words in said
        assert [path.name for path in runner.folder.iterdir()] == ["pages.gc"]


def test_a_dump_that_is_small_for_good(runner: Runner) -> None:
    """Whoever has it cannot find in it what was not asked for."""
    small = open_dump(trimmed(runner, stream(runner, EXAMPLE, PIPES["some memory"])))
    memory = b"".join(small.read(pa, size) for pa, size in small.ranges())
    assert b"waiter" in memory
    assert b"safe: MADV_DONTDUMP" not in memory
