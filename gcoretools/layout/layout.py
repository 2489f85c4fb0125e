"""Where a kernel keeps things: the resolved layout, a small plain value that travels in the stream's header."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from gcoretools.errors import LayoutError

# No struct of any kernel is nearly this large, in bytes.
OFFSET_LIMIT = 1 << 24


@dataclass(frozen=True, slots=True)
class Member:
    """A struct member: offset and size in bytes, and whether an integer of it is signed."""

    offset: int
    size: int
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything that needs names and this kernel has, under the names that needs gives.

    Attributes:
        members: "task_struct.pid" -> Member.
        sizes: "pt_regs" -> size in bytes.
        constants: enumerators, "PIDTYPE_PGID" -> value.
        symbols: "init_task" -> virtual address in this dump (KASLR applied).
    What the kernel does not have is absent from the tables.
    """

    members: dict[str, Member] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    constants: dict[str, int] = field(default_factory=dict)
    symbols: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kernel:
    """The dumped kernel: what the header says of it, and all that later stages need of it.

    Attributes:
        release: as `uname -r` says it.
        build_id: hex, or "" where the dump does not say it.
        arch: "x86_64" (the name of a module in gcoretools.arch).
        page_levels: 4 or 5; of i386 2, or 3 with PAE.
        page_root: physical address of the kernel's own top page table.
        phys_base: physical address of the kernel image's link base (bytes).
        kaslr_offset: runtime address minus link address of the kernel image (bytes).
        direct_map: virtual address where all physical memory is mapped, when the kernel's page table is not in the
            dump and this must do without it; else 0.
        types_from, symbols_from: where layout came from, in words ("BTF in the dump", "vmlinux /usr/lib/...").
    """

    release: str
    build_id: str
    arch: str
    page_levels: int
    page_root: int
    phys_base: int
    kaslr_offset: int
    types_from: str
    symbols_from: str
    layout: Layout
    direct_map: int = 0


def layout_to_plain(layout: Layout) -> dict[str, object]:
    """A layout as maps, lists, strings and integers, for the stream's header and the cache."""
    return {
        "members": {name: [m.offset, m.size, m.signed] for name, m in layout.members.items()},
        "sizes": layout.sizes,
        "constants": layout.constants,
        "symbols": layout.symbols,
    }


def layout_from_plain(plain: object) -> Layout:
    """The layout again. Raises LayoutError when `plain`, which is untrusted, is not one."""
    tables = _map(plain)
    members = {}
    for name, row in _map(tables.get("members")).items():
        if not (isinstance(row, list) and len(row) == 3):
            raise LayoutError(f"layout: member {name!r} is not [offset, size, signed]")
        members[name] = Member(_integer(row[0]), _integer(row[1]), bool(row[2]))
        if not (0 <= members[name].offset < OFFSET_LIMIT and 0 <= members[name].size < OFFSET_LIMIT):
            raise LayoutError(f"layout: member {name!r} lies beyond any struct")
    sizes, constants, symbols = (_integers(tables.get(table)) for table in ("sizes", "constants", "symbols"))
    for name, size in sizes.items():
        if not 0 <= size < OFFSET_LIMIT:
            raise LayoutError(f"layout: struct {name!r} has an impossible size")
    for name, address in symbols.items():
        if not 0 <= address < 1 << 64:
            raise LayoutError(f"layout: symbol {name!r} has an impossible address")
    return Layout(members, sizes, constants, symbols)


def kernel_to_plain(kernel: Kernel) -> dict[str, object]:
    """A kernel as maps, lists, strings and integers."""
    plain: dict[str, object] = {f.name: getattr(kernel, f.name) for f in fields(kernel)}
    return plain | {"layout": layout_to_plain(kernel.layout)}


def kernel_from_plain(plain: object) -> Kernel:
    """The kernel again. Raises LayoutError when `plain`, which is untrusted, is not one."""
    given = _map(plain)
    values: dict[str, Any] = {"layout": layout_from_plain(given.get("layout"))}
    for field_ in fields(Kernel):
        if field_.name != "layout":
            value = given.get(field_.name, field_.default)
            if type(value).__name__ != field_.type:
                raise LayoutError(f"layout: the kernel's {field_.name} is {value!r}, not {field_.type}")
            values[field_.name] = value
    return Kernel(**values)


def _map(value: object) -> dict[str, object]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise LayoutError("layout: a table is not a map from names")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise LayoutError(f"layout: {value!r} is not an integer")
    return value


def _integers(value: object) -> dict[str, int]:
    return {name: _integer(number) for name, number in _map(value).items()}
