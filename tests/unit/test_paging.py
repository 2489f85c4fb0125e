"""The page-table walk, against a translator that looks up one address at a time."""

from __future__ import annotations

import itertools
import tempfile
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcoretools.arch import i386, x86_64
from gcoretools.dumps import PAGE_SHIFT, PAGE_SIZE, Dump, open_dump
from gcoretools.errors import KernelDataError
from gcoretools.paging import Entries, MissingTable, PageTable, Paging
from tests.fake_memory import LARGE, PRESENT, PROTNONE, SPECIAL, TABLE, USER_PAGE, FakeMemory, FakeTables
from tests.written_dumps import write_elf

GEOMETRIES = {
    "4 levels": x86_64.paging(4, inverted=True),
    "5 levels": x86_64.paging(5, inverted=True),
    "not inverted": x86_64.paging(4, inverted=False),
    "32 bits": i386.paging(2, inverted=True),
    "PAE": i386.paging(3, inverted=True),
}


@dataclass
class Naive:
    """Translates one address by reading one entry after the other, as the CPU would."""

    tables: FakeTables
    dump: Dump

    def entry(self, va: int) -> tuple[int, int] | str:
        """The entry that maps an address and the bytes that it maps; "nothing" or "missing" without one."""
        paging = self.tables.paging
        table = self.tables.root
        for level in paging.levels:
            if not self.dump.present(np.array([table >> PAGE_SHIFT], np.uint64))[0]:
                return "missing"
            at = table + (va >> level.shift) % (1 << level.bits) * paging.entry_size
            raw = int.from_bytes(self.dump.read(at, paging.entry_size), "little")
            if not raw:
                return "nothing"
            if level.shift == PAGE_SHIFT or (level.can_be_leaf and not (raw & 1 and not raw & 0x80)):
                return raw, 1 << level.shift
            if not raw & 1:
                return "missing"  # neither a table nor memory: what was here is not known
            table = raw & paging.frame_mask
        raise AssertionError


@dataclass
class Walked:
    """What a walk gave, to be looked up by address."""

    starts: list[int]
    runs: list[tuple[int, int, int | None]]

    def entry(self, va: int) -> tuple[int, int] | str:
        at = bisect_right(self.starts, va) - 1
        if at < 0 or va >= self.starts[at] + self.runs[at][1]:
            return "nothing"
        _, size, raw = self.runs[at]
        return "missing" if raw is None else (raw, size)


def walked(table: PageTable, start: int, size: int) -> Walked:
    """A walk's entries; they must ascend without overlap and touch the range."""
    runs: list[tuple[int, int, int | None]] = []
    for found in table.walk(start, size):
        if isinstance(found, MissingTable):
            assert start <= found.start < found.start + found.size <= start + size
            runs.append((found.start, found.size, None))
        else:
            runs += [(int(va), found.page_size, int(raw)) for va, raw in zip(found.va, found.raw, strict=True)]
    for run, following in itertools.pairwise(runs):
        assert run[0] + run[1] <= following[0]
    assert all(at < start + size and start < at + length for at, length, _ in runs)
    return Walked([at for at, _, _ in runs], runs)


def opened(memory: FakeMemory, folder: Path) -> Dump:
    return open_dump(write_elf(folder / "vmcore", memory.pages()))


def addresses(paging: Paging) -> st.SearchStrategy[int]:
    """Page addresses that often fall into the same tables: a number for each level, most of them small."""
    index = st.integers(0, 3) | st.sampled_from([255, 256, 510, 511, 1023])
    levels = paging.levels

    def put(numbers: list[int]) -> int:
        va = sum(n % (1 << level.bits) << level.shift for n, level in zip(numbers, levels, strict=True))
        top = paging.va_bits - 1
        return va | ((1 << 64) - (1 << paging.va_bits) if paging.va_bits > 32 and va >> top else 0)

    return st.lists(index, min_size=len(levels), max_size=len(levels)).map(put)


ENTRY = st.sampled_from([USER_PAGE, PRESENT, PROTNONE | 0x62, SPECIAL | 0x25, 0x100, 0x2, 0x8E, 0xABCDE00])


@st.composite
def tables(draw: st.DrawFn, paging: Paging) -> tuple[FakeTables, list[int]]:
    """Page tables with pages of all sizes, damage, and tables that are missing; and addresses worth a look."""
    memory = FakeMemory()
    memory.alloc(16)
    made = FakeTables(memory, paging)
    probes = draw(st.lists(addresses(paging), min_size=1, max_size=12))
    shifts = [level.shift for level in paging.levels]
    used: dict[int, int] = {}
    for va in probes:
        shift = draw(st.sampled_from([12, 12, 12, 12, *shifts]))
        flags, frame = draw(ENTRY), draw(st.integers(0, 0xFFFF))
        if any(at >> s == va >> s for at, low in used.items() for s in [max(low, shift)]):
            continue  # one entry cannot be a page and a table
        used[va] = shift
        large = LARGE if shift > PAGE_SHIFT else 0
        made.put(
            va, frame << shift & paging.frame_mask | (flags & ~PRESENT if shift > 30 else flags | large), shift
        )
    for va in draw(st.lists(st.sampled_from(sorted(used)), max_size=2)):
        memory.excluded.add(
            made.table_pfn(va, draw(st.sampled_from([shift for shift in shifts if shift >= used[va]])))
        )
    return made, probes


@pytest.mark.parametrize("name", GEOMETRIES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_walk_agrees_with_one_address_at_a_time(name: str, data: st.DataObject) -> None:
    paging = GEOMETRIES[name]
    made, probes = data.draw(tables(paging))
    low, high = sorted(data.draw(st.lists(st.sampled_from(probes), min_size=2, max_size=2)))
    if low >> (paging.va_bits - 1) != high >> (paging.va_bits - 1):
        low = high
    with tempfile.TemporaryDirectory() as folder:
        dump = opened(made.memory, Path(folder))
        found = walked(PageTable(dump, paging, made.root), low, high + PAGE_SIZE - low)
        naive = Naive(made, dump)
        near = {at + by for at in [*probes, low, high] for by in (-PAGE_SIZE, 0, PAGE_SIZE, 1 << 21)}
        for va in near:
            if low <= va <= high:
                assert found.entry(va) == naive.entry(va), hex(va)


def test_every_entry_of_every_level(tmp_path: Path) -> None:
    """All 512 places of each table are reached, and more tables of the last level than are read at once."""
    paging = x86_64.paging(4, inverted=True)
    made = FakeTables(FakeMemory(), paging)
    wanted = [n << shift for shift in (12, 21, 30) for n in range(512)]
    wanted += [n << 39 for n in range(256)]
    for va in wanted:
        made.put(va, va | USER_PAGE)
    table = PageTable(opened(made.memory, tmp_path), paging, made.root)
    found = walked(table, 0, 1 << 47)
    assert found.starts == sorted(set(wanted))
    assert all(raw == va | USER_PAGE for va, _, raw in found.runs)
    assert walked(table, 5 << 21, 3 << 21).starts == [5 << 21, 6 << 21, 7 << 21]


@pytest.mark.parametrize("name", ["4 levels", "5 levels"])
def test_the_last_page_of_all(name: str, tmp_path: Path) -> None:
    paging = GEOMETRIES[name]
    made = FakeTables(FakeMemory(), paging)
    top = (1 << 64) - PAGE_SIZE
    made.map(top, 7)
    table = PageTable(opened(made.memory, tmp_path), paging, made.root)
    assert walked(table, top, PAGE_SIZE).runs == [(top, PAGE_SIZE, 7 << PAGE_SHIFT | USER_PAGE)]


@pytest.mark.parametrize("name", ["4 levels", "5 levels"])
def test_ranges_that_are_none(name: str, tmp_path: Path) -> None:
    paging = GEOMETRIES[name]
    made = FakeTables(FakeMemory(), paging)
    made.map(0, 7)
    table = PageTable(opened(made.memory, tmp_path), paging, made.root)
    half = 1 << (paging.va_bits - 1)
    for start, size in [(half, 4096), (half - 4096, 8192), (0, (1 << 64) - 1), (1 << paging.va_bits, 4096)]:
        with pytest.raises(KernelDataError, match="leaves the address space"):
            list(table.walk(start, size))
    assert list(table.walk(0, 0)) == []
    assert len(list(table.walk(0, half))) == 1


def test_a_table_that_is_not_in_the_dump(tmp_path: Path) -> None:
    paging = x86_64.paging(4, inverted=True)
    made = FakeTables(FakeMemory(), paging)
    for va in (0, 1 << 21, 1 << 30, 1 << 39):
        made.map(va, 7)
    made.memory.excluded |= {made.table_pfn(0, 12), made.table_pfn(1 << 30, 21), made.table_pfn(1 << 39, 30)}
    table = PageTable(opened(made.memory, tmp_path), paging, made.root)
    assert walked(table, 4096, 1 << 46).runs == [
        (4096, (1 << 21) - 4096, None),
        (1 << 21, 4096, 7 << PAGE_SHIFT | USER_PAGE),
        (1 << 30, 1 << 30, None),
        (1 << 39, 1 << 39, None),
    ]


def test_the_top_table_is_not_in_the_dump(tmp_path: Path) -> None:
    made = FakeTables(FakeMemory(), x86_64.paging(4, inverted=True))
    made.memory.frame()
    made.memory.excluded.add(made.root >> PAGE_SHIFT)
    table = PageTable(opened(made.memory, tmp_path), made.paging, made.root)
    assert list(table.walk(0x1000, 0x5000)) == [MissingTable(0x1000, 0x5000)]


def test_an_entry_of_the_top_level_maps_no_memory(tmp_path: Path) -> None:
    """Garbage there must not become a page of 512 GiB."""
    for levels in (4, 5):
        made = FakeTables(FakeMemory(), x86_64.paging(levels, inverted=True))
        shift = made.paging.levels[0].shift
        made.put(1 << shift, 0xABCD000 | LARGE | PROTNONE, shift)
        table = PageTable(opened(made.memory, tmp_path), made.paging, made.root)
        assert list(table.walk(0, 1 << (shift + 2))) == [MissingTable(1 << shift, 1 << shift)]
        assert list(table.walk((1 << shift) + 4096, 8192)) == [MissingTable((1 << shift) + 4096, 8192)]


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_tables_that_lead_back_end(depth: int, tmp_path: Path) -> None:
    """Each table links its own top 512 times: without a limit that is 128 TiB of entries."""
    made = FakeTables(FakeMemory(), x86_64.paging(4, inverted=True))
    chain = [made.root, *(made.memory.alloc(PAGE_SIZE, PAGE_SIZE) for _ in range(depth))]
    for here, following in zip(chain, [*chain[1:], made.root], strict=True):
        made.memory.write(here, (following | TABLE).to_bytes(8, "little") * 512)
    table = PageTable(opened(made.memory, tmp_path), made.paging, made.root)
    with pytest.raises(KernelDataError, match="more tables than the dump has pages"):
        list(table.walk(0, 1 << 47))


def test_one_table_of_large_pages_in_every_place_ends(tmp_path: Path) -> None:
    """The cycle's tables are all known already: they count all the same."""
    made = FakeTables(FakeMemory(), x86_64.paging(4, inverted=True))
    pud, pmd = (made.memory.alloc(PAGE_SIZE, PAGE_SIZE) for _ in range(2))
    for here, entry in ((made.root, pud | TABLE), (pud, pmd | TABLE), (pmd, 0x200000 | USER_PAGE | LARGE)):
        made.memory.write(here, entry.to_bytes(8, "little") * 512)
    table = PageTable(opened(made.memory, tmp_path), made.paging, made.root)
    with pytest.raises(KernelDataError, match="more tables than the dump has pages"):
        list(table.walk(0, 1 << 47))


def test_a_walk_does_not_use_up_the_next(tmp_path: Path) -> None:
    made = FakeTables(FakeMemory(), x86_64.paging(4, inverted=True))
    made.map(0x400000, 7)
    table = PageTable(opened(made.memory, tmp_path), made.paging, made.root)
    assert all(len(walked(table, 0, 1 << 30).runs) == 1 for _ in range(20))


# What an entry says: (raw, page size, names a frame, frame, special), by arch/x86/include/asm/pgtable.h with the
# inversion of arch/x86/include/asm/pgtable-invert.h.
FRAME = 0x12345 << PAGE_SHIFT
HIDDEN = ~FRAME & 0x000F_FFFF_FFFF_F000
HUGE = 0x600000
HIDDEN_HUGE = ~HUGE & 0x000F_FFFF_FFE0_0000


@pytest.mark.parametrize(
    ("raw", "page_size", "named", "physical", "special"),
    [
        (FRAME | USER_PAGE, 4096, True, FRAME, False),
        (FRAME | USER_PAGE | 1 << 63 | 0x7FF << 52, 4096, True, FRAME, False),
        (FRAME | 0x25 | SPECIAL, 4096, True, FRAME, True),
        (HIDDEN | PROTNONE, 4096, True, FRAME, False),
        (HIDDEN | PROTNONE | SPECIAL, 4096, True, FRAME, True),
        (HUGE | USER_PAGE | LARGE, 1 << 21, True, HUGE, False),
        (HUGE | USER_PAGE | LARGE | 1 << 12, 1 << 21, True, HUGE, False),  # bit 12 is PAT there
        (HUGE | USER_PAGE | LARGE | SPECIAL, 1 << 21, True, HUGE, False),
        (HIDDEN_HUGE | PROTNONE | LARGE, 1 << 21, True, HUGE, False),
        (HIDDEN_HUGE | LARGE | 0x100000, 1 << 21, True, HUGE, False),  # pmd_present asks for the large bit alone
        (HIDDEN | LARGE, 4096, False, None, False),  # the bit is PAT in the last level
        (0x00FF_FFFF_FFFF_FC02, 4096, False, None, None),  # a swap entry
    ],
)
def test_what_an_entry_says(
    raw: int, page_size: int, named: bool, physical: int | None, special: bool | None
) -> None:
    paging = x86_64.paging(4, inverted=True)
    words = np.array([raw], np.uint64)
    assert paging.names_frame(words, page_size).tolist() == [named]
    if physical is not None:
        assert paging.physical(words, page_size).tolist() == [physical]
    if special is not None:
        assert paging.is_special(words, page_size).tolist() == [special]


def test_frames_are_not_inverted_where_the_kernel_does_not() -> None:
    paging = x86_64.paging(4, inverted=False)
    words = np.array([FRAME | PROTNONE], np.uint64)
    assert paging.names_frame(words, 4096).tolist() == [True]
    assert paging.physical(words, 4096).tolist() == [FRAME]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("4 levels", [0, 0x7FFF_FFFF_FFFF, 0xFFFF_8000_0000_0000, (1 << 64) - 1], [1 << 47, -1, 1 << 64, 1 << 63]),
        ("5 levels", [0, 1 << 47, 0xFF00_0000_0000_0000], [1 << 56, -1, 1 << 64]),
        ("32 bits", [0, 0xC000_0000, 0xFFFF_FFFF], [-1, 1 << 32, (1 << 64) - 1]),
    ],
)
def test_which_numbers_are_addresses(name: str, good: list[int], bad: list[int]) -> None:
    paging = GEOMETRIES[name]
    assert [paging.is_address(va) for va in good] == [True] * len(good)
    assert [paging.is_address(va) for va in bad] == [False] * len(bad)


def test_entries_of_a_walk_are_batches(tmp_path: Path) -> None:
    """One batch for what lies in neighbouring tables: a page at a time would be slow."""
    paging = x86_64.paging(4, inverted=True)
    made = FakeTables(FakeMemory(), paging)
    for n in range(0, 2048, 3):
        made.map(n << PAGE_SHIFT, n)
    (batch,) = PageTable(opened(made.memory, tmp_path), paging, made.root).walk(0, 1 << 30)
    assert isinstance(batch, Entries)
    assert len(batch.va) == len(range(0, 2048, 3))
