"""Records as people and other programs see them, letter for letter."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from gcoretools.commands import show
from gcoretools.records import Done, Extent, Foreign, Pages, Record, Regs
from tests.written_streams import header, process, sample, thread, vma

TABLE = """\
stream of gc-tasks | gc-maps
dump /var/crash/vmcore (elf)
kernel 9.9 x86_64, types from BTF in the dump, symbols from kallsyms in the dump
process 100 'cat': 2 threads, 64 bits, selected by 101
  thread 101 'worker' RU, running on CPU 3
    registers from the kernel stack (not running)
         rip 0000000000401000      rsp 00007ffe00001000       cs 0000000000000033      rax 0000000000000000
         rbx 0000000000000001
  thread 100 'cat' IN, last on CPU 0
    registers from a test
         eip 08048000
    floating-point registers from its FPU state
             START        KIB   DUMP KIB PERM KIND      OFFSET NAME
            400000          8          4 r-xp FP          5000 /bin/cat
            600000         12         12 rw-p AP             0 [heap]
      7f0000000000       1024          - ---s AS             0 /dev/\\x1b[2J\\n\\udcff
             START        KIB WHAT
            400000          4 data
            600000         12 gap  swapped out
             START        KIB   DUMP KIB PERM KIND      OFFSET NAME
  ffffffffff600000          4          4 --xp special        0 [vsyscall]
            400000          4 KiB
  {'kind': 'x-comment', 'text': 'of a later version'}
  done 100: 4 KiB data, 8 KiB zero, 12 KiB swapped out, 1024 KiB not in the dump
"""


def described() -> list[Record]:
    """What the table shows."""
    kernel: dict[str, object] = {"release": "9.9", "arch": "x86_64"}
    kernel |= {"types_from": "BTF in the dump", "symbols_from": "kallsyms in the dump"}
    words = {"rip": 0x401000, "rsp": 0x7FFE00001000, "cs": 0x33, "rax": 0, "rbx": 1}
    return [
        header(
            history=[{"stage": "gc-tasks"}, {"stage": "gc-maps"}],
            dump={"path": "/var/crash/vmcore", "format": "elf"},
            kernel=kernel,
        ),
        process(pid=101, threads=2),
        thread(pid=101, comm="worker", state="R", cpu=3, active=True),
        Regs(101, "the kernel stack (not running)", words, []),
        thread(),
        Regs(100, "a test", {"eip": 0x8048000}, [], "from its FPU state"),
        vma(0x400000, 0x2000, flags=0x75, category="FP", offset=0x5000, name="/bin/cat", dump_size=0x1000),
        vma(0x600000, 0x3000, name="[heap]"),
        vma(0x7F0000000000, 1 << 20, flags=8, category="AS", name="/dev/\x1b[2J\n\udcff", dump_size=-1),
        Extent(0x400000, 0x1000, "data"),
        Extent(0x600000, 0x3000, "gap", "swapped out"),
        vma(0xFFFFFFFFFF600000, 0x1000, flags=4, category="special", name="[vsyscall]"),
        Pages(0x400000, b"x" * 4096),
        Foreign({"kind": "x-comment", "text": "of a later version"}),
        Done(100, 4096, 8192, {"swapped out": 0x3000, "not in the dump": 1 << 20}),
    ]


def shown(capsys: pytest.CaptureFixture[str], records: Iterable[Record]) -> str:
    show.table(records)
    return capsys.readouterr().out


def test_every_kind_of_record(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, described()) == TABLE


def test_a_process_that_nobody_has_planned_has_no_totals(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, [Done(100)]) == ""
    assert shown(capsys, [Done(100, zero=4096)]) == "  done 100: 0 KiB data, 4 KiB zero\n"


TASKS = """\
     PID    PPID CPU       TASK       ST THR      VSZ      RSS COMM
     100       1   5 ffff888001000000  IN   1     1024        8 cat
>    200     100   3 ffff888001000000  RU   2        0        0 two\\nlines
     300       1   0 ffff888001000000  ZO   0        0        0 \\x1b[31mred
"""


def test_thread_groups_as_crash_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    """The CPU is that of a thread that was running, else the first one's."""
    show.tasks(
        [
            process(vsz=1 << 20, rss=8192),
            thread(cpu=5),
            Done(100),
            process(tgid=200, ppid=100, state="R", threads=2, active=True, comm="two\nlines"),
            thread(cpu=7),
            thread(cpu=3, active=True),
            thread(cpu=6),
            Done(200),
            process(tgid=300, state="Z", threads=0, comm="\x1b[31mred"),
            Done(300),
        ]
    )
    assert capsys.readouterr().out == TASKS


@pytest.mark.parametrize(
    ("letter", "name"),
    [
        ("R", "RU"),
        ("S", "IN"),
        ("D", "UN"),
        ("T", "ST"),
        ("t", "TR"),
        ("Z", "ZO"),
        ("I", "ID"),
        ("P", "PA"),
        ("?", "?"),
    ],
)
def test_states_as_crash_names_them(capsys: pytest.CaptureFixture[str], letter: str, name: str) -> None:
    assert shown(capsys, [thread(state=letter)]) == f"  thread 100 'cat' {name}, last on CPU 0\n"


def test_json_is_an_object_a_line_for_each_record(capsys: pytest.CaptureFixture[str]) -> None:
    show.json_lines(sample())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines] == [
        record.fields["kind"] if isinstance(record, Foreign) else record.kind for record in sample()
    ]
    assert lines[1]["later"] == [1, {"field": None}]
    assert lines[1]["auxv"] == "00" * 16
    assert lines[3]["notes"] == [{"owner": "CORE", "type": 1, "data": b"registers".hex()}]
    assert lines[9]["data"] == "4096 bytes"
    assert lines[10]["gaps"] == {"swapped out": 4096}


def test_json_is_ascii_whatever_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    show.json_lines([vma(name="/\u00e9/\udcff/\x1b")])
    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text)["name"] == "/\u00e9/\udcff/\x1b"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("plain", "plain"),
        ("\u00e9\u65e5", "\u00e9\u65e5"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\t\r\x7f\x00", r"\t\r\x7f\x00"),
        ("\u202etxt", r"\u202etxt"),
        ("\udcff", r"\udcff"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_what_is_printable(text: str, printed: str) -> None:
    assert show.printable(text) == printed
