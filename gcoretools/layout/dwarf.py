"""DWARF: the types out of the debug information of a vmlinux, through pyelftools.

A kernel has thousands of units, and nearly every one describes task_struct anew. So no unit is walked: the
search in dwarf_search.py gives one DIE for each name, and from there references lead on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from inspect import signature
from io import BytesIO
from typing import Any

from elftools.common.exceptions import DWARFError
from elftools.dwarf.die import DIE
from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo
from elftools.elf.elffile import ELFFile

from gcoretools.errors import LayoutError
from gcoretools.layout.dwarf_search import DAMAGE, ENUMERATOR_TAG, STRUCT_TAGS, DieSearch
from gcoretools.layout.types import Field, Ref, Struct

STRUCTS = frozenset(("DW_TAG_structure_type", "DW_TAG_union_type", "DW_TAG_class_type"))
TYPEDEF, ARRAY = "DW_TAG_typedef", "DW_TAG_array_type"
_POINTERS = frozenset(("DW_TAG_pointer_type", "DW_TAG_reference_type"))
_WRAPPERS = {TYPEDEF} | {
    f"DW_TAG_{kind}_type" for kind in ("const", "volatile", "restrict", "atomic", "packed", "shared")
}

_SECTIONS = ("info", "abbrev", "str", "line_str", "str_offsets", "addr")
_DW_OP_PLUS_UCONST = 0x23
_DW_ATE_SIGNED = 5
_CHAIN = 64
_MEMBERS_LIMIT = 1 << 14


class Dwarf:
    """The types of one ELF file.

    Args:
        elf: a vmlinux, a separate debug file, or a module (whose relocations are then applied).
        where: what an error calls it.

    Raises LayoutError when it has no debug information, or when that is damaged.
    """

    def __init__(self, elf: ELFFile, where: str) -> None:
        self.where = where
        try:
            self._dwarf = _relocated(elf) if elf["e_type"] == "ET_REL" else _plain(elf)
        except DAMAGE as error:
            raise self._damaged(error) from error
        if self._dwarf is None:
            raise LayoutError(f"{where}: no debug information; give a vmlinux that was built with it with -k")
        self._pointer_size = elf.elfclass // 8
        self._tags = DieSearch(self._dwarf, STRUCT_TAGS)
        self._enumerators = DieSearch(self._dwarf, (ENUMERATOR_TAG,))
        self._structs: dict[Ref, Struct] = {}

    def expect(self, names: Collection[str]) -> None:
        """Searches the structs of all these names in one pass; without, each one takes a pass of its own."""
        self._find(self._tags, names)

    def structs(self, name: str) -> Iterator[Struct]:
        """The first complete struct or union of that tag, or what a typedef of that name stands for."""
        die = self._find(self._tags, (name,))[name]
        if die is not None:
            try:
                nested = self._shape(die)[2]
            except DAMAGE as error:
                raise self._damaged(error) from error
            if nested is not None:
                yield self.nested(nested)

    def nested(self, ref: Ref) -> Struct:
        """The struct or union whose DIE is at that offset."""
        assert isinstance(ref, int)
        if ref not in self._structs:
            try:
                die = self._tags.die_at(ref)
                self._structs[ref] = Struct(_size(die), tuple(self._fields(die)))
            except DAMAGE as error:
                raise self._damaged(error) from error
        return self._structs[ref]

    def constants(self, names: Collection[str]) -> dict[str, int]:
        """The values of those of these enumerators that exist."""
        found = self._find(self._enumerators, names)
        dies = ((name, found[name]) for name in names)
        return {name: _value(die, "DW_AT_const_value") for name, die in dies if die is not None}

    def _fields(self, die: DIE) -> Iterator[Field]:
        for count, member in enumerate(die.iter_children()):
            if count >= _MEMBERS_LIMIT:
                raise DWARFError("a struct has more members than any can have")
            attributes = member.attributes
            if member.tag != "DW_TAG_member" or "DW_AT_bit_size" in attributes:
                continue
            size, signed, nested = self._shape(member.get_DIE_from_attribute("DW_AT_type"))
            name = attributes.get("DW_AT_name")
            yield Field(name and name.value.decode("latin-1"), _location(member), size, signed, nested)

    def _find(self, search: DieSearch, names: Collection[str]) -> Mapping[str, DIE | None]:
        try:
            return search.find(names)
        except DAMAGE as error:
            raise self._damaged(error) from error

    def _shape(self, die: DIE) -> tuple[int, bool, int | None]:
        """Size in bytes, whether signed, and the struct's DIE offset, of a member of this type."""
        count = 1
        for _ in range(_CHAIN):
            if die.tag == ARRAY:
                count *= _elements(die)
            elif die.tag not in _WRAPPERS:
                break
            if "DW_AT_type" not in die.attributes:
                return 0, False, None
            die = die.get_DIE_from_attribute("DW_AT_type")
        else:
            raise DWARFError(f"the type at {die.offset:#x} refers to itself")
        if die.tag in STRUCTS:
            return _size(die) * count, False, die.offset
        size = _size(die) or (self._pointer_size if die.tag in _POINTERS else 0)
        signed = die.tag == "DW_TAG_base_type" and _value(die, "DW_AT_encoding") == _DW_ATE_SIGNED
        return size * count, signed and count == 1 and size > 1, None

    def _damaged(self, error: Exception) -> LayoutError:
        return LayoutError(f"{self.where}: the debug information is damaged: {error or type(error).__name__}")


def _plain(elf: ELFFile) -> DWARFInfo | None:
    """The sections that types need, read once each, and no relocation: in a linked file all is in place."""
    sections = dict.fromkeys(_SECTIONS)
    for name in _SECTIONS:
        section = elf.get_section_by_name(f".debug_{name}")
        if section is not None and section["sh_type"] != "SHT_NOBITS":
            data = section.data()
            sections[name] = DebugSectionDescriptor(
                BytesIO(data), section.name, section["sh_offset"], len(data), section["sh_addr"]
            )
    if sections["info"] is None or sections["abbrev"] is None:
        return _relocated(elf) if elf.has_section(".zdebug_info") else None
    named: dict[str, Any] = {f"debug_{name}_sec": section for name, section in sections.items()}
    others = (name for name in signature(DWARFInfo).parameters if name.endswith("_sec"))
    named = dict.fromkeys(others) | named
    config = DwarfConfig(
        little_endian=elf.little_endian,
        machine_arch=elf.get_machine_arch(),
        default_address_size=elf.elfclass // 8,
    )
    return DWARFInfo(config=config, **named)


def _relocated(elf: ELFFile) -> DWARFInfo | None:
    """As pyelftools reads it: relocations applied, old compression undone."""
    dwarf = elf.get_dwarf_info(follow_links=False)
    return dwarf if dwarf.debug_info_sec and dwarf.debug_abbrev_sec else None


def _size(die: DIE) -> int:
    return _value(die, "DW_AT_byte_size")


def _value(die: DIE, name: str) -> int:
    """An attribute that is a number; 0 when it is missing, or computed at run time."""
    attribute = die.attributes.get(name)
    return attribute.value if attribute is not None and isinstance(attribute.value, int) else 0


def _location(member: DIE) -> int:
    """Offset in the struct: a number, or up to DWARF 3 an expression that adds one to the struct's address."""
    attribute = member.attributes.get("DW_AT_data_member_location")
    if attribute is None:
        return 0
    if isinstance(attribute.value, int):
        return int(attribute.value)
    code, *operand = attribute.value
    if code != _DW_OP_PLUS_UCONST:
        raise DWARFError(f"the member at {member.offset:#x} lies at a place that is computed")
    return sum((byte & 0x7F) << 7 * i for i, byte in enumerate(operand))


def _elements(array: DIE) -> int:
    """Elements of an array over all its dimensions; 0 when it is open."""
    count = 1
    for dimension in array.iter_children():
        if dimension.tag == "DW_TAG_subrange_type":
            count *= _dimension(dimension)
    return count


def _dimension(dimension: DIE) -> int:
    if "DW_AT_count" in dimension.attributes:
        return _value(dimension, "DW_AT_count")
    bound = dimension.attributes.get("DW_AT_upper_bound")
    if bound is None or not isinstance(bound.value, int):
        return 0
    return bound.value + 1 & 0xFFFF_FFFF
