"""ELF dumps: QEMU's dump-guest-memory, /proc/vmcore and what cp makes of it, makedumpfile -E; and /proc/kcore."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import Note, digest
from gcoretools.dumps.elf_headers import NO_ADDRESS, PT_LOAD, PT_NOTE, Headers, read_headers
from gcoretools.dumps.mapping import FileBytes, Unmapped
from gcoretools.dumps.notes import NOTES_LIMIT, VMCOREINFO, bounded, joined, parse_notes
from gcoretools.dumps.page_runs import page_runs
from gcoretools.dumps.runs import RunsDump
from gcoretools.errors import DumpError

INCOMPLETE = 0x1
"""e_flags of makedumpfile: it ran out of space (DUMP_ELF_INCOMPLETE, makedumpfile.c)."""

SHARED = 2
"""Writers put every byte into one segment; headers that show the same ones over and over would be endless work."""


class ElfDump(RunsDump):
    """A dump whose PT_LOAD segments hold physical memory as it was."""

    format = "elf"

    def __init__(self, path: Path, data: FileBytes) -> None:
        """Reads the headers of the file. Raises DumpError when they cannot be, or the file is truncated."""
        self.path = path
        self.moving = isinstance(data, Unmapped)
        headers = read_headers(path, data)
        notes = tuple(_notes(path, data, headers))
        # /proc/kcore describes the very process that reads it, and no CPU.
        self.notes = tuple(note for note in notes if note.owner == VMCOREINFO) if self.moving else notes
        loads = _loads(path, headers, len(data))
        self.reasons = (_reason(loads, headers),)
        told = (joined(self.notes),) if self.moving else (headers.raw, joined(self.notes))
        self.fingerprint = digest(b"elf", len(data).to_bytes(8, "little"), *told)
        self.hold(data, page_runs(loads["paddr"], loads["filesz"], loads["offset"]))


def _loads(path: Path, headers: Headers, file_size: int) -> NDArray[np.void]:
    """The PT_LOAD rows that hold physical memory. Raises DumpError when one goes beyond the end of the file.

    A row without bytes is none: QEMU writes it, with p_offset -1, for memory that its filter left out.
    """
    table = headers.segments
    loads: NDArray[np.void] = table[
        (table["type"] == PT_LOAD) & (table["filesz"] > 0) & (table["paddr"] != NO_ADDRESS[headers.bits])
    ]
    if len(loads) > 1 and not loads["paddr"].any():
        raise DumpError(f"{path}: the segments have no physical addresses: a process's core, not a kernel dump")
    if headers.flags & INCOMPLETE:
        left = np.uint64(file_size) - np.minimum(loads["offset"], np.uint64(file_size))
        loads["filesz"] = np.minimum(loads["filesz"], left)
    top = np.iinfo(np.uint64).max - loads["filesz"]
    wrong = (loads["offset"] > top) | (loads["paddr"] > top)
    beyond = wrong | (loads["offset"] + loads["filesz"] > file_size)
    if beyond.any():
        load = loads[beyond][0]
        missing = int(load["offset"]) + int(load["filesz"]) - file_size
        what = f"{path}: the segment of physical {int(load['paddr']):#x}, {int(load['filesz'])} bytes"
        if missing <= 0:
            raise DumpError(f"{what}, ends beyond the address space: the headers are damaged")
        raise DumpError(f"{what}, goes {missing} bytes beyond the end of the file: the dump is truncated")
    if loads["filesz"].sum(dtype=np.float64) > SHARED * file_size:
        raise DumpError(f"{path}: the segments share the bytes of the file: the headers are damaged")
    return loads


def _notes(path: Path, data: FileBytes, headers: Headers) -> Iterator[Note]:
    """Every note of every PT_NOTE segment."""
    segments = headers.segments[headers.segments["type"] == PT_NOTE]
    if int(segments["filesz"].astype(np.float64).sum()) > NOTES_LIMIT:
        raise DumpError(f"{path}: more than {NOTES_LIMIT} bytes of notes: the headers are damaged")
    for segment in segments:
        where = f"{path}: notes"
        yield from parse_notes(bounded(data, int(segment["offset"]), int(segment["filesz"]), where), where)


def _reason(loads: NDArray[np.void], headers: Headers) -> str:
    if headers.flags & INCOMPLETE:
        return "not in the dump, which is incomplete (its writer ran out of space)"
    if (loads["filesz"] < loads["memsz"]).any():
        return "excluded from the dump (an ELF dump with pages left out, as makedumpfile -E writes it)"
    return "not in the dump (no segment of the ELF file holds it)"
