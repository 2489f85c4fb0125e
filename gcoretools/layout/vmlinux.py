"""A vmlinux: the kernel's ELF file, with its symbols and types; and where it usually lies."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from elftools.elf.elffile import ELFFile

from gcoretools.dumps.notes import parse_notes
from gcoretools.errors import DumpError, LayoutError
from gcoretools.layout.btf import Btf
from gcoretools.layout.cfi import CallFrames
from gcoretools.layout.dwarf import Dwarf
from gcoretools.layout.dwarf_search import DAMAGE
from gcoretools.layout.elf_files import mapped
from gcoretools.layout.kallsyms import Symbol, choose
from gcoretools.layout.system_map import system_map_beside
from gcoretools.layout.types import TypeSource
from gcoretools.layout.unwind_file import UnwindFile

PLACES = (
    "/usr/lib/debug/.build-id/{head}/{tail}.debug",
    "/usr/lib/debug/boot/vmlinux-{release}",
    "/usr/lib/debug/lib/modules/{release}/vmlinux",
    "/usr/lib/debug/lib/modules/{release}/vmlinux.debug",
    "/usr/lib/debug/boot/vmlinux-{release}.debug",
    "/usr/lib/debug/vmlinux-{release}",
    "/lib/modules/{release}/vmlinux",
    "/lib/modules/{release}/build/vmlinux",
    "/usr/src/linux-{release}/vmlinux",
    "/boot/vmlinux-{release}",
)
"""Where distributions and builds put the vmlinux of a release, or of a build ID, cut behind its first byte."""

NT_GNU_BUILD_ID = 3

_SYMBOL_64 = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("shndx", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
_SYMBOL_32 = np.dtype(
    [("name", "<u4"), ("value", "<u4"), ("size", "<u4"), ("info", "u1"), ("other", "u1"), ("shndx", "<u2")]
)
_STB_LOCAL = 0
_STT_SECTION, _STT_FILE = 3, 4
_MACHINES = ("EM_X86_64", "EM_386")


# linux_banner is one line: longer than any (init/version.c).
BANNER_LIMIT = 1024


class Vmlinux:
    """The file.

    Args:
        path: the ELF file: a vmlinux, or the separate debug file of one.

    Attributes:
        path: the file.
        build_id: hex digits, or "" when the file has none.

    Raises LayoutError when it is not such a file, or has neither symbols nor types.
    """

    kind = "vmlinux"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = mapped(path)
        try:
            self._elf = ELFFile(self._data)
            self._sections = {s.name: s for s in self._elf.iter_sections() if s["sh_type"] != "SHT_NOBITS"}
            if not self._elf.little_endian or self._elf["e_machine"] not in _MACHINES:
                raise LayoutError(f"{path}: not a kernel for x86")
            if ".symtab" not in self._sections and not self._has_types:
                raise LayoutError(f"{path}: stripped: it has neither symbols nor types; give one with them with -k")
            self.build_id = self._build_id()
        except (DumpError, *DAMAGE) as error:
            raise LayoutError(
                f"{path}: not a vmlinux: {error or 'no ELF file'}; give the uncompressed one with -k"
            ) from error

    def symbols(self, wanted: Collection[str]) -> dict[str, int]:
        """Link-time addresses of those of these symbols that exist; of several as Kallsyms.find chooses."""
        if ".symtab" not in self._sections:
            return choose(system_map_beside(self.path), frozenset(wanted))
        return choose(self._named(frozenset(name.encode() for name in wanted)), frozenset(wanted))

    @property
    def cache_key(self) -> str:
        """What tells this build from every other one: its build ID, "" when it has none."""
        return self.build_id

    def banner(self) -> bytes:
        """linux_banner, "Linux version ..."; b"" where the file does not have it (separate debug files)."""
        at = self.symbols(("linux_banner",)).get("linux_banner", 0)
        for section in self._sections.values():
            start = section["sh_addr"]
            if start and start <= at < start + section["sh_size"]:
                return section.data()[at - start :][:BANNER_LIMIT].split(b"\0", 1)[0]
        return b""

    def all_symbols(self) -> Iterator[Symbol]:
        """Every symbol that has a name and a place; `kind` is "T" for global and weak ones, "t" for local ones."""
        return self._named(None)

    @cached_property
    def types(self) -> TypeSource:
        """The types: BTF, which is quick to read, else DWARF. Raises LayoutError when there are neither."""
        if ".BTF" in self._sections:
            return Btf(self._sections[".BTF"].data(), where=f"{self.path}: .BTF")
        return self.dwarf

    @cached_property
    def dwarf(self) -> Dwarf:
        """The types of the DWARF debug information. Raises LayoutError when there is none."""
        return Dwarf(self._elf, str(self.path))

    @cached_property
    def call_frames(self) -> CallFrames:
        """How to leave each of its functions. Raises LayoutError when it has no call-frame information."""
        return UnwindFile(self.path).frames

    def check_build(self, build_id: str) -> None:
        """Raises LayoutError when the dump's kernel, of that build ID, is another one; "" fits every file."""
        if build_id and self.build_id and self.build_id != build_id:
            raise LayoutError(
                f"{self.path}: its build ID is {self.build_id}, but the dump's kernel is {build_id}: "
                "give the vmlinux of that very build with -k"
            )

    @property
    def types_kind(self) -> str:
        """ "BTF" or "DWARF": where `types` come from."""
        return "BTF" if ".BTF" in self._sections else "DWARF"

    @property
    def _has_types(self) -> bool:
        return any(name in self._sections for name in (".BTF", ".debug_info", ".zdebug_info"))

    def _build_id(self) -> str:
        for section in self._sections.values():
            if section["sh_type"] == "SHT_NOTE":
                where = f"{self.path}: {section.name}"
                for note in parse_notes(memoryview(section.data()), where):
                    if note.owner == "GNU" and note.type == NT_GNU_BUILD_ID:
                        return note.desc.hex()
        return ""

    def _named(self, wanted: frozenset[bytes] | None) -> Iterator[Symbol]:
        table = self._sections.get(".symtab")
        if table is None:
            return
        try:
            names = self._elf.get_section(table["sh_link"]).data()
            rows = np.frombuffer(table.data(), _SYMBOL_64 if self._elf.elfclass == 64 else _SYMBOL_32)
        except DAMAGE as error:
            raise LayoutError(f"{self.path}: the symbols are damaged: {error or type(error).__name__}") from error
        kinds = rows["info"] & 0xF
        keep = (rows["shndx"] != 0) & (rows["name"] != 0) & (kinds != _STT_SECTION) & (kinds != _STT_FILE)
        if wanted is not None:
            offsets = [at for name in wanted for at in _occurrences(names, name + b"\0")]
            keep &= np.isin(rows["name"], np.array(offsets, np.uint32))
        rows = rows[keep]
        for name_at, value, info in zip(
            rows["name"].tolist(), rows["value"].tolist(), rows["info"].tolist(), strict=True
        ):
            end = names.find(b"\0", name_at)
            kind = "t" if info >> 4 == _STB_LOCAL else "T"
            yield Symbol(names[name_at:end].decode("latin-1"), kind, value)


def find_vmlinux(build_id: str, release: str, root: Path = Path("/")) -> Path | None:
    """The vmlinux of that build in the usual places, or None.

    Args:
        build_id: hex digits; a file of another build is passed over. Without one, of that release any will do.
        release: as `uname -r` says it.
        root: of the file system to look in.
    """
    if "/" in release or not release:
        return None
    for place in PLACES:
        if "{head}" in place and not build_id:
            continue
        named = place.format(head=build_id[:2], tail=build_id[2:], release=release)
        path = root / named.lstrip("/")
        if path.is_file() and _is_build(path, build_id):
            return path
    return None


def _is_build(path: Path, build_id: str) -> bool:
    try:
        Vmlinux(path).check_build(build_id)
    except LayoutError:
        return False
    return True


def _occurrences(text: bytes, wanted: bytes) -> Iterator[int]:
    """Every place of `wanted`, also at the end of a longer name: linkers share those."""
    at = text.find(wanted)
    while at >= 0:
        yield at
        at = text.find(wanted, at + 1)
