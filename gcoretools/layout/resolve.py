"""From a dump to its kernel and the layout of that: where it is mapped, then the cache or the sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gcoretools.dumps.dump import Dump
from gcoretools.layout import cache, modules, sources
from gcoretools.layout.cache import Entry
from gcoretools.layout.layout import Kernel
from gcoretools.layout.machine import Machine, describe, locate
from gcoretools.layout.vmcoreinfo import VmcoreInfo
from gcoretools.memory import AddressSpace

if TYPE_CHECKING:
    from gcoretools.layout.vmlinux import Vmlinux


def resolve_kernel(dump: Dump, vmlinux: Path | None = None, use_cache: bool = True) -> Kernel:
    """The kernel in a dump, and where it keeps things.

    Args:
        dump: of any format.
        vmlinux: the kernel's ELF file; its build ID is checked, and then types and symbols come from it alone
            (but those of modules, which it does not have, from the dump all the same).
        use_cache: whether to use, and to remember, what was found out about this build before. With a vmlinux
            that is an entry of its own.

    Without `vmlinux` the dump's own BTF and kallsyms are taken, else the vmlinux in one of the usual places.
    Raises LayoutError, with what to do, when none of them will do.
    """
    info = describe(dump)
    machine = locate(dump, info)
    space = machine.space(dump)
    given = _opened(vmlinux, info) if vmlinux else None
    path = _entry_path(info, given) if use_cache else None
    entry = _entry(space, info, machine, given, path)
    if given:
        types_from, symbols_from = sources.words(given)
        entry = replace(entry, types_from=types_from, symbols_from=symbols_from)
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
    )


def _opened(path: Path, info: VmcoreInfo) -> Vmlinux:
    from gcoretools.layout.vmlinux import Vmlinux

    vmlinux = Vmlinux(path)
    vmlinux.check_build(info.build_id)
    return vmlinux


def _entry_path(info: VmcoreInfo, given: Vmlinux | None) -> Path | None:
    """The cache's file for this build; None where either side does not say what build it is."""
    folder = cache.cache_folder()
    if folder is None or (given and given.build_id != info.build_id):
        return None
    return cache.entry_path(folder, info.build_id, sources.ALL, "vmlinux" if given else "dump")


def _entry(
    space: AddressSpace, info: VmcoreInfo, machine: Machine, given: Vmlinux | None, path: Path | None
) -> Entry:
    """What is known of the kernel, with symbols at their addresses in this dump."""
    kept = cache.load(path) if path else None
    if kept:
        entry = _mapped(kept, machine.running)
    elif given:
        entry = sources.from_vmlinux(given, info, machine)
    else:
        entry = sources.resolve(space, info, machine)
    layout, looked, used = modules.complete(space, entry.layout, entry.modules)
    if looked:
        entry = replace(
            entry, layout=layout, modules=(*entry.modules, *looked), modules_used=(*entry.modules_used, *used)
        )
    if path and (looked or not kept):
        cache.save(path, _mapped(entry, machine.linked))
    return entry


def _mapped(entry: Entry, address: Callable[[int], int]) -> Entry:
    """The entry with every symbol's address put through a function."""
    symbols = {name: address(at) for name, at in entry.layout.symbols.items()}
    return replace(entry, layout=replace(entry.layout, symbols=symbols))


def _with_modules(entry: Entry) -> str:
    """Where the types come from, in words."""
    if not entry.modules_used:
        return entry.types_from
    return f"{entry.types_from}, and BTF of {', '.join(entry.modules_used)} in the dump"
