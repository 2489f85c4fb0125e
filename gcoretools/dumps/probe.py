"""Which format a dump file is: by its first bytes, never by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gcoretools.dumps.dump import Dump
from gcoretools.dumps.elf import ElfDump
from gcoretools.dumps.mapping import map_file
from gcoretools.errors import DumpError


@dataclass(frozen=True, slots=True)
class Signature:
    """A format: the bytes that stand at `offset` of the file, and its reader or, for want of one, advice."""

    magic: bytes
    offset: int
    name: str
    opener: Callable[[Path, memoryview], Dump] | None = None
    advice: str = ""


SIGNATURES = (Signature(b"\x7fELF", 0, "an ELF file", ElfDump),)


def open_dump(path: Path | str) -> Dump:
    """Opens a dump of any format that we read.

    Raises DumpError, with what to do, when it is another format, damaged, or no dump.
    """
    path = Path(path)
    data = map_file(path)
    for signature in SIGNATURES:
        if data[signature.offset : signature.offset + len(signature.magic)] == signature.magic:
            if signature.opener is None:
                raise DumpError(f"{path}: {signature.name}, which is not read: {signature.advice}")
            return signature.opener(path, data)
    raise DumpError(f"{path}: not a dump: no format that is known here begins like this")
