"""The units of .debug_info as bytes: abbreviations, and where in a unit DIEs begin. Nothing is decoded.

pyelftools decodes DIEs, but at 30 microseconds each and 30 ms for a unit's abbreviations it cannot go through
thousands of units. Source: DWARF 5, section 7.5; the forms of DWARF 2 to 4 are among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

ADDRESS, OFFSET, REFERENCE, LEB, STRING, BLOCK, BLOCK_1, BLOCK_2, BLOCK_4 = range(-1, -10, -1)
"""Sizes that are not a number of bytes: of the unit, or of what stands there."""

STRP, INLINE, IMPLICIT_CONST = 0x0E, 0x08, 0x21

_FORMS = {
    0x01: ADDRESS, 0x03: BLOCK_2, 0x04: BLOCK_4, 0x05: 2, 0x06: 4, 0x07: 8, INLINE: STRING, 0x09: BLOCK,
    0x0A: BLOCK_1, 0x0B: 1, 0x0C: 1, 0x0D: LEB, STRP: OFFSET, 0x0F: LEB, 0x10: REFERENCE, 0x11: 1, 0x12: 2,
    0x13: 4, 0x14: 8, 0x15: LEB, 0x17: OFFSET, 0x18: BLOCK, 0x19: 0, 0x1A: LEB, 0x1B: LEB, 0x1C: 4,
    0x1D: OFFSET, 0x1E: 16, 0x1F: OFFSET, 0x20: 8, IMPLICIT_CONST: 0, 0x22: LEB, 0x23: LEB, 0x24: 8, 0x25: 1,
    0x26: 2, 0x27: 3, 0x28: 4, 0x29: 1, 0x2A: 2, 0x2B: 3, 0x2C: 4, 0x1F01: LEB, 0x1F02: LEB, 0x1F20: OFFSET,
    0x1F21: OFFSET,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Abbreviation:
    """A row of .debug_abbrev: its code as bytes, the tag, and (attribute, form) of each attribute."""

    code: bytes
    tag: int
    attributes: tuple[tuple[int, int], ...]


class Unit:
    """One unit.

    Args:
        info, abbreviations: the sections .debug_info and .debug_abbrev.
        start: where in .debug_info its header begins.

    Raises IndexError and KeyError on damage.
    """

    def __init__(self, info: bytes, abbreviations: bytes, start: int) -> None:
        self.start = start
        self._info = info
        self._abbreviations = abbreviations
        length, at, self.offset_size = unit_length(info, start)
        self.end = min(at + length, len(info))
        self.version = int.from_bytes(info[at : at + 2], "little")
        self.first_die, self._table_at, self.address_size = self._header(at + 2)

    @cached_property
    def abbreviations(self) -> list[Abbreviation]:
        """The unit's abbreviations."""
        return list(read_abbreviations(self._abbreviations, self._table_at))

    @cached_property
    def dies(self) -> frozenset[int]:
        """Where in .debug_info each DIE of the unit begins, but for those that end a list."""
        sizes = {leb128(row.code, 0)[0]: self._sizes(row) for row in self.abbreviations}
        info, at, starts = self._info, self.first_die, []
        while at < self.end:
            code = info[at]
            if not code:
                at += 1
                continue
            starts.append(at)
            code, at = (code, at + 1) if code < 0x80 else leb128(info, at)
            for size in sizes[code]:
                at = at + size if size >= 0 else _skip(info, at, size)
        return frozenset(starts)

    def _header(self, at: int) -> tuple[int, int, int]:
        """The first DIE, the abbreviation table and the size of an address, from the header behind the version."""
        size = self.offset_size
        if self.version < 5:
            table = int.from_bytes(self._info[at : at + size], "little")
            return at + size + 1, table, self._info[at + size]
        kind, address = self._info[at], self._info[at + 1]
        table = int.from_bytes(self._info[at + 2 : at + 2 + size], "little")
        # Skeleton and split units have an ID of 8 bytes, type units also the offset of their type.
        more = {4: 8, 5: 8, 2: 8 + size, 6: 8 + size}.get(kind, 0)
        return at + 2 + size + more, table, address

    def _sizes(self, row: Abbreviation) -> list[int]:
        """Sizes of a DIE's attributes, those that are fixed added up."""
        of_unit = {
            ADDRESS: self.address_size,
            OFFSET: self.offset_size,
            REFERENCE: self.offset_size if self.version > 2 else self.address_size,
        }
        sizes = [0]
        for _, form in row.attributes:
            size = _FORMS[form]
            size = of_unit.get(size, size)
            if size >= 0 and sizes[-1] >= 0:
                sizes[-1] += size
            else:
                sizes.append(size)
        return sizes


def unit_starts(info: bytes) -> Iterator[int]:
    """Where each unit begins, by their lengths."""
    at = 0
    while at + 11 <= len(info):
        yield at
        length, start, _ = unit_length(info, at)
        at = start + length


def unit_length(info: bytes, at: int) -> tuple[int, int, int]:
    """A unit's length, from where it counts, and the size of an offset in it: 4, or 8 in 64-bit DWARF."""
    length = int.from_bytes(info[at : at + 4], "little")
    if length != 0xFFFFFFFF:
        return length, at + 4, 4
    return int.from_bytes(info[at + 4 : at + 12], "little"), at + 12, 8


def read_abbreviations(data: bytes, at: int) -> Iterator[Abbreviation]:
    """The table that begins at that offset of .debug_abbrev."""
    while at < len(data) and data[at]:
        start = at
        _, at = leb128(data, at)
        code = data[start:at]
        tag, at = leb128(data, at)
        at += 1
        attributes = []
        while True:
            name, at = leb128(data, at)
            form, at = leb128(data, at)
            if not (name or form):
                break
            attributes.append((name, form))
            if form == IMPLICIT_CONST:
                _, at = leb128(data, at)
        yield Abbreviation(code, tag, tuple(attributes))


def leb128(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned number of 7 bits a byte at `at`, and where it ends."""
    byte = data[at]
    value, shift = byte & 0x7F, 7
    while byte >= 0x80:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift += 7
    return value, at + 1


def _skip(info: bytes, at: int, size: int) -> int:
    """Behind an attribute that says itself how long it is."""
    if size == STRING:
        return info.index(b"\0", at) + 1
    if size == LEB:
        return leb128(info, at)[1]
    if size == BLOCK:
        length, at = leb128(info, at)
        return at + length
    width = {BLOCK_1: 1, BLOCK_2: 2, BLOCK_4: 4}[size]
    return at + width + int.from_bytes(info[at : at + width], "little")
