"""Entries that are not present, of each kind: the page where there is one, else why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gcoretools.dumps import PAGE_SIZE
from gcoretools.kernel.nonpresent import settle
from gcoretools.kernel.page_state import DATA, EMPTY, POISONED, PRIVATE, SWAPPED, ZERO
from gcoretools.kernel.path import Paths, Root
from gcoretools.kernel.residence import Residence
from gcoretools.kernel.swap.entry import SwapEntries
from gcoretools.kernel.vma import Mappings
from tests.fake_kernel import FakeKernel, FakeProcess
from tests.fake_page_cache import FakeCache, FakePages
from tests.written_streams import process as process_record

START, RW = 0x400000, 0x73

# The types of a kernel with all of these (include/linux/swap.h of 6.12).
SIGNS = (
    "migrate_pages", "memory_failure", "make_device_exclusive", "make_device_exclusive_range", "migrate_vma_setup",
)  # fmt: skip
HWPOISON, MIGRATION_READ, MIGRATION_WRITE, DEVICE_PRIVATE, DEVICE_EXCLUSIVE, MARKER = 23, 24, 26, 27, 29, 31
UFFD_WP, POISON, GUARD = 1, 2, 4

# Type, offset; None for a frame of its own; what the page is then.
CASES = [
    (0, 0x1234, SWAPPED),
    (5, 0, SWAPPED),
    (MIGRATION_READ, None, DATA),
    (MIGRATION_WRITE, None, DATA),
    (DEVICE_EXCLUSIVE, None, DATA),
    (DEVICE_PRIVATE, None, PRIVATE),
    (HWPOISON, None, POISONED),
    (MARKER, GUARD, ZERO),
    (MARKER, POISON, POISONED),
    (MARKER, POISON | UFFD_WP, POISONED),
    (MARKER, UFFD_WP, EMPTY),
    (MARKER, 0, EMPTY),
]


@pytest.fixture
def kernel() -> FakeKernel:
    kernel = FakeKernel(cpus=1)
    kernel.layout.constants["PG_anon_exclusive"] = 19
    for name in SIGNS:
        kernel.symbol(name)
    return kernel


def encoded(kind: int, offset: int) -> int:
    """As __swp_entry of pgtable_64.h writes it."""
    return kind << 59 | (~offset & (1 << 50) - 1) << 9


@pytest.mark.parametrize(("kind", "offset", "wanted"), CASES)
def test_each_kind(tmp_path: Path, kernel: FakeKernel, kind: int, offset: int | None, wanted: int) -> None:
    frame = kernel.memory.frame(b"where it was")
    swap = SwapEntries(kernel.image(tmp_path))
    raw = encoded(kind, frame if offset is None else offset)
    state, places = np.array([DATA, SWAPPED], np.uint8), np.array([7, raw], np.uint64)
    places[1:] = swap.of_table(places[1:])
    settle(swap, state, places)
    assert state.tolist() == [DATA, wanted]
    assert places[0] == 7
    assert wanted != DATA or places[1] == frame


def read(kernel: FakeKernel, cat: FakeProcess, folder: Path) -> list[bytes | int]:
    """The first bytes of each page, or its state."""
    image = kernel.image(folder)
    (vma,) = Mappings(image, cat.mm.address, Paths(image, Root()), 64)
    residence = Residence(image, process_record(mm=cat.mm.address, page_table=cat.tables.root))
    found: list[bytes | int] = []
    for piece in residence.pieces(vma, vma.size):
        for i in range(piece.size // PAGE_SIZE):
            has = piece.state == DATA
            found.append(bytes(residence.read(piece, i, 1)).rstrip(b"\0") if has else piece.state)
    return found


def test_a_huge_page_under_migration(tmp_path: Path, kernel: FakeKernel) -> None:
    """One entry of the level above names all its pages."""
    cat = kernel.process(100, "cat")
    first = kernel.memory.frames_at(21, b"".join(b"page %d" % i + bytes(4090) for i in range(3)))
    cat.tables.put(START, encoded(MIGRATION_WRITE, first), 21)
    cat.map(START, 2, RW)
    assert read(kernel, cat, tmp_path) == [b"page 0", b"page 1"]


def test_a_marker_of_userfaultfd_is_no_page(tmp_path: Path, kernel: FakeKernel) -> None:
    """It stands where the entry was dropped: the page is in the page cache, or nowhere."""
    cat, pages = kernel.process(100, "cat"), FakePages(kernel)
    file = kernel.file("/data")
    cache = FakeCache(pages, file, size=3 * PAGE_SIZE)
    cache.page(0, b"cached")
    cache.finish()
    cat.map(START, 3, RW, file=file)
    for i in range(2):
        cat.tables.put(START + i * PAGE_SIZE, encoded(MARKER, UFFD_WP))
    cat.page(START + 2 * PAGE_SIZE, b"mapped")
    assert read(kernel, cat, tmp_path) == [b"cached", ZERO, b"mapped"]


def test_a_page_that_has_moved_out_of_the_dump(tmp_path: Path, kernel: FakeKernel) -> None:
    cat = kernel.process(100, "cat")
    cat.map(START, 1, RW)
    cat.tables.put(START, encoded(MIGRATION_READ, 0x99999))
    (state,) = read(kernel, cat, tmp_path)
    assert state not in (DATA, ZERO, SWAPPED)
