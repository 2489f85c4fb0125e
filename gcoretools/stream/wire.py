"""A record as the map that stands for it on the wire, and the untrusted map checked against the schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from gcoretools.errors import StreamError
from gcoretools.records import DATA_LIMIT, FORMAT, KINDS, VERSION, Extent, Foreign, Header, Pages, Record, Vma

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
    check_range(record)
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


def check_range(record: Record) -> None:
    """Ranges stay inside 64 bits, and data within its limit."""
    if isinstance(record, Vma | Extent):
        if record.start < 0 or record.size <= 0 or record.start + record.size > 1 << 64:
            raise StreamError(f"the stream's {record.kind} at {record.start:#x} has an impossible size")
    elif isinstance(record, Pages) and (record.start < 0 or not 0 < len(record.data) <= DATA_LIMIT):
        raise StreamError(f"the stream's pages record at {record.start:#x} has an impossible size")
