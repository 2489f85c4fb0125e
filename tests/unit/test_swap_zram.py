"""Swapped pages in zram and in the swap cache, of each time; and what is lost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gcoretools.dumps import PAGE_SIZE
from gcoretools.errors import KernelDataError
from gcoretools.kernel.page_state import DATA, STORED, SWAPPED, ZERO
from gcoretools.kernel.swap.swap import Swap
from gcoretools.paging import Words
from tests.fake_kernel import FakeKernel
from tests.fake_swap import FORMS, PAGE_FLAG_UPTODATE, FakeSwap, FakeZram, deflated, swap_entries

RANDOM = random.Random(4)


def page_of(random_bytes: int) -> bytes:
    """A page that compresses to a little more than so many bytes."""
    return (RANDOM.randbytes(random_bytes) + b"gcoretools " * 400)[:PAGE_SIZE]


def places(swap: Swap, wanted: Words) -> tuple[list[int], Words]:
    states, found = swap.locate(wanted)
    return states.tolist(), found


def kernels(form: str) -> FakeKernel:
    """One of a time: compressors by name since 6.2, a map of zero pages since 6.12."""
    old = form in ("5.10", "6.1")
    lacks = ("zram.comp_algs", "ZRAM_COMP_PRIORITY_BIT1", "swap_info_struct.zeromap") if old else ()
    return FakeKernel(cpus=1, without=(*lacks, "swap_cluster_info"))


@pytest.fixture(params=FORMS)
def zram(request: pytest.FixtureRequest) -> FakeZram:
    kernel = kernels(request.param)
    swap = FakeSwap(kernel, request.param)
    return swap.zram("/dev/zram7", 4096, ("deflate", "zstd", "842"))


def test_pages_of_all_sizes(zram: FakeZram, tmp_path: Path) -> None:
    pages = [page_of(size) for size in range(0, 4000, 37)]
    for number, page in enumerate(pages):
        zram.put(number + 1, deflated(page))
    swap = Swap(zram.swap.kernel.image(tmp_path))
    wanted = swap_entries(0, *range(1, len(pages) + 1))
    states, found = places(swap, wanted)
    assert states == [STORED] * len(pages)
    assert bytes(swap.read(found)) == b"".join(pages)


def test_the_order_is_the_askers(zram: FakeZram, tmp_path: Path) -> None:
    pages = {5: page_of(100), 9: page_of(2000), 77: page_of(3000)}
    for offset, page in pages.items():
        zram.put(offset, deflated(page))
    swap = Swap(zram.swap.kernel.image(tmp_path))
    wanted = swap_entries(0, 77, 5, 9, 5)
    assert bytes(swap.read(places(swap, wanted)[1])) == pages[77] + pages[5] + pages[9] + pages[5]


def test_same_filled_and_incompressible(zram: FakeZram, tmp_path: Path) -> None:
    noise = RANDOM.randbytes(PAGE_SIZE)
    zram.put_same(1, 0x1122334455667788)
    zram.put(2, noise)
    swap = Swap(zram.swap.kernel.image(tmp_path))
    states, found = places(swap, swap_entries(0, 1, 2, 3))
    assert states == [STORED] * 3  # the third was never written: zram reads zeros
    assert bytes(swap.read(found)) == bytes.fromhex("8877665544332211") * 512 + noise + bytes(PAGE_SIZE)


def test_compressors_by_priority(tmp_path: Path) -> None:
    swap_of = FakeSwap(kernels("6.12"))
    zram = swap_of.zram("/dev/zram0", 64, ("842", "deflate"))
    page = page_of(500)
    zram.put(1, deflated(page), priority=1)
    zram.put(2, b"whatever", priority=0)
    swap = Swap(swap_of.kernel.image(tmp_path))
    states, found = places(swap, swap_entries(0, 1, 2))
    assert states[0] == STORED
    assert "842" in swap.reasons[states[1]]
    assert "/dev/zram0" in swap.reasons[states[1]]
    assert bytes(swap.read(found[:1])) == page


def test_what_is_written_back_or_not_in_the_dump(zram: FakeZram, tmp_path: Path) -> None:
    zram.slot(1)["flags"] = 1 << 15
    zram.slot(1)["handle"] = 77
    kernel = zram.swap.kernel
    lost = zram.put(2, deflated(page_of(100)))
    coded = int.from_bytes(kernel.read(lost, 8), "little")
    kernel.memory.excluded.add(coded >> 24)
    swap = Swap(kernel.image(tmp_path))
    states, _ = places(swap, swap_entries(0, 1, 2))
    assert "written back" in swap.reasons[states[0]]
    assert "not in the dump" in swap.reasons[states[1]]


def test_corrupt_data_is_told_with_its_place(zram: FakeZram, tmp_path: Path) -> None:
    zram.put(1, b"\xff" * 100)
    swap = Swap(zram.swap.kernel.image(tmp_path))
    _, found = places(swap, swap_entries(0, 1))
    with pytest.raises(KernelDataError, match="/dev/zram7: a page compressed with deflate: "):
        swap.read(found)


def test_an_old_module_without_types(tmp_path: Path) -> None:
    """Before 5.11 the dump does not describe zram: its words are where they were in 5.4 to 5.10."""
    kernel = FakeKernel(
        cpus=1, without=("zram", "zram_table_entry", "zcomp", "swap_cluster_info", "swap_info_struct.zeromap")
    )
    swap_of = FakeSwap(kernel, "5.10")
    area = swap_of.area("/dev/zram0", 64)
    name = kernel.store(b"deflate")
    comp, table, zram = kernel.alloc(32), kernel.alloc(64 * 24), kernel.alloc(256)
    kernel.write(comp + 8, name.to_bytes(8, "little"))
    disk = swap_of.disk(area)
    kernel.write(zram, b"".join(each.to_bytes(8, "little") for each in (table, 0, comp, disk.address)))
    disk["private_data"] = zram
    pages = [page_of(size) for size in (10, 1000, 3000)]
    for number, page in enumerate(pages):
        block = deflated(page)
        words = swap_of.keep(block), len(block), 0x1234567890
        kernel.write(table + 24 * (number + 1), b"".join(each.to_bytes(8, "little") for each in words))
    swap = Swap(kernel.image(tmp_path))
    states, found = places(swap, swap_entries(0, 1, 2, 3))
    assert states == [STORED] * 3
    assert bytes(swap.read(found)) == b"".join(pages)


def test_a_zram_of_another_disk_is_none(zram: FakeZram, tmp_path: Path) -> None:
    zram.zram["disk"] = 0x1234
    swap = Swap(zram.swap.kernel.image(tmp_path))
    states, _ = places(swap, swap_entries(0, 1))
    assert swap.reasons[states[0]] == "swapped out to /dev/zram7"


def test_the_swap_cache_comes_first(zram: FakeZram, tmp_path: Path) -> None:
    fake = zram.swap
    fresh, reading = fake.frame(b"fresh"), fake.frame(b"being read in")
    fake.page(fresh)["flags"] = PAGE_FLAG_UPTODATE
    fake.cached(zram.area, {1: fake.page(fresh).address, 2: fake.page(reading).address, 3: 0x77 << 1 | 1})
    for offset in (1, 2, 3):
        zram.put_same(offset, 9)
    swap = Swap(fake.kernel.image(tmp_path))
    states, found = places(swap, swap_entries(0, 1, 2, 3))
    assert states == [DATA, STORED, STORED]
    assert found.tolist()[0] == fresh


def test_large_folios_in_the_swap_cache(tmp_path: Path) -> None:
    """Each slot of a folio names its head; and the second tree of an area counts from zero, or goes on."""
    fake = FakeSwap(kernels("6.12"))
    area = fake.area("/dev/vdb", 3 << 14)
    frames = [fake.frame(bytes([number])) for number in range(4)]
    assert frames == list(range(frames[0], frames[0] + 4))
    fake.page(frames[0])["flags"] = PAGE_FLAG_UPTODATE
    for pfn in frames[1:]:
        fake.page(pfn)["compound_head"] = fake.page(frames[0]).address | 1
    head = fake.page(frames[0]).address
    fake.cached(area, dict.fromkeys(range(8, 12), head), part=1)
    fake.cached(area, dict.fromkeys(range((2 << 14) + 8, (2 << 14) + 12), head), part=2)
    swap = Swap(fake.kernel.image(tmp_path))
    for part in (1, 2):
        states, found = places(swap, swap_entries(0, *((part << 14) + n for n in (9, 11, 8))))
        assert states == [DATA] * 3
        assert found.tolist() == [frames[1], frames[3], frames[0]]


def table_word(kernel: FakeKernel, area_clusters: int, offset: int, word: int) -> None:
    """A word of the swap table of a cluster."""
    size = kernel.all_sizes["swap_cluster_info"]
    at = area_clusters + offset // 512 * size + kernel.all_members["swap_cluster_info.table"].offset
    table = int.from_bytes(kernel.read(at, 8), "little")
    if not table:
        table = kernel.alloc(4096)
        kernel.write(at, table.to_bytes(8, "little"))
    kernel.write(table + 8 * (offset % 512), word.to_bytes(8, "little"))


@pytest.mark.parametrize("by_frame", [True, False])
def test_swap_tables(by_frame: bool, tmp_path: Path) -> None:
    """Words that name a frame (with counts above it), or, as at first, a folio; shadows; and zero pages."""
    kernel = FakeKernel(cpus=1, without=() if not by_frame else ("swap_info_struct.zeromap",))
    fake = FakeSwap(kernel)
    clusters = kernel.alloc(4 * kernel.all_sizes["swap_cluster_info"])
    area = fake.area("/dev/vdb", 2048, cluster_info=clusters)
    frames = [fake.frame() for _ in range(2)]
    fake.page(frames[0])["flags"] = PAGE_FLAG_UPTODATE
    fake.page(frames[1])["compound_head"] = fake.page(frames[0]).address | 1
    word = 3 << 60 | frames[0] << 2 | 2 if by_frame else fake.page(frames[0]).address
    for offset in (600, 601):
        table_word(kernel, clusters, offset, word)
    table_word(kernel, clusters, 700, 1 << 60 | 0x55 << 1 | 1)
    if by_frame:
        table_word(kernel, clusters, 701, 1 << 60 | 1 << 59 | 1)
    else:
        area["zeromap"] = kernel.alloc(256)
        kernel.write(area["zeromap"] + 701 // 8, bytes([1 << 701 % 8]))
    swap = Swap(kernel.image(tmp_path))
    states, found = places(swap, swap_entries(0, 601, 600, 700, 701, 1600))
    assert states[:2] == [DATA, DATA]
    assert found.tolist()[:2] == [frames[1], frames[0]]
    assert states[3] == ZERO
    assert {swap.reasons[states[2]], swap.reasons[states[4]]} == {"swapped out to /dev/vdb"}


def test_areas_that_are_not_there(tmp_path: Path) -> None:
    fake = FakeSwap(kernels("6.12"))
    fake.area("/dev/vda", 64)["flags"] = 0
    fake.area("/swap/file", 64)
    swap = Swap(fake.kernel.image(tmp_path))
    assert {number: area.name for number, area in swap.areas.items()} == {1: "/swap/file"}
    states, _ = places(swap, swap_entries(0, 1))
    assert states == [SWAPPED]
    assert Swap(FakeKernel().image(tmp_path)).areas == {}
