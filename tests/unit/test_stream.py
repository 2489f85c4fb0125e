"""The wire: what is written is read, and nothing that is not whole is taken for it."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcoretools.errors import KernelDataError, StreamError
from gcoretools.records import DATA_LIMIT, KINDS, VERSION, Done, Extent, Foreign, Header, Pages, Record, Vma
from gcoretools.stream import RECORD_LIMIT, Writer, read_stream
from tests.written_streams import (
    FOREIGN,
    UNKNOWN,
    VALUES,
    header,
    packed,
    process,
    read,
    sample,
    thread,
    vma,
    wires,
    written,
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    """A record of any kind but the first's and the last's, within the schema."""
    kind = draw(st.sampled_from([name for name in KINDS if name not in ("header", "end")] + ["foreign"]))
    if kind == "foreign":
        return draw(FOREIGN)
    cls = KINDS[kind]
    record = cls(**{f.name: draw(VALUES[str(f.type)]) for f in fields(cls) if f.name != "more"})
    record.more = draw(UNKNOWN)
    if isinstance(record, Vma | Extent):
        record.size = max(1, min(record.size, (1 << 64) - record.start))
    return record


@given(st.lists(records(), max_size=6))
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read(given_: list[Record]) -> None:
    whole = [header(), *given_]
    found = read(written(whole))
    assert list(wires(found)) == list(wires(whole))
    assert [type(record) for record in found] == [type(record) for record in whole]


def test_a_stream_cut_at_any_byte_is_refused() -> None:
    whole = written(sample())
    assert len(read(whole)) == len(sample())
    for size in range(len(whole)):
        with pytest.raises(StreamError, match="was cut after" if size else "the input is empty"):
            read(whole[:size])


def test_a_record_or_an_end_that_is_missing_is_told() -> None:
    maps = list(wires(sample()))
    for number in range(1, len(maps)):
        kept = maps[:number] + maps[number + 1 :]
        with pytest.raises(StreamError, match=f"lost records: {len(maps) - 1} of {len(maps)} are here"):
            read(packed([*kept, {"kind": "end", "records": len(maps)}], end=False))
    with pytest.raises(StreamError, match=f"was cut after {len(maps)} records"):
        read(packed(maps, end=False))


def test_no_bytes_at_all() -> None:
    with pytest.raises(StreamError, match="the input is empty"):
        read(b"")


@pytest.mark.parametrize(
    "text",
    [
        b"hello\n",
        b"# comment\n",
        b'{"kind": "header"}\n',
        b"\n",
        "\u00e9t\u00e9\n".encode(),
        b"\x00\x01\x02",
        b"\x80",
        b"\x7fELF\x02\x01\x01",
        b"KDUMP   \x06",
        b"\x90",
        b"\xc0",
        b"\x82\xa4kind\xa6header",
    ],
    ids=repr,
)
def test_what_is_no_stream(text: bytes) -> None:
    with pytest.raises(StreamError):
        read(text)


@pytest.mark.parametrize(
    "more", [b"\xc0", b"\xda", b"\xc6\0\0", b"\n", b"garbage", packed(wires(sample()))], ids=len
)
def test_nothing_stands_behind_the_end(more: bytes) -> None:
    with pytest.raises(StreamError, match="goes on after its end"):
        read(written(sample()) + more)


def test_streams_that_were_joined_without_their_ends() -> None:
    maps = list(wires(sample()))
    with pytest.raises(StreamError, match="second header"):
        read(packed([*maps, *maps]))


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_told_before_all_else(version: object) -> None:
    wire = {**next(wires([header()])), "version": version}
    del wire["rules"]  # which that version need not have
    with pytest.raises(StreamError, match=f"of version {version}, this command reads version {VERSION}"):
        read(packed([wire, {"kind": "process"}]))


def test_a_header_of_something_else() -> None:
    with pytest.raises(StreamError, match="another format"):
        read(packed([{"kind": "header", "format": "flow.record", "version": 1}]))


def test_a_stream_begins_with_a_header() -> None:
    with pytest.raises(StreamError, match="does not begin with a header"):
        read(packed(wires([process(), thread()])))


def test_unknown_kinds_and_fields_pass_as_they_came() -> None:
    strange: dict[str, object] = {"kind": "note", "list": [1, -5, None, True, 2.5, b"\xff"], "map": {"a": [[]]}}
    known = {**next(wires([process()])), "since": 2, "why": {"nested": [b"bytes"]}}
    maps = [next(wires([header(more={"host": "x"})])), strange, known]
    assert list(wires(read(written(read(packed(maps)))))) == maps


def test_names_that_are_not_utf8_pass() -> None:
    name = b"/tmp/\xff\xfe \xc3\xa9".decode("utf-8", "surrogateescape")
    (_, found) = read(written([header(), vma(name=name)]))
    assert isinstance(found, Vma)
    assert found.name == name


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "comment", "deep": [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]},
        {"kind": "comment", b"key": 1},
        {"kind": "comment", "nested": [{b"key": 1}]},
        {"kind": "comment", "extension": msgpack.ExtType(5, b"")},
        {"kind": "comment", "extension": msgpack.ExtType(5, b"data")},
        {"kind": "comment", "time": msgpack.Timestamp(5)},
        {"kind": b"comment"},
        {"kind": 7},
        {"kind": None},
        {},
        {**next(wires([process()])), "more": {b"key": 1}},
    ],
    ids=str,
)
def test_what_cannot_be_passed_on(wrong: dict[Any, object]) -> None:
    maps: list[Mapping[Any, object]] = [*wires([header()]), wrong]
    with pytest.raises(StreamError):
        read(packed(maps))


WRONG: dict[str, list[Any]] = {
    "int": [None, True, "5", 1.0],
    "U64": [-1, None, "5", True],
    "U32": [-1, 1 << 32],
    "I32": [1 << 31, -(1 << 31) - 1, None],
    "Letter": ["", "SS", "\u00e9", None, b"S"],
    "Ids": [[], [1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3, 1 << 31], [1, 2, 3, -(1 << 31) - 1], None],
    "Times": [[1, 2, 3], [1, 2, 3, -1], "0000"],
    "str": [b"bytes", 5, None],
    "bool": [0, 1, None],
    "bytes": ["text", None, 5],
    "bytes | memoryview": ["text", None, b"", bytes(DATA_LIMIT + 1)],
    "list[int]": [{}, ["5"], None],
    "dict[str, int]": [[], {"a": "b"}, {1: 2}, None],
    "dict[str, object]": [[], {1: 2}, None],
    "list[dict[str, object]]": [{}, ["x"], [{1: 2}], "history", None],
}


@pytest.mark.parametrize(
    "record", [each for each in sample() if not isinstance(each, Foreign)], ids=lambda r: r.kind
)
def test_each_field_is_checked(record: Record) -> None:
    good = next(wires([record]))
    first = [] if isinstance(record, Header) else list(wires([header()]))
    read(packed([*first, good]))
    for field in fields(record):
        if field.name in ("more", "format", "version"):
            continue
        for value in [*WRONG[str(field.type)], "absent"]:
            bad = {**good, field.name: value}
            if value == "absent" and str(field.type) != "str":
                del bad[field.name]
            elif value == "absent":
                bad[field.name] = 0
            with pytest.raises(StreamError):
                read(packed([*first, bad]))


@pytest.mark.parametrize(
    "record",
    [
        Extent(0, 0, "data"),
        Extent((1 << 64) - 1, 2, "data"),
        vma(start=0x1000, size=0),
        vma(start=1 << 63, size=(1 << 63) + 1),
        Pages(0, b""),
    ],
    ids=repr,
)
def test_ranges_that_cannot_be(record: Record) -> None:
    with pytest.raises(StreamError, match=r"impossible size|no proper"):
        read(packed(wires([header(), record])))


def test_a_range_may_end_where_addresses_do() -> None:
    top = [Extent((1 << 64) - 4096, 4096, "zero"), vma(start=(1 << 64) - 4096, size=4096)]
    assert list(wires(read(written([header(), *top])))) == list(wires([header(), *top]))


def test_a_size_that_the_input_only_claims_takes_no_memory() -> None:
    start = packed(wires([header()]), end=False)
    for claim in (
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
    ):
        with pytest.raises(StreamError):
            read(start + claim + bytes(100))


def test_a_record_of_more_than_the_limit() -> None:
    endless = (
        b"\x82\xa4kind\xa7comment\xa1x\xdc\xff\xff"
        + b"\xc5\xff\xff"
        + b"".join(b"\xc5\xff\xff" + bytes(0xFFFF) for _ in range(RECORD_LIMIT // 0xFFFF + 2))
    )
    with pytest.raises(StreamError):
        read(packed(wires([header()]), end=False) + endless)


def test_lists_in_lists_without_end() -> None:
    with pytest.raises(StreamError):
        read(packed(wires([header()]), end=False) + b"\x82\xa4kind\xa7comment\xa1x" + b"\x91" * 100_000 + b"\xc0")


def test_data_goes_out_without_a_copy_and_comes_back() -> None:
    whole = bytes(random.Random(3).randbytes(DATA_LIMIT))
    pages = [
        Pages(0, memoryview(whole)),
        Pages(DATA_LIMIT, whole[:1]),
        Pages(1 << 63, memoryview(bytearray(whole))),
    ]
    found = read(written([header(), *pages, Done(1)]))
    assert [bytes(each.data) for each in found if isinstance(each, Pages)] == [whole, whole[:1], whole]


def test_a_number_beyond_64_bits_is_an_error_of_the_dump() -> None:
    with open(os.devnull, "wb") as sink, pytest.raises(KernelDataError, match="process record"):
        Writer(sink.fileno()).write(process(vsz=1 << 64))


def test_small_records_are_collected(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("wb") as sink:
        writer = Writer(sink.fileno())
        writer.write(header())
        assert (tmp_path / "stream").stat().st_size == 0
        writer.end()
    with (tmp_path / "stream").open("rb") as file:
        assert list(wires(read_stream(file))) == list(wires([header()]))


def test_a_stream_out_of_a_pipe_that_gives_little_at_a_time() -> None:
    class Trickle(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self._left = data

        def readinto(self, buffer: Any) -> int:
            size = min(len(buffer), 7)
            piece, self._left = self._left[:size], self._left[size:]
            buffer[: len(piece)] = piece
            return len(piece)

        def readable(self) -> bool:
            return True

    whole = written(sample())
    assert list(wires(read_stream(io.BufferedReader(Trickle(whole))))) == list(wires(sample()))


@pytest.mark.parametrize("seed", range(20))
def test_pages_among_records_lie_anywhere_in_what_is_read_at_once(seed: int) -> None:
    """Heads of `pages` records across the edges of what is read at once, in Writer's form and in msgpack's."""
    rolled = random.Random(seed)
    given_: list[Record] = [header()]
    for _ in range(400):
        start = rolled.choice((0, 0x7F, 0xFF, 0xFFFF, 0x7FFE_0000, 1 << 63))
        size = rolled.choice((1, 255, 4096, 70_000, DATA_LIMIT if seed == 0 else 65_536 - rolled.randrange(80)))
        pages = Pages(start, rolled.randbytes(16) * -(-size // 16))
        given_ += [pages] if len(pages.data) <= DATA_LIMIT else []
        given_ += [vma()] * rolled.randrange(8)
    expected = list(wires(given_))
    assert list(wires(read(written(given_)))) == expected
    assert list(wires(read(packed(expected)))) == expected


def test_a_pages_record_cut_in_its_data_is_told() -> None:
    whole = written([header(), Pages(0x1000, bytes(DATA_LIMIT))])
    for size in (len(whole) // 2, len(whole) - 40):
        with pytest.raises(StreamError, match="was cut after 1 records"):
            read(whole[:size])


def test_pages_of_an_impossible_size_are_refused() -> None:
    head = packed([{"kind": "pages", "start": 0, "data": b""}], end=False)[:-2]
    for size, words in ((0, "impossible size"), (DATA_LIMIT + 1, "damaged|no proper|impossible")):
        with pytest.raises(StreamError, match=words):
            read(packed(wires([header()]), end=False) + head + b"\xc6" + size.to_bytes(4, "big") + bytes(size))
