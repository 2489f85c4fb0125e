"""A stream is untrusted: whatever it says, every stage ends soon, in success or in one of our sentences."""

from __future__ import annotations

import copy
import io
import os
import resource
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcoretools.commands import show
from gcoretools.core.writer import new_file
from gcoretools.errors import GcoreError
from gcoretools.records import Header, Record
from gcoretools.stages import source
from gcoretools.stages.ahead import read_here
from gcoretools.stages.elf import write_cores
from gcoretools.stages.maps import add_mappings
from gcoretools.stages.pages import add_pages
from gcoretools.stages.regs import Recovery, add_registers
from gcoretools.stream import Writer, read_stream
from tests.written_streams import packed, read, wires

# No stage needs so long for a stream of some pages, in seconds, nor so much more memory, in KiB.
TIME_LIMIT = 10
MEMORY_LIMIT = 300 << 10

Maps = list[dict[Any, Any]]


def _header(records: Iterator[Record]) -> Header:
    header = next(records)
    assert isinstance(header, Header)
    return header


def _emit(header: Header, records: Iterable[Record]) -> None:
    with open(os.devnull, "wb") as sink:
        writer = Writer(sink.fileno())
        for record in (header, *records):
            writer.write(record)
        writer.end()


def maps(data: bytes, folder: Path) -> None:
    records = read_stream(io.BytesIO(data))
    header = _header(records)
    _emit(header, add_mappings(records, source.from_header(header, None)))


def regs(data: bytes, folder: Path) -> None:
    records = read_stream(io.BytesIO(data))
    header = _header(records)
    _emit(header, add_registers(records, source.from_header(header, None)))


def pages(data: bytes, folder: Path) -> None:
    records = read_stream(io.BytesIO(data))
    header = _header(records)
    _emit(header, read_here(add_pages(records, source.from_header(header, None), header.rules, None)))


def elf(data: bytes, folder: Path) -> None:
    records = read_stream(io.BytesIO(data))
    header = _header(records)

    def recover(process: Any, thread: Any) -> Any:
        return Recovery(source.from_header(header, None)).of(process, thread)

    for _ in write_cores(header, records, lambda process: new_file(folder / "core"), recover, False):
        pass


def table(data: bytes, folder: Path) -> None:
    with redirect_stdout(io.StringIO()):
        show.table(read_stream(io.BytesIO(data)))


def json(data: bytes, folder: Path) -> None:
    with redirect_stdout(io.StringIO()):
        show.json_lines(read_stream(io.BytesIO(data)))


STAGES: list[Callable[[bytes, Path], None]] = [maps, regs, pages, elf, table, json]


@contextmanager
def limited() -> Iterator[None]:
    """An error when the block takes too long or too much memory."""

    def late(*_: object) -> None:
        raise TimeoutError("a stage does not end")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(TIME_LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY_LIMIT


def outcome(stage: Callable[[bytes, Path], None], stream: Maps, folder: Path) -> str:
    """The sentence that a stage ends with; "" when it is content. Anything else that it raises is a defect."""
    data = packed(stream)
    with limited():
        try:
            stage(data, folder)
        except GcoreError as error:
            sentence = str(error)
            assert sentence
            return sentence
    return ""


@pytest.fixture(scope="module")
def good(whole: bytes) -> Maps:
    """A good stream of one process, as maps."""
    return list(wires(read(whole)))


@pytest.mark.parametrize("stage", STAGES)
def test_a_good_stream_is_taken(stage: Callable[[bytes, Path], None], good: Maps, tmp_path: Path) -> None:
    assert outcome(stage, copy.deepcopy(good), tmp_path) == ""


INTEGERS = st.sampled_from(
    [0, 1, -1, 2, 7, 255, 4095, 4096, 4097, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 39, 1 << 46, 1 << 47, 1 << 52,
     1 << 56, (1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1, -(1 << 31), -(1 << 63), 0xFFFF888001000000,
     0xFFFF888001000001, 0xDEAD000000000000]
)  # fmt: skip
TEXTS = st.sampled_from(
    ["", "\0", "\0x", "AP", "FS", "special", "IO", "ELF", "DONTDUMP", "[vdso]", "[stack]", "data", "zero", "gap",
     "i386", "x86_64", "../../etc/passwd", "/dev/zero", "/", "S", "RR", "\udcff", "\u202e", "x" * 5000, "%p%e%%",
     "0" * 40, "8", "\n", "header", "end"]
)  # fmt: skip
OTHERS: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, b"", b"\0" * 8, b"\xff" * 4096, [], {}, [[]], 1.5, float("nan"), [1, 2, 3, 4]]
)
ANY = INTEGERS | TEXTS | OTHERS


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value inside a record."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


@st.composite
def mutation(draw: st.DrawFn) -> Callable[[Maps], None]:
    """One change of a stream: a value, a field, or a record."""
    what = draw(st.sampled_from(["value"] * 8 + ["same kind"] * 8 + ["drop field", "add", "drop", "twice", "swap"]))
    kind = draw(st.sampled_from(["header"] * 3 + ["process", "thread", "regs", "vma", "extent", "pages", "done"]))
    number, place = (draw(st.floats(0, 0.999)) for _ in range(2))
    anything, integer, text = draw(ANY), draw(INTEGERS), draw(TEXTS)

    def change(stream: Maps) -> None:
        those = [i for i, record in enumerate(stream) if record.get("kind") == kind] or [0]
        at = those[int(number * len(those))]
        if what == "drop":
            del stream[at]
        elif what == "twice":
            stream.insert(at, copy.deepcopy(stream[at]))
        elif what == "swap":
            to = int(place * len(stream))
            stream[at], stream[to] = stream[to], stream[at]
        elif what == "add":
            stream[at]["x-more"] = copy.deepcopy(anything)
        else:
            _change_value(stream[at])

    def _change_value(record: dict[Any, Any]) -> None:
        places = list(_places(record))
        path = places[int(place * len(places))]
        holder, last = _at(record, path[:-1]), path[-1]
        if what == "drop field" and isinstance(holder, dict):
            del holder[last]
        elif what == "same kind" and type(holder[last]) is int:
            holder[last] = integer
        elif what == "same kind" and isinstance(holder[last], str):
            holder[last] = text
        else:
            holder[last] = copy.deepcopy(anything)

    return change


@pytest.mark.parametrize("stage", STAGES)
@given(changes=st.lists(mutation(), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_stream_ends_in_success_or_a_sentence(
    stage: Callable[[bytes, Path], None], changes: list[Callable[[Maps], None]], good: Maps, tmp_path: Path
) -> None:
    stream = copy.deepcopy(good)
    for change in changes:
        if stream:
            change(stream)
    outcome(stage, stream, tmp_path)
