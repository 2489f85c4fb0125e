"""A kernel as small as our reading of it: page table, types, symbols and modules, in an ELF dump or a vmlinux.

    kernel = WrittenKernel(lacking={"task_struct.pid"})
    open_dump(kernel.dump(tmp_path / "vmcore"))

Its types are those of needs.py, each member of 8 bytes behind the one before.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from gcoretools.arch.x86_64 import START_KERNEL_MAP
from gcoretools.dumps import PAGE_SIZE, Note
from gcoretools.layout import modules, needs
from gcoretools.layout.needs import Need
from tests.compiled import build
from tests.written_btf import BtfWriter
from tests.written_dumps import write_elf
from tests.written_kallsyms import START, KallsymsImage, Rows

KASLR = 0x600000
BUILD_ID = "00112233445566778899aabbccddeeff00112233"
TABLE, MODULES, TYPES = START, START + 0x5000, START + 0x8000

UTSNAME, BANNER = START + 0x6800, START + 0x6A00
RELEASE = "6.1.0-written"

BTF_STRUCT = 512
"""Size of the structs btf and btf_module here."""


def types_of(rows: Iterable[Need], extra: Iterable[str] = (), base: BtfWriter | None = None) -> BtfWriter:
    """BTF with the newest spelling of each of these."""
    w = BtfWriter(base)
    word = w.integer("long unsigned int", 8)
    text = w.array(word, 8)
    tree: dict[str, Any] = {}
    for spelling in [need.spellings[0] for need in rows] + list(extra):
        at = tree
        for part in spelling.split("."):
            at = at.setdefault(part, {})
    for tag, members in tree.items():
        _struct(w, tag, members, word, text)
    return w


def _struct(w: BtfWriter, tag: str, members: dict[str, Any], word: int, text: int) -> tuple[int, int]:
    """Adds a struct and those in it; gives its ID and size."""
    fields, size = [], 0
    for name, nested in members.items():
        if nested:
            kind, length = _struct(w, "", nested, word, text)
        else:
            kind, length = (text, 64) if name == "name" else (word, 8)
        fields.append((name, kind, size))
        size += length
    return w.struct(tag, size, *fields), size


@dataclass
class WrittenKernel:
    """The kernel.

    Attributes:
        levels: of its page table.
        phys_base: as the kernel has it.
        lacking: names in needs.py that it does not have.
        symbols: further symbols.
        modules: name -> BTF of the loaded modules.
        named: VMCOREINFO names the tables of kallsyms.
        numbered: VMCOREINFO has phys_base as a number, not only the variable's address.
        described: it has VMCOREINFO.
        info: lines of VMCOREINFO that go before the others, of which the first one of a name counts.
    """

    levels: int = 4
    phys_base: int = 0x200000
    lacking: frozenset[str] = frozenset()
    symbols: dict[str, int] = field(default_factory=dict)
    modules: dict[str, bytes] = field(default_factory=dict)
    named: bool = True
    numbered: bool = True
    described: bool = True
    info: str = ""

    @property
    def types(self) -> BtfWriter:
        rows = (*needs.MEMBERS, *modules.MEMBERS)
        return types_of(
            (need for need in rows if need.required or need in modules.MEMBERS if need.name not in self.lacking),
            (need.name for need in needs.SIZES if need.required and need.name not in self.lacking),
        )

    def rows(self) -> Rows:
        """Its symbols."""
        size = len(self.types.blob())
        known = {need.name: START + 0x2000 + 16 * i for i, need in enumerate(needs.SYMBOLS)}
        known |= {"system_utsname": UTSNAME, "linux_banner": BANNER, "init_top_pgt": TABLE} | self.symbols
        known |= {"_stext": START, "__start_BTF": TYPES, "__stop_BTF": TYPES + size, "btf_modules": MODULES}
        kept = [(name, "D", at) for name, at in known.items() if name not in self.lacking]
        filler = [(f"function_{i}", "t", START + 0x100000 + i) for i in range(1200)]
        return sorted(kept + filler, key=lambda row: row[2])

    def dump(self, path: Path) -> Path:
        """Writes an ELF dump of it."""
        image = KallsymsImage(self.rows(), "old", absolute_percpu=False, before=self._start())
        data = bytes(image.image) + bytes(-len(image.image) % PAGE_SIZE)
        first = START - START_KERNEL_MAP + self.phys_base >> 12
        pages = {first + i: data[i * PAGE_SIZE : (i + 1) * PAGE_SIZE] for i in range(len(data) // PAGE_SIZE)}
        lines = [f"OSRELEASE={RELEASE}\nBUILD-ID={BUILD_ID}\nPAGESIZE=4096\nKERNELOFFSET={KASLR:x}"]
        lines += [self.info] if self.info else []
        lines += [
            f"SYMBOL(swapper_pg_dir)={TABLE:x}\nSYMBOL(_stext)={START:x}\nSYMBOL(phys_base)={START + 0x7000:x}"
        ]
        lines += [f"NUMBER(pgtable_l5_enabled)={self.levels - 4}"]
        lines += [f"NUMBER(phys_base)={self.phys_base}"] if self.numbered else []
        lines += [f"SYMBOL({name})={at:x}" for name, at in image.symbols.items()] if self.named else []
        text = "\n".join([*lines, ""]).encode()
        return write_elf(path, pages, [Note("VMCOREINFO", 0, text)] if self.described else [])

    def vmlinux(self, folder: Path) -> Path:
        """Writes an ELF file with its types and symbols, at their link-time addresses."""
        (folder / "btf").write_bytes(self.types.blob())
        symbols = [
            f"--add-symbol={name}={at - KASLR - (1 << 64)},global"
            for name, _, at in self.rows()
            if "function" not in name
        ]
        program = build(folder, "-no-pie", f"-Wl,--build-id=0x{BUILD_ID}")
        stripped = ("--strip-all", f"--add-section=.BTF={folder / 'btf'}")
        subprocess.run(["objcopy", *stripped, *symbols, program, folder / "vmlinux"], check=True)
        return folder / "vmlinux"

    def _start(self) -> bytes:
        """Page tables, phys_base, modules and types: what stands before the tables of kallsyms."""
        start = bytearray(TYPES - START)
        self._map(start)
        struct.pack_into("<q", start, 0x7000, self.phys_base)
        struct.pack_into("<65s65s65s", start, UTSNAME - START, b"Linux", b"written", RELEASE.encode())
        struct.pack_into("<64s", start, BANNER - START, f"Linux version {RELEASE}\n".encode())
        blobs = self.types.blob()
        for name, blob in self.modules.items():
            blobs += bytes(-len(blobs) % 8)
            self._module(start, name, TYPES + len(blobs), len(blob))
            blobs += blob
        self._link(start)
        return bytes(start) + blobs

    def _map(self, start: bytearray) -> None:
        """Tables from the top one on, one page each; the last maps large pages of 2 MiB."""
        root = TABLE - START_KERNEL_MAP + self.phys_base
        for depth, shift in enumerate((48, 39, 30)[5 - self.levels :]):
            index = START >> shift & 511
            struct.pack_into("<Q", start, depth * PAGE_SIZE + index * 8, root + (depth + 1) * PAGE_SIZE | 3)
        last = (self.levels - 2) * PAGE_SIZE
        for i in range(4):
            frame = START - START_KERNEL_MAP + self.phys_base + (i << 21)
            struct.pack_into("<Q", start, last + ((START >> 21 & 511) + i) * 8, frame | 0x83)

    def _places(self) -> dict[str, int]:
        """Offsets in struct btf and struct btf_module, as types_of lays them out."""
        places, sizes = {}, {"btf": 0, "btf_module": 0}
        for need in modules.MEMBERS:
            tag, member = need.name.split(".")
            places[need.name] = sizes[tag]
            sizes[tag] += 64 if member == "name" else 8
        return places

    def _module(self, start: bytearray, name: str, va: int, size: int) -> None:
        at, places = self._structs(name), self._places()
        btf = at + 256
        struct.pack_into("<Q", start, at + places["btf_module.btf"] - START, btf)
        struct.pack_into("<Q", start, btf + places["btf.data"] - START, va)
        struct.pack_into("<Q", start, btf + places["btf.data_size"] - START, size)
        offset = btf + places["btf.name"] - START
        start[offset : offset + len(name)] = name.encode()

    def _structs(self, name: str) -> int:
        """Where a module's struct btf_module stands; its struct btf stands in the same place's other half."""
        return MODULES + BTF_STRUCT * (1 + list(self.modules).index(name))

    def _link(self, start: bytearray) -> None:
        link = self._places()["btf_module.list"]
        ring = [MODULES, *(self._structs(name) + link for name in self.modules), MODULES]
        for here, following in pairwise(ring):
            struct.pack_into("<Q", start, here - START, following)
