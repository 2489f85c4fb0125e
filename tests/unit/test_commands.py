"""What every command promises, kept by each of them as a real process with real files, pipes and terminals."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gcoretools import __version__
from gcoretools.records import Header, Process
from tests.fake_kernel import FakeKernel
from tests.fake_machine import FakeMachine
from tests.processes import Ended, Runner
from tests.written_dumps import write_elf
from tests.written_streams import packed, read, wires

COMMANDS = ("gc-tasks", "gc-maps", "gc-regs", "gc-pages", "gc-elf", "gc-cat", "gc-core", "gc-trim")
TAKE_A_DUMP = ("gc-tasks", "gc-maps", "gc-regs", "gc-core")
TAKE_A_STREAM = ("gc-maps", "gc-regs", "gc-pages", "gc-elf", "gc-cat")


def usage(name: str) -> str:
    text = importlib.import_module(f"gcoretools.commands.{name.removeprefix('gc-')}").USAGE
    assert isinstance(text, str)
    return text


def each(names: tuple[str, ...], *arguments: str | Path) -> list[tuple[str | Path, ...]]:
    return [(name, *arguments) for name in names]


def failed(ended: Ended, status: int = 1) -> str:
    """The sentence of a command that failed, and wrote nothing."""
    assert ended.status == status, ended
    assert ended.out == b"", ended
    return ended.sentence()


# The command line


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_the_usage_text(runner: Runner, option: str) -> None:
    for ended in runner.all(each(COMMANDS, option)):
        assert (ended.status, ended.err) == (0, "")
        assert ended.out.decode().strip() == usage(ended.name).strip()


def test_the_version(runner: Runner) -> None:
    for ended in runner.all(each(COMMANDS, "--version")):
        assert (ended.status, ended.out.decode(), ended.err) == (0, f"{ended.name} {__version__}\n", "")


# Command lines that are wrong for every command; docopt's answer is the usage.
WRONG = [["--frobnicate"], ["-v", "1", "-v", "1"], ["-v"], ["-x"]]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_a_wrong_command_line_shows_the_usage(runner: Runner, arguments: list[str]) -> None:
    for ended in runner.all(each(COMMANDS, *arguments)):
        assert (ended.status, ended.out) == (2, b"")
        assert "Usage:" in ended.err
        assert f"{ended.name} [options]" in ended.err
        assert "Traceback" not in ended.err


def test_options_given_twice(runner: Runner) -> None:
    twice: list[tuple[str | Path, ...]] = [
        ("gc-tasks", "x", "-a", "-a"),
        ("gc-tasks", "x", "--comm", "a", "--comm", "a"),
        ("gc-maps", "x", "-k", "a", "-k", "b"),
        ("gc-maps", "x", "--no-cache", "--no-cache"),
        ("gc-regs", "--dump", "a", "--dump", "a"),
        ("gc-pages", "-f", "1", "-f", "1"),
        ("gc-elf", "-o", "a", "-o", "b"),
        ("gc-elf", "--gaps", "zero", "--gaps=zero"),
        ("gc-core", "x", "-f", "1", "y", "-f", "2"),
        ("gc-core", "-v", "1", "x", "1234", "-v", "1"),
        ("gc-cat", "--json", "--json"),
        ("gc-cat", "a", "b"),
    ]
    for ended in runner.all(twice):
        assert (ended.status, ended.out) == (2, b""), ended
        assert "Usage:" in ended.err


# Command lines that docopt takes and we do not, and what is said of them.
IMPOSSIBLE = [
    (("gc-tasks", "vmcore", "-v", "9"), "-v 9"),
    (("gc-maps", "-v", "-1"), "-v -1"),
    (("gc-regs", "-v", "x"), "-v x"),
    (("gc-pages", "-v", ""), "-v "),
    (("gc-elf", "-v", "12"), "-v 12"),
    (("gc-cat", "-v", "8"), "-v 8"),
    (("gc-pages", "-f", "1024"), "1023"),
    (("gc-pages", "-f", "AP,XX"), "'XX'"),
    (("gc-elf", "--gaps", "holes"), "absent or zero"),
    (("gc-core", "vmcore", "--gaps", "holes"), "absent or zero"),
    (("gc-core", "-f", "AP,,AS", "vmcore"), "'nothing'"),
    (("gc-trim", "small", "-v", "x"), "-v x"),
    (("gc-maps", "-k", "vmlinux"), "-k goes with a dump"),
    (("gc-maps", "vmcore", "--dump", "vmcore"), "--dump goes with a stream"),
    (("gc-tasks", "{dump}", "100", "-a"), "do not go with a SELECTOR"),
]


def test_what_the_usage_cannot_say(runner: Runner) -> None:
    filled = [tuple(word.format(dump=runner.machine.dump) for word in command) for command, _ in IMPOSSIBLE]
    for ended, (_, words) in zip(runner.all(filled), IMPOSSIBLE, strict=True):
        assert words in failed(ended, status=2)


def test_options_and_arguments_in_any_order(runner: Runner) -> None:
    dump = runner.machine.dump
    orders: list[tuple[str | Path, ...]] = [
        ("gc-maps", dump, "100", "1", "-v", "1", "--no-cache", "-k", "/nowhere"),
        ("gc-maps", "-k/nowhere", "--no-cache", "-v1", dump, "100", "1"),
        ("gc-maps", "-v", "1", dump, "-k", "/nowhere", "100", "--no-cache", "1"),
    ]
    for ended in runner.all(orders):
        assert failed(ended).startswith("/nowhere: ")
    orders = [("gc-tasks", dump, "100", "-v", "1"), ("gc-tasks", "-v1", dump, "100")]
    first, second = runner.all(orders)
    assert list(wires(read(first.out)))[1:] == list(wires(read(second.out)))[1:]
    assert (first.status, first.err) == (0, "gc-tasks: pid 100: cat: done\n")


# Dumps that are none


@pytest.fixture
def wrong_dumps(machine: FakeMachine, tmp_path: Path) -> dict[str, Path]:
    """Files that are no dump, by what is said of them."""
    folder = tmp_path / "wrong"
    folder.mkdir()
    whole = machine.dump.read_bytes()
    contents = {
        "not a dump": b"hello\n" * 1000,
        "the file is empty": b"",
        "truncated": whole[: len(whole) - 100],
        "the file is truncated": whole[:100],
        "a gzip file": b"\x1f\x8b\x08" + bytes(100),
    }
    paths = {"No such file": folder / "nowhere", "Is a directory|not a regular file": folder}
    for words, data in contents.items():
        paths[words] = folder / words.replace(" ", "-")
        paths[words].write_bytes(data)
    os.mkfifo(folder / "fifo")
    paths["no VMCOREINFO"] = write_elf(folder / "silent", {0x100: bytes(4096)})
    return paths


def test_a_dump_that_is_none(runner: Runner, wrong_dumps: dict[str, Path], whole: bytes) -> None:
    for words, path in wrong_dumps.items():
        for ended in runner.all(each(TAKE_A_DUMP, path)):
            assert re.search(words, failed(ended)), ended
    named = [words for words in wrong_dumps if words != "no VMCOREINFO"]
    for words in named:
        assert re.search(words, failed(runner.run("gc-pages", "--dump", wrong_dumps[words], stdin=whole)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_dump_that_may_not_be_read(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "secret").chmod(0)
    for ended in runner.all(each(TAKE_A_DUMP, tmp_path / "secret")):
        assert "Permission denied" in failed(ended)


def test_a_sysroot_that_is_none(runner: Runner, whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        for command, *arguments in (("gc-pages",), ("gc-core", runner.machine.dump)):
            ended = runner.run(command, "--sysroot", name, *arguments, stdin=whole)
            assert (ended.status, ended.sentence()) == (1, f"--sysroot {name}: no such folder")


def test_a_stream_file_that_is_none(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n")
    files: list[tuple[str | Path, ...]] = [
        ("gc-cat", tmp_path / "nowhere"),
        ("gc-cat", tmp_path),
        ("gc-cat", "text"),
    ]
    missing, folder, text = runner.all(files)
    assert "nowhere: No such file" in failed(missing)
    assert "Is a directory" in failed(folder)
    assert "not a stream of gcoretools" in failed(text)


# What is said beside the data

DONE = "gc-pages: pid 101: cat: done\n"


@pytest.mark.parametrize("level", "01234567")
def test_the_levels_of_words(runner: Runner, whole: bytes, level: str) -> None:
    """4 tells what is missing; 1 tells that, too, and what is there, and each mapping."""
    ended = runner.run("gc-pages", "-v", level, stdin=whole)
    rows = [line.removeprefix("gc-pages: pid 101: ") for line in ended.err.splitlines(keepends=True)]
    told = [row for row in rows if re.match(r"\d+ KiB data, \d+ KiB zero, ", row)]
    mappings = [row for row in rows if re.match(r"[0-9a-f]+-[0-9a-f]+ [r-][w-][x-][ps]", row)]
    assert (ended.status, len(told), bool(mappings)) == (0, level != "0" and level != "2", level in "1357")
    assert len(told) + len(mappings) + (level in "1357") == len(rows)
    assert ended.err.endswith(DONE) == (level in "1357")


def test_what_the_library_noticed_is_said_when_asked_for(runner: Runner, tmp_path: Path) -> None:
    """Here: a command line that is not in the dump."""
    kernel = FakeKernel()
    cat = kernel.process(100, "cat")
    cat.mm["arg_start"], cat.mm["arg_end"] = 0x1000, 0x1010
    dump = kernel.dump(tmp_path / "vmcore")
    kernel.remember(tmp_path / "cache")
    other = Runner(FakeMachine(dump, tmp_path / "cache", runner.machine.image, cat), tmp_path, runner.zygote)
    said, unsaid = (other.run("gc-tasks", dump, "100", "-v", level) for level in "25")
    assert (said.status, unsaid.status) == (0, 0)
    assert "its arguments are not in the dump: no page is mapped at 0x1000" in said.sentence()
    assert unsaid.err == "gc-tasks: pid 100: cat: done\n"


# Streams that are none


def wrong_streams(whole: bytes) -> Iterator[tuple[bytes, str]]:
    maps = list(wires(read(whole)))
    yield b"", "the input is empty: the command before wrote nothing"
    yield b"hello\n", "not a stream of gcoretools"
    yield b"\x7fELF\x02\x01\x01" + bytes(100), "not a stream of gcoretools"
    yield whole[:-1], "was cut after"
    yield whole[: len(whole) // 2], "was cut after"
    yield whole + whole, "goes on after its end"
    yield packed([{**maps[0], "version": 2}, *maps[1:]]), "of version 2, this command reads version 1"
    yield packed([{**maps[0], "history": 5}, *maps[1:]]), "no proper history"
    yield packed(maps[1:]), "does not begin with a header"


def test_a_stream_that_is_none(runner: Runner, whole: bytes) -> None:
    for data, words in wrong_streams(whole):
        for ended in runner.all(each(TAKE_A_STREAM, "-v0"), stdin=data):
            assert ended.status == 1, ended
            assert words in ended.sentence()


def test_what_was_written_of_a_cut_stream_is_no_stream(runner: Runner, whole: bytes) -> None:
    """However far a stage came: the next one must not take it for the whole."""
    for ended in runner.all([("gc-regs",), ("gc-pages",), ("gc-maps",)], stdin=whole[: len(whole) - 10]):
        assert ended.status == 1
        after = runner.run("gc-cat", stdin=ended.out)
        assert (after.status, "cut" in after.sentence() or "empty" in after.sentence()) == (1, True)


# Where output goes


def argument_lists(runner: Runner) -> list[tuple[tuple[str | Path, ...], bool]]:
    """A good run of every command, and whether it takes a stream on standard input."""
    dump = runner.machine.dump
    return [
        (("gc-tasks", dump), False),
        (("gc-maps", dump, "100"), False),
        (("gc-regs", dump, "100"), False),
        (("gc-core", dump, "100", "-v0"), False),
        (("gc-maps",), True),
        (("gc-regs",), True),
        (("gc-pages",), True),
        (("gc-elf",), True),
        (("gc-cat",), True),
        (("gc-cat", "--json"), True),
    ]


def test_every_command_does_its_work(runner: Runner, whole: bytes) -> None:
    for arguments, takes in argument_lists(runner):
        ended = runner.run(*map(str, arguments), stdin=whole if takes else subprocess.DEVNULL)
        assert ended.status == 0, ended
        assert ended.out


def test_a_reader_that_goes_away_is_no_reason_for_words(runner: Runner, whole: bytes) -> None:
    for arguments, takes in argument_lists(runner):
        receiver, sender = os.pipe()
        os.close(receiver)
        ended = runner.run(*map(str, arguments), stdin=whole if takes else subprocess.DEVNULL, stdout=sender)
        os.close(sender)
        assert (ended.err, ended.status) == ("", -signal.SIGPIPE), ended


def test_a_full_device(runner: Runner, whole: bytes) -> None:
    runs = [*argument_lists(runner), *(((name, "-h"), False) for name in COMMANDS)]
    with open("/dev/full", "wb") as full:
        for arguments, takes in runs:
            fed = whole if takes else subprocess.DEVNULL
            ended = runner.run(*map(str, arguments), stdin=fed, stdout=full.fileno())
            assert (ended.status, "No space left" in ended.sentence()) == (1, True), ended


@pytest.mark.parametrize(("closed", "words"), [(0, "standard input is closed"), (1, "standard output is closed")])
def test_a_closed_standard_stream(runner: Runner, closed: int, words: str) -> None:
    assert words in failed(runner.start("gc-tasks", "x", closed=[closed]))


def test_without_standard_error_there_is_still_a_status(runner: Runner) -> None:
    assert runner.start("gc-tasks", "x", closed=[2]) == Ended("gc-tasks", 1, b"", "")


def test_a_terminal_gets_tables(runner: Runner, whole: bytes) -> None:
    dump = runner.machine.dump
    shown = [
        runner.terminal("gc-tasks", dump),
        runner.terminal("gc-maps", dump, "100"),
        runner.terminal("gc-regs", dump, "100"),
        runner.terminal("gc-pages", stdin=whole),
        runner.terminal("gc-cat", stdin=whole),
    ]
    for ended in shown:
        assert (ended.status, re.sub("gc-pages: pid 101: .* KiB not in the dump.*\n", "", ended.err)) == (0, ""), (
            ended
        )
        text = ended.out.decode()
        assert all(letter.isprintable() or letter == "\n" for letter in text), text
        assert len(text.splitlines()) >= 4
    tasks, maps, regs, pages, cat = (ended.out.decode() for ended in shown)
    assert re.search(r"^>    100       1   1 +ffff[0-9a-f]{12}  IN   3 ", tasks, re.M)
    assert r"sh \x1b[31m\udcff" in tasks
    assert re.search(r"^ +400000 +8 +- r-xp FP +0 /bin/cat$", maps, re.M)
    assert re.search(r"rip 0000000000401234", regs)
    assert re.search(r"^ +602000 +4 gap  not in the dump", pages, re.M)
    assert "stream of " in cat


def test_a_core_does_not_go_to_a_terminal(runner: Runner, whole: bytes) -> None:
    assert "does not go to a terminal" in failed(runner.terminal("gc-elf", stdin=whole), status=2)
    ended = runner.terminal("gc-elf", "-o", "core.%p", stdin=whole)
    assert (ended.status, ended.out, ended.err) == (0, b"Saved core.100\n", "")


def test_a_stream_is_not_typed(runner: Runner) -> None:
    """At a terminal a command that wants a stream would wait for ever."""
    for name in TAKE_A_STREAM:
        template = ("-o", "core") if name == "gc-elf" else ()
        assert "a stream is expected" in failed(runner.terminal(name, *template), status=2)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_are_shown_whatever_the_encoding(runner: Runner, encoding: str) -> None:
    stream = runner.run("gc-tasks", runner.machine.dump).out
    for options in ((), ("--json",)):
        ended = runner.start("gc-cat", *options, stdin=stream, environment={"PYTHONIOENCODING": encoding})
        assert (ended.status, ended.err) == (0, "")
        assert b"\x1b" not in ended.out


def test_words_never_carry_what_a_terminal_obeys(runner: Runner, whole: bytes) -> None:
    """Sentences have names out of the dump in them."""
    maps = list(wires(read(whole)))
    named = [{**m, "comm": "x\x1b[31m\ny", "mm": 0} if m["kind"] == "process" else m for m in maps]
    ended = runner.run("gc-maps", stdin=packed(named))
    assert r"x\x1b[31m\ny is a kernel thread" in failed(ended)


# What the stream carries


def test_each_stage_leaves_its_name_in_the_history(runner: Runner) -> None:
    dump = str(runner.machine.dump)
    ended = runner.pipe(("gc-tasks", dump, "100"), ("gc-maps",), ("gc-regs", "-v", "0"), ("gc-pages", "-f", "AP"))
    assert [(each.status, each.err) for each in ended[:3]] == [(0, "")] * 3
    header = read(ended[-1].out)[0]
    assert isinstance(header, Header)
    stages = [(stage["stage"], stage["arguments"]) for stage in header.history]
    assert stages == [
        ("gc-tasks", [dump, "100"]), ("gc-maps", []), ("gc-regs", ["-v", "0"]), ("gc-pages", ["-f", "AP"]),
    ]  # fmt: skip


def test_the_first_failure_of_a_pipe_is_told_and_all_fail(runner: Runner) -> None:
    ended = runner.pipe(("gc-maps", str(runner.machine.dump), "99999"), ("gc-pages",), ("gc-elf",))
    assert [each.status for each in ended] == [1, 1, 1]
    assert "pid 99999: no thread of that number" in ended[0].sentence()
    assert all("the input is empty" in each.sentence() for each in ended[1:])


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ("2", "kthreadd is a kernel thread"),
        ("300", "zombie has exited"),
        ("ffff", "no task_struct at that address"),
        ("cat", "neither a PID nor the address"),
    ],
)
def test_tasks_without_memory_and_those_that_are_not(runner: Runner, selector: str, words: str) -> None:
    assert words in failed(runner.run("gc-maps", runner.machine.dump, selector, "-v0"))


def test_without_a_selector_it_is_the_current_task(runner: Runner) -> None:
    """Here the idle task of CPU 0, which has no memory."""
    assert "swapper/0 is a kernel thread" in failed(runner.run("gc-maps", runner.machine.dump))


def test_all_tasks_and_some(runner: Runner) -> None:
    dump = runner.machine.dump
    for arguments, wanted in [
        ((dump,), [1, 100, 200, 300]),
        ((dump, "-a"), [1, 2, 100, 200, 300]),
        ((dump, "--comm", "cat"), [100]),
        ((dump, "200", "101"), [200, 100]),
    ]:
        ended = runner.run("gc-tasks", *arguments)
        assert [r.tgid for r in read(ended.out) if isinstance(r, Process)] == wanted


# The dump behind a stream


def test_the_dump_is_another_one(runner: Runner, whole: bytes, tmp_path: Path) -> None:
    other = write_elf(tmp_path / "other", {0x100: bytes(4096)})
    for ended in runner.all([(name, "--dump", other) for name in ("gc-maps", "gc-regs", "gc-pages")], stdin=whole):
        assert "is not the dump that the stream was made from" in failed(ended)


def test_the_dump_has_moved(runner: Runner, whole: bytes, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.write_bytes(runner.machine.dump.read_bytes())
    maps = list(wires(read(whole)))
    maps[0]["dump"] = {**runner.machine.header().dump, "path": "/nowhere"}
    gone = packed(maps)
    assert "/nowhere: No such file" in failed(runner.run("gc-pages", stdin=gone))
    ended = runner.run("gc-pages", "--dump", "moved", stdin=gone)
    assert ended.status == 0
    header = read(ended.out)[0]
    assert isinstance(header, Header)
    assert header.dump["path"] == str(moved)
    assert runner.run("gc-pages", stdin=ended.out).status == 0


# Stages in the wrong order


def test_pages_of_a_stream_without_mappings(runner: Runner) -> None:
    tasks = runner.run("gc-tasks", runner.machine.dump, "100").out
    for name in ("gc-pages", "gc-elf"):
        assert "put gc-maps before" in failed(runner.run(name, stdin=tasks))


def test_a_core_of_a_stream_without_pages(runner: Runner) -> None:
    maps = runner.run("gc-maps", runner.machine.dump, "100").out
    assert "no pages: put gc-pages before gc-elf" in failed(runner.run("gc-elf", stdin=maps))


def test_a_core_of_a_stream_without_a_process(runner: Runner, machine: FakeMachine) -> None:
    assert "the stream has no process" in failed(runner.run("gc-elf", stdin=packed(wires([machine.header()]))))
