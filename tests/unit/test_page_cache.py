"""Pages of files that are not in the page table: in each kind of file system, in the cache of each kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcoretools.dumps import PAGE_SHIFT, PAGE_SIZE
from gcoretools.kernel import page_cache, page_state, xarray
from gcoretools.kernel.image import Image
from gcoretools.kernel.path import Paths, Root
from gcoretools.kernel.radix_tree import Entries
from gcoretools.kernel.residence import Piece, Residence
from gcoretools.kernel.vma import Mappings
from gcoretools.layout.layout import Member
from gcoretools.records import Vma
from tests.fake_kernel import FakeKernel, FakeProcess, Object
from tests.fake_page_cache import HEADS, HWPOISON, ONE, OWN, UPTODATE, FakeCache, FakePages, pages_of
from tests.written_streams import process as process_record

RW, SHARED_RW = 0x73, 0x7B
START = 0x400000

LETTERS = {
    page_state.ZERO: "z", page_state.EXCLUDED: "x", page_state.SWAPPED: "s", page_state.NOT_CACHED: "n",
    page_state.NOT_READ: "r", page_state.NO_CACHE: "c", page_state.POISONED: "p", page_state.PRIVATE: "v",
    page_state.NOT_MAPPED: "m",
}  # fmt: skip

# Kernels by their trees: xarrays, radix trees, and radix trees that say their height.
KERNELS: dict[str, tuple[str, ...]] = {
    "xarray": (),
    "radix": ("xarray", "radix_tree_root.height"),
    "old": ("xarray", "radix_tree_node.shift", "page.compound_head"),
}


class Mapped:
    """A process that maps one file."""

    def __init__(self, pages: int = 8, system: str = "tmpfs", kernel: FakeKernel | None = None, **options: object):
        self.kernel = kernel or FakeKernel(cpus=1)
        self.cat: FakeProcess = self.kernel.process(100, "cat")
        self.struct_pages = FakePages(self.kernel)
        self.file = self.kernel.file("/data")
        if more := options.pop("inode_more", 0):
            dentry = Object(self.kernel, "dentry", self.file["f_path.dentry"])
            dentry["d_inode"] = self.kernel.new("inode", i_nlink=1, more=int(str(more)))
        offset, self.length = int(str(options.pop("offset", 0))), pages
        options.setdefault("size", pages * PAGE_SIZE)
        self.cache = FakeCache(self.struct_pages, self.file, system, **options)  # type: ignore[arg-type]
        self.cat.map(START, pages, SHARED_RW, file=self.file, offset=offset)

    def pieces(self, folder: Path) -> tuple[Residence, list[Piece]]:
        image = self.kernel.image(folder)
        residence = Residence(image, process_record(mm=self.cat.mm.address, page_table=self.cat.tables.root))
        vma = mapping(image, self.cat)
        return residence, list(residence.pieces(vma, vma.size))

    def seen(self, folder: Path) -> list[str]:
        """For each page the word that it begins with, or a letter for one without bytes."""
        residence, pieces = self.pieces(folder)
        found, at = [], START
        for piece in pieces:
            assert piece.start == at
            at += piece.size
            for i in range(piece.size >> PAGE_SHIFT):
                if piece.state in page_state.WITH_BYTES:
                    found.append(bytes(residence.read(piece, i, 1)).partition(b"\0")[0].decode())
                else:
                    found.append(LETTERS[piece.state])
        assert at == START + self.length * PAGE_SIZE
        return found


def mapping(image: Image, process: FakeProcess) -> Vma:
    (found,) = Mappings(image, process.mm.address, Paths(image, Root()), 64)
    return found


@pytest.mark.parametrize("kind", KERNELS)
@pytest.mark.parametrize(("system", "hole"), [("tmpfs", "z"), ("ramfs", "z"), ("ext4", "n")])
def test_pages_and_holes(tmp_path: Path, kind: str, system: str, hole: str) -> None:
    """What no fault could read from anywhere is zeros; what a disk has is not known."""
    mapped = Mapped(5, system, FakeKernel(cpus=1, without=KERNELS[kind]))
    mapped.cache.page(1, b"one")
    mapped.cache.page(3, b"three")
    mapped.cache.finish()
    mapped.cat.page(START + 3 * PAGE_SIZE, b"mapped")
    assert mapped.seen(tmp_path) == [hole, "one", hole, "mapped", hole]


def test_a_page_that_the_process_has_of_its_own_is_not_the_files(tmp_path: Path) -> None:
    mapped = Mapped(2)
    for i in range(2):
        mapped.cache.page(i, b"file %d" % i)
    mapped.cache.finish()
    mapped.cat.page(START, b"own")
    assert mapped.seen(tmp_path) == ["own", "file 1"]


def test_a_mapping_from_the_middle_of_a_file_to_beyond_its_end(tmp_path: Path) -> None:
    """Pages beyond the end are none, in the cache or not: a fault there is SIGBUS, and a core has zeros."""
    mapped = Mapped(6, "ext4", size=4 * PAGE_SIZE + 1, offset=2)
    for i in range(7):
        mapped.cache.page(i, b"page %d" % i)
    mapped.cache.finish()
    assert mapped.seen(tmp_path) == ["page 2", "page 3", "page 4", "z", "z", "z"]


@pytest.mark.parametrize(("kind", "folios"), [("xarray", ONE), ("xarray", HEADS), ("radix", OWN)])
def test_large_folios(tmp_path: Path, kind: str, folios: str) -> None:
    """Each way that they stood in the tree; the mapping begins inside one and ends inside another."""
    mapped = Mapped(
        7, kernel=FakeKernel(cpus=1, without=KERNELS[kind]), size=16 * PAGE_SIZE, offset=2, folios=folios
    )
    mapped.cache.folio(0, 2, pages_of("0", "1", "2", "3"))
    mapped.cache.page(5, b"5")
    mapped.cache.folio(8, 3, pages_of(*map(str, range(8, 16))))
    mapped.cache.finish()
    assert mapped.seen(tmp_path) == ["2", "3", "z", "5", "z", "z", "8"]


@pytest.mark.parametrize("pages", [True, False])
def test_huge_pages(tmp_path: Path, pages: bool) -> None:
    """The cache of hugetlbfs counts pages (6.7), or huge pages; what was never touched is zeros."""
    mapped = Mapped(12, "hugetlbfs", size=32 * PAGE_SIZE, offset=4, order=3)
    if not pages:
        mapped.kernel.symbol("hugetlb_basepage_index")
    mapped.cache.huge(1, 3, pages_of(*map(str, range(8, 16))), pages=pages)
    mapped.cache.finish()
    assert mapped.seen(tmp_path) == [*"zzzz", *map(str, range(8, 16))]


def test_huge_pages_of_one_size(tmp_path: Path) -> None:
    """Before 2.6.27 no hstate tells it: it is that of the level above the last."""
    mapped = Mapped(
        3, "hugetlbfs", FakeKernel(cpus=1, without=(*KERNELS["old"], "hstate")), size=1 << 30, offset=511
    )
    mapped.cache.huge(1, 9, pages_of("512", "513"), pages=False)
    mapped.cache.finish()
    assert mapped.seen(tmp_path) == ["z", "512", "513"]


@pytest.mark.parametrize("order", [0, 19, 0xFFFFFFFF])
def test_huge_pages_of_a_size_that_cannot_be(tmp_path: Path, order: int) -> None:
    mapped = Mapped(2, "hugetlbfs", order=order)
    mapped.cache.finish()
    assert mapped.seen(tmp_path) == ["c", "c"]


def test_what_is_not_up_to_date(tmp_path: Path) -> None:
    """Of a disk it has not been read; of tmpfs it was only set aside, and is zeros."""
    for system, letter in (("ext4", "r"), ("tmpfs", "z")):
        mapped = Mapped(2, system)
        mapped.cache.page(0, b"stale", flags=0)
        mapped.cache.page(1, b"good")
        mapped.cache.finish()
        assert mapped.seen(tmp_path) == [letter, "good"]


def test_broken_memory_and_pages_left_out(tmp_path: Path) -> None:
    mapped = Mapped(3)
    mapped.cache.page(0, b"broken", flags=UPTODATE | HWPOISON)
    mapped.kernel.memory.excluded.add(mapped.cache.page(1, b"excluded"))
    mapped.cache.page(2, b"good")
    mapped.cache.finish()
    assert mapped.seen(tmp_path) == ["p", "x", "good"]


@pytest.mark.parametrize("kind", ["xarray", "radix"])
def test_values_are_swap_entries_in_tmpfs_and_shadows_elsewhere(tmp_path: Path, kind: str) -> None:
    for system, wanted in (("tmpfs", ["s", "s", "z", "z"]), ("ext4", ["n", "n", "n", "n"])):
        mapped = Mapped(4, system, FakeKernel(cpus=1, without=KERNELS[kind]))
        mapped.cache.value(0, 0x1234, order=1)
        mapped.cache.finish()
        assert mapped.seen(tmp_path) == wanted


@pytest.mark.parametrize(("swapped", "hole"), [(0, "z"), (3, "s")])
def test_swap_entries_that_tmpfs_keeps_elsewhere(tmp_path: Path, swapped: int, hole: str) -> None:
    """Until 3.1: a page that is not in the cache may then be on a disk, and is not said to be zeros."""
    kernel = FakeKernel(cpus=1, without=KERNELS["old"])
    size = kernel.all_sizes["inode"]
    for name, at in (("vfs_inode", 0), ("swapped", size), ("i_direct", size + 8)):
        kernel.layout.members[f"shmem_inode_info.{name}"] = Member(at, size if not at else 8)
    mapped = Mapped(3, kernel=kernel, inode_more=16)
    mapped.cache.page(1, b"cached")
    mapped.cache.finish()
    inode = mapped.cache.mapping["host"]
    kernel.write(inode + size, swapped.to_bytes(8, "little"))
    assert mapped.seen(tmp_path) == [hole, "cached", hole]


def test_a_struct_page_of_another_file(tmp_path: Path) -> None:
    """It left the cache while the dump was taken, or the tree is damaged: what it has is not believed."""
    mapped = Mapped(3)
    mapped.struct_pages[mapped.cache.page(0, b"another's")]["mapping"] = 0x1234
    mapped.cache.page(1, b"good")
    mapped.cache.entries[2] = 0xFFFF_8880_1234_0000, 0
    mapped.cache.finish()
    assert mapped.seen(tmp_path) == ["c", "good", "c"]


def test_a_node_of_the_tree_is_not_in_the_dump(tmp_path: Path) -> None:
    mapped = Mapped(70)
    mapped.cache.page(0, b"good")
    mapped.cache.page(65, b"lost")
    top, *_ = mapped.cache.finish()
    lost = mapped.kernel.alloc(PAGE_SIZE, PAGE_SIZE)
    mapped.kernel.write(top.at("slots") + 8, (lost | 2).to_bytes(8, "little"))
    mapped.kernel.exclude(lost)
    assert mapped.seen(tmp_path) == ["good", *"z" * 63, *"c" * 6]


def test_a_damaged_tree_and_a_mapping_that_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The words for why go to the log: the gap says that it is so."""
    mapped = Mapped(2)
    mapped.cache.page(1, b"lost")
    (top,) = mapped.cache.finish()
    top["shift"] = 77
    assert mapped.seen(tmp_path) == ["c", "c"]
    mapped.file["f_mapping"] = 0xDEAD_0000_0000_0000
    assert mapped.seen(tmp_path) == ["c", "c"]
    assert "page cache at 0xdead000000000000: " in caplog.text


@pytest.mark.parametrize("pages_in_memory", [1, 1 << 50])
def test_the_tree_of_a_file_of_any_size_is_lost(tmp_path: Path, pages_in_memory: int) -> None:
    """Sizes and counts are what a damaged dump says: nothing is done for each page of 64 TiB."""
    mapped = Mapped(2, size=1 << 62)
    mapped.cache.page(1, b"lost")
    mapped.cache.finish(pages_in_memory)
    lost = mapped.kernel.alloc(PAGE_SIZE, PAGE_SIZE)
    mapped.kernel.exclude(lost)
    mapped.cache.mapping["i_pages"] = 0
    Object(mapped.kernel, "xarray", mapped.cache.mapping.at("i_pages"))["xa_head"] = lost | 2
    mapped.cat.vmas[0]["vm_end"] = START + (1 << 46)
    _, pieces = mapped.pieces(tmp_path)
    assert [(piece.state, piece.size) for piece in pieces] == [(page_state.NO_CACHE, 1 << 46)]


def test_entries_that_overlap(tmp_path: Path) -> None:
    """A few of them could stand for any number of pages."""
    mapped = Mapped(2, size=1 << 45)
    for i in range(60):
        mapped.cache.page(i << 24, b"page")
    top, *_ = mapped.cache.finish(1)
    for slot in range(1, 64):
        mapped.kernel.write(top.at("slots") + 8 * slot, (slot << 3 | 1).to_bytes(8, "little"))
    mapped.cat.vmas[0]["vm_end"] = START + (1 << 45)
    _, pieces = mapped.pieces(tmp_path)
    assert sum(piece.size for piece in pieces) == 1 << 45
    assert {piece.state for piece in pieces} <= {page_state.NO_CACHE, page_state.ZERO, page_state.DATA}


def test_a_kernel_that_tells_nothing_of_its_struct_pages(tmp_path: Path) -> None:
    mapped = Mapped(2)
    mapped.cache.page(1, b"lost")
    mapped.cache.finish()
    del mapped.kernel.symbols["node_data"]
    assert mapped.seen(tmp_path) == ["c", "c"]


def test_a_file_that_the_kernel_cannot_name(tmp_path: Path) -> None:
    """Without the address_space there is no cache to look into."""
    mapped = Mapped(2, kernel=FakeKernel(cpus=1, without=("file.f_mapping",)))
    mapped.cache.finish()
    assert mapped.seen(tmp_path) == ["m", "m"]


@given(st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_in_windows_of_any_size(tmp_path: Path, data: st.DataObject) -> None:
    """Large files are looked at a window at a time: the same is found."""
    pages, offset = data.draw(st.integers(1, 90)), data.draw(st.integers(0, 70))
    mapped = Mapped(pages, size=200 * PAGE_SIZE, offset=offset)
    there = data.draw(st.sets(st.integers(0, 199)))
    for i in sorted(there):
        mapped.cache.page(i, b"page %d" % i)
    mapped.cache.finish(1 << 40)
    wanted = [f"page {i}" if i in there else "z" for i in range(offset, offset + pages)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_cache, "WINDOW", data.draw(st.integers(1, 100)))
        assert mapped.seen(tmp_path) == wanted


def test_the_tree_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many holes the page table leaves."""
    mapped = Mapped(400)
    for i in range(400):
        mapped.cache.page(i, b"cached")
    for i in range(0, 400, 2):
        mapped.cat.page(START + i * PAGE_SIZE, b"mapped")
    mapped.cache.finish()
    calls = []
    read = xarray.entries

    def counted(image: Image, root: int, first: int, last: int) -> Entries:
        calls.append((first, last))
        return read(image, root, first, last)

    monkeypatch.setattr(xarray, "entries", counted)
    assert mapped.seen(tmp_path) == ["mapped", "cached"] * 200
    assert len(calls) == 1
