"""The sources of types and symbols, and their order."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from gcoretools.errors import DumpError, KernelDataError, LayoutError
from gcoretools.layout import modules, needs
from gcoretools.layout.cache import Entry, mapped
from gcoretools.layout.kallsyms import Kallsyms, named_tables
from gcoretools.layout.kallsyms_search import search_tables
from gcoretools.layout.layout import Layout
from gcoretools.layout.machine import Machine
from gcoretools.layout.needs import Need
from gcoretools.layout.symbol_file import SymbolFile
from gcoretools.layout.types import TypeSource, find_layout
from gcoretools.layout.vmcoreinfo import VmcoreInfo
from gcoretools.memory import AddressSpace

LOG = logging.getLogger(__name__)

MEMBERS = (*needs.MEMBERS, *modules.MEMBERS)
SYMBOLS = (*needs.SYMBOLS, *modules.SYMBOLS)
ALL = (*MEMBERS, *needs.SIZES, *needs.CONSTANTS, *SYMBOLS)
"""Every row that a resolved layout answers."""

_SPELLINGS = frozenset(spelling for need in SYMBOLS for spelling in need.spellings)
_TOLD = 5


def resolve(space: AddressSpace, info: VmcoreInfo, machine: Machine) -> Entry:
    """The layout from what the dump itself holds, else from the vmlinux that lies in the usual places.

    Raises LayoutError, with what to do, when neither will do.
    """
    try:
        return from_dump(space, info)
    except (DumpError, KernelDataError, LayoutError) as error:
        LOG.warning("the dump's own types do not serve: %s", error)
        from gcoretools.layout.vmlinux import Vmlinux, find_vmlinux

        path = find_vmlinux(info.build_id, info.release)
        if path is None:
            build = f", build ID {info.build_id}" if info.build_id else ""
            raise LayoutError(f"{error}; give the vmlinux of kernel {info.release}{build} with -k") from error
    given = Vmlinux(path)
    linked = from_file(given)
    machine = machine.told(linked.layout.symbols.get("_stext", 0), info.symbols.get("_stext", 0))
    entry = mapped(linked, machine.running)
    check_place(given.path, entry.layout, info)
    return entry


def from_dump(space: AddressSpace, info: VmcoreInfo) -> Entry:
    """The layout by kallsyms and BTF of the dump. Raises LayoutError and what AddressSpace.read raises."""
    symbols = _symbols(kallsyms(space, info).find(_SPELLINGS))
    types = modules.kernel_btf(space, Layout(symbols=symbols))
    return _entry(types, symbols, "BTF in the dump", "kallsyms in the dump")


def from_file(given: SymbolFile) -> Entry:
    """The layout by symbols, at their link-time addresses, and types of a file. Raises LayoutError."""
    symbols = given.symbols(_SPELLINGS)
    if not symbols:
        raise LayoutError(
            f"{given.path}: it has no symbols; give a vmlinux that is not stripped with -k, or put its System.map "
            "beside it"
        )
    return _entry(given.types, _symbols(symbols), *words(given))


def check_place(path: Path, layout: Layout, info: VmcoreInfo) -> None:
    """Raises LayoutError when a file's kernel begins elsewhere than the dump's."""
    start = info.symbols.get("_stext")
    if start and layout.symbols.get("_stext", start) != start:
        raise LayoutError(f"{path}: its _stext is not where the dump's kernel has it: it is another build")


def words(given: SymbolFile) -> tuple[str, str]:
    """How types_from and symbols_from call a file."""
    return f"{given.types_kind} of {given.path}", f"symbols of {given.path}"


def kallsyms(space: AddressSpace, info: VmcoreInfo) -> Kallsyms:
    """The kernel's symbol table. Raises LayoutError and what AddressSpace.read raises."""
    if "kallsyms_names" in info.symbols:
        return named_tables(space.read, info.symbols, space.paging.pointer_size)
    start = info.symbols.get("_stext")
    if not start:
        raise LayoutError("VMCOREINFO names neither the kernel's symbols nor its code")
    return search_tables(space.read, start, space.paging.pointer_size)


def _symbols(found: dict[str, int]) -> dict[str, int]:
    """Addresses under the names that needs gives."""
    chosen = ((need.name, next((s for s in need.spellings if s in found), None)) for need in SYMBOLS)
    return {name: found[spelling] for name, spelling in chosen if spelling is not None}


def _entry(types: TypeSource, symbols: dict[str, int], types_from: str, symbols_from: str) -> Entry:
    layout = find_layout(types, MEMBERS, needs.SIZES, needs.CONSTANTS)
    layout.symbols.update(symbols)
    lacking = [
        *_lacking(MEMBERS, layout.members),
        *_lacking(needs.SIZES, layout.sizes),
        *_lacking(needs.CONSTANTS, layout.constants),
    ]
    if lacking:
        raise LayoutError(f"{types_from}: {_told(lacking)} not found")
    missing = list(_lacking(SYMBOLS, layout.symbols))
    if missing:
        raise LayoutError(f"{symbols_from}: {_told(missing)} not found (CONFIG_KALLSYMS_ALL)")
    return Entry(layout, types_from, symbols_from)


def _lacking(table: Collection[Need], found: Collection[str]) -> list[str]:
    return [need.name for need in table if need.required and need.name not in found]


def _told(names: list[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more
