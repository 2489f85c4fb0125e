"""System.map: the symbols of a kernel as nm(1) prints them, which distributions put beside the vmlinux."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gcoretools.layout.kallsyms import Symbol

SIZE_LIMIT = 1 << 26
"""Bytes: that of a distribution kernel has some 8 MiB."""

_LINE = re.compile(rb"^([0-9a-f]{8,16}) (\w) (\S{1,512})$", re.M)


def system_map_beside(vmlinux: Path) -> Iterator[Symbol]:
    """The symbols of the System.map that belongs to a vmlinux; none where none lies beside it.

    Its name ends like the vmlinux's: System.map-2.6.18 goes with vmlinux-2.6.18, System.map with any.
    """
    suffix = vmlinux.name.removesuffix(".debug").partition("-")[2]
    for name in (f"System.map-{suffix}" if suffix else "System.map", "System.map"):
        path = vmlinux.with_name(name)
        if path.is_file() and path.stat().st_size <= SIZE_LIMIT:
            return read_system_map(path.read_bytes())
    return iter(())


def read_system_map(text: bytes) -> Iterator[Symbol]:
    """Every symbol in the text of a System.map; lines of another form are passed over."""
    for row in _LINE.finditer(text):
        yield Symbol(row[3].decode("latin-1"), row[2].decode("latin-1"), int(row[1], 16))
