"""sysroot/build_id.py: the build ID in ELF files of both classes, whole, in pieces and damaged."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcoretools.sysroot.build_id import build_id, is_elf
from tests.compiled import build

ID = bytes(range(20))


def note(owner: bytes, kind: int, desc: bytes) -> bytes:
    """A note as it stands in a file."""
    parts = (each.ljust(len(each) + 3 & ~3, b"\0") for each in (owner, desc))
    return struct.pack("<III", len(owner), len(desc), kind) + b"".join(parts)


NAMED = note(b"GNU\0", 3, ID)
OTHERS = note(b"GNU\0", 1, bytes(16)) + note(b"stapsdt\0", 3, b"probe") + note(b"GNU\0", 5, b"x86")


def elf(*segments: bytes, bits: int = 64, kind: int = 4) -> bytes:
    """An ELF file with program headers and what they name."""
    if bits == 64:
        head, entry = struct.Struct("<4sB27xQ14xHH6x"), "<I4xQ16xQ16x"
    else:
        head, entry = struct.Struct("<4sB23xI10xHH6x"), "<II8xI12x"
    at = head.size + len(segments) * struct.calcsize(entry)
    headers = b""
    for segment in segments:
        headers += struct.pack(entry, kind, at, len(segment))
        at += len(segment)
    start = head.pack(b"\x7fELF", bits // 32, head.size, struct.calcsize(entry), len(segments))
    return (start + headers + b"".join(segments)).ljust(4096, b"\0")


def reading(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, size: data[offset : offset + size]


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize(
    ("segments", "found"),
    [
        ([NAMED], ID.hex()),
        ([OTHERS, OTHERS + NAMED], ID.hex()),
        ([OTHERS], ""),
        ([], ""),
        ([NAMED[:20]], ""),  # cut
        ([b"", NAMED], ID.hex()),
    ],
)
def test_the_note(bits: int, segments: list[bytes], found: str) -> None:
    assert build_id(reading(elf(*segments, bits=bits))) == found


def test_only_notes_count() -> None:
    assert build_id(reading(elf(NAMED, kind=1))) == ""


def test_what_cannot_be_read_is_not_known() -> None:
    """Neither headers nor notes that are not there say that there is no build ID."""
    data = elf(OTHERS, NAMED)
    where = data.index(NAMED)
    assert build_id(reading(b"")) is None
    assert build_id(reading(data[:100])) is None
    assert build_id(reading(data[:where])) is None
    assert build_id(reading(b"#!/bin/sh\n".ljust(4096))) is None
    assert build_id(reading(data.replace(b"\x7fELF\x02", b"\x7fELF\x03"))) is None


def test_a_real_program(tmp_path: Path) -> None:
    """As the linker was told to name it."""
    named = build(tmp_path, "-Wl,--build-id=0xbb603a9147d3efe4744bf83c83eee397c591cc2f")
    assert build_id(reading(named.read_bytes())) == "bb603a9147d3efe4744bf83c83eee397c591cc2f"
    assert is_elf(reading(named.read_bytes()))
    assert not is_elf(reading(b"\x7fEL"))


@given(st.integers(0, 200), st.integers(0, 255))
def test_damage_is_no_error(at: int, value: int) -> None:
    for bits in (32, 64):
        data = bytearray(elf(OTHERS, NAMED, bits=bits))
        data[at] = value
        assert build_id(reading(bytes(data))) in (None, "") or is_elf(reading(bytes(data)))
