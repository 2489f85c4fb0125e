"""FXSAVE images into FSAVE's, and segment descriptors into struct user_desc."""

from __future__ import annotations

import struct

import pytest

from gcoretools.arch.i387 import fsave, fxsave_head
from gcoretools.arch.tls import user_desc
from gcoretools.errors import KernelDataError

ONE = struct.pack("<QH", 1 << 63, 0x3FFF)
NOTHING = struct.pack("<QH", 0, 0)
INFINITY = struct.pack("<QH", 1 << 63, 0x7FFF)
TINY = struct.pack("<QH", 1, 0)
UNNORMAL = struct.pack("<QH", 1, 0x3FFF)

VALID, ZERO, SPECIAL, EMPTY = range(4)


def image(top: int, present: int, registers: list[bytes], pointers: bytes) -> bytes:
    """An FXSAVE image: registers from st0 on."""
    head = struct.pack("<HHBxH", 0x37F, top << 11, present, 0x1D8) + pointers + struct.pack("<II", 0x1F80, 0xFFFF)
    return head + b"".join(register.ljust(16, b"\0") for register in registers)


def words(data: bytes) -> tuple[int, ...]:
    return struct.unpack_from("<7I", data)


def test_a_64_bit_kernel_shows_the_threads_own_segments() -> None:
    registers = [ONE, NOTHING, INFINITY, TINY, UNNORMAL, *[NOTHING] * 3]
    found = fsave(image(3, 0b11111000, registers, struct.pack("<QQ", 0x1_0804_8000, 0x804A000)), (0x23, 0xFFFF002B))
    tags = [EMPTY, EMPTY, EMPTY, VALID, ZERO, SPECIAL, SPECIAL, SPECIAL]
    twd = 0xFFFF0000 | sum(tag << 2 * i for i, tag in enumerate(tags))
    assert words(found) == (0xFFFF037F, 0xFFFF1800, twd, 0x08048000, 0x23, 0x804A000, 0xFFFF002B)
    assert found[28:] == b"".join(registers)
    assert len(found) == 108


def test_a_32_bit_kernel_has_saved_the_true_ones() -> None:
    pointers = struct.pack("<IHxxIHxx", 0x8048000, 0x73, 0x804A000, 0x7B)
    found = fsave(image(0, 0, [NOTHING] * 8, pointers), None)
    assert words(found) == (0xFFFF037F, 0xFFFF0000, 0xFFFFFFFF, 0x8048000, 0x1D80073, 0x804A000, 0x7B)


def test_a_cut_image_is_refused() -> None:
    with pytest.raises(KernelDataError, match="cut"):
        fsave(bytes(159), None)


@pytest.mark.parametrize(
    ("descriptor", "wanted"),
    [
        # A flat data segment, as set_thread_area makes it: 32 bits, limit in pages, useable.
        (0x56DFF3123456FFFF, (12, 0x56123456, 0xFFFFF, 0b1010001)),
        (0x0000_0000_0000_0000, (12, 0, 0, 0b0101000)),
        (0x00AFFB000000FFFF, (12, 0, 0xFFFFF, 0b10010100)),
    ],
)
def test_descriptors(descriptor: int, wanted: tuple[int, ...]) -> None:
    assert struct.unpack("<IIII", user_desc(descriptor.to_bytes(8, "little"), 12)) == wanted


def test_the_head_as_it_was_saved() -> None:
    """32-bit kernels before 2.6.25 made nothing of it."""
    registers = [ONE, NOTHING, INFINITY, TINY, UNNORMAL, *[NOTHING] * 3]
    area = image(3, 0b11111000, registers, bytes(range(16)))
    assert fxsave_head(area) == area[:28] + b"".join(registers)
    with pytest.raises(KernelDataError, match="it is cut"):
        fxsave_head(area[:100])
