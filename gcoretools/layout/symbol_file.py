"""The file of -k: types and symbols of a kernel, told apart by what is in it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from gcoretools.layout.isf import Isf, is_isf
from gcoretools.layout.types import TypeSource


class SymbolFile(Protocol):
    """What a vmlinux and an ISF file have in common. Everything may raise LayoutError when it is damaged.

    Attributes:
        path: the file.
        kind: a word for it in the names of the cache's entries.
        build_id: hex digits, or "" when the file does not say it.
    """

    path: Path
    kind: str
    build_id: str

    @property
    def types_kind(self) -> str:
        """What form its types have, in words."""

    @property
    def cache_key(self) -> str:
        """Hex digits that tell its content from that of other files, or "" when nothing does."""

    @property
    def types(self) -> TypeSource:
        """The source of types."""

    def symbols(self, wanted: Collection[str]) -> dict[str, int]:
        """Link-time addresses of those of these symbols that exist."""

    def check_build(self, build_id: str) -> None:
        """Raises LayoutError when the dump's kernel, of that build ID, is another one."""

    def banner(self) -> bytes:
        """linux_banner, "Linux version ..."; b"" where the file does not have it."""


def open_symbol_file(path: Path) -> SymbolFile:
    """The vmlinux or ISF file at that path. Raises LayoutError when it is neither."""
    if is_isf(path):
        return Isf(path)
    # pyelftools takes 0.1 s to import.
    from gcoretools.layout.vmlinux import Vmlinux

    return Vmlinux(path)
