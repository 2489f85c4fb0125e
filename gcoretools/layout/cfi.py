"""Call-frame information out of a vmlinux (.debug_frame or .eh_frame): how to leave a function at any instruction.

A kernel has 60,000 entries and more. Their headers are gone through once, for the addresses; the entry that
describes a wanted address is then cut out with its CIE, and pyelftools decodes just these two.
Source: DWARF 5, section 6.4; for .eh_frame the Linux Standard Base, "Exception Frames".
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any, NamedTuple

from elftools.common.exceptions import DWARFError
from elftools.dwarf.callframe import FDE, CallFrameInfo, RegisterRule
from elftools.dwarf.structs import DWARFStructs

from gcoretools.errors import LayoutError
from gcoretools.layout.dwarf_search import DAMAGE
from gcoretools.layout.dwarf_units import leb128, unit_length

_NOT_A_CIE = {4: 0xFFFFFFFF, 8: 0xFFFFFFFFFFFFFFFF}
_PC_RELATIVE = 0x10

# Pointers in .eh_frame by the low four bits of their encoding; 0 is as long as an address.
_POINTERS = {0x2: "<H", 0x3: "<I", 0x4: "<Q", 0xA: "<h", 0xB: "<i", 0xC: "<q"}

# No function of a kernel has nearly as much: bytes of an entry, instructions times their operands.
_ENTRY_LIMIT = 1 << 16
_WORK_LIMIT = 1 << 21


@dataclass(frozen=True, slots=True)
class Row:
    """How to leave a function at one of its instructions; registers by their DWARF numbers.

    Attributes:
        cfa: register and offset that add up to the call frame's address (CFA), in bytes.
        saved: where the caller's registers are saved, as offsets from the CFA.
        lost: registers whose value is gone, or is computed by a rule that is not read: the rule's name.
    A register in neither still holds the caller's value, if calls preserve it at all.
    """

    cfa: tuple[int, int]
    saved: Mapping[int, int]
    lost: Mapping[int, str]


class _Entry(NamedTuple):
    """A function's entry (FDE): link-time addresses, and where it and its CIE stand in the section."""

    start: int
    end: int
    at: int
    cie: int


class CallFrames:
    """The rows of one section.

    Args:
        data: the section.
        address: where it is linked to; relative pointers of an .eh_frame count from there.
        eh_frame: whether it is an .eh_frame.
        where: what an error calls it.
        address_size: in bytes.

    Raises LayoutError when it is damaged.
    """

    def __init__(
        self, data: bytes, address: int = 0, eh_frame: bool = False, where: str = "", address_size: int = 8
    ) -> None:
        self._data = data
        self._address = address
        self._eh_frame = eh_frame
        self._where = where
        self._size = address_size
        self._plain = struct.Struct({4: "<II", 8: "<QQ"}[address_size])
        self._encodings: dict[int, int] = {}
        try:
            self._entries = sorted(self._index(), key=lambda entry: entry.start)
        except DAMAGE as error:
            raise self._damaged(error) from error
        self._starts = [entry.start for entry in self._entries]

    def __len__(self) -> int:
        return len(self._entries)

    def row(self, pc: int) -> Row:
        """How to leave the function at link-time address `pc`.

        Raises LayoutError when no entry describes it, or by a rule that is not read.
        """
        i = bisect_right(self._starts, pc) - 1
        if i < 0 or pc >= self._entries[i].end:
            raise LayoutError(f"{self._where}: no call-frame information describes {pc:#x}")
        try:
            rows = self._rows(i)
        except DAMAGE as error:
            raise self._damaged(error) from error
        line = next((row for row in reversed(rows) if row["pc"] <= pc), None)
        if line is None:
            raise LayoutError(f"{self._where}: the call-frame information of {pc:#x} has no row")
        return self._row(line, pc)

    def body(self, pc: int) -> int:
        """Where in the function at link-time address `pc` most registers are saved. Raises as row does."""
        self.row(pc)
        rows = self._rows(bisect_right(self._starts, pc) - 1)
        return int(max(rows, key=len)["pc"])

    def _index(self) -> Iterator[_Entry]:
        """Every function's entry, by headers alone."""
        at, data = 0, self._data
        while at + 4 <= len(data):
            length, start, size = unit_length(data, at)
            end = start + length
            if end > len(data):
                raise ValueError(f"an entry at {at:#x} is longer than the section")
            number = int.from_bytes(data[start : start + size], "little")
            if length and number != (0 if self._eh_frame else _NOT_A_CIE[size]):
                cie = start - number if self._eh_frame else number
                first, count = self._range(start + size, cie)
                if first and count:  # a function that the linker dropped has 0
                    yield _Entry(first, first + count, at, cie)
            at = end

    def _range(self, at: int, cie: int) -> tuple[int, int]:
        """The first address of a function and its size."""
        if not self._eh_frame:
            first, count = self._plain.unpack_from(self._data, at)
            return first, count
        encoding = self._encoding(cie)
        code = self._pointer(encoding)
        width = struct.calcsize(code)
        first = struct.unpack_from(code, self._data, at)[0]
        if encoding & 0x70 == _PC_RELATIVE:
            first += self._address + at
        elif encoding & 0x70:
            raise ValueError(f"pointers of encoding {encoding:#x} are not read")
        count = int.from_bytes(self._data[at + width : at + 2 * width], "little")
        return first & (1 << 8 * self._size) - 1, count

    def _encoding(self, cie: int) -> int:
        """How the entries of a CIE of .eh_frame write addresses (the augmentation's R)."""
        if cie not in self._encodings:
            head, letters = self._head(cie)
            at = leb128(self._data, leb128(self._data, head)[1])[1] + 1  # alignments, return address
            encoding = 0
            if letters.startswith("z"):
                at = leb128(self._data, at)[1]
                for letter in letters[1:]:
                    if letter == "R":
                        encoding = self._data[at]
                        break
                    at += {"L": 1, "S": 0}[letter] if letter != "P" else self._personality_size(at)
            self._encodings[cie] = encoding
        return self._encodings[cie]

    def _personality_size(self, at: int) -> int:
        return 1 + struct.calcsize(self._pointer(self._data[at]))

    def _pointer(self, encoding: int) -> str:
        return _POINTERS[encoding & 0xF] if encoding & 0xF else {4: "<I", 8: "<Q"}[self._size]

    def _head(self, cie: int) -> tuple[int, str]:
        """Where a CIE goes on behind its augmentation, and the augmentation."""
        _, start, size = unit_length(self._data, cie)
        at = start + size + 1
        end = self._data.index(b"\0", at)
        return end + 1, self._data[at:end].decode("latin-1")

    @lru_cache(maxsize=256)  # noqa: B019  (one CallFrames lives as long as the command)
    def _rows(self, i: int) -> list[dict[Any, Any]]:
        """All rows of a function, as pyelftools decodes them: out of a section of only its CIE and itself."""
        entry = self._entries[i]
        cie, _ = self._body(entry.cie)
        fde, place = self._body(entry.at)
        if self._head(entry.cie)[1] == "S":
            cie = cie[:1] + cie[2:]  # a signal's frame: it says nothing of registers, but pyelftools refuses it
        cie = _written(cie, 0 if self._eh_frame else _NOT_A_CIE[4])
        section = cie + _written(fde, len(cie) + 4 if self._eh_frame else 0)
        # A relative pointer of an .eh_frame still counts from where the entry really is.
        address = self._address + place - len(cie) - 8
        structs = DWARFStructs(little_endian=True, dwarf_format=32, address_size=self._size)
        frames = CallFrameInfo(BytesIO(section), len(section), address, structs, for_eh_frame=self._eh_frame)
        found = frames.get_entries()[-1]
        if not isinstance(found, FDE) or found.cie is None:
            raise DWARFError(f"the entry at {entry.at:#x} is no function's")
        _check_work([*found.cie.instructions, *found.instructions])
        shift = entry.start - found["initial_location"]  # wrapped, where pyelftools does not
        return [{**line, "pc": line["pc"] + shift} for line in found.get_decoded().table]

    def _body(self, at: int) -> tuple[bytes, int]:
        """An entry behind its length and CIE pointer, and where in the section that begins."""
        if not 0 <= at < len(self._data):
            raise DWARFError(f"no entry can be at {at:#x}")
        length, start, size = unit_length(self._data, at)
        if length > _ENTRY_LIMIT:
            raise DWARFError(f"the entry at {at:#x} has {length} bytes")
        return self._data[start + size : start + length], start + size

    def _row(self, line: dict[Any, Any], pc: int) -> Row:
        cfa = line["cfa"]
        if cfa.expr is not None or cfa.reg is None:
            raise LayoutError(f"{self._where}: the frame at {pc:#x} is computed (DW_CFA_def_cfa_expression)")
        rules: dict[int, Any] = {n: rule for n, rule in line.items() if isinstance(n, int)}
        known = (RegisterRule.OFFSET, RegisterRule.SAME_VALUE)
        return Row(
            (cfa.reg, cfa.offset or 0),
            {n: int(rule.arg) for n, rule in rules.items() if rule.type == RegisterRule.OFFSET},
            {n: rule.type for n, rule in rules.items() if rule.type not in known},
        )

    def _damaged(self, error: Exception) -> LayoutError:
        return LayoutError(f"{self._where}: the call-frame information is damaged: {error or type(error).__name__}")


def _written(body: bytes, link: int) -> bytes:
    """An entry in 32-bit DWARF: pyelftools does not read the 64-bit one here."""
    return struct.pack("<II", len(body) + 4, link) + body


def _check_work(steps: list[Any]) -> None:
    """Each instruction can copy a rule for each register: no function has so many of both."""
    operands = {step.args[0] for step in steps if step.args and isinstance(step.args[0], int)}
    if len(steps) * len(operands) > _WORK_LIMIT:
        raise DWARFError(f"an entry has {len(steps)} instructions, more than any function needs")
