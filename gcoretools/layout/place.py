"""Where a kernel lies in a dump that does not say it (no VMCOREINFO): by its own name in its memory.

What is asked of the dump comes from the file of -k: the kernel's utsname ("Linux", ..., the release) is looked for
at every place where its image could have been loaded, and counts when the page table beside it maps it.
Source: init/version.c; physical loading and KASLR: arch/x86/boot/compressed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from types import ModuleType

from gcoretools.arch import ARCHITECTURES
from gcoretools.dumps.dump import Dump
from gcoretools.errors import DumpError, KernelDataError, LayoutError
from gcoretools.layout.layout import Layout
from gcoretools.layout.machine import Machine
from gcoretools.layout.symbol_file import SymbolFile

# struct new_utsname (include/uapi/linux/utsname.h): char sysname[65], nodename[65], release[65], ...
UTS_SIZE, UTS_RELEASE = 195, 130
SYSNAME = b"Linux\0"

BANNER_LIMIT = 1024


def find_kernel(dump: Dump, layout: Layout, given: SymbolFile) -> tuple[str, Machine]:
    """The release of the kernel in a dump, and how it is mapped.

    Args:
        layout: of the file, with link-time addresses.
        given: the file.
    Raises LayoutError when that kernel is not in the dump.
    """
    name, arch = _architecture(layout, given)
    uts, table = _utsname(layout), layout.symbols.get("init_top_pgt", 0)
    if not (uts and table):
        raise LayoutError(
            f"{given.path}: it names neither init_uts_ns nor the kernel's page table: no kernel's file"
        )
    for pa, release in _names(dump, uts - arch.START_KERNEL_MAP, arch.IMAGE_ALIGNMENT):
        machine = _machine(dump, name, arch, uts, pa, pa + table - uts) or _without_table(
            dump, name, arch, layout, pa - uts
        )
        if machine:
            return release, machine
    raise LayoutError(
        f"{given.path}: it is not of the kernel in {dump.path}: nowhere in the dump is that kernel's name where "
        "this file has it"
    )


def check_banner(dump: Dump, machine: Machine, layout: Layout, given: SymbolFile) -> None:
    """Raises LayoutError when the file has another linux_banner than the dump; either may have none.

    Args:
        layout: with addresses of the dump.
    """
    expected, at = given.banner(), layout.symbols.get("linux_banner")
    if not (expected and at):
        return
    try:
        found = machine.space(dump).string(at, BANNER_LIMIT)
    except (DumpError, KernelDataError):
        return  # the page was left out
    if found.strip() != expected.strip():
        raise LayoutError(f"{given.path}: it is of another kernel: {_shown(expected)!r}, and not {_shown(found)!r}")


def _architecture(layout: Layout, given: SymbolFile) -> tuple[str, ModuleType]:
    """The architecture whose pointers are as wide as those of the types."""
    size = layout.members["list_head.next"].size
    for name, arch in ARCHITECTURES.items():
        if size == arch.POINTER_SIZE:
            return name, arch
    raise LayoutError(f"{given.path}: a kernel with pointers of {size} bytes; such ones are not read yet")


def _utsname(layout: Layout) -> int:
    """Link-time address of the kernel's struct new_utsname; 0 when neither symbol is there."""
    if "init_uts_ns" in layout.symbols and "uts_namespace.name" in layout.members:
        return layout.symbols["init_uts_ns"] + layout.members["uts_namespace.name"].offset
    return layout.symbols.get("system_utsname", 0)


def _names(dump: Dump, offset: int, step: int) -> Iterator[tuple[int, str]]:
    """Physical address and release of every utsname that lies at `offset` from a multiple of `step`, ascending."""
    for start, size in dump.ranges():
        for pa in range(start + (offset - start) % step, start + size, step):
            try:
                data = dump.read(pa, UTS_SIZE)
            except DumpError:
                continue
            release = data[UTS_RELEASE:].split(b"\0", 1)[0]
            if data.startswith(SYSNAME) and release:
                yield pa, release.decode("latin-1")


def _machine(dump: Dump, name: str, arch: ModuleType, uts: int, pa: int, root: int) -> Machine | None:
    """How the kernel is mapped whose page table is at `root`; None when that maps no utsname at `pa`."""
    for levels in arch.PAGE_LEVELS if root >= 0 else ():
        for offset in range(0, arch.IMAGE_RANGE, arch.IMAGE_ALIGNMENT):
            base = pa - (uts + offset - arch.START_KERNEL_MAP)
            machine = Machine(name, levels, root, base, offset, arch.START_KERNEL_MAP)
            try:
                if machine.space(dump).translate(uts + offset)[0] == pa:
                    return machine
            except (DumpError, KernelDataError):
                continue
    return None


def _without_table(dump: Dump, name: str, arch: ModuleType, layout: Layout, shift: int) -> Machine | None:
    """How a kernel is mapped whose page table is not in the dump; None when that cannot be told.

    Its list of tasks tells where it sees physical memory: the second task, init, points back to the first.

    Args:
        shift: bytes from an address in the kernel image to the physical one.
    """
    tasks = layout.members["task_struct.tasks"].offset
    head = layout.symbols.get("init_task", 0) + tasks
    with suppress(DumpError):
        second = _pointer(dump, arch, head + shift)
        for start in arch.DIRECT_MAPS:
            with suppress(DumpError):
                if _pointer(dump, arch, second - start + arch.POINTER_SIZE) == head:
                    root = (
                        _root(dump, arch, layout, second - tasks, start) or layout.symbols["init_top_pgt"] + shift
                    )
                    base = shift + arch.START_KERNEL_MAP
                    return Machine(name, arch.PAGE_LEVELS[0], root, base, 0, arch.START_KERNEL_MAP, start)
    return None


def _root(dump: Dump, arch: ModuleType, layout: Layout, task: int, direct_map: int) -> int:
    """Physical address of a task's page table, which maps all that the kernel's maps; 0 where it has no such."""
    if "x8664_pda.level4_pgt" in layout.members:
        return 0  # it has only the process's own half
    mm = _pointer(dump, arch, task - direct_map + layout.members["task_struct.mm"].offset)
    return _pointer(dump, arch, mm - direct_map + layout.members["mm_struct.pgd"].offset) - direct_map


def _pointer(dump: Dump, arch: ModuleType, pa: int) -> int:
    return int.from_bytes(dump.read(pa, arch.POINTER_SIZE), "little")


def _shown(banner: bytes) -> str:
    return banner.decode("latin-1").strip()[:160]
