"""Which memory goes into a core: the table of fs/coredump.c's vma_dump_size, row by row."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcoretools.core.filter import ALL_BITS, CATEGORIES, dump_size, from_kernel, parse_filter
from gcoretools.errors import StreamError, UsageError
from gcoretools.records import Vma
from tests.written_streams import vma

READ, DONTDUMP = 0x1, 0x4000000
SIZE = 0x3000
AP, AS, FP, FS, ELF, HP, HS, DONT, DP, DS = (bit for bit, _ in CATEGORIES.values())

# Before 5.10, from there on, and since 5.18.
BY_MAGIC = {"elf_header_by_mode": False, "elf_header_by_magic": True}
BY_MODE = {"elf_header_by_mode": True, "elf_header_by_magic": False}
BY_BOTH = {"elf_header_by_mode": True, "elf_header_by_magic": True}


def mapping(category: str, flags: int = READ, written: bool = False, **fields: object) -> Vma:
    return vma(0x400000, SIZE, category=category, flags=flags, written=written, **fields)


def size(given_: Vma, chosen: int, rules: Mapping[str, object] = BY_BOTH, magic: bool = False) -> int:
    return dump_size(given_, chosen, dict(rules), lambda _: magic)


def test_the_bits_are_those_of_the_kernel_and_the_original() -> None:
    assert (AP, AS, FP, FS, ELF, HP, HS, DONT, DP, DS) == (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    assert ALL_BITS == 1023


# Each kind, whether it has pages of its own, and the bits that select it: any one is enough.
SELECTED_BY = [
    ("AP", True, {AP}),
    ("AP", False, set()),
    ("AS", False, {AS}),
    ("AS", True, {AS}),
    ("FP", False, {FP}),
    ("FP", True, {FP, AP}),
    ("FS", False, {FS}),
    ("FS", True, {FS}),
    ("HP", False, {HP}),
    ("HP", True, {HP}),
    ("HS", False, {HS}),
    ("DP", True, {DP}),
    ("DS", True, {DS}),
]


@pytest.mark.parametrize(("category", "written", "bits"), SELECTED_BY)
@pytest.mark.parametrize("chosen", [0, *(1 << n for n in range(10)), ALL_BITS, ALL_BITS & ~ELF])
def test_each_kind_by_each_bit(category: str, written: bool, bits: set[int], chosen: int) -> None:
    wanted = SIZE if any(chosen & bit for bit in bits) else 0
    assert size(mapping(category, written=written, offset=0x1000), chosen) == wanted
    marked = mapping(category, READ | DONTDUMP, written, offset=0x1000)
    assert size(marked, chosen) == (wanted if chosen & DONT else 0)


@pytest.mark.parametrize("chosen", [0, ALL_BITS])
def test_what_no_bit_decides(chosen: int) -> None:
    assert size(mapping("special", READ | DONTDUMP), chosen) == SIZE
    assert size(mapping("IO"), chosen) == 0
    assert size(mapping("IO", READ, written=True), chosen) == 0


# The header page: rules, execute permission, magic, and whether it is taken.
HEADERS = [
    (BY_MAGIC, 0o755, True, True),
    (BY_MAGIC, 0o755, False, False),
    (BY_MAGIC, 0o644, True, True),
    (BY_MODE, 0o755, False, True),
    (BY_MODE, 0o644, True, False),
    (BY_MODE, 0o001, False, True),
    (BY_MODE, 0o010, False, True),
    (BY_BOTH, 0o755, False, True),
    (BY_BOTH, 0o644, True, True),
    (BY_BOTH, 0o644, False, False),
    ({}, 0o755, True, False),
]


@pytest.mark.parametrize(("rules", "mode", "magic", "taken"), HEADERS)
@pytest.mark.parametrize("chosen", [ELF, ELF | AP, ELF | FP, FP, 0])
def test_the_elf_header(rules: dict[str, object], mode: int, magic: bool, taken: bool, chosen: int) -> None:
    wanted = SIZE if chosen & FP else 4096 if chosen & ELF and taken else 0
    assert size(mapping("FP", mode=0o100000 | mode), chosen, rules, magic) == wanted


@pytest.mark.parametrize(
    "other",
    [
        mapping("FP", mode=0o755, offset=0x1000),
        mapping("FP", 0x4, mode=0o755),
        mapping("FP", READ | DONTDUMP, mode=0o755),
        mapping("FS", mode=0o755),
        mapping("AP", mode=0o755),
        mapping("HP", mode=0o755),
        mapping("DP", mode=0o755),
    ],
    ids=lambda v: f"{v.category} {v.flags:x} {v.offset:x}",
)
def test_what_has_no_elf_header(other: Vma) -> None:
    assert size(other, ELF, magic=True) == 0


def test_the_magic_is_looked_at_only_where_it_decides() -> None:
    def never(_: Vma) -> bool:
        pytest.fail("a page was read in vain")

    assert dump_size(mapping("FP", mode=0o755), ELF, dict(BY_BOTH), never) == 4096
    assert dump_size(mapping("FP", mode=0o755), FP | ELF, dict(BY_BOTH), never) == SIZE
    assert dump_size(mapping("FP", mode=0o644), AP, dict(BY_BOTH), never) == 0
    assert dump_size(mapping("FP", mode=0o644), ELF, dict(BY_MODE), never) == 0


def test_a_kind_that_nobody_knows() -> None:
    for chosen in (0, ALL_BITS):
        with pytest.raises(StreamError, match="a kind that is not known, 'XX'"):
            size(mapping("XX"), chosen)


@pytest.mark.parametrize(
    ("text", "bits"),
    [("21", 21), ("0", 0), ("0x15", 21), ("0o25", 21), ("0b10101", 21),
     ("1023", 1023), ("AP", 1), ("ap,as,elf", 19),
     ("AP,AP", 1), ("DONTDUMP,DP,DS", 896), ("AP,AS,FP,FS,ELF,HP,HS,DONTDUMP,DP,DS", 1023)],
)  # fmt: skip
def test_filters(text: str, bits: int) -> None:
    assert parse_filter(text) == bits


@pytest.mark.parametrize(
    "text", ["", "-1", "1024", "x", "AP,", ",AP", "AP AS", "AP;AS", "1,2", "0x", "21.0", "9" * 30]
)
def test_filters_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=f"-f {text}"):
        parse_filter(text)


@given(st.lists(st.sampled_from(sorted(CATEGORIES)), min_size=1, max_size=12))
def test_names_and_numbers_say_the_same(names: list[str]) -> None:
    bits = parse_filter(",".join(names))
    assert bits == sum({CATEGORIES[name][0] for name in names})
    assert parse_filter(str(bits)) == parse_filter(hex(bits)) == bits


def test_the_bits_of_the_kernel() -> None:
    """coredump_filter has DAX at 7 and 8, where -f has DONTDUMP (Documentation/filesystems/proc.rst)."""
    assert from_kernel(0x33) == AP | AS | ELF | HP
    assert from_kernel(0x7F) == 0x7F
    assert from_kernel(0x80) == DP
    assert from_kernel(0x100) == DS
    assert from_kernel(0x1FF) == ALL_BITS & ~DONT


WRITE, GROWSDOWN = 0x2, 0x100


@pytest.mark.parametrize(
    ("vma", "wanted"),
    [
        (mapping("AP", READ | WRITE), True),
        (mapping("AP", READ | GROWSDOWN), True),
        (mapping("AP", WRITE), False),
        (mapping("FP", READ), False),
        (mapping("FS", READ | WRITE), True),
        (mapping("HS", READ | WRITE), True),
        (mapping("IO", READ | WRITE), False),
    ],
)
def test_kernels_that_look_at_flags_alone(vma: Vma, wanted: bool) -> None:
    """2.6.9: whatever was never touched counts, too; of the kinds that are chosen."""
    rules: dict[str, object] = {"writable_only": True}
    assert dump_size(vma, 0x7F, rules, lambda _: False) == (SIZE if wanted else 0)
    assert dump_size(vma, ELF, rules, lambda _: False) == 0


def test_memory_that_the_kernel_never_dumps() -> None:
    """VM_RESERVED up to 3.6; hugetlb has it always, and is asked about before."""
    rules: dict[str, object] = {"never": 0x84000}
    for kind, wanted in (("AP", 0), ("FS", 0), ("HP", SIZE), ("HS", SIZE)):
        assert (
            dump_size(mapping(kind, READ | WRITE | 0x80000, written=True), 0x7F, rules, lambda _: False) == wanted
        )
    assert dump_size(mapping("FS", READ | WRITE | 0x80000), 0x7F, {"never": "x"}, lambda _: False) == SIZE
