"""The contract of every source of types, and the one resolver that reads needs against it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gcoretools.errors import LayoutError
from gcoretools.layout.layout import OFFSET_LIMIT, Layout, Member
from gcoretools.layout.needs import Need

T = TypeVar("T")

Ref = int | str
"""How a source calls a type of its own: a BTF type ID, the offset of a DIE, a name."""


@dataclass(frozen=True, slots=True)
class Field:
    """A member as a source describes it; bit-fields are left out.

    Attributes:
        name: None for an anonymous struct or union.
        offset, size: in bytes; of an array, its whole size.
        signed: whether it is a signed integer of more than one byte (the C standard leaves char's sign open,
            and BTF and DWARF disagree on it). Arrays, enums and pointers are not.
        nested: the struct or union that it is, or that it is an array of.
    """

    name: str | None
    offset: int
    size: int
    signed: bool = False
    nested: Ref | None = None


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct or union: its size in bytes, and its members."""

    size: int
    fields: tuple[Field, ...]


class TypeSource(Protocol):
    """Where types come from. Every method may raise LayoutError when the source is damaged."""

    def expect(self, names: Collection[str]) -> None:
        """Announces the names that `structs` will be asked for: a source that must search does it once."""

    def structs(self, name: str) -> Iterable[Struct]:
        """Every complete struct or union of that tag, or else what a typedef of that name stands for."""

    def nested(self, ref: Ref) -> Struct:
        """The struct or union that a Field refers to."""

    def constants(self, names: Collection[str]) -> dict[str, int]:
        """The values of those of these enumerators that exist."""


def find_layout(
    source: TypeSource, members: Collection[Need], sizes: Collection[Need], constants: Collection[Need]
) -> Layout:
    """All that the source has of these; no symbols."""
    source.expect({tag for need in (*members, *sizes) for tag in tags(need)})
    return Layout(
        members=find_members(source, members),
        sizes=find_sizes(source, sizes),
        constants=find_constants(source, constants),
    )


def tags(need: Need) -> set[str]:
    """The structs that a member or a size could be of."""
    return {spelling.partition(".")[0] for spelling in need.spellings}


def find_members(source: TypeSource, needs: Iterable[Need]) -> dict[str, Member]:
    """For each need the first spelling that the source has; needs without one are left out."""
    found = ((need.name, _first(_members(source, need))) for need in needs)
    return {name: member for name, member in found if member is not None}


def find_sizes(source: TypeSource, needs: Iterable[Need]) -> dict[str, int]:
    """Sizes in bytes of structs, by the first spelling that the source has."""
    found = ((need.name, _first(_sizes(source, need))) for need in needs)
    return {name: size for name, size in found if size is not None}


def find_constants(source: TypeSource, needs: Collection[Need]) -> dict[str, int]:
    """Values of enumerators, by the first spelling that the source has."""
    known = source.constants({spelling for need in needs for spelling in need.spellings})
    found = ((need.name, _first(known[s] for s in need.spellings if s in known)) for need in needs)
    return {name: value for name, value in found if value is not None}


def find_member(source: TypeSource, spelling: str) -> Member | None:
    """ "struct.member.nested" as the source has it: its offset from the start of the outermost struct.

    Where several structs have the name, the first one with such a member counts.
    """
    tag, *path = spelling.split(".")
    return _first(found for struct in source.structs(tag) if (found := _walk(source, struct, path)))


def _members(source: TypeSource, need: Need) -> Iterator[Member]:
    return (found for spelling in need.spellings if (found := find_member(source, spelling)))


def _sizes(source: TypeSource, need: Need) -> Iterator[int]:
    return (struct.size for spelling in need.spellings for struct in source.structs(spelling))


def _first(values: Iterable[T]) -> T | None:
    return next(iter(values), None)


def _walk(source: TypeSource, struct: Struct, path: list[str]) -> Member | None:
    base = 0
    member = None
    for step, name in enumerate(path):
        found = _field(source, struct, name)
        if found is None:
            return None
        base += found.offset
        if max(base, found.size) >= OFFSET_LIMIT:
            raise LayoutError(
                f"types: {name} of {found.size} bytes at {base} lies beyond any struct: they are damaged"
            )
        member = Member(base, found.size, found.signed)
        if step + 1 < len(path):
            if found.nested is None:
                return None
            struct = source.nested(found.nested)
    return member


def _field(source: TypeSource, struct: Struct, name: str) -> Field | None:
    """The member of that name, here or in an anonymous member; each anonymous type is looked through once."""
    seen: set[Ref] = set()
    todo = deque([(0, struct)])
    while todo:
        base, struct = todo.popleft()
        for field in struct.fields:
            if field.name == name:
                return Field(name, base + field.offset, field.size, field.signed, field.nested)
            if field.name is None and field.nested is not None and field.nested not in seen:
                seen.add(field.nested)
                todo.append((base + field.offset, source.nested(field.nested)))
    return None
