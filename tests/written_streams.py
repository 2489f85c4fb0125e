"""Streams for tests: records of every kind, with values that a stage could have given them, and their bytes."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgpack
from hypothesis import strategies as st

from gcoretools.records import (
    FORMAT,
    VERSION,
    Done,
    Extent,
    Foreign,
    Header,
    Pages,
    Process,
    Record,
    Regs,
    Thread,
    Vma,
)
from gcoretools.stream import Writer, read_stream, to_wire


def header(**fields: Any) -> Header:
    """A header; of a dump that is nowhere."""
    values: dict[str, Any] = {
        "format": FORMAT, "version": VERSION, "history": [], "kernel": {"arch": "x86_64"}, "rules": {},
        "dump": {"path": "/nowhere/vmcore", "format": "elf", "fingerprint": "00"},
    }  # fmt: skip
    return Header(**values | fields)


def process(**fields: Any) -> Process:
    """A process of one thread."""
    values: dict[str, Any] = {
        "tgid": 100, "pid": 100, "ppid": 1, "task": 0xFFFF888001000000, "comm": "cat", "state": "S", "threads": 1,
        "active": False, "uid": 1000, "gid": 100, "nice": 0, "flags": 0x400000, "namespace_ids": [100, 1, 99, 98],
        "mm": 0xFFFF888001001000, "page_table": 0x1000000, "arguments": "cat\0/etc/motd\0", "auxv": bytes(16),
    }  # fmt: skip
    return Process(**values | fields)


def thread(**fields: Any) -> Thread:
    """A sleeping thread."""
    values: dict[str, Any] = {
        "pid": 100, "task": 0xFFFF888001000000, "stack": 0xFFFF888001004000, "comm": "cat", "state": "S", "cpu": 0,
        "active": False, "namespace_ids": [100, 1, 99, 98], "pending": 0, "blocked": 0, "times": [0, 0, 0, 0],
    }  # fmt: skip
    return Thread(**values | fields)


def regs(pid: int = 100, data: bytes = b"registers") -> Regs:
    """Registers with one note."""
    return Regs(pid, "a test", {"rip": 0x401000}, [{"owner": "CORE", "type": 1, "data": data}])


def vma(start: int = 0x400000, size: int = 0x3000, **fields: Any) -> Vma:
    """An anonymous mapping, all of it selected."""
    values: dict[str, Any] = {
        "start": start, "size": size, "flags": 0x73, "category": "AP", "written": True, "offset": 0, "file": False,
        "device": [0, 0], "inode": 0, "mode": 0, "name": "", "faultable": False, "dump_size": size,
    }  # fmt: skip
    return Vma(**values | fields)


def sample() -> list[Record]:
    """A small stream with a record of every kind, and of one that nobody knows."""
    return [
        header(),
        process(more={"later": [1, {"field": None}]}),
        thread(),
        regs(),
        vma(),
        Foreign({"kind": "comment", "text": "passed on"}),
        Extent(0x400000, 0x1000, "data"),
        Extent(0x401000, 0x1000, "zero"),
        Extent(0x402000, 0x1000, "gap", "swapped out"),
        Pages(0x400000, b"A" * 0x1000),
        Done(100, 0x1000, 0x1000, {"swapped out": 0x1000}),
    ]


def written(records: Iterable[Record]) -> bytes:
    """The bytes of a whole stream, through the real writer and a pipe."""
    receiver, sender = os.pipe()
    found: list[bytes] = []

    def receive() -> None:
        with open(receiver, "rb") as file:
            found.append(file.read())

    taking = threading.Thread(target=receive)
    taking.start()
    try:
        writer = Writer(sender)
        for record in records:
            writer.write(record)
        writer.end()
    finally:
        os.close(sender)
        taking.join()
    return found[0]


def read(data: bytes) -> list[Record]:
    """All records of a stream but its last."""
    return list(read_stream(io.BytesIO(data)))


def wires(records: Iterable[Record]) -> Iterator[dict[str, object]]:
    """Records as maps, those of pages with plain bytes."""
    for record in records:
        wire = to_wire(record)
        yield {key: bytes(value) if isinstance(value, memoryview) else value for key, value in wire.items()}


def packed(maps: Iterable[Mapping[Any, object]], end: bool = True) -> bytes:
    """Any maps as a stream, however wrong; with a right end unless told otherwise."""
    packer = msgpack.Packer(unicode_errors="surrogateescape")
    pieces = [packer.pack(each) for each in maps]
    last = [packer.pack({"kind": "end", "records": len(pieces)})] if end else []
    return b"".join([*pieces, *last])


# Values of each type that records.py names.

_TEXT = st.text(st.characters(codec="utf-8"), max_size=20) | st.binary(max_size=9).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)
_I32 = st.integers(-(1 << 31), (1 << 31) - 1)
_U64 = st.integers(0, (1 << 64) - 1) | st.sampled_from([0, (1 << 64) - 1])
_PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | _TEXT | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(1 << 63), (1 << 64) - 1),
    "U64": _U64,
    "U32": st.integers(0, (1 << 32) - 1),
    "I32": _I32,
    "Letter": st.sampled_from("RSDTtZIP"),
    "Ids": st.lists(_I32, min_size=4, max_size=4),
    "Times": st.lists(_U64, min_size=4, max_size=4),
    "str": _TEXT,
    "bool": st.booleans(),
    "bytes": st.binary(max_size=40),
    "bytes | memoryview": st.binary(min_size=1, max_size=5000),
    "list[int]": st.lists(_I32, max_size=3),
    "dict[str, int]": st.dictionaries(_TEXT, _U64, max_size=3),
    "dict[str, object]": st.dictionaries(_TEXT, _PLAIN, max_size=3),
    "list[dict[str, object]]": st.lists(st.dictionaries(_TEXT, _PLAIN, max_size=3), max_size=3),
}
UNKNOWN = st.none() | st.dictionaries(_TEXT.map(lambda name: f"x-{name}"), _PLAIN, min_size=1, max_size=2)
FOREIGN = st.dictionaries(_TEXT, _PLAIN, max_size=3).map(lambda fields: Foreign(fields | {"kind": "x-unheard-of"}))
