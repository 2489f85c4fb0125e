"""XSAVE areas written byte by byte: both formats, initial states, damage."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcoretools.arch.xsave import XsaveTables, component, fxsave, layout_note, xstate
from gcoretools.errors import GcoreError, KernelDataError

# Made-up components: 2 and 4 as AVX and one of AVX-512, 9 as PKRU, 11 the kernel's own, and a size for each.
OFFSETS = {2: 576, 4: 896, 9: 1024}
SIZES = {2: 256, 4: 64, 9: 8, 11: 16}
FEATURES = 1 << 0 | 1 << 1 | sum(1 << i for i in OFFSETS)
SIZE = 1032
COMPACTED = 1 << 63
COUNT = 12

INITIAL = struct.pack("<HHHHQQII", 0x37F, 0, 0, 0, 0, 0, 0x1F80, 0xFFFF).ljust(SIZE, b"\0")
TABLES = XsaveTables(
    size=SIZE,
    features=FEATURES,
    offsets=tuple(OFFSETS.get(i, 0xFFFFFFFF) for i in range(COUNT)),
    sizes=tuple(SIZES.get(i, 0xFFFFFFFF) for i in range(COUNT)),
    compacted=(),
    aligned=1 << 4,
    initial=INITIAL,
    software=struct.pack("<Q", FEATURES).ljust(48, b"\0"),
    by_parts=True,
)
OLD = replace(TABLES, by_parts=False)


def filled(number: int, size: int) -> bytes:
    """Bytes that name the component that they belong to."""
    return bytes([0x10 + number]) * size


def legacy() -> bytes:
    """A whole FXSAVE image, with marks in the bytes that neither the CPU nor the kernel means."""
    head = struct.pack("<HHBxHQQII", 0x27F, 0x3800, 0x80, 7, 0x401000, 0x402000, 0x1FA0, 0xFFFF)
    return head + b"S" * 128 + b"X" * 256 + b"P" * 96


def area(present: int, xcomp_bv: int = 0) -> bytes:
    """An area in the standard format, or in the compacted one as xcomp_bv says, all components written."""
    image = bytearray(legacy() + struct.pack("<QQ", present, xcomp_bv).ljust(64, b"\0"))
    if not xcomp_bv & COMPACTED:
        image += bytes(SIZE - len(image))
        for i, at in OFFSETS.items():
            image[at : at + SIZES[i]] = filled(i, SIZES[i])
        return bytes(image)
    for i in range(2, COUNT):
        if xcomp_bv >> i & 1:
            image += bytes(-len(image) % 64) if TABLES.aligned >> i & 1 else b""
            image += filled(i, SIZES[i])
    return bytes(image)


@pytest.mark.parametrize(
    "xcomp_bv", [0, COMPACTED | FEATURES, COMPACTED | FEATURES | 1 << 11, COMPACTED | 1 << 9 | 7]
)
def test_both_formats_give_the_standard_one(xcomp_bv: int) -> None:
    kept = [i for i in OFFSETS if not xcomp_bv or xcomp_bv >> i & 1]
    present = 3 | sum(1 << i for i in kept)
    note = xstate(area(present, xcomp_bv), TABLES, FEATURES, None)
    assert note[:416] == legacy()[:416]
    assert note[416:464] == bytes(48)
    assert note[464:512] == TABLES.software
    assert note[512:576] == struct.pack("<Q", present).ljust(64, b"\0")
    for i, at in OFFSETS.items():
        assert note[at : at + SIZES[i]] == (filled(i, SIZES[i]) if i in kept else bytes(SIZES[i]))
    assert note[832:896] == bytes(64)
    assert len(note) == SIZE


def test_what_is_in_its_initial_state_reads_so_whatever_memory_has() -> None:
    note = xstate(area(0), TABLES, FEATURES, None)
    assert note[:416] == INITIAL[:416]
    assert note[512:] == bytes(SIZE - 512)
    assert fxsave(area(0), TABLES) == INITIAL[:512]


def test_mxcsr_is_that_of_sse_and_avx() -> None:
    mxcsr = slice(24, 28)
    for present, own in ((1, False), (2, True), (4, True)):
        note = xstate(area(present), TABLES, FEATURES, None)
        assert note[mxcsr] == (legacy() if own else INITIAL)[mxcsr]
    assert fxsave(area(4), TABLES)[mxcsr] == INITIAL[mxcsr]
    assert fxsave(area(4), OLD)[mxcsr] == legacy()[mxcsr]


def test_components_that_the_thread_may_not_have_are_left_out() -> None:
    note = xstate(area(FEATURES), TABLES, FEATURES & ~(1 << 4), None)
    assert struct.unpack_from("<Q", note, 512)[0] == FEATURES & ~(1 << 4)
    assert note[896:960] == bytes(64)


def test_pkru_that_the_kernel_keeps_apart() -> None:
    assert xstate(area(FEATURES), TABLES, FEATURES, 0x55555554)[1024:] == struct.pack("<Q", 0x55555554)
    assert xstate(area(FEATURES & ~(1 << 9)), TABLES, FEATURES, 0x55555554)[1024:] == bytes(8)


def test_old_kernels_show_what_lies_between() -> None:
    """Standard: the area's own bytes. Compacted: those of init_fpstate, at the same places."""
    assert xstate(area(FEATURES), OLD, FEATURES, None)[416:464] == b"P" * 48
    assert fxsave(area(FEATURES), OLD)[416:] == b"P" * 96
    marked = replace(OLD, initial=INITIAL[:900] + b"I" * 8 + INITIAL[908:])
    compact = area(3, COMPACTED | FEATURES)
    note = xstate(compact, marked, FEATURES, None)
    assert note[416:464] == bytes(48)
    assert note[900:908] == b"I" * 8
    assert xstate(area(3), marked, FEATURES, None)[896:960] == bytes(64)


def test_a_table_of_compacted_offsets_goes_first() -> None:
    compact = area(FEATURES, COMPACTED | FEATURES)
    places = tuple({2: 576, 4: 832, 9: 896}.get(i, 0xFFFFFFFF) for i in range(COUNT))
    assert component(compact, replace(TABLES, compacted=places), 9) == filled(9, 8)
    assert component(compact, TABLES, 9) == filled(9, 8)


def test_without_xsave_the_area_is_the_image() -> None:
    assert fxsave(legacy() + b"more", None) == legacy()


def test_the_layout_note_has_a_row_for_each_component() -> None:
    rows = list(struct.iter_unpack("<IIII", layout_note(TABLES)))
    assert rows == [(i, SIZES[i], OFFSETS[i], 0) for i in OFFSETS]


@pytest.mark.parametrize(
    "damaged",
    [
        area(FEATURES, COMPACTED | 7),  # no room for what it says is present
        area(FEATURES, COMPACTED | FEATURES)[:700],
        area(FEATURES)[:900],
        area(FEATURES)[:500],
        b"",
    ],
)
def test_damaged_areas_are_refused(damaged: bytes) -> None:
    with pytest.raises(KernelDataError):
        xstate(damaged, TABLES, FEATURES, None)


@pytest.mark.parametrize(
    "changes",
    [{"size": 100}, {"size": 1 << 20}, {"size": 1000}, {"sizes": (0xFFFFFFFF,) * COUNT}, {"offsets": (0,) * COUNT}],
)
def test_damaged_tables_are_refused(changes: dict[str, object]) -> None:
    TABLES.check()
    with pytest.raises(KernelDataError, match="damaged"):
        replace(TABLES, **changes).check()  # type: ignore[arg-type]


@given(
    header=st.binary(min_size=16, max_size=16), size=st.integers(0, 1400), features=st.integers(0, (1 << 64) - 1)
)
def test_whatever_a_header_says_is_bounded(header: bytes, size: int, features: int) -> None:
    made = (legacy() + header + bytes(1000))[:size]
    for tables in (TABLES, OLD):
        try:
            assert len(xstate(made, tables, features, None)) == SIZE
            assert len(fxsave(made, tables)) == 512
        except GcoreError:
            pass
