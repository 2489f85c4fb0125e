"""Where each page of a mapping is: every state that a page can be in, alone and beside the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcoretools.dumps import PAGE_SHIFT, PAGE_SIZE
from gcoretools.kernel import residence
from gcoretools.kernel.image import Image
from gcoretools.kernel.page_state import DATA, EXCLUDED, NO_TABLE, NOT_MAPPED, SWAPPED, ZERO
from gcoretools.kernel.path import Paths, Root
from gcoretools.kernel.residence import Residence
from gcoretools.kernel.vma import Mappings
from gcoretools.records import Process, Vma
from tests.fake_kernel import FakeKernel, FakeProcess
from tests.fake_memory import LARGE, PROTNONE, SPECIAL
from tests.written_streams import process as process_record
from tests.written_streams import vma as vma_record

READ, WRITE, SHARED, MAYREAD, PFNMAP, IO = 1, 2, 8, 0x10, 0x400, 0x4000
RW = 0x73
START = 0x400000
SWAP_ENTRY = 0x00FF_FFFF_FFFF_FC02

LETTERS = {DATA: "d", ZERO: "z", EXCLUDED: "x", SWAPPED: "s", NOT_MAPPED: "n", NO_TABLE: "t"}


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel(cpus=1)


@pytest.fixture
def cat(kernel: FakeKernel) -> FakeProcess:
    return kernel.process(100, "cat")


def record(process: FakeProcess) -> Process:
    return process_record(mm=process.mm.address, page_table=process.tables.root)


def pieces(image: Image, process: FakeProcess, vma: Vma, size: int | None = None) -> str:
    """The state of each page, a letter each, out of pieces that must be without hole or overlap; and the data."""
    found, at = "", vma.start
    for piece in Residence(image, record(process)).pieces(vma, vma.size if size is None else size):
        assert piece.start == at
        assert piece.size > 0
        assert len(piece.places) == (piece.size >> PAGE_SHIFT if piece.state == DATA else 0)
        found += LETTERS[piece.state] * (piece.size >> PAGE_SHIFT)
        at += piece.size
    assert at == vma.start + (vma.size if size is None else size)
    return found


def mapping(image: Image, process: FakeProcess) -> Vma:
    (found,) = Mappings(image, process.mm.address, Paths(image, Root()), 64)
    return found


def states(process: FakeProcess, folder: Path) -> str:
    """Those of the one mapping of a process."""
    image = process.kernel.image(folder)
    return pieces(image, process, mapping(image, process))


def test_pages_that_are_there(cat: FakeProcess, tmp_path: Path) -> None:
    cat.map(START, 3, RW)
    pfns = [cat.page(START + i * PAGE_SIZE, b"%d" % i) for i in range(3)]
    assert states(cat, tmp_path) == "ddd"
    image = cat.kernel.image(tmp_path)
    vma = mapping(image, cat)
    found = [pfn for piece in Residence(image, record(cat)).pieces(vma, vma.size) for pfn in piece.places.tolist()]
    assert found == pfns


def test_anonymous_memory_that_was_never_touched(cat: FakeProcess, tmp_path: Path) -> None:
    cat.map(START, 5, RW)
    cat.page(START + 2 * PAGE_SIZE, b"x")
    assert states(cat, tmp_path) == "zzdzz"


def test_a_page_of_a_file_that_is_not_in_the_page_table(cat: FakeProcess, tmp_path: Path) -> None:
    """It is no zeros: the file has it."""
    cat.map(START, 3, RW, file=cat.kernel.file("/bin/cat"))
    cat.page(START + PAGE_SIZE, b"x")
    assert states(cat, tmp_path) == "ndn"


def test_the_zero_page(cat: FakeProcess, tmp_path: Path) -> None:
    """It has no owner, and a core has zeros there; what stands in that frame does not count."""
    cat.map(START, 2, RW)
    cat.page(START, b"not zeros", SPECIAL | 0x25)
    assert states(cat, tmp_path) == "zz"


def test_inaccessible_pages_keep_their_frame(cat: FakeProcess, tmp_path: Path) -> None:
    for inverted in (True, False):
        kernel = FakeKernel(cpus=1, inverted=inverted)
        cat = kernel.process(100, "cat")
        cat.map(START, 1, MAYREAD)
        pfn = cat.page(START, b"PROT_NONE", PROTNONE)
        image = kernel.image(tmp_path)
        vma = mapping(image, cat)
        (piece,) = Residence(image, record(cat)).pieces(vma, vma.size)
        assert (piece.state, piece.places.tolist()) == (DATA, [pfn])


def test_pages_that_the_dump_leaves_out(cat: FakeProcess, tmp_path: Path) -> None:
    cat.map(START, 3, RW)
    pfns = [cat.page(START + i * PAGE_SIZE, b"x") for i in range(3)]
    cat.kernel.memory.excluded.add(pfns[1])
    assert states(cat, tmp_path) == "dxd"
    image = cat.kernel.image(tmp_path)
    assert Residence(image, record(cat)).reasons[EXCLUDED] == image.dump.absent_reason != ""


def test_swapped_pages(cat: FakeProcess, tmp_path: Path) -> None:
    cat.map(START, 3, RW)
    cat.tables.put(START + PAGE_SIZE, SWAP_ENTRY)
    assert states(cat, tmp_path) == "zsz"


def test_a_table_that_is_not_in_the_dump(cat: FakeProcess, tmp_path: Path) -> None:
    """Nothing is known of what it maps, not even that it is nothing."""
    cat.map(0x5FE000, 4, RW)
    for va in (0x5FE000, 0x601000):
        cat.page(va, b"x")
    cat.kernel.memory.excluded.add(cat.tables.table_pfn(0x601000))
    assert states(cat, tmp_path) == "dztt"


def test_large_pages_are_cut_to_the_mapping(cat: FakeProcess, tmp_path: Path) -> None:
    first = cat.kernel.memory.frames_at(21, b"".join(b"%03d" % i + bytes(4093) for i in range(512)))
    cat.tables.map(0x400000, first, shift=21)
    cat.map(0x5FD000, 5, RW)
    assert states(cat, tmp_path) == "dddzz"
    image = cat.kernel.image(tmp_path)
    vma = mapping(image, cat)
    piece, _ = Residence(image, record(cat)).pieces(vma, vma.size)
    assert piece.places.tolist() == [first + 509, first + 510, first + 511]


def test_part_of_a_large_page_is_not_in_the_dump(cat: FakeProcess, tmp_path: Path) -> None:
    first = cat.kernel.memory.frames_at(21, b"x" * 3 * PAGE_SIZE)
    cat.kernel.memory.excluded.add(first + 1)
    cat.tables.map(0x400000, first, shift=21)
    cat.map(0x400000, 5, RW)
    assert states(cat, tmp_path) == "dxdxx"


def test_a_page_of_a_gigabyte(cat: FakeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cat.kernel.memory.frames_at(30, b"x" * 2 * PAGE_SIZE)
    cat.tables.map(1 << 30, first, shift=30)
    cat.map((2 << 30) - PAGE_SIZE, 2, RW)
    assert states(cat, tmp_path) == "xz"
    whole = cat.kernel.process(101, "whole")
    whole.tables.map(1 << 30, first, shift=30)
    whole.map(1 << 30, 1 << 18, RW)
    assert states(whole, tmp_path) == "dd" + "x" * ((1 << 18) - 2)


def test_huge_pages_that_are_swapped_or_inaccessible(cat: FakeProcess, tmp_path: Path) -> None:
    first = cat.kernel.memory.frames_at(21, b"x" * PAGE_SIZE)
    cat.tables.put(0x400000, SWAP_ENTRY & ~LARGE & ~PROTNONE, 21)
    cat.tables.map(0x600000, first, PROTNONE, shift=21)
    cat.map(0x5FF000, 2, MAYREAD)
    assert states(cat, tmp_path) == "sd"


@pytest.mark.parametrize(
    ("flags", "wanted"), [(RW | IO, "z"), (RW | PFNMAP, "z"), (WRITE, "z"), (0, "z"), (MAYREAD, "d"), (RW, "d")]
)
def test_what_the_kernels_dumper_does_not_reach(cat: FakeProcess, tmp_path: Path, flags: int, wanted: str) -> None:
    """Device memory, and what could never be read: it writes zeros there, whatever the page table says."""
    cat.map(START, 1, flags)
    cat.page(START, b"x")
    assert states(cat, tmp_path) == wanted


def test_garbage_in_the_top_level_is_no_page(cat: FakeProcess, tmp_path: Path) -> None:
    """512 GiB of pages would be 2**27 frame numbers."""
    cat.tables.put(1 << 39, 0xABCDE000 | LARGE | PROTNONE, 39)
    cat.map((1 << 39) - PAGE_SIZE, 3, RW)
    assert states(cat, tmp_path) == "ztt"


def test_the_kernels_own_image_of_the_vdso(cat: FakeProcess, tmp_path: Path) -> None:
    """Pages of it that were never touched are not in the process's page table."""
    kernel = cat.kernel
    data = kernel.alloc(3 * PAGE_SIZE, PAGE_SIZE)
    kernel.write(data, b"\x7fELF vdso")
    kernel.exclude(data + PAGE_SIZE)
    cat.mm["context.vdso_image"] = kernel.new("vdso_image", data=data, size=3 * PAGE_SIZE)
    ops = kernel.new("vm_operations_struct", fault=1)
    ops["name"] = 0x1111
    special = kernel.new("vm_special_mapping")
    special["name"] = kernel.store(b"[vdso]")
    cat.map(START, 4, READ, vm_ops=ops, vm_private_data=special)
    cat.page(START + 2 * PAGE_SIZE, b"touched")
    image = kernel.image(tmp_path)
    vma = mapping(image, cat)
    found = pieces(image, cat, vma)
    assert found[:3] == "dxd"
    first = next(iter(Residence(image, record(cat)).pieces(vma, vma.size)))
    assert first.places.tolist() == [kernel.physical(data) >> PAGE_SHIFT]


def test_a_vdso_of_any_size_is_soon_done(cat: FakeProcess, tmp_path: Path) -> None:
    """A stream can claim one of 64 TiB."""
    cat.mm["context.vdso_image"] = cat.kernel.new("vdso_image", data=0)
    image = cat.kernel.image(tmp_path)
    claimed = vma_record(START, 1 << 46, category="special", name="[vdso]", faultable=True)
    found = list(Residence(image, record(cat)).pieces(claimed, claimed.size))
    assert sum(piece.size for piece in found) == 1 << 46
    assert {piece.state for piece in found} == {NOT_MAPPED}


def test_only_as_much_as_is_asked_for(cat: FakeProcess, tmp_path: Path) -> None:
    cat.map(START, 5, RW)
    for i in range(5):
        cat.page(START + i * PAGE_SIZE, b"x")
    image = cat.kernel.image(tmp_path)
    assert pieces(image, cat, mapping(image, cat), PAGE_SIZE) == "d"
    assert pieces(image, cat, mapping(image, cat), 3 * PAGE_SIZE) == "ddd"


@given(
    st.text("dzsxp", min_size=1, max_size=40), st.booleans(), st.sampled_from([START, 0x5F0000, (1 << 39) - 0x4000])
)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_pages_beside_each_other(tmp_path: Path, pattern: str, file: bool, start: int) -> None:
    kernel = FakeKernel(cpus=1)
    cat = kernel.process(100, "cat")
    cat.map(start, len(pattern), RW, file=kernel.file("/x") if file else None)
    for i, letter in enumerate(pattern):
        va = start + i * PAGE_SIZE
        if letter == "s":
            cat.tables.put(va, SWAP_ENTRY)
        elif letter != "z":
            pfn = cat.page(va, b"%d" % i, PROTNONE if letter == "p" else 0x67)
            if letter == "x":
                kernel.memory.excluded.add(pfn)
    wanted = pattern.replace("p", "d").replace("z", "n" if file else "z")
    assert states(cat, tmp_path) == wanted


def test_many_pages_come_in_few_pieces(cat: FakeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And in no more than PAGES_AT_ONCE at a time, so that memory stays bounded."""
    cat.map(START, 3000, RW)
    for i in range(3000):
        cat.tables.map(START + i * PAGE_SIZE, 0x1000)
    image = cat.kernel.image(tmp_path)
    vma = mapping(image, cat)
    assert len(list(Residence(image, record(cat)).pieces(vma, vma.size))) == 1
    monkeypatch.setattr(residence, "PAGES_AT_ONCE", 256)
    sizes = [piece.size >> PAGE_SHIFT for piece in Residence(image, record(cat)).pieces(vma, vma.size)]
    assert max(sizes) <= 256
    assert sum(sizes) == 3000
    assert np.all(np.array(sizes) > 0)
