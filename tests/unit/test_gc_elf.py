"""gc-elf: the core that comes out, read by pyelftools, and the files that it makes."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment

from gcoretools.arch import x86_64
from gcoretools.records import Header, Process, Record, Vma
from tests.fake_kernel import spelled
from tests.fake_machine import FakeMachine
from tests.processes import Ended, Runner
from tests.written_streams import packed, read, wires, written

PAGE = 4096
NT_FILE = 0x46494C45


class Core:
    """A core as pyelftools reads it.

    Attributes:
        loads: (address, bytes in the file, bytes in memory, p_flags) of each PT_LOAD.
        notes: (owner, type, data).
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            elf = ELFFile(file)
            notes, *loads = elf.iter_segments()
            assert isinstance(notes, NoteSegment)
            self.loads = [(s["p_vaddr"], s["p_filesz"], s["p_memsz"], s["p_flags"]) for s in loads]
            self.contents = {s["p_vaddr"]: s.data() for s in loads}
            self.notes = [(n["n_name"], n["n_type"], n["n_descdata"]) for n in raw_notes(notes)]

    def read(self, va: int, size: int) -> bytes | None:
        """Memory, where the file has it."""
        for start, file_size, _, _ in self.loads:
            if start <= va and va + size <= start + file_size:
                data: bytes = self.contents[start]
                return data[va - start : va - start + size]
        return None

    def of(self, kind: int) -> list[bytes]:
        """The data of all notes of a type."""
        return [data for _, type_, data in self.notes if type_ == kind]


def raw_notes(segment: NoteSegment) -> list[dict[str, Any]]:
    """Notes with their data as they are: pyelftools would take some of them apart."""
    data, found, at = segment.data(), [], 0
    while at < len(data):
        name_size, size, kind = struct.unpack_from("<III", data, at)
        at += 12
        name = data[at : at + name_size].rstrip(b"\0").decode()
        at += -(-name_size // 4) * 4
        found.append({"n_name": name, "n_type": kind, "n_descdata": data[at : at + size]})
        at += -(-size // 4) * 4
    return found


def core(runner: Runner, stream: bytes, *options: str) -> Core:
    """The core of a stream, through a file on standard output."""
    path = runner.folder / "the-core"
    with path.open("wb") as file:
        ended = runner.run("gc-elf", *options, stdin=stream, stdout=file.fileno())
    assert (ended.status, ended.err) == (0, "")
    return Core(path)


def failed(ended: Ended, status: int = 1) -> str:
    assert ended.status == status, ended
    return ended.sentence()


# The core


def test_the_segments(runner: Runner, whole: bytes) -> None:
    """One for each mapping, split behind its gaps; the file's pages that are not there are gaps, too."""
    wanted = [
        (0x400000, PAGE, PAGE, 5),
        (0x600000, 2 * PAGE, 2 * PAGE, 6),
        (0x603000, PAGE, PAGE, 6),
        (0x605000, PAGE, PAGE, 6),
        (0x801000, PAGE, PAGE, 6),
        (0x7FFE00000000, 2 * PAGE, 2 * PAGE, 6),
    ]
    assert core(runner, whole).loads == wanted


def test_the_memory(runner: Runner, whole: bytes) -> None:
    found = core(runner, whole)
    for va, content in [
        (0x400000, b"\x7fELF cat"),
        (0x600000, b"heap" * 100),
        (0x601000, b"more" * 100),
        (0x603000, b"inaccessible" * 100),
        (0x605000, b""),
        (0x801000, b"shared"),
        (0x7FFE00000000, b""),
        (0x7FFE00001000, b"stack"),
    ]:
        assert found.read(va, PAGE) == content.ljust(PAGE, b"\0"), hex(va)
    for va in (0x401000, 0x602000, 0x604000, 0x800000, 0x802000):
        assert found.read(va, 1) is None, hex(va)


def test_gaps_as_zeros(runner: Runner, whole: bytes) -> None:
    """Then a segment is as long in the file as the kernel would have made it."""
    found = core(runner, whole, "--gaps", "zero")
    sizes = [(0x400000, 2), (0x600000, 6), (0x800000, 3), (0x7FFE00000000, 2)]
    assert [(va, size) for va, size, _, _ in found.loads] == [(va, pages * PAGE) for va, pages in sizes]
    assert found.read(0x602000, PAGE) == found.read(0x604000, PAGE) == bytes(PAGE)
    assert found.read(0x603000, 12) == b"inaccessible"


def test_the_notes(runner: Runner, whole: bytes) -> None:
    """In the kernel's order: the process's own behind the first thread's registers."""
    found = core(runner, whole)
    kinds = [(owner, kind) for owner, kind, _ in found.notes]
    assert kinds[:4] == [("CORE", 1), ("CORE", 3), ("CORE", 6), ("CORE", NT_FILE)]
    assert [struct.unpack_from("<i", data, 32)[0] for data in found.of(1)] == [101, 100, 102]
    (info,) = found.of(3)
    assert info[40:56].rstrip(b"\0") == b"cat"
    assert info[56:].rstrip(b"\0") == b"cat /etc/motd "
    (files,) = found.of(NT_FILE)
    assert files.endswith(b"/bin/cat\0/tmp/shared (deleted)\0")
    assert found.of(6) == [struct.pack("<4Q", 6, 4096, 0, 0)]


def test_the_registers(runner: Runner, whole: bytes) -> None:
    found = core(runner, whole).of(1)
    words = (struct.unpack_from("<27Q", data, 112) for data in found[:2])
    running, leader = (dict(zip(x86_64.USER_REGS, each, strict=True)) for each in words)
    assert (running["rip"], running["rax"]) == (0x401234, spelled("RAX"))
    assert (leader["rip"], leader["fs_base"]) == (spelled("rip"), spelled("fs_base"))


def test_registers_of_threads_that_come_without(runner: Runner, whole: bytes) -> None:
    """gc-elf finds them itself, by the same code."""
    without = packed([wire for wire in wires(read(whole)) if wire["kind"] != "regs"])
    expected = core(runner, whole)
    found = core(runner, without)
    assert (found.notes, found.contents) == (expected.notes, expected.contents)


def test_registers_that_came_are_those_of_the_core(runner: Runner, whole: bytes) -> None:
    """They are not looked up again: someone may have edited them."""
    notes = [{"owner": "CORE", "type": 1, "data": b"edited"}, {"owner": "LINUX", "type": 0x202, "data": b"more"}]
    found = core(runner, changed(whole, "regs", 0, notes=notes))
    assert found.notes[0] == ("CORE", 1, b"edited")
    assert found.notes[4] == ("LINUX", 0x202, b"more")


@pytest.mark.parametrize(
    "note",
    [
        {},
        {"owner": "CORE", "type": 1},
        {"owner": 5, "type": 1, "data": b""},
        {"owner": "CORE", "type": -1, "data": b""},
        {"owner": "CORE", "type": 1 << 32, "data": b""},
        {"owner": "CORE", "type": True, "data": b""},
        {"owner": "CORE", "type": 1, "data": "text"},
    ],
    ids=str,
)
def test_notes_that_are_none(runner: Runner, whole: bytes, note: dict[str, object]) -> None:
    ended = runner.run("gc-elf", "-o", "core", stdin=changed(whole, "regs", 0, notes=[note]))
    assert "without a proper owner, type or data" in failed(ended)


@pytest.mark.parametrize(("rule", "align"), [(True, 4), (False, 0), (None, 0)])
def test_the_alignment_of_notes(runner: Runner, whole: bytes, rule: bool | None, align: int) -> None:
    rules = {} if rule is None else {"note_align": rule}
    core(runner, changed(whole, "header", 0, rules=rules))
    with (runner.folder / "the-core").open("rb") as file:
        assert ELFFile(file).get_segment(0)["p_align"] == align


def test_registers_come_before_or_after_the_pages(runner: Runner) -> None:
    dump = runner.machine.dump
    maps = runner.run("gc-maps", dump, "101").out
    first = runner.run("gc-pages", "-v0", stdin=runner.run("gc-regs", stdin=maps).out).out
    last = runner.run("gc-regs", stdin=runner.run("gc-pages", "-v0", stdin=maps).out).out
    assert list(wires(read(first)))[1:] == list(wires(read(last)))[1:]


def test_without_registers_and_without_the_dump(runner: Runner, whole: bytes) -> None:
    maps = [wire for wire in wires(read(whole)) if wire["kind"] != "regs"]
    maps[0]["dump"] = {"path": "/nowhere", "format": "elf", "fingerprint": ""}
    assert "/nowhere: No such file" in failed(runner.run("gc-elf", stdin=packed(maps)))


def test_registers_that_could_not_be_recovered_are_told(runner: Runner, whole: bytes) -> None:
    maps = [wire for wire in wires(read(whole)) if wire["kind"] != "regs"]
    threads = [wire for wire in maps if wire["kind"] == "thread"]
    threads[1]["stack"] = 0x1000
    ended = runner.run("gc-elf", "-o", "core", stdin=packed(maps))
    assert ended.status == 0
    assert ended.sentence().startswith("thread 100: registers not recovered: ")
    assert Core(runner.folder / "core").of(1)[1][112:-8] == bytes(27 * 8)


def test_sorted_segments(runner: Runner, machine: FakeMachine) -> None:
    """Kernels that sort write the smallest first; the stream's plan must be in the same order."""
    header = machine.header()
    header.rules["sorted"] = True
    stream = runner.run("gc-pages", "-v0", "-f", "127", stdin=written([header, *_mapped(machine)])).out
    found = core(runner, stream)
    starts = [va for va, _, _, _ in found.loads]
    assert starts == [0x400000, 0x7FFE00000000, 0x801000, 0x600000, 0x603000, 0x605000]
    assert found.read(0x600000, 4) == b"heap"


def _mapped(machine: FakeMachine) -> list[Record]:
    return [record for record in machine.records("100") if record.kind not in ("extent", "pages")]


def test_nothing_selected(runner: Runner, machine: FakeMachine) -> None:
    """All mappings are there, and none has bytes."""
    maps = runner.run("gc-maps", machine.dump, "100").out
    found = core(runner, runner.run("gc-pages", "-f", "0", stdin=maps).out)
    assert [(size, memory // PAGE) for _, size, memory, _ in found.loads] == [(0, 2), (0, 6), (0, 3), (0, 2)]


# Files


def test_a_file_for_each_process(runner: Runner, machine: FakeMachine) -> None:
    stream = machine.stream("101", "200")
    ended = runner.run("gc-elf", "-o", "core.%p.%i.%e.%%", stdin=stream)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.decode() == "Saved core.100.101.cat.%\n" + r"Saved core.200.200.sh \x1b[31m\udcff.%" + "\n"
    names = sorted(os.listdir(os.fsencode(runner.folder)))
    assert names == [b"core.100.101.cat.%", b"core.200.200.sh \x1b[31m\xff.%"]
    for path in runner.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(Core(path).of(3)) == 1


@pytest.mark.parametrize(
    ("template", "comm", "wanted"),
    [
        ("core.%p", "cat", "core.100"),
        ("%e", "a/b", "a!b"),
        ("%e-%e", "%p%i", "%p%i-%p%i"),
        ("%%p%%%p", "cat", "%p%100"),
        ("%x%", "cat", "%x%"),
        ("{folder}/core.%i", "cat", "{folder}/core.101"),
        ("plain", "cat", "plain"),
    ],
)
def test_templates(runner: Runner, whole: bytes, template: str, comm: str, wanted: str) -> None:
    maps = list(wires(read(whole)))
    maps[1]["comm"] = comm
    named, expected = (text.format(folder=runner.folder) for text in (template, wanted))
    ended = runner.run("gc-elf", "-o", named, stdin=packed(maps))
    assert (ended.status, ended.out.decode()) == (0, f"Saved {expected}\n"), ended
    assert (runner.folder / expected).is_file()


@pytest.mark.parametrize("comm", ["..", ".", "/", "a\0b"])
def test_names_that_lead_astray(runner: Runner, whole: bytes, comm: str) -> None:
    maps = list(wires(read(whole)))
    maps[1]["comm"] = comm
    ended = runner.run("gc-elf", "-o", "%e", stdin=packed(maps))
    if comm == "/":
        assert os.listdir(runner.folder) == ["!"]
    else:
        assert "no regular file" in failed(ended)
        assert os.listdir(runner.folder) == []


def test_several_processes_do_not_go_into_one_file(runner: Runner, machine: FakeMachine) -> None:
    path = runner.folder / "core"
    with path.open("wb") as file:
        ended = runner.run("gc-elf", stdin=machine.stream("100", "200"), stdout=file.fileno())
    assert "the stream has several processes: give -o core.%p" in failed(ended)


@pytest.mark.parametrize("at", [-1, -5, -3000, -9000, 2000, 100])
def test_no_half_file_has_the_name(runner: Runner, whole: bytes, at: int) -> None:
    """However far it came: nothing is left of a core whose stream was cut, and an old one stays."""
    (runner.folder / "core.100").write_bytes(b"an older core")
    ended = runner.run("gc-elf", "-o", "core.%p", stdin=whole[:at])
    assert "was cut" in ended.sentence()
    assert ended.status == 1
    assert os.listdir(runner.folder) == ["core.100"]
    kept = (runner.folder / "core.100").read_bytes() == b"an older core"
    assert kept == (ended.out == b"")
    assert kept or -100 < at < 0  # the process was whole: only what follows it is missing


def test_half_a_core_on_standard_output_is_taken_back(runner: Runner, whole: bytes) -> None:
    path = runner.folder / "core"
    with path.open("wb") as file:
        ended = runner.run("gc-elf", stdin=whole[:-9000], stdout=file.fileno())
    assert "was cut" in failed(ended)
    assert path.read_bytes() == b""


@pytest.mark.parametrize("template", ["nowhere/core.%p", "/proc/core.%p", "/dev/full", "."])
def test_where_no_file_can_be_written(runner: Runner, whole: bytes, template: str) -> None:
    ended = runner.run("gc-elf", "-o", template, stdin=whole)
    assert failed(ended).startswith("cannot write ")
    assert ended.out == b""
    assert os.listdir(runner.folder) == []


def test_through_a_pipe_it_is_the_same_core(runner: Runner, whole: bytes) -> None:
    ended = runner.run("gc-elf", stdin=whole)
    assert (ended.status, ended.err) == (0, "")
    core(runner, whole)
    assert ended.out == (runner.folder / "the-core").read_bytes()


# Streams that contradict themselves


def changed(whole: bytes, kind: str, number: int, **fields: object) -> bytes:
    """The stream with fields of its n-th record of a kind changed; the record is left out without any."""
    maps = list(wires(read(whole)))
    at = [i for i, wire in enumerate(maps) if wire["kind"] == kind][number]
    maps[at : at + 1] = [{**maps[at], **fields}] if fields else []
    return packed(maps)


@pytest.mark.parametrize(
    ("kind", "number", "fields", "words"),
    [
        ("pages", 0, {}, "the stream's pages are not those that its extents say"),
        ("pages", -1, {}, "the stream's pages are not those that its extents say"),
        ("pages", 1, {"start": 0x601000}, "the stream's pages are not those that its extents say"),
        ("pages", 1, {"data": b"x" * (4 * PAGE)}, "the stream's pages are not those that its extents say"),
        ("extent", 0, {}, "do not cover the mapping at 0x400000"),
        ("extent", 0, {"size": 2 * PAGE}, "extents"),
        ("extent", 0, {"start": 0x3FF000}, "do not cover the mapping at 0x400000"),
        ("extent", 0, {"what": "nothing"}, "do not cover the mapping at 0x400000"),
        ("extent", 0, {"what": "zero"}, "the stream's pages are not those that its extents say"),
        ("extent", -1, {"size": 2 * PAGE}, "extents reach beyond the mapping at 0x7ffe00000000"),
        ("vma", 0, {}, "extents"),
        ("vma", 0, {"dump_size": -1}, "no pages: put gc-pages before gc-elf"),
        ("vma", 0, {"dump_size": 1 << 63}, "extents"),
        ("vma", -1, {"size": PAGE}, "extents reach beyond the mapping"),
        ("done", 0, {}, "no end of this process"),
        ("process", 0, {}, "the stream has no process"),
        ("process", 0, {"abi": "x32"}, "x32"),
        ("header", 0, {"kernel": {"arch": "vax"}}, "kernels for vax are not supported"),
        ("header", 0, {"kernel": {}}, "kernels for None are not supported"),
    ],
)
def test_a_stream_that_contradicts_itself(
    runner: Runner, whole: bytes, kind: str, number: int, fields: dict[str, object], words: str
) -> None:
    ended = runner.run("gc-elf", "-o", "core", stdin=changed(whole, kind, number, **fields))
    assert words in failed(ended)
    assert os.listdir(runner.folder) == []


def test_a_process_that_ends_where_the_next_begins(runner: Runner, machine: FakeMachine) -> None:
    """What follows is another's: its threads and pages must not come into this core."""
    for kind in ("done", "extent pages done", "vma extent pages done"):
        maps = list(wires(read(machine.stream("100", "200"))))
        second = [i for i, wire in enumerate(maps) if wire["kind"] == "process"][1]
        cut = [wire for i, wire in enumerate(maps) if i >= second or wire["kind"] not in kind.split()]
        ended = runner.run("gc-elf", "-o", "core.%p", stdin=packed(cut))
        assert "pid 100: the stream has no end of this process" in failed(ended)
        assert os.listdir(runner.folder) == []


def test_records_of_later_versions_do_not_disturb(runner: Runner, whole: bytes) -> None:
    maps: list[dict[str, object]] = []
    for wire in wires(read(whole)):
        maps += [wire, {"kind": "x-comment", "text": "of a later version"}]
    expected = core(runner, whole)
    found = core(runner, packed(maps))
    assert (found.notes, found.contents) == (expected.notes, expected.contents)


def test_the_sample_is_what_these_tests_take_it_for(whole: bytes) -> None:
    records = read(whole)
    assert isinstance(records[0], Header)
    assert [r.pid for r in records if isinstance(r, Process)] == [101]
    assert [r.category for r in records if isinstance(r, Vma)] == ["FP", "AP", "AS", "AP"]
