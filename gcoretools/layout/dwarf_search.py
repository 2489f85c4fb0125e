"""The DIEs of named structs and enumerators in a large .debug_info, without walking it.

A name stands in .debug_str, and its offset wherever a DIE has that name. All offsets of all wanted names are
looked for at once. In front of a hit stands the code of the abbreviation, and that says what the DIE is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from struct import error as StructError

import numpy as np
from elftools.common.exceptions import DWARFError, ELFError
from elftools.construct import ConstructError
from elftools.dwarf.compileunit import CompileUnit
from elftools.dwarf.die import DIE
from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DWARFInfo
from numpy.typing import NDArray

_CHUNK = 1 << 22
_SHORT = 4
"""Names that are shorter with their NUL than an offset stand in the DIE itself (DW_FORM_string)."""

# Tags and attributes of .debug_abbrev by number (DWARF 5, 7.5.3 to 7.5.6).
STRUCT_TAGS = frozenset((0x02, 0x13, 0x17, 0x16))  # class, struct, union; a typedef can stand for one
ENUMERATOR_TAG = 0x28
_AT_NAME, _AT_DECLARATION = 0x03, 0x3C
_STRP, _STRING, _IMPLICIT_CONST = 0x0E, 0x08, 0x21

# Bytes of the forms that can stand before a DIE's name: old GCCs put DW_AT_sibling there.
_FORM_SIZES = {0x13: 4, 0x12: 2, 0x11: 1, 0x0B: 1, 0x05: 2, 0x06: 4, 0x0C: 1, 0x19: 0, 0x21: 0}

# What pyelftools raises on damaged input.
DAMAGE = (DWARFError, ELFError, ConstructError, StructError, LookupError, AttributeError, AssertionError,
          ValueError, TypeError, OverflowError, NotImplementedError, RecursionError)  # fmt: skip

Flags = NDArray[np.bool_]
Places = NDArray[np.intp]


class DieSearch:
    """The search.

    Args:
        dwarf: the debug information.
        tags: of the DIEs that count; those that only declare do not.

    Attributes:
        found: the first DIE for each name that was looked for, or None.
    """

    def __init__(self, dwarf: DWARFInfo, tags: Collection[int]) -> None:
        self._dwarf = dwarf
        self._tags = tags
        self._abbreviations = _content(dwarf.debug_abbrev_sec)
        self._info = _content(dwarf.debug_info_sec)
        self._strings = _content(dwarf.debug_str_sec)
        self._units = list(_units(self._info))
        self._codes: dict[int, list[tuple[bytes, int]]] = {}
        self.found: dict[str, DIE | None] = {}

    def find(self, names: Collection[str]) -> Mapping[str, DIE | None]:
        """Looks for the names that were not looked for before, and gives `found`."""
        wanted = {name.encode(): name for name in names if name not in self.found}
        self.found.update(dict.fromkeys(wanted.values()))
        inline = {name for name in wanted if len(name) < _SHORT or not self._strings}
        offsets = {at: name for name in wanted for at in _tails(self._strings, name)}
        waiting = inline | set(offsets.values())
        for start in range(0, len(self._info), _CHUNK):
            if not waiting:
                break
            for at, name in self._hits(start, offsets, inline & waiting):
                if name in waiting:
                    die = self._die(at, name)
                    if die is not None:
                        self.found[wanted[name]] = die
                        waiting.discard(name)
            offsets = {at: name for at, name in offsets.items() if name in waiting}
        return self.found

    def die_at(self, offset: int) -> DIE:
        """The DIE at that offset of .debug_info."""
        return self._unit(offset).get_DIE_from_refaddr(offset)

    def _hits(self, start: int, offsets: dict[int, bytes], inline: set[bytes]) -> Iterator[tuple[int, bytes]]:
        """(place in .debug_info, name) wherever a name could stand, from `start` on within one chunk."""
        end = min(start + _CHUNK, len(self._info))
        if offsets:
            is_wanted = np.zeros(max(offsets) + 2, np.bool_)
            is_wanted[list(offsets)] = True
            places = np.concatenate([self._matches(is_wanted, start + k, end) for k in range(4)])
            for at in np.sort(places).tolist():
                yield at, offsets[int.from_bytes(self._info[at : at + 4], "little")]
        for name in inline:
            at = self._info.find(name + b"\0", start, end)
            while at >= 0:
                yield at, name
                at = self._info.find(name + b"\0", at + 1, end)

    def _matches(self, is_wanted: Flags, start: int, end: int) -> Places:
        """Places from `start` on, 4 bytes apart, where one of these numbers stands."""
        piece = self._info[start : end + 3]
        words = np.frombuffer(piece, "<u4", len(piece) // 4)
        return np.flatnonzero(is_wanted.take(words, mode="clip")) * 4 + start

    def _die(self, name_at: int, name: bytes) -> DIE | None:
        """The DIE whose name, this one, stands at that place, if it is one that counts."""
        unit = self._unit(name_at)
        for code, gap in self._counting(unit):
            start = name_at - gap - len(code)
            if self._info[start : start + len(code)] == code and start >= unit.cu_die_offset:
                try:
                    die = unit.get_DIE_from_refaddr(start)
                    if die.attributes["DW_AT_name"].value == name and _sound(die):
                        return die
                except DAMAGE:
                    continue
        return None

    def _counting(self, unit: CompileUnit) -> list[tuple[bytes, int]]:
        """(code as in the DIE, bytes from there to the name) of the unit's abbreviations that count."""
        offset = unit["debug_abbrev_offset"]
        if offset not in self._codes:
            rows = abbreviations(self._abbreviations, offset)
            found = ((code, _name_place(attributes)) for code, tag, attributes in rows if tag in self._tags)
            self._codes[offset] = [(code, gap) for code, gap in found if gap is not None]
        return self._codes[offset]

    def _unit(self, offset: int) -> CompileUnit:
        return self._dwarf.get_CU_at(self._units[bisect_right(self._units, offset) - 1])


def _content(section: DebugSectionDescriptor | None) -> bytes:
    if section is None:
        return b""
    section.stream.seek(0)
    return section.stream.read()


def _units(info: bytes) -> Iterator[int]:
    """Where each unit begins, by their lengths."""
    at = 0
    while at + 11 <= len(info):
        yield at
        length = int.from_bytes(info[at : at + 4], "little")
        at += 12 + int.from_bytes(info[at + 4 : at + 12], "little") if length == 0xFFFFFFFF else 4 + length


def _tails(strings: bytes, name: bytes) -> Iterator[int]:
    """Every place where this string could be meant: linkers keep a string only as the end of a longer one."""
    at = strings.find(name + b"\0")
    while at >= 0:
        yield at
        at = strings.find(name + b"\0", at + 1)


def abbreviations(data: bytes, at: int) -> Iterator[tuple[bytes, int, list[tuple[int, int]]]]:
    """(code as in a DIE, tag, (attribute, form) of each) of the abbreviation table at that offset of .debug_abbrev.

    pyelftools reads these too, but in 30 ms a unit.
    """
    while at < len(data) and data[at]:
        start = at
        _, at = _uleb128(data, at)
        code = data[start:at]
        tag, at = _uleb128(data, at)
        at += 1
        attributes = []
        while True:
            name, at = _uleb128(data, at)
            form, at = _uleb128(data, at)
            if not (name or form):
                break
            attributes.append((name, form))
            if form == _IMPLICIT_CONST:
                _, at = _uleb128(data, at)
        yield code, tag, attributes


def _name_place(attributes: list[tuple[int, int]]) -> int | None:
    """Bytes before the name in a DIE of these attributes; None without one, or when the DIE only declares."""
    gap = 0
    if any(name == _AT_DECLARATION for name, _ in attributes):
        return None
    for name, form in attributes:
        if name == _AT_NAME:
            return gap if form in (_STRP, _STRING) else None
        if form not in _FORM_SIZES:
            return None
        gap += _FORM_SIZES[form]
    return None


def _sound(die: DIE) -> bool:
    """Whether this is a DIE at all: types that it names must be types, what follows must be DIEs too."""
    if die.has_children:
        if not all(_is_type(child) for child in die.iter_children() if child.tag == "DW_TAG_member"):
            return False
        sibling = die.attributes.get("DW_AT_sibling")
        end = die._terminator
        return sibling is None or (end is not None and die.cu.cu_offset + sibling.value == end.offset + end.size)
    if die.tag == "DW_TAG_enumerator":
        following = die
        while following.tag == "DW_TAG_enumerator":
            following = die.cu.get_DIE_from_refaddr(following.offset + following.size)
        return bool(following.is_null())
    return _is_type(die)


def _is_type(die: DIE) -> bool:
    """Whether the type of this DIE, if it names one, is a type."""
    if "DW_AT_type" not in die.attributes:
        return True
    tag = die.get_DIE_from_attribute("DW_AT_type").tag
    return isinstance(tag, str) and (tag.endswith("_type") or tag == "DW_TAG_typedef")


def _uleb128(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte at `at`, and where it ends."""
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while byte >= 0x80:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift += 7
    return value, at + 1
