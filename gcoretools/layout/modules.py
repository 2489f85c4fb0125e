"""The types of loaded modules, from the kernel's own list of their BTF.

A module's .BTF section is freed when it has been loaded (struct module's btf_data is then NULL), but the BPF
subsystem keeps a copy: btf_modules in kernel/bpf/btf.c, since 36e68442d1af (5.11).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from gcoretools.errors import DumpError, KernelDataError, LayoutError
from gcoretools.layout import needs
from gcoretools.layout.btf import Btf
from gcoretools.layout.layout import Layout, Member
from gcoretools.layout.needs import Need
from gcoretools.layout.types import find_layout, tags
from gcoretools.memory import AddressSpace

MEMBERS = tuple(
    Need(name, (name,), required=False)
    for name in ("btf_module.list", "btf_module.btf", "btf.data", "btf.data_size", "btf.name")
)
"""Members that lead to them: struct btf and struct btf_module are types of the kernel itself."""

SYMBOLS = tuple(Need(name, (name,), required=False) for name in ("__start_BTF", "__stop_BTF", "btf_modules"))
"""Where the kernel's own BTF begins and ends, and the list of its modules'."""

MODULES_LIMIT = 1 << 14
DATA_LIMIT = 1 << 26


@dataclass(frozen=True, slots=True)
class ModuleTypes:
    """Where a module's BTF lies: its name, virtual address and size in bytes."""

    name: str
    va: int
    size: int


def module_types(space: AddressSpace, layout: Layout) -> Iterator[ModuleTypes]:
    """The BTF of every loaded module; none where the kernel does not keep it.

    Raises KernelDataError when the list is damaged, PageAbsent when a part of it is not in the dump.
    """
    head = layout.symbols.get("btf_modules")
    if head is None or not all(need.name in layout.members for need in MEMBERS):
        return
    members = layout.members
    link = members["btf_module.list"].offset
    at = space.pointer(head)
    for _ in range(MODULES_LIMIT):
        if at == head:
            return
        btf = space.pointer(at - link + members["btf_module.btf"].offset)
        name = space.read(btf + members["btf.name"].offset, members["btf.name"].size)
        yield ModuleTypes(
            name.split(b"\0", 1)[0].decode("latin-1"),
            _integer(space, btf, members["btf.data"]),
            _integer(space, btf, members["btf.data_size"]),
        )
        at = space.pointer(at)
    raise KernelDataError(f"the list of modules' types at {head:#x} has no end: it is damaged")


def kernel_btf(space: AddressSpace, layout: Layout) -> Btf:
    """The kernel's own types. Raises LayoutError when there are none or they are damaged, and as AddressSpace."""
    start, stop = layout.symbols.get("__start_BTF", 0), layout.symbols.get("__stop_BTF", 0)
    if not 0 < stop - start < DATA_LIMIT:
        raise LayoutError("the dumped kernel has no BTF types in it (CONFIG_DEBUG_INFO_BTF, since 5.2)")
    return Btf(space.read(start, stop - start), where="BTF in the dump")


def module_btf(space: AddressSpace, module: ModuleTypes, base: Btf) -> Btf:
    """The types of a module, which go on from the kernel's own. Raises LayoutError and as AddressSpace.read."""
    if module.size > DATA_LIMIT:
        raise LayoutError(f"module {module.name}: {module.size} bytes of BTF cannot be: the dump is damaged")
    return Btf(space.read(module.va, module.size), base, f"BTF of module {module.name}")


def complete(space: AddressSpace, layout: Layout, known: Collection[str]) -> tuple[Layout, list[str], list[str]]:
    """What needs wants and only a module has, such as zram's structs.

    Args:
        space: the kernel's address space.
        layout: what the kernel's own types gave.
        known: names of modules that were looked through before.

    Returns the completed layout, the modules that were looked through, and those that had something. A module
    whose types are damaged or not in the dump is passed over: nothing that a module has is required.
    """
    looked: list[str] = []
    used: list[str] = []
    base: Btf | None = None
    for module in _listed(space, layout):
        if module.name in known:
            continue
        looked.append(module.name)
        members, sizes, constants = _lacking(layout)
        with suppress(DumpError, KernelDataError, LayoutError):
            if _mentions(space, module, {tag for need in (*members, *sizes) for tag in tags(need)}):
                base = base or kernel_btf(space, layout)
                found = find_layout(module_btf(space, module, base), members, sizes, constants)
                if found.members or found.sizes or found.constants:
                    used.append(module.name)
                    layout = _joined(layout, found)
    return layout, looked, used


def _listed(space: AddressSpace, layout: Layout) -> list[ModuleTypes]:
    """The modules up to where the list is damaged."""
    found = []
    with suppress(DumpError, KernelDataError):
        for module in module_types(space, layout):
            found.append(module)
    return found


def _mentions(space: AddressSpace, module: ModuleTypes, tags: Collection[str]) -> bool:
    """Whether any of these names stands in a module's BTF: few do, and a look is cheaper than the types."""
    data = space.read(module.va, min(module.size, DATA_LIMIT))
    return any(b"\0%s\0" % tag.encode() in data for tag in tags)


def _lacking(layout: Layout) -> tuple[list[Need], list[Need], list[Need]]:
    """The members, sizes and constants that the layout lacks."""
    return (
        [need for need in needs.MEMBERS if need.name not in layout.members],
        [need for need in needs.SIZES if need.name not in layout.sizes],
        [need for need in needs.CONSTANTS if need.name not in layout.constants],
    )


def _joined(layout: Layout, more: Layout) -> Layout:
    return replace(
        layout,
        members=more.members | layout.members,
        sizes=more.sizes | layout.sizes,
        constants=more.constants | layout.constants,
    )


def _integer(space: AddressSpace, struct: int, member: Member) -> int:
    return space.integer(struct + member.offset, member.size)
