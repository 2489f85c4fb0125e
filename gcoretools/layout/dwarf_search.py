"""The DIEs of named structs and enumerators in a large .debug_info, without walking it.

A name stands in .debug_str, and its offset wherever a DIE has that name. All offsets of all wanted names are
looked for at once. In front of a hit stands the code of an abbreviation, and that says what the DIE is; only where
that is a complete struct or an enumerator is the unit walked, to see whether a DIE begins there at all.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from struct import error as StructError

import numpy as np
from elftools.common.exceptions import DWARFError, ELFError
from elftools.construct import ConstructError
from elftools.dwarf.die import DIE
from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DWARFInfo
from numpy.typing import NDArray

from gcoretools.layout.dwarf_units import INLINE, STRP, Abbreviation, Unit, unit_length, unit_starts

STRUCT_TAGS = frozenset((0x02, 0x13, 0x17, 0x16))  # class, struct, union; a typedef can stand for one
ENUMERATOR_TAG = 0x28
_AT_NAME, _AT_DECLARATION = 0x03, 0x3C

# What pyelftools and dwarf_units raise on damaged input.
DAMAGE = (DWARFError, ELFError, ConstructError, StructError, LookupError, AttributeError, AssertionError,
          ValueError, TypeError, OverflowError, NotImplementedError, RecursionError, zlib.error)  # fmt: skip

# Bytes of the forms that can stand before a DIE's name: old GCCs put DW_AT_sibling there.
_BEFORE_NAME = {0x13: 4, 0x12: 2, 0x11: 1, 0x0B: 1, 0x05: 2, 0x06: 4, 0x0C: 1, 0x19: 0, 0x21: 0}

_CHUNK = 1 << 22
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
        self._info = _content(dwarf.debug_info_sec)
        self._abbreviations = _content(dwarf.debug_abbrev_sec)
        self._strings = _content(dwarf.debug_str_sec)
        self._starts = list(unit_starts(self._info))
        self._offset_size = unit_length(self._info, 0)[2]
        self._units: dict[int, Unit] = {}
        self._codes: dict[int, list[tuple[bytes, int]]] = {}
        self.found: dict[str, DIE | None] = {}

    def find(self, names: Collection[str]) -> Mapping[str, DIE | None]:
        """Looks for the names that were not looked for before, and gives `found`."""
        wanted = {name.encode(): name for name in names if name not in self.found}
        self.found.update(dict.fromkeys(wanted.values()))
        # GCC puts a name that is shorter with its NUL than an offset into the DIE itself (DW_FORM_string).
        inline = {name for name in wanted if len(name) < self._offset_size or not self._strings}
        offsets = {at: name for name in wanted for at in _tails(self._strings, name)}
        waiting = inline | set(offsets.values())
        for start in range(0, len(self._info), _CHUNK):
            if not waiting:
                break
            for at, name in self._hits(start, offsets, inline & waiting):
                die = self._die(at, name) if name in waiting else None
                if die is not None:
                    self.found[wanted[name]] = die
                    waiting.discard(name)
            offsets = {at: name for at, name in offsets.items() if name in waiting}
        return self.found

    def die_at(self, offset: int) -> DIE:
        """The DIE at that offset of .debug_info."""
        return self._dwarf.get_CU_at(self._unit_start(offset)).get_DIE_from_refaddr(offset)

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
        start = self._unit_start(name_at)
        for code, gap in self._counting(start):
            at = name_at - gap - len(code)
            if self._info[at : at + len(code)] == code and at in self._units[start].dies:
                die = self.die_at(at)
                if die.attributes["DW_AT_name"].value == name:
                    return die
        return None

    def _counting(self, start: int) -> list[tuple[bytes, int]]:
        """(code as in the DIE, bytes from there to the name) of a unit's abbreviations that count."""
        if start not in self._codes:
            unit = self._units[start] = Unit(self._info, self._abbreviations, start)
            rows = ((row.code, _name_place(row)) for row in unit.abbreviations if row.tag in self._tags)
            self._codes[start] = [(code, gap) for code, gap in rows if gap is not None]
        return self._codes[start]

    def _unit_start(self, offset: int) -> int:
        return self._starts[bisect_right(self._starts, offset) - 1]


def _content(section: DebugSectionDescriptor | None) -> bytes:
    if section is None:
        return b""
    section.stream.seek(0)
    return section.stream.read()


def _tails(strings: bytes, name: bytes) -> Iterator[int]:
    """Every place where this string could be meant: linkers keep a string only as the end of a longer one."""
    at = strings.find(name + b"\0")
    while at >= 0:
        yield at
        at = strings.find(name + b"\0", at + 1)


def _name_place(row: Abbreviation) -> int | None:
    """Bytes before the name in such a DIE; None without one, or when the DIE only declares."""
    if any(name == _AT_DECLARATION for name, _ in row.attributes):
        return None
    gap = 0
    for name, form in row.attributes:
        if name == _AT_NAME:
            return gap if form in (STRP, INLINE) else None
        if form not in _BEFORE_NAME:
            return None
        gap += _BEFORE_NAME[form]
    return None
