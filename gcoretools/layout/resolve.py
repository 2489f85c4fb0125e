"""From a dump to its kernel and the layout of that: where it is mapped, then the cache or the sources."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from gcoretools.dumps.dump import Dump
from gcoretools.errors import LayoutError
from gcoretools.layout import cache, modules, sources
from gcoretools.layout.cache import Entry
from gcoretools.layout.layout import Kernel
from gcoretools.layout.machine import Machine, describe, locate
from gcoretools.layout.place import check_banner, find_kernel
from gcoretools.layout.symbol_file import SymbolFile, open_symbol_file
from gcoretools.layout.vmcoreinfo import VmcoreInfo
from gcoretools.memory import AddressSpace

LOG = logging.getLogger(__name__)


def resolve_kernel(dump: Dump, symbol_file: Path | None = None, use_cache: bool = True) -> Kernel:
    """The kernel in a dump, and where it keeps things.

    Args:
        dump: of any format.
        symbol_file: a vmlinux of the kernel (its build ID is checked) or an ISF file; types and symbols come
            from it alone then (but those of modules, which it does not have, from the dump all the same). A dump
            without VMCOREINFO needs one.
        use_cache: whether to use, and to remember, what was found out about this build before. With a file
            that is an entry of its own.

    Without `symbol_file` the dump's own BTF and kallsyms are taken, else the vmlinux in one of the usual places.
    Raises LayoutError, with what to do, when none of them will do.
    """
    if symbol_file:
        return _by_file(dump, open_symbol_file(symbol_file), use_cache)
    info = describe(dump)
    machine = locate(dump, info)
    path = _entry_path(info.build_id, "dump", use_cache)
    kept = cache.load(path) if path else None
    space = machine.space(dump)
    entry = cache.mapped(kept, machine.running) if kept else sources.resolve(space, info, machine)
    return _kernel(info, machine, _completed(space, entry, machine, path, kept is None))


def _by_file(dump: Dump, given: SymbolFile, use_cache: bool) -> Kernel:
    """The kernel, by the file of -k."""
    info, machine = _described(dump)
    given.check_build(info.build_id)
    path = _entry_path(given.cache_key, given.kind, use_cache)
    kept = cache.load(path) if path else None
    linked = kept or sources.from_file(given)
    if machine is None:
        release, machine = find_kernel(dump, linked.layout, given)
        info = VmcoreInfo(release=release)
    machine = machine.told(linked.layout.symbols.get("_stext", 0), info.symbols.get("_stext", 0))
    entry = cache.mapped(linked, machine.running)
    sources.check_place(given.path, entry.layout, info)
    if not info.build_id:
        check_banner(dump, machine, entry.layout, given)
    entry = _completed(machine.space(dump), entry, machine, path, kept is None)
    types_from, symbols_from = sources.words(given)
    return _kernel(info, machine, replace(entry, types_from=types_from, symbols_from=symbols_from))


def _described(dump: Dump) -> tuple[VmcoreInfo, Machine | None]:
    """What the dump itself says of its kernel: nothing where it has no VMCOREINFO, or none that is of use."""
    try:
        info = describe(dump)
        return info, locate(dump, info)
    except LayoutError as error:
        LOG.warning("where the kernel lies is taken from the file of -k: %s", error)
        return VmcoreInfo(), None


def _entry_path(build_id: str, source: str, use_cache: bool) -> Path | None:
    """The cache's file; None where nothing says what build it is."""
    folder = cache.cache_folder() if use_cache else None
    return cache.entry_path(folder, build_id, sources.ALL, source) if folder else None


def _completed(space: AddressSpace, entry: Entry, machine: Machine, path: Path | None, new: bool) -> Entry:
    """The entry with what only modules have; it is remembered when it, or a module, is new."""
    layout, looked, used = modules.complete(space, entry.layout, entry.modules)
    if looked:
        entry = replace(
            entry, layout=layout, modules=(*entry.modules, *looked), modules_used=(*entry.modules_used, *used)
        )
    if path and (looked or new):
        cache.save(path, cache.mapped(entry, machine.linked))
    return entry


def _kernel(info: VmcoreInfo, machine: Machine, entry: Entry) -> Kernel:
    return Kernel(
        release=info.release,
        build_id=info.build_id,
        arch=machine.arch,
        page_levels=machine.page_levels,
        page_root=machine.page_root,
        phys_base=machine.phys_base,
        kaslr_offset=machine.kaslr_offset,
        types_from=_with_modules(entry),
        symbols_from=entry.symbols_from,
        layout=entry.layout,
        direct_map=machine.direct_map,
    )


def _with_modules(entry: Entry) -> str:
    """Where the types come from, in words."""
    if not entry.modules_used:
        return entry.types_from
    return f"{entry.types_from}, and BTF of {', '.join(entry.modules_used)} in the dump"
