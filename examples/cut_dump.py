"""Cut a dump down to the pages that the commands read of its processes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcoretools.core.filter import ALL_BITS
from gcoretools.dumps import PAGE_SHIFT, PAGE_SIZE, Buffer, Dump, Pfns, open_dump
from gcoretools.dumps.flattened import Flattened
from gcoretools.dumps.kdump_headers import read_headers
from gcoretools.errors import GcoreError
from gcoretools.kernel import maple_tree
from gcoretools.kernel.core_rules import core_rules
from gcoretools.kernel.cpu import per_cpu
from gcoretools.kernel.image import Image
from gcoretools.kernel.registers import stack_size
from gcoretools.layout import modules
from gcoretools.layout.layout import Layout
from gcoretools.layout.machine import describe
from gcoretools.layout.needs import Need
from gcoretools.layout.resolve import resolve_kernel
from gcoretools.layout.sources import kallsyms
from gcoretools.layout.types import find_layout
from gcoretools.records import Process, Record, Thread
from gcoretools.stages.maps import add_mappings
from gcoretools.stages.pages import add_pages
from gcoretools.stages.regs import add_registers
from gcoretools.stages.tasks import Tasks
from gcoretools.stream import to_wire

FILTERS = (127, ALL_BITS, None)

# No page of the kernel's code goes into the dump: it is not ours. (Its initial code is gone after the boot.)
CODE = ("_stext", "_etext")

# What later versions of the commands may want to see: of a process's memory and files, of the FPU and of swap.
MEMBERS = (
    "vm_area_struct.vm_file", "file.f_path.dentry", "file.f_inode", "inode.i_mapping", "inode.i_sb",
    "address_space.i_pages.xa_head", "xa_node.slots",
)  # fmt: skip
SIZES = (
    "mm_struct", "vm_area_struct", "file", "dentry", "inode", "address_space", "xa_node", "super_block", "page",
)  # fmt: skip
VARIABLES = (
    "vmemmap_base", "page_offset_base", "vmalloc_base", "mem_section", "swap_info", "nr_swapfiles",
    "swapper_spaces", "fpu_user_cfg", "fpu_kernel_cfg", "init_fpstate", "xstate_offsets", "xstate_sizes",
    "xstate_flags", "xstate_fx_sw_bytes", "user_x86_64_view", "x86_64_regsets", "boot_cpu_data", "cpu_tss_rw",
    "saved_command_line", "init_uts_ns",
)  # fmt: skip
PER_CPU_LIMIT = 1 << 32  # below, an address is an offset into each CPU's own area
VARIABLE_SIZE = 512  # bytes: as much as any of them takes, or more
XA_INTERNAL = 2


class Recorder(Dump):
    """A dump that notes which of its pages are read."""

    def __init__(self, dump: Dump) -> None:
        self.path, self.format, self.notes = dump.path, dump.format, dump.notes
        self.reasons, self.fingerprint = dump.reasons, dump.fingerprint
        self.read_pfns: set[int] = set()
        self._dump = dump

    def present(self, pfns: Pfns) -> NDArray[np.bool_]:
        """As the dump itself says; that alone reads no page."""
        return self._dump.present(pfns)

    def pages(self, pfns: Pfns) -> Buffer:
        """The pages of the dump itself."""
        pages = self._dump.pages(pfns)
        self.read_pfns.update(pfns.tolist())
        return pages

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The ranges of the dump itself."""
        return self._dump.ranges()


def cut(whole: Path, target: Path) -> int:
    """Write the cut dump and return its number of pages.

    Args:
        whole: kdump-compressed, flattened or not, as QEMU writes it.
        target: a kdump-compressed dump, not flattened, with the headers and notes of the whole one.
    Raises GcoreError when the commands do not say the same of both.
    """
    recorder = Recorder(open_dump(whole))
    said = everything(recorder)
    keep_more(recorder)
    pfns = sorted(recorder.read_pfns - code_pages(recorder))
    write(whole, target, {pfn: bytes(recorder.pages(np.array([pfn], np.uint64))) for pfn in pfns})
    if everything(open_dump(target)) != said:
        raise GcoreError(f"{target}: the commands do not say the same of it as of {whole}")
    return len(pfns)


def everything(dump: Dump) -> list[object]:
    """All that the stages say of a dump: every task, and each process by every selector, with every filter."""
    image = Image(dump, resolve_kernel(dump, use_cache=False))
    rules = core_rules(image)
    tasks = Tasks(image)
    said: list[object] = [rules, *map(to_wire, tasks.everything(kernel_threads=True))]
    for selectors in ([], *selectors_of(tasks.everything())):
        for chosen in FILTERS:
            records = add_registers(add_mappings(tasks.selected(selectors), image), image)
            said += map(plain, add_pages(records, image, rules, chosen))
    return said


def plain(record: Record) -> dict[str, object]:
    """A record as a map with its bytes copied: the dump's own buffers do not last."""
    wire = to_wire(record)
    return {name: bytes(value) if isinstance(value, memoryview) else value for name, value in wire.items()}


def selectors_of(records: Iterable[Record]) -> Iterator[list[str]]:
    """Each way to name each thread."""
    for record in records:
        if isinstance(record, Thread):
            yield [str(record.pid)]
            yield [f"{record.task:x}"]


def code_pages(dump: Dump) -> set[int]:
    """The page frames that hold the kernel's code."""
    image = Image(dump, resolve_kernel(dump, use_cache=False))
    start, end = map(kallsyms(image.memory, describe(dump)).find(CODE).__getitem__, CODE)
    return {image.memory.translate(va)[0] >> PAGE_SHIFT for va in range(start, end, PAGE_SIZE)}


def keep_more(dump: Recorder) -> None:
    """Read what the commands do not read yet: whole tasks and stacks, files and their page cache."""
    image = Image(dump, resolve_kernel(dump, use_cache=False))
    found = kallsyms(image.memory, describe(dump)).find(VARIABLES)
    for va in found.values():
        image.memory.read(va if va >= PER_CPU_LIMIT else per_cpu(image, va, 0), VARIABLE_SIZE)
    for module in image.list(image.symbol("modules"), "module.list"):
        module.string("name")
    memory = Memory(image, found["vmemmap_base"])
    for record in Tasks(image).everything():
        if isinstance(record, Thread):
            image.memory.read(record.stack, stack_size(image))
            image.memory.read(record.task, image.size("task_struct"))
        elif isinstance(record, Process):
            memory.read_all(record.mm)


class Memory:
    """Reads what the kernel knows of a process's memory: its mappings, their files, the pages in their page cache.

    Args:
        vmemmap: address of the variable vmemmap_base.
    """

    def __init__(self, image: Image, vmemmap: int) -> None:
        self._image = image
        self._vmemmap = image.pointer(vmemmap)
        types = modules.kernel_btf(image.memory, image.kernel.layout)
        members = [Need(name, (name,)) for name in MEMBERS]
        sizes = [Need(name, (name,)) for name in SIZES]
        self._layout: Layout = find_layout(types, members, sizes, ())

    def read_all(self, mm: int) -> None:
        """All of the mm_struct at a virtual address."""
        self._read(mm, "mm_struct")
        for vma in maple_tree.entries(self._image, self._image.struct("mm_struct", mm).at("mm_mt"), 1 << 16):
            self._read(vma, "vm_area_struct")
            file = self._pointer(vma, "vm_area_struct.vm_file")
            if file:
                self._read(file, "file")
                self._read(self._pointer(file, "file.f_path.dentry"), "dentry")
                self._inode(self._pointer(file, "file.f_inode"))

    def _inode(self, inode: int) -> None:
        self._read(inode, "inode")
        self._read(self._pointer(inode, "inode.i_sb"), "super_block")
        mapping = self._pointer(inode, "inode.i_mapping")
        self._read(mapping, "address_space")
        self._entry(self._pointer(mapping, "address_space.i_pages.xa_head"))

    def _entry(self, entry: int) -> None:
        """An entry of an xarray: a node, a struct page with its page, or a value."""
        if entry & 3 == XA_INTERNAL and entry > PAGE_SIZE:
            node, slots = entry - XA_INTERNAL, self._layout.members["xa_node.slots"]
            self._read(node, "xa_node")
            for at in range(slots.offset, slots.offset + slots.size, 8):
                self._entry(self._image.pointer(node + at))
        elif entry and not entry & 3:
            self._read(entry, "page")
            pfn = (entry - self._vmemmap) // self._layout.sizes["page"]
            self._image.dump.read(pfn << PAGE_SHIFT, PAGE_SIZE)

    def _pointer(self, address: int, member: str) -> int:
        return self._image.pointer(address + self._layout.members[member].offset)

    def _read(self, address: int, name: str) -> None:
        self._image.memory.read(address, self._layout.sizes[name])


def write(whole: Path, target: Path, pages: dict[int, bytes]) -> None:
    """Write a kdump-compressed dump of these pages, behind the headers and notes of another one.

    The first bitmap, of the pages that the machine had, stays; the second says which are here. Source of the
    format: makedumpfile's IMPLEMENTATION and diskdump_mod.h.
    """
    raw = memoryview(whole.read_bytes())
    data = Flattened(whole, raw) if bytes(raw[:12]) == b"makedumpfile" else raw
    headers = read_headers(whole, data)
    here = np.zeros(headers.bitmap_size * 8, np.uint8)
    here[list(pages)] = 1
    first = bytes(data[: headers.bitmap + headers.bitmap_size])
    table, body = b"", b""
    start = headers.descriptors + 24 * len(pages)
    for pfn in sorted(pages):
        stored = zlib.compress(pages[pfn], 9)
        flags = 1 if len(stored) < PAGE_SIZE else 0
        stored = stored if flags else pages[pfn]
        table += struct.pack("<QIIQ", start + len(body), len(stored), flags, 0)
        body += stored
    target.write_bytes(first + np.packbits(here, bitorder="little").tobytes() + table + body)
