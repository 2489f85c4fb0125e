"""The sources of types and symbols, and their order."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from gcoretools.errors import DumpError, KernelDataError, LayoutError
from gcoretools.layout import modules, needs
from gcoretools.layout.cache import Entry
from gcoretools.layout.kallsyms import Kallsyms, named_tables
from gcoretools.layout.kallsyms_search import search_tables
from gcoretools.layout.layout import Layout
from gcoretools.layout.machine import Machine
from gcoretools.layout.needs import Need
from gcoretools.layout.types import TypeSource, find_layout
from gcoretools.layout.vmcoreinfo import VmcoreInfo
from gcoretools.memory import AddressSpace

if TYPE_CHECKING:
    # pyelftools takes 0.1 s to import, and most dumps need no vmlinux.
    from gcoretools.layout.vmlinux import Vmlinux

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
    return from_vmlinux(Vmlinux(path), info, machine)


def from_dump(space: AddressSpace, info: VmcoreInfo) -> Entry:
    """The layout by kallsyms and BTF of the dump. Raises LayoutError and what AddressSpace.read raises."""
    symbols = _symbols(kallsyms(space, info).find(_SPELLINGS))
    types = modules.kernel_btf(space, Layout(symbols=symbols))
    return _entry(types, symbols, "BTF in the dump", "kallsyms in the dump")


def from_vmlinux(vmlinux: Vmlinux, info: VmcoreInfo, machine: Machine) -> Entry:
    """The layout by symbols and types of a vmlinux. Raises LayoutError, also when it is not of this kernel."""
    vmlinux.check_build(info.build_id)
    found = vmlinux.symbols({*_SPELLINGS, "_stext"})
    if not found:
        raise LayoutError(f"{vmlinux.path}: it has no symbols; give a vmlinux that is not stripped with -k")
    symbols = {name: machine.running(at) for name, at in found.items()}
    start = info.symbols.get("_stext")
    if start and symbols.pop("_stext", start) != start:
        raise LayoutError(f"{vmlinux.path}: its _stext is not where the dump's kernel has it: it is another build")
    return _entry(vmlinux.types, _symbols(symbols), *words(vmlinux))


def words(vmlinux: Vmlinux) -> tuple[str, str]:
    """How types_from and symbols_from call a vmlinux."""
    return f"{vmlinux.types_kind} of {vmlinux.path}", f"symbols of {vmlinux.path}"


def kallsyms(space: AddressSpace, info: VmcoreInfo) -> Kallsyms:
    """The kernel's symbol table. Raises LayoutError and what AddressSpace.read raises."""
    if "kallsyms_names" in info.symbols:
        return named_tables(space.read, info.symbols, space.paging.pointer_size)
    start = info.symbols.get("_stext")
    if not start:
        raise LayoutError("VMCOREINFO names neither the kernel's symbols nor its code")
    return search_tables(space.read, start)


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
