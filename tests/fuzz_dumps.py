"""Dumps with a defect each: small ones of every format, changed where it matters; a seed decides what."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

from gcoretools.dumps import Note
from tests.written_dumps import Pages, flatten, numbered, write_avml, write_elf, write_kdump, write_lime, write_raw

PAGES: Pages = {
    pfn: numbered(pfn) if pfn % 3 else random.Random(pfn).randbytes(4096) for pfn in [*range(2, 14), *range(40, 52)]
}
NOTES = [
    Note("CORE", 1, b"\1" * 336),
    Note("VMCOREINFO", 0, b"OSRELEASE=6.1\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=ffffffff82a13940\n"),
    Note("QEMU", 0, b"\2" * 432),
]


def _flattened(path: Path) -> Path:
    plain = write_kdump(path.with_name("plain"), PAGES, NOTES, level=1)
    return flatten(plain, path, piece=9000, shuffle=3)


def _flattened_elf(path: Path) -> Path:
    return flatten(write_elf(path.with_name("plain"), PAGES, NOTES, pad=5), path, piece=9000)


FORMS: dict[str, Callable[[Path], Path]] = {
    "elf": lambda path: write_elf(path, PAGES, NOTES, pad=5),
    "elf, 32 bits": lambda path: write_elf(path, PAGES, NOTES, bits=32),
    "elf, many segments": lambda path: write_elf(path, PAGES, NOTES, xnum=True, memsz_more=4096),
    "elf, incomplete": lambda path: write_elf(path, PAGES, NOTES, flags=1),
    "kdump, zlib": lambda path: write_kdump(path, PAGES, NOTES, level=31, excluded=[20, 60]),
    "kdump, lzo": lambda path: write_kdump(path, PAGES, NOTES, flags=0x02, shuffle=1),
    "kdump, snappy": lambda path: write_kdump(path, PAGES, NOTES, flags=0x04),
    "kdump, zstd": lambda path: write_kdump(path, PAGES, NOTES, flags=0x20),
    "kdump, 32 bits": lambda path: write_kdump(path, PAGES, NOTES, bits=32),
    "kdump, version 3": lambda path: write_kdump(path, PAGES, version=3, vmcoreinfo=NOTES[1].desc),
    "kdump, incomplete": lambda path: write_kdump(path, PAGES, NOTES, status=0x9, lost=[5, 41]),
    "diskdump": lambda path: write_kdump(path, PAGES, version=1, signature=b"DISKDUMP"),
    "flattened": _flattened,
    "flattened elf": _flattened_elf,
    "lime": lambda path: write_lime(path, PAGES, step=5 << 12),
    "avml": lambda path: write_avml(path, PAGES, block=6 << 12),
    "raw": lambda path: write_raw(path, PAGES),
}

# What damage looks like: small numbers, the edges of words, sizes of pages and of the file itself.
NUMBERS = (
    0, 1, 2, 3, 4, 7, 8, 0x20, 0x7F, 0x80, 0xFF, 0x100, 0xFFF, 0x1000, 0x1001, 0x7FFF, 0x8000, 0xFFFF, 0x10000,
    0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, 1 << 40, 1 << 52, (1 << 63) - 1, 1 << 63, (1 << 64) - 4096,
    (1 << 64) - 1,
)  # fmt: skip


def damaged(good: bytes, seed: int) -> bytes:
    """The dump with one to four changes, which the seed decides."""
    chance = random.Random(seed)
    data = bytearray(good)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        chance.choice(CHANGES)(data, chance)
    return bytes(data)


def _place(data: bytearray, chance: random.Random) -> int:
    """Headers stand at the beginning and behind the first pages, trailers at the end; most changes go there."""
    near = chance.choice((0, 0, 4096, 8192, 12288, 16384, max(len(data) - 512, 0), chance.randrange(len(data) + 1)))
    return min(near + int(chance.random() ** 3 * 1024), max(len(data) - 1, 0))


def _number(data: bytearray, chance: random.Random) -> None:
    """A field takes another value."""
    at, form = _place(data, chance), chance.choice("BHIQ")
    value = chance.choice((*NUMBERS, len(data), len(data) - 1, len(data) // 2, at, chance.getrandbits(64)))
    size = struct.calcsize(form)
    if chance.random() < 0.8:
        at -= at % size
    data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")[: len(data) - at]


def _bits(data: bytearray, chance: random.Random) -> None:
    """Some bits are others."""
    for _ in range(chance.randrange(1, 9)):
        if data:
            data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _noise(data: bytearray, chance: random.Random) -> None:
    """A stretch is noise, or all the same."""
    at, size = _place(data, chance), chance.randrange(1, 200)
    fill = chance.choice((bytes(size), b"\xff" * size, chance.randbytes(size)))
    data[at : at + size] = fill[: len(data) - at]


def _cut(data: bytearray, chance: random.Random) -> None:
    """The end is missing."""
    del data[_place(data, chance) :]


def _moved(data: bytearray, chance: random.Random) -> None:
    """Bytes are lost, come twice, or stand elsewhere."""
    at, size = _place(data, chance), chance.choice((1, 4, 8, 24, 56, 100, 4096))
    part = bytes(data[at : at + size])
    if chance.random() < 0.5:
        del data[at : at + size]
    to = min(_place(data, chance), len(data)) if data else 0
    data[to:to] = part


CHANGES = (_number, _number, _number, _number, _bits, _noise, _cut, _moved)
