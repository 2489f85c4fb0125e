"""One row of the tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Need:
    """A struct member, a size, an enumerator or a symbol.

    Attributes:
        name: what our code calls it.
        spellings: what kernels call it, newest first; dots lead into nested structs and anonymous unions.
        required: whether no kernel of our range can do without.
    """

    name: str
    spellings: tuple[str, ...]
    required: bool = True


def need(name: str, *older: str) -> Need:
    """A row that every kernel of our range has, by this spelling or an older one."""
    return Need(name, (name, *older))


def maybe(name: str, *older: str) -> Need:
    """A row that a kernel may lack."""
    return Need(name, (name, *older), required=False)
