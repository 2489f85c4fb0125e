"""sysroot/build_id.py: the build ID in ELF files of both classes, whole, in pieces and damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcoretools.sysroot.build_id import build_id, is_elf
from tests.compiled import build
from tests.written_programs import elf, note

ID = bytes(range(20))


NAMED = note(b"GNU\0", 3, ID)
OTHERS = note(b"GNU\0", 1, bytes(16)) + note(b"stapsdt\0", 3, b"probe") + note(b"GNU\0", 5, b"x86")


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
