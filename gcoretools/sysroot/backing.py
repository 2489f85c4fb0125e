"""The pages of processes, with those of executables and libraries that are not in memory taken from files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE, Buffer
from gcoretools.errors import FileError
from gcoretools.kernel.image import Image
from gcoretools.kernel.page_state import EXCLUDED, IN_FILE, NO_CACHE, NOT_CACHED, NOT_READ
from gcoretools.kernel.residence import PAGES_AT_ONCE, Piece, Residence
from gcoretools.records import Vma
from gcoretools.sysroot.comparison import refusal
from gcoretools.sysroot.file import File
from gcoretools.sysroot.held import Held
from gcoretools.sysroot.tree import Tree

# What the kernel would read from the file; and what it has in memory, but the dump has not.
ON_DISK = (NOT_CACHED, NOT_READ)
NOT_HELD = (EXCLUDED, NO_CACHE)

# A page's place: the number of its file above, its own in the file, of at most 4 PiB, below.
FILE_SHIFT = 40
PAGE_MASK = (1 << FILE_SHIFT) - 1

DELETED = " (deleted)"

# A file of the dumped machine: its address_space, and its name.
Key = tuple[int, str]


@dataclass
class Sysroot:
    """The files of one folder that are those of the dumped machine.

    Args:
        root: the folder, laid out as the root of that machine.
        taken: is told of each file that is used, in words.
        refused: is told of each file that is not the mapped one, or not there, and why.
    Raises FileError when the folder is none.
    """

    root: Path
    taken: Callable[[str], None]
    refused: Callable[[str], None]
    files: list[File] = field(default_factory=list)  # those in use
    _numbers: dict[Key, int] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._tree = Tree(self.root)

    def number(self, key: Key, held: Held) -> int | None:
        """Which of `files` is the mapped one; None when the folder has it not."""
        if key not in self._numbers:
            name = key[1]
            try:
                file = self._file(name, held)
            except FileError as error:
                self._tell(self.refused, f"{name}: not taken from {self.root}: {error}")
                return None
            self._numbers[key] = len(self.files)
            self.files.append(file)
            self._tell(self.taken, f"{name}: what is not in memory is taken from {file.path}")
        return self._numbers[key]

    def _file(self, name: str, held: Held) -> File:
        """The mapped file. Raises FileError with the reason when it is not there."""
        if name.endswith(DELETED):
            raise FileError("it was deleted")
        try:
            file = File(self._tree.find(name))
        except OSError as error:
            raise FileError((error.strerror or str(error)).lower()) from error
        except ValueError as error:
            raise FileError(str(error)) from error
        if reason := refusal(file, held):
            raise FileError(reason)
        return file

    def _tell(self, who: Callable[[str], None], sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            who(sentence)


class Backed:
    """The pages of one process, as Residence finds them, and those of files.

    Args:
        image: the kernel.
        residence: of the process.
        vmas: all its mappings, when the first piece is asked for.
        sysroot: where files are looked for.

    Attributes:
        reasons: why a gap is one, by its state.
    """

    def __init__(self, image: Image, residence: Residence, vmas: list[Vma], sysroot: Sysroot) -> None:
        self._image = image
        self._residence = residence
        self._vmas = vmas
        self._sysroot = sysroot
        self._numbers: dict[Key, int | None] = {}
        self.reasons = residence.reasons

    def pieces(self, vma: Vma, size: int) -> Iterator[Piece]:
        """The pieces of the first `size` bytes of a mapping, without overlap or hole, ascending."""
        for piece in self._residence.pieces(vma, size):
            number = self._number(vma) if _stands_in_file(vma, piece) else None
            yield from [piece] if number is None else self._from_file(vma, piece, number)

    def read(self, piece: Piece, first: int, count: int) -> Buffer:
        """As Residence.read. Raises FileError, too, when the file can no longer be read."""
        if piece.state != IN_FILE:
            return self._residence.read(piece, first, count)
        places = piece.places[first : first + count]
        file = self._sysroot.files[int(places[0]) >> FILE_SHIFT]
        data = file.read((int(places[0]) & PAGE_MASK) << PAGE_SHIFT, len(places) * PAGE_SIZE)
        return data.ljust(len(places) * PAGE_SIZE, b"\0")

    def _number(self, vma: Vma) -> int | None:
        key = vma.mapping, vma.name
        if key not in self._numbers:
            held = Held(self._image, self._residence, self._by_file[key])
            self._numbers[key] = self._sysroot.number(key, held)
        return self._numbers[key]

    @cached_property
    def _by_file(self) -> dict[Key, list[Vma]]:
        """The mappings of each file; gathered when all are known."""
        found: dict[Key, list[Vma]] = {}
        for vma in self._vmas:
            found.setdefault((vma.mapping, vma.name), []).append(vma)
        return found

    def _from_file(self, vma: Vma, piece: Piece, number: int) -> Iterator[Piece]:
        """A piece whose pages are in a file: as far as that goes."""
        first = piece.start - vma.start + vma.offset >> PAGE_SHIFT
        in_file = min(-(-self._sysroot.files[number].size // PAGE_SIZE), 1 << FILE_SHIFT)
        last = max(min(in_file, first + (piece.size >> PAGE_SHIFT)), first)
        for at in range(first, last, PAGES_AT_ONCE):
            places = np.arange(at, min(at + PAGES_AT_ONCE, last), dtype=np.uint64)
            start = piece.start + (at - first << PAGE_SHIFT)
            yield Piece(start, len(places) << PAGE_SHIFT, IN_FILE, places | np.uint64(number << FILE_SHIFT))
        left = piece.size - (last - first << PAGE_SHIFT)
        if left:
            yield Piece(piece.start + piece.size - left, left, piece.state, piece.places[:0])


def _stands_in_file(vma: Vma, piece: Piece) -> bool:
    """Whether the file has these pages, too: what the dump lacks of a written private mapping may be others."""
    if not vma.file or not vma.mapping:
        return False
    return piece.state in ON_DISK or (piece.state in NOT_HELD and vma.category == "FP" and not vma.written)
