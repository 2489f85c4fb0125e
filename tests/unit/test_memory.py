"""Reading by virtual address: pages of every size, what is not mapped, and what is not in the dump."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcoretools import memory as memory_module
from gcoretools.arch import x86_64
from gcoretools.dumps import PAGE_SHIFT, PAGE_SIZE
from gcoretools.errors import KernelDataError, PageAbsent
from gcoretools.memory import AddressSpace, NotMapped
from tests.fake_memory import PROTNONE, FakeMemory, FakeTables

MIB2, GIB = 1 << 21, 1 << 30


class Fake:
    """Page tables, and the address space that they make when all is written."""

    def __init__(self, folder: Path, levels: int = 4) -> None:
        self.memory = FakeMemory()
        self.tables = FakeTables(self.memory, x86_64.paging(levels, inverted=True))
        self._folder = folder

    def space(self) -> AddressSpace:
        return AddressSpace(self.memory.dump(self._folder / "vmcore"), self.tables.paging, self.tables.root)


@pytest.fixture(params=[4, 5])
def fake(request: pytest.FixtureRequest, tmp_path: Path) -> Fake:
    return Fake(tmp_path, request.param)


def test_a_page_and_what_is_left_of_it(fake: Fake) -> None:
    pfn = fake.memory.frame(b"page")
    fake.tables.map(0x7000, pfn)
    assert fake.space().translate(0x7000) == (pfn << PAGE_SHIFT, PAGE_SIZE)
    assert fake.space().translate(0x7FF8) == ((pfn << PAGE_SHIFT) + 0xFF8, 8)


def test_large_pages(fake: Fake) -> None:
    two = fake.memory.frames_at(21, bytes(PAGE_SIZE) + b"2 MiB")
    one = fake.memory.frames_at(30, b"1 GiB")
    fake.tables.map(MIB2, two, shift=21)
    fake.tables.map(GIB, one, shift=30)
    space = fake.space()
    for _ in range(2):  # the second time from what is kept
        assert space.translate(MIB2 + 0x1005) == ((two << PAGE_SHIFT) + 0x1005, MIB2 - 0x1005)
        assert space.read(MIB2 + PAGE_SIZE, 5) == b"2 MiB"
        assert space.translate(GIB) == (one << PAGE_SHIFT, GIB)
        assert space.read(GIB, 5) == b"1 GiB"
        with pytest.raises(NotMapped):
            space.translate(2 * MIB2)
        with pytest.raises(NotMapped):
            space.translate(2 * GIB)


def test_a_small_page_beside_a_large_one(fake: Fake) -> None:
    """What is kept of one size must not answer for an address of the other."""
    large, small = fake.memory.frames_at(21, b"large"), fake.memory.frame(b"small")
    fake.tables.map(0, large, shift=21)
    fake.tables.map(MIB2, small)
    space = fake.space()
    for _ in range(2):
        assert space.read(0, 5) + space.read(MIB2, 5) == b"largesmall"


def test_reads_go_across_pages_that_lie_apart(fake: Fake) -> None:
    data = random.Random(1).randbytes(5 * PAGE_SIZE)
    for i in range(5):
        fake.tables.map(0x10000 + i * PAGE_SIZE, fake.memory.frame(data[i * PAGE_SIZE : (i + 1) * PAGE_SIZE]))
    space = fake.space()
    assert space.read(0x10000, len(data)) == data
    assert space.read(0x10FFE, 4) == data[0xFFE:0x1002]
    assert space.read(0x10003, 0) == b""
    assert space.integer(0x10FFC, 8) == int.from_bytes(data[0xFFC:0x1004], "little")


def test_a_page_that_was_made_inaccessible_is_read(fake: Fake) -> None:
    fake.tables.map(0x7000, fake.memory.frame(b"PROT_NONE"), PROTNONE)
    assert fake.space().read(0x7000, 9) == b"PROT_NONE"


def test_what_is_not_mapped(fake: Fake) -> None:
    fake.tables.map(0x7000, fake.memory.frame(b"page"))
    fake.tables.put(0x9000, 0x00FF_FFFF_FFFF_FC02)  # a swap entry
    space = fake.space()
    for va in (0x6000, 0x8000, 0x9000, MIB2, GIB, 1 << 40, 0xFFFF_FFFF_FFFF_F000):
        with pytest.raises(NotMapped, match=f"no page is mapped at {va:#x}"):
            space.translate(va)
    with pytest.raises(NotMapped, match="no page is mapped at 0x8000"):
        space.read(0x7FF8, 16)


@pytest.mark.parametrize("va", [-1, -(1 << 63), 1 << 64, 1 << 80, 1 << 60])
def test_what_is_no_address(fake: Fake, va: int) -> None:
    fake.tables.map(0, fake.memory.frame())
    with pytest.raises(NotMapped, match="is not an address"):
        fake.space().read(va, 8)


def test_a_read_off_the_end_of_all_addresses(fake: Fake) -> None:
    top = (1 << 64) - PAGE_SIZE
    fake.tables.map(top, fake.memory.frame(b"x" * PAGE_SIZE))
    space = fake.space()
    assert space.read((1 << 64) - 4, 4) == b"xxxx"
    with pytest.raises(NotMapped):
        space.read((1 << 64) - 4, 5)


def test_a_page_or_a_table_that_is_not_in_the_dump(fake: Fake) -> None:
    pfn = fake.memory.frame()
    fake.tables.map(0x7000, pfn)
    fake.tables.map(GIB, fake.memory.frame())
    fake.memory.excluded |= {pfn, fake.tables.table_pfn(GIB, 21)}
    space = fake.space()
    assert space.translate(0x7000)[0] == pfn << PAGE_SHIFT
    with pytest.raises(PageAbsent, match=f"{pfn << PAGE_SHIFT:#x}"):
        space.read(0x7000, 1)
    with pytest.raises(PageAbsent, match=f"{fake.tables.table_pfn(GIB, 21) << PAGE_SHIFT:#x}"):
        space.translate(GIB)


def test_a_size_out_of_damaged_memory(fake: Fake) -> None:
    fake.tables.map(0, fake.memory.frame())
    with pytest.raises(KernelDataError, match="a length in the dump is damaged"):
        fake.space().read(0, 1 << 40)


def test_texts(fake: Fake) -> None:
    fake.tables.map(0x7000, fake.memory.frame(b"a" * 4090 + b"text"))
    fake.tables.map(0x8000, fake.memory.frame(b"b" * 4096))
    space = fake.space()
    assert space.string(0x7FFA) == b"text"
    assert space.string(0x7FFA, 3) == b"tex"
    assert space.string(0x7FFE) == b""
    assert space.string(0x7000, 10) == b"a" * 10
    assert space.string(0x8FF0, 16) == b"b" * 16
    assert space.string(0x8FF1, 15) == b"b" * 15
    with pytest.raises(NotMapped):
        space.string(0x8FF0, 17)


def test_a_text_goes_on_in_the_next_page(fake: Fake) -> None:
    fake.tables.map(0x7000, fake.memory.frame(b"x" * 4096))
    fake.tables.map(0x8000, fake.memory.frame(b"yz\0w"))
    assert fake.space().string(0x7FFE) == b"xxyz"


def test_what_is_kept_does_not_grow_without_end(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "TRANSLATIONS_KEPT", 8)
    frames = [fake.memory.frame(b"%d" % i) for i in range(20)]
    for i, pfn in enumerate(frames):
        fake.tables.map(i * PAGE_SIZE, pfn)
    space = fake.space()
    for _ in range(2):
        for i, pfn in enumerate(frames):
            assert space.translate(i * PAGE_SIZE)[0] == pfn << PAGE_SHIFT
    assert len(space._known) <= 8


def test_tables_that_lead_back_end(fake: Fake) -> None:
    """There are as many levels as there are: a cycle is just a wrong page."""
    fake.memory.write(fake.tables.root, (fake.tables.root | 0x67).to_bytes(8, "little"))
    assert fake.space().translate(0)[0] == fake.tables.root


@given(st.lists(st.integers(0, 6 * PAGE_SIZE), max_size=50), st.integers(1, 2 * PAGE_SIZE), st.integers(0, 2))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_many_structures_at_once(tmp_path: Path, offsets: list[int], size: int, batches: int) -> None:
    """The same bytes that one read each would give, and no others where that finds nothing."""
    fake = Fake(tmp_path)
    large = fake.memory.frames_at(21, random.Random(1).randbytes(3 * PAGE_SIZE))
    fake.tables.map(MIB2, large, shift=21)
    frames = [fake.memory.frame(random.Random(i).randbytes(PAGE_SIZE)) for i in range(4)]
    for i in (0, 1, 3):
        fake.tables.map(2 * MIB2 + i * PAGE_SIZE, frames[i])
    fake.memory.excluded.add(frames[3])
    addresses = [base + offset for base in (MIB2, 2 * MIB2, (1 << 63) + 5) for offset in offsets]
    space = fake.space()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory_module, "GATHER_LIMIT", (1 << 24, 1, 1 << 17)[batches])
        rows, held = space.gather(np.array(addresses, np.uint64), size)
    for address, row, there in zip(addresses, rows, held.tolist(), strict=True):
        try:
            wanted = space.read(address, size)
        except (KernelDataError, PageAbsent):
            wanted = None
        assert there == (wanted is not None)
        assert row.tobytes() == (wanted or bytes(size))
