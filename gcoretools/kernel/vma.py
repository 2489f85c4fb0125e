"""The mappings of a process, classified as the kernel's core filter does (fs/coredump.c, fs/proc/task_mmu.c)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE
from gcoretools.errors import KernelDataError, PageAbsent
from gcoretools.kernel import maple_tree
from gcoretools.kernel.image import LIST_LIMIT, Image, Struct
from gcoretools.kernel.path import Paths
from gcoretools.kernel.task import without_thread_groups
from gcoretools.records import Vma

# include/linux/mm.h
VM_READ, VM_WRITE, VM_EXEC, VM_SHARED, VM_MAYREAD = 0x1, 0x2, 0x4, 0x8, 0x10
VM_GROWSDOWN, VM_PFNMAP, VM_IO, VM_HUGETLB, VM_DONTDUMP = 0x100, 0x400, 0x4000, 0x400000, 0x4000000

# include/linux/fs.h
S_DAX = 1 << 13

# arch/x86/entry/vsyscall/vsyscall_64.c: the last of its modes.
VSYSCALL_NONE = 2

# VSYSCALL32_BASE of include/asm-x86_64/vsyscall32.h.
SYSCALL32_PAGE = 0xFFFFE000

ALL_ONES = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class _Inode:
    """What a mapping's record says of the file behind it."""

    number: int = 0
    device: tuple[int, int] = (0, 0)
    mode: int = 0
    links: int = 1
    dax: bool = False


class Mappings:
    """The mappings of one mm_struct.

    Args:
        image: the kernel.
        mm: virtual address of the mm_struct.
        paths: names of files as this process sees them.
        bits: 32 or 64, the class of the process.
    """

    def __init__(self, image: Image, mm: int, paths: Paths, bits: int) -> None:
        self._image = image
        self._mm = image.struct("mm_struct", mm)
        self._paths = paths
        self._bits = bits
        self._inodes: dict[int, _Inode] = {}
        self._operations: dict[int, tuple[bool, bool]] = {}

    def __iter__(self) -> Iterator[Vma]:
        """Every mapping in ascending order, the gate page last. Raises KernelDataError on a damaged tree."""
        end = 0
        for address in self._addresses():
            view = self._image.struct("vm_area_struct", address)
            if not end <= view["vm_start"] < view["vm_end"]:
                raise KernelDataError(f"vm_area_struct at {address:#x} is out of order: it is damaged")
            end = view["vm_end"]
            yield self._vma(view)
        gate = self._gate()
        if gate:
            yield gate

    def _addresses(self) -> Iterator[int]:
        if self._mm.has("mm_mt"):
            # Each node of the tree has at least one entry.
            limit = 2 * (self._mm["map_count"] & 0xFFFFFFFF) + 64
            entries = maple_tree.entries(self._image, self._mm.at("mm_mt"), limit)
            return (entry for entry in entries if not entry & 3)
        return self._linked()

    def _linked(self) -> Iterator[int]:
        """The list before the maple tree; its order by address, checked by the caller, excludes cycles."""
        address = self._mm["mmap"]
        for _ in range(LIST_LIMIT):
            if not address:
                return
            yield address
            address = self._image.struct("vm_area_struct", address)["vm_next"]

    def _vma(self, view: Struct) -> Vma:
        file = self._image.struct("file", view["vm_file"]) if view["vm_file"] else None
        inode = self._inode(file) if file else _Inode()
        special = self._special_name(view)
        faultable = self._operation(view)[0]
        return Vma(
            start=view["vm_start"],
            size=view["vm_end"] - view["vm_start"],
            flags=view["vm_flags"] & ALL_ONES,
            category="special" if special is not None else _category(view["vm_flags"], file is not None, inode),
            written=view["anon_vma"] != 0,
            offset=view["vm_pgoff"] << PAGE_SHIFT & ALL_ONES if file else 0,
            file=file is not None,
            device=list(inode.device),
            inode=inode.number,
            mode=inode.mode,
            name=self._paths.of(file) if file else special or self._anonymous_name(view),
            faultable=faultable,
            mapping=file["f_mapping"] if file and file.has("f_mapping") else 0,
        )

    def _operation(self, view: Struct) -> tuple[bool, bool]:
        """Whether the mapping's operations can fault a page in, and whether they name it."""
        address = view["vm_ops"]
        if not address:
            return False, False
        if address not in self._operations:
            ops = self._image.struct("vm_operations_struct", address)
            fault = bool(ops["fault"]) if ops.has("fault") else True
            self._operations[address] = fault, ops.has("name") and ops["name"] != 0
        return self._operations[address]

    def _special_name(self, view: Struct) -> str | None:
        """The name of a mapping that the kernel made ([vdso], [vvar], uprobes), None for all others.

        The kernel asks vm_ops->name; the one function behind it that matters reads a vm_special_mapping.
        Before 3.16 (78d683e838a6) arch_vma_name knew the vdso by its address.
        """
        if self._operation(view)[1]:
            mapping = self._image.struct("vm_special_mapping", view["vm_private_data"])
            try:
                return self._image.memory.string(mapping["name"], 64).decode("utf-8", "surrogateescape")
            except (KernelDataError, PageAbsent):
                return "[special]"  # named by a driver's own function
        vdso = self._mm["context.vdso"] if self._mm.has("context.vdso") else 0
        if view["vm_ops"] and view["vm_ops"] == self._image.kernel.layout.symbols.get("special_mapping_vmops"):
            return "[vdso]"
        return "[vdso]" if vdso and vdso == view["vm_start"] and not view["vm_file"] else None

    def _anonymous_name(self, view: Struct) -> str:
        if view.has("anon_name") and view["anon_name"]:
            at = self._image.struct("anon_vma_name", view["anon_name"]).at("name")
            return f"[anon:{self._image.memory.string(at, 80).decode('utf-8', 'surrogateescape')}]"
        if view["vm_start"] <= self._mm["brk"] and view["vm_end"] >= self._mm["start_brk"]:
            return "[heap]"
        if view["vm_start"] <= self._mm["start_stack"] <= view["vm_end"]:
            return "[stack]"
        return ""

    def _inode(self, file: Struct) -> _Inode:
        address = self._image.struct("dentry", file["f_path.dentry"])["d_inode"]
        if address not in self._inodes:
            inode = self._image.struct("inode", address)
            device = self._image.struct("super_block", inode["i_sb"])["s_dev"]
            self._inodes[address] = _Inode(
                number=inode["i_ino"] & ALL_ONES,
                device=(device >> 20, device & 0xFFFFF),
                mode=inode["i_mode"],
                links=inode["i_nlink"],
                dax=inode.has("i_flags") and bool(inode["i_flags"] & S_DAX),
            )
        return self._inodes[address]

    def _gate(self) -> Vma | None:
        """The page that is no mapping of the process, but has a segment in its core (get_gate_vma)."""
        image = self._image
        if image.pointer_size == 4:
            return self._gate_i386()
        if self._bits == 32:
            # ELF_CORE_EXTRA_PHDRS of arch/x86_64/ia32/ia32_binfmt.c, until the page became a mapping (2.6.18).
            found = image.has("syscall32_page") and without_thread_groups(image)
            return _page(SYSCALL32_PAGE, VM_READ | VM_EXEC, "special", "[vdso]", faultable=True) if found else None
        if not image.has("gate_vma"):
            return None
        gate = image.struct("vm_area_struct", image.symbol("gate_vma"))
        if not image.has("vsyscall_mode"):
            # Cores have a segment of it since f47aef55d9a1 (2.6.20), until 3ae36655b97a (3.1) without contents.
            told = image.has("file.f_path")
            return _page(gate["vm_start"], gate["vm_flags"], "AP", "[vsyscall]") if told else None
        if image.memory.integer(image.symbol("vsyscall_mode"), 4) == VSYSCALL_NONE:
            return None
        return _page(gate["vm_start"], gate["vm_flags"], "special", "[vsyscall]")

    def _gate_i386(self) -> Vma | None:
        """The [vdso] page of all processes, where they have none of their own (CONFIG_COMPAT_VDSO, and 2.6.9)."""
        if not self._image.has("gate_vma"):
            return None
        start = self._image.struct("vm_area_struct", self._image.symbol("gate_vma"))["vm_start"]
        own = self._mm["context.vdso"] if self._mm.has("context.vdso") else start
        return _page(start, VM_READ | VM_EXEC, "special", "[vdso]", faultable=True) if start == own else None


def _page(start: int, flags: int, category: str, name: str, *, faultable: bool = False) -> Vma:
    """A page that the kernel maps for every process."""
    return Vma(
        start=start,
        size=PAGE_SIZE,
        flags=flags,
        category=category,
        written=False,
        offset=0,
        file=False,
        device=[0, 0],
        inode=0,
        mode=0,
        name=name,
        faultable=faultable,
    )


def _category(flags: int, file: bool, inode: _Inode) -> str:
    """The kind of memory, in the order in which vma_dump_size asks (special and DONTDUMP aside)."""
    shared = bool(flags & VM_SHARED)
    if inode.dax:
        return "DS" if shared else "DP"
    if flags & VM_HUGETLB:
        return "HS" if shared else "HP"
    if flags & VM_IO:
        return "IO"
    if shared:
        return "AS" if inode.links == 0 or not file else "FS"
    return "FP" if file else "AP"
