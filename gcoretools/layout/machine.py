"""Where the dumped kernel's page table lies: the first thing to know, and VMCOREINFO tells it (else: place.py).

Source: arch/x86/kernel/vmcore_info_64.c; __pa_symbol in arch/x86/include/asm/page.h.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from gcoretools.arch import architecture, i386, x86_64
from gcoretools.dumps.dump import Dump
from gcoretools.dumps.search import find_vmcoreinfo
from gcoretools.errors import DumpError, KernelDataError, LayoutError
from gcoretools.layout.vmcoreinfo import VmcoreInfo, parse_vmcoreinfo
from gcoretools.memory import AddressSpace

PHYSICAL_BITS = 52
"""Width of a physical address, at most."""


@dataclass(frozen=True, slots=True)
class Machine:
    """How the dumped kernel is mapped.

    Attributes:
        arch: the name of a module in gcoretools.arch.
        page_levels: 4 or 5; of i386 2, or 3 with PAE.
        page_root: physical address of the kernel's own top page table, in bytes.
        phys_base: bytes from an address in the kernel image, less __START_KERNEL_map, to the physical one; signed.
            0 on i386, where the image is a part of the direct map.
        kaslr_offset: runtime minus link address of the kernel image, in bytes.
        image: lowest link address that the kernel image can have.
        direct_map: as in Kernel.
    """

    arch: str
    page_levels: int
    page_root: int
    phys_base: int
    kaslr_offset: int
    image: int
    direct_map: int = 0

    def linked(self, at: int) -> int:
        """Link-time address of what stands at `at` in the dump.

        Only the image moves: below it are per-CPU symbols that count from zero (x86_64 up to 6.14), and absolutes.
        """
        return at - self.kaslr_offset if at >= self.image else at

    def running(self, at: int) -> int:
        """Address in the dump of what was linked at `at`."""
        return at + self.kaslr_offset if at >= self.image else at

    def told(self, linked: int, start: int) -> Machine:
        """With the offset that two addresses of _stext tell, that of a file and that in the dump; 0 for unknown.

        VMCOREINFO of i386 does not have it.
        """
        known = self.arch == "i386" and linked and start
        return replace(self, kaslr_offset=start - linked) if known else self

    def space(self, dump: Dump) -> AddressSpace:
        """The kernel's address space."""
        arch = architecture(self.arch)
        linear = arch.linear(self.phys_base, self.direct_map)
        return AddressSpace(dump, arch.paging(self.page_levels, inverted=False), self.page_root, linear)


def describe(dump: Dump) -> VmcoreInfo:
    """VMCOREINFO, of the note or out of memory. Raises LayoutError when there is none."""
    text = find_vmcoreinfo(dump)
    if text is None:
        raise LayoutError(
            f"{dump.path}: no VMCOREINFO, neither as a note nor in memory: nothing says where the kernel is; "
            "give the vmlinux or an ISF file of its kernel with -k "
            "(QEMU writes VMCOREINFO with -device vmcoreinfo and the module qemu_fw_cfg loaded)"
        )
    return parse_vmcoreinfo(text)


def locate(dump: Dump, info: VmcoreInfo) -> Machine:
    """Finds the kernel's page table, and sees that it maps itself.

    Raises LayoutError when VMCOREINFO does not name it, or does not fit the dump.
    """
    table = info.symbols.get("swapper_pg_dir") or info.symbols.get("init_top_pgt")
    if not table:
        raise LayoutError(f"{dump.path}: VMCOREINFO does not name the kernel's page table: it is damaged")
    if table < 1 << 32:
        return _locate_i386(dump, info, table)
    if table < x86_64.START_KERNEL_MAP:
        raise LayoutError(f"{dump.path}: kernel {info.release} is not for x86; others are not read yet")
    base = _phys_base(dump, info)
    root = table - x86_64.START_KERNEL_MAP + base
    if not 0 <= root < 1 << PHYSICAL_BITS:
        raise LayoutError(f"{dump.path}: the page table cannot be at {root:#x}: VMCOREINFO is damaged")
    machine = Machine(
        arch="x86_64",
        page_levels=5 if info.numbers.get("pgtable_l5_enabled") else 4,
        page_root=root,
        phys_base=base,
        kaslr_offset=info.kaslr_offset,
        image=x86_64.START_KERNEL_MAP,
    )
    _check(dump, machine, table)
    return machine


def _locate_i386(dump: Dump, info: VmcoreInfo, table: int) -> Machine:
    """A 32-bit kernel: by the one geometry and beginning of the direct map with which the page table maps itself.

    VMCOREINFO names neither. The image's place tells what KASLR did, if it was linked to where it usually is.
    """
    start = info.symbols.get("_stext", 0)
    for offset, levels in product(i386.DIRECT_MAPS, i386.PAGE_LEVELS):
        kaslr = info.kaslr_offset or (start - offset - i386.PHYSICAL_START if start else 0)
        machine = Machine("i386", levels, table - offset, phys_base=0, kaslr_offset=kaslr, image=offset)
        if table >= offset and _maps_itself(dump, machine, table):
            return machine
    raise LayoutError(
        f"{dump.path}: the page table of kernel {info.release}, at {table:#x}, is not in the dump or does not map "
        "itself: VMCOREINFO is not of this kernel, or the dump is damaged"
    )


def _maps_itself(dump: Dump, machine: Machine, table: int) -> bool:
    try:
        return machine.space(dump).translate(table)[0] == machine.page_root
    except (DumpError, KernelDataError):
        return False


def _check(dump: Dump, machine: Machine, table: int) -> None:
    try:
        found = machine.space(dump).translate(table)[0]
    except (DumpError, KernelDataError) as error:
        raise LayoutError(f"{dump.path}: the kernel's page table cannot be read: {error}") from error
    if found != machine.page_root:
        raise LayoutError(
            f"{dump.path}: the page table at physical {machine.page_root:#x} maps itself to {found:#x}: "
            "VMCOREINFO is not of this kernel"
        )


def _phys_base(dump: Dump, info: VmcoreInfo) -> int:
    """phys_base: a number since 4.10; before only the variable's address, which is right when it holds itself."""
    if "phys_base" in info.numbers:
        return info.numbers["phys_base"]
    at = info.symbols.get("phys_base", 0) - x86_64.START_KERNEL_MAP
    end = max((pa + size for pa, size in dump.ranges()), default=0)
    for base in range(0, end, x86_64.IMAGE_ALIGNMENT) if at > 0 else ():
        try:
            if int.from_bytes(dump.read(at + base, 8), "little") == base:
                return base
        except DumpError:
            continue
    raise LayoutError(f"{dump.path}: phys_base, which says where the kernel image lies, was not found")
