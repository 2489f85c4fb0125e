"""The wire: records as msgpack maps, counted at the end, so that a cut stream is never taken for a whole one.

msgpack's Unpacker says nothing when the last object is cut; only the `end` record with its count proves a
stream whole.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import fields
from typing import IO

import msgpack

from gcoretools.errors import KernelDataError, StreamError
from gcoretools.records import DATA_LIMIT, FORMAT, KINDS, VERSION, End, Extent, Foreign, Header, Pages, Record, Vma

# Small records are collected up to this many bytes before they are written.
COLLECTED = 1 << 16

# The longest list or map in a record, and the longest string: the header's layout is the largest of all.
ITEMS_LIMIT = 1 << 16
TEXT_LIMIT = 1 << 20

# The longest record in bytes: one of this size that is all empty maps already takes half a GiB.
RECORD_LIMIT = 1 << 23

# How deep lists and maps lie in each other at most: the header's layout takes four.
DEPTH_LIMIT = 16


def _list_of(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(check(item) for item in value)


def _map_to(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(isinstance(k, str) and check(v) for k, v in value.items())


def _is(cls: type) -> Callable[[object], bool]:
    return lambda value: type(value) is cls


def _between(low: int, high: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and low <= value < high


def _four(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and len(value) == 4 and all(check(item) for item in value)


def _is_letter(value: object) -> bool:
    return isinstance(value, str) and len(value) == 1 and value.isascii()


def _is_plain(value: object, depth: int = DEPTH_LIMIT) -> bool:
    """Whether a value of no schema is one that we can pass on and show: not too deep, and text for keys."""
    if isinstance(value, dict):
        return depth > 0 and all(isinstance(k, str) and _is_plain(v, depth - 1) for k, v in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
    return value is None or type(value) in (bool, int, float, str, bytes)


# What a field's annotation in records.py demands of the value on the wire.
CHECKS: dict[str, Callable[[object], bool]] = {
    "int": _is(int),
    "U64": _between(0, 1 << 64),
    "U32": _between(0, 1 << 32),
    "I32": _between(-1 << 31, 1 << 31),
    "Ids": _four(_between(-1 << 31, 1 << 31)),
    "Times": _four(_between(0, 1 << 64)),
    "Letter": _is_letter,
    "str": _is(str),
    "bool": _is(bool),
    "bytes": _is(bytes),
    "bytes | memoryview": _is(bytes),
    "list[int]": _list_of(_is(int)),
    "dict[str, int]": _map_to(_is(int)),
    "dict[str, object]": _map_to(_is_plain),
    "list[dict[str, object]]": _list_of(_map_to(_is_plain)),
}

_FIELDS = {
    kind: tuple((f.name, str(f.type), CHECKS[str(f.type)]) for f in fields(cls) if f.name != "more")
    for kind, cls in KINDS.items()
}


class Writer:
    """Writes records to a file descriptor and counts them.

    Args:
        fd: where to; written in whole, whatever its kind.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        _widen(fd)
        self._pack = msgpack.Packer(autoreset=True, unicode_errors="surrogateescape").pack
        self._pending = bytearray()
        self._count = 0

    def write(self, record: Record) -> None:
        """One record.

        Raises OSError when the descriptor takes no more, KernelDataError when a number is too large for the wire.
        """
        self._count += 1
        if isinstance(record, Pages):
            self._write_pages(record)
            return
        try:
            self._pending += self._pack(to_wire(record))
        except OverflowError as error:
            raise KernelDataError(f"a {record.kind} record has a number of more than 64 bits") from error
        if len(self._pending) >= COLLECTED:
            self.flush()

    def end(self) -> None:
        """The `end` record; the stream is whole now."""
        self.write(End(self._count))
        self.flush()

    def flush(self) -> None:
        """Write what is collected."""
        write_all(self._fd, [self._pending])
        self._pending = bytearray()

    def _write_pages(self, record: Pages) -> None:
        """A `pages` record without copying its data: the map, then the bytes themselves."""
        wire = to_wire(record)
        data = memoryview(record.data)
        wire["data"] = b""
        # "data" is the last field, so the empty bin's two bytes are the last ones; put the real length there.
        head = self._pack(wire)[:-2] + b"\xc6" + data.nbytes.to_bytes(4, "big")
        write_all(self._fd, [self._pending, head, data])
        self._pending = bytearray()


def to_wire(record: Record) -> dict[str, object]:
    """The map that stands for a record, `kind` first."""
    if isinstance(record, Foreign):
        return record.fields
    wire: dict[str, object] = {"kind": record.kind, **(record.more or {})}
    for name, _, _ in _FIELDS[record.kind]:
        wire[name] = getattr(record, name)
    return wire


def from_wire(wire: object) -> Record:
    """The record that an untrusted map stands for. Raises StreamError when it is none."""
    kind = wire.get("kind") if isinstance(wire, dict) else None
    if not isinstance(wire, dict) or not isinstance(kind, str):
        raise StreamError("the input is not a stream of gcoretools (was text fed to it?)")
    cls = KINDS.get(kind)
    if cls is None:
        _check_unknown(wire, kind)
        return Foreign(wire)
    if cls is Header:
        _check_version(wire)
    del wire["kind"]
    values = {}
    for name, annotation, check in _FIELDS[kind]:
        value = wire.pop(name, None)
        if not check(value):
            raise StreamError(f"the stream's {kind} record has no proper {name} ({annotation})")
        values[name] = value
    _check_unknown(wire, kind)
    record = cls(**values)
    record.more = wire or None
    _check_range(record)
    return record


def _check_unknown(fields: object, kind: str) -> None:
    """What no schema describes is passed on as it came; so it must be something that can be."""
    if not _is_plain(fields):
        raise StreamError(f"the stream's {kind} record has unknown fields that cannot be passed on")


def _check_version(wire: dict[str, object]) -> None:
    """Before all else: another version's header may have other fields."""
    if wire.get("format") != FORMAT:
        raise StreamError("the input is not a stream of gcoretools: its header is of another format")
    if wire.get("version") != VERSION:
        raise StreamError(
            f"the stream is of version {wire.get('version')}, this command reads version {VERSION}: make it anew"
        )


def _check_range(record: Record) -> None:
    """Ranges stay inside 64 bits, and data within its limit."""
    if isinstance(record, Vma | Extent):
        if record.start < 0 or record.size <= 0 or record.start + record.size > 1 << 64:
            raise StreamError(f"the stream's {record.kind} at {record.start:#x} has an impossible size")
    elif isinstance(record, Pages) and (record.start < 0 or not 0 < len(record.data) <= DATA_LIMIT):
        raise StreamError(f"the stream's pages record at {record.start:#x} has an impossible size")


def read_stream(file: IO[bytes]) -> Iterator[Record]:
    """Every record but the last, in order; the header first.

    Raises StreamError when the input is no stream of ours, is of another version, or was cut: so whoever
    gets through all of it has seen a whole stream.
    """
    unpacker = msgpack.Unpacker(
        file,
        read_size=DATA_LIMIT,
        max_buffer_size=RECORD_LIMIT,
        max_bin_len=DATA_LIMIT,
        max_str_len=TEXT_LIMIT,
        max_array_len=ITEMS_LIMIT,
        max_map_len=ITEMS_LIMIT,
        max_ext_len=0,
        unicode_errors="surrogateescape",
    )
    count = 0
    for record in _decoded(unpacker):
        if count == 0:
            _check_header(record)
        elif isinstance(record, Header):
            raise StreamError("the stream has a second header: two streams were joined")
        if isinstance(record, End):
            _check_end(record, count, unpacker)
            return
        count += 1
        yield record
    if count == 0 and not _goes_on(unpacker):
        raise StreamError("the input is empty: the command before wrote nothing")
    raise StreamError(f"the stream was cut after {count} records: the command before did not finish")


def _decoded(unpacker: Iterable[object]) -> Iterator[Record]:
    try:
        for wire in unpacker:
            yield from_wire(wire)
    except OSError as error:
        raise StreamError(f"the input cannot be read: {error.strerror or error}") from error
    except (msgpack.UnpackException, ValueError, TypeError) as error:
        raise StreamError(
            f"the input is not a stream of gcoretools, or it is damaged ({error or type(error).__name__})"
        ) from error


def _check_header(record: Record) -> None:
    if not isinstance(record, Header):
        raise StreamError("the input is not a stream of gcoretools: it does not begin with a header")


def _check_end(end: End, count: int, unpacker: msgpack.Unpacker) -> None:
    if end.records != count:
        raise StreamError(f"the stream lost records: {count} of {end.records} are here")
    if _goes_on(unpacker):
        raise StreamError("the stream goes on after its end")


def _goes_on(unpacker: msgpack.Unpacker) -> bool:
    """Whether there are bytes behind the last whole object."""
    try:
        return bool(unpacker.read_bytes(1))
    except ValueError:  # they are the beginning of one
        return True


def _widen(fd: int) -> None:
    """Let a pipe hold a whole data record, as far as the system allows: both ends then work at once."""
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, DATA_LIMIT)


def write_all(fd: int, pieces: list[bytearray | bytes | memoryview]) -> None:
    """Write pieces one after the other, whole, whatever the descriptor takes at a time."""
    left = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
    while left:
        written = os.writev(fd, left)
        while left and written >= left[0].nbytes:
            written -= left.pop(0).nbytes
        if written:
            left[0] = left[0][written:]
