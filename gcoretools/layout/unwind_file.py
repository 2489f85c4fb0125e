"""The file of --unwind: an ELF file with call-frame information of the kernel, a vmlinux or a part of one."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from gcoretools.errors import LayoutError
from gcoretools.layout.cfi import CallFrames, Row
from gcoretools.layout.dwarf_search import DAMAGE
from gcoretools.layout.elf_files import mapped

SECTIONS = (".debug_frame", ".eh_frame")


class UnwindFile:
    """The file; its entries are gone through when the first row is asked for.

    Args:
        path: of the ELF file.
    Raises LayoutError when it is none, or has no call-frame information.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data = mapped(path)
        try:
            elf = ELFFile(data)
            section = next((s for s in map(elf.get_section_by_name, SECTIONS) if _has_data(s)), None)
        except DAMAGE as error:
            raise LayoutError(f"{path}: not an ELF file: {error or type(error).__name__}") from error
        if section is None:
            raise LayoutError(f"{path}: no call-frame information, neither {' nor '.join(SECTIONS)}")
        self._section = section
        self._address_size = elf.elfclass // 8

    def row(self, pc: int) -> Row:
        """How to leave the function at link-time address `pc`. Raises LayoutError."""
        return self.frames.row(pc)

    def body(self, pc: int) -> int:
        """Where in the function at link-time address `pc` most registers are saved. Raises LayoutError."""
        return self.frames.body(pc)

    @cached_property
    def frames(self) -> CallFrames:
        """All entries. Raises LayoutError when they are damaged."""
        name = self._section.name
        where = f"{self.path}: {name}"
        try:
            data = self._section.data()
        except DAMAGE as error:
            raise LayoutError(f"{where} is damaged: {error or type(error).__name__}") from error
        return CallFrames(data, self._section["sh_addr"], name == ".eh_frame", where, self._address_size)


def _has_data(section: Any) -> bool:
    return section is not None and section["sh_type"] != "SHT_NOBITS"
