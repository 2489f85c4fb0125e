"""Where a kernel keeps things: the resolved layout, a small plain value that travels in the stream's header."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Member:
    """A struct member: offset and size in bytes, and whether an integer of it is signed."""

    offset: int
    size: int
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything that needs.py names and this kernel has, under the names that needs.py gives.

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
        page_levels: 4 or 5.
        page_root: physical address of the kernel's own top page table.
        phys_base: physical address of the kernel image's link base (bytes).
        kaslr_offset: runtime address minus link address of the kernel image (bytes).
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
