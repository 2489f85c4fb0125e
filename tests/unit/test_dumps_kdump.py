"""dumps/kdump.py and its modules: every version of the header, every shape of page, and what is damaged."""

import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gcoretools.dumps import PAGE_SIZE, Note, open_dump, vmcoreinfo_note
from gcoretools.dumps.kdump import CACHED_PAGES, KdumpDump
from gcoretools.errors import DumpError, PageAbsent, PageCorrupt
from tests.written_dumps import flatten, numbered, write_kdump

RANDOM = np.random.default_rng(7).bytes(PAGE_SIZE)
PAGES = {pfn: numbered(pfn) for pfn in [*range(1, 100), *range(40_000, 40_050)]} | {
    200: RANDOM,
    201: bytes(PAGE_SIZE),
    202: bytes(PAGE_SIZE),
}
NOTES = [Note("CORE", 1, b"\1" * 336), Note("VMCOREINFO", 0, b"OSRELEASE=6.1\nPAGESIZE=4096\n")]
HERE = np.array(sorted(PAGES), dtype=np.uint64)


def descriptor_of(path: Path, pfn: int) -> int:
    """File offset of a page's descriptor."""
    raw = path.read_bytes()
    sub_blocks: int
    bitmap_blocks: int
    sub_blocks, bitmap_blocks = struct.unpack_from("<II", raw, 432)
    return (1 + sub_blocks + bitmap_blocks) * PAGE_SIZE + 24 * sorted(PAGES).index(pfn)


def changed(path: Path, at: int, value: bytes) -> Path:
    raw = bytearray(path.read_bytes())
    raw[at : at + len(value)] = value
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6])
def test_every_header_version(tmp_path: Path, version: int, bits: int) -> None:
    dump = open_dump(write_kdump(tmp_path / "vmcore", PAGES, NOTES, version=version, bits=bits))
    assert bytes(dump.pages(HERE)) == b"".join(PAGES[pfn] for pfn in sorted(PAGES))
    assert list(dump.notes) == (NOTES if version >= 4 else [])


@pytest.mark.parametrize(
    "options",
    [
        {"compressed": False},
        {"level": 31, "excluded": [0, 300, 70_000]},
        {"level": 1, "shuffle": 3},
        {"signature": b"DISKDUMP", "version": 1},
    ],
    ids=str,
)
def test_the_pages_written_are_the_pages_read(tmp_path: Path, options: dict[str, object]) -> None:
    dump = open_dump(write_kdump(tmp_path / "vmcore", PAGES, NOTES, **options))  # type: ignore[arg-type]
    assert bytes(dump.pages(HERE)) == b"".join(PAGES[pfn] for pfn in sorted(PAGES))
    assert bytes(dump.pages(HERE[::-7])) == b"".join(PAGES[pfn] for pfn in sorted(PAGES)[::-7])
    assert dump.present(np.arange(80_000, dtype=np.uint64)).nonzero()[0].tolist() == sorted(PAGES)
    assert [pfn for pa, size in dump.ranges() for pfn in range(pa >> 12, (pa + size) >> 12)] == sorted(PAGES)
    assert dump.read(0x2FFE, 4) == PAGES[2][-2:] + PAGES[3][:2]
    assert dump.heads(HERE, 20).tobytes() == b"".join(PAGES[pfn][:20] for pfn in sorted(PAGES))


def test_absent_pages_say_why(tmp_path: Path) -> None:
    dump = open_dump(write_kdump(tmp_path / "vmcore", PAGES, level=31, excluded=[300]))
    assert dump.absent_reason == "excluded from the dump (makedumpfile -d 31)"
    with pytest.raises(PageAbsent, match=r"physical 0x12c000: excluded from the dump \(makedumpfile -d 31\)"):
        dump.read(300 << 12, 8)
    with pytest.raises(PageAbsent, match=r"0x12d000: not in the dump \(the dumped machine has no memory there"):
        dump.read(301 << 12, 8)
    with pytest.raises(PageAbsent, match=r"physical 0x12c000"):
        dump.pages(np.arange(260, 330, dtype=np.uint64) + np.uint64(40))
    with pytest.raises(PageAbsent):
        dump.read(1 << 60, 8)


def test_qemu_says_level_1_and_leaves_nothing_out(tmp_path: Path) -> None:
    dump = open_dump(write_kdump(tmp_path / "vmcore", PAGES, level=1))
    assert "makedumpfile" not in dump.absent_reason
    assert dump.read(201 << 12, 8) == bytes(8)


@pytest.mark.parametrize("version", [3, 6])
def test_vmcoreinfo_of_which_only_the_sub_header_tells(tmp_path: Path, version: int) -> None:
    path = write_kdump(tmp_path / "vmcore", PAGES, version=version, vmcoreinfo=b"OSRELEASE=6.1\n")
    assert vmcoreinfo_note(open_dump(path)) == b"OSRELEASE=6.1\n"


def test_the_cache_is_bounded_and_right(tmp_path: Path) -> None:
    pages = {pfn: numbered(pfn) for pfn in range(CACHED_PAGES + 50)}
    dump = open_dump(write_kdump(tmp_path / "vmcore", pages))
    assert isinstance(dump, KdumpDump)
    for _ in range(2):
        for pfn in pages:
            assert dump.read(pfn << 12, 16) == pages[pfn][:16]
    assert len(dump._cache) == CACHED_PAGES


def test_fingerprint_is_of_the_dump_and_not_of_its_path(tmp_path: Path) -> None:
    path = write_kdump(tmp_path / "one", PAGES, NOTES)
    one = open_dump(path).fingerprint
    assert open_dump(write_kdump(tmp_path / "two", PAGES, NOTES)).fingerprint == one
    assert open_dump(flatten(path, tmp_path / "three", shuffle=1)).fingerprint == one
    assert open_dump(write_kdump(tmp_path / "four", PAGES, NOTES, level=31)).fingerprint != one


@pytest.mark.parametrize(
    "options", [{}, {"shuffle": 5}, {"piece": 70, "rewritten": 4096}, {"piece": 1 << 20}], ids=str
)
def test_a_flattened_dump_is_the_same_dump(tmp_path: Path, options: dict[str, int]) -> None:
    path = write_kdump(tmp_path / "vmcore", PAGES, NOTES, level=1)
    dump = open_dump(flatten(path, tmp_path / "flattened", **options))
    assert bytes(dump.pages(HERE)) == b"".join(PAGES[pfn] for pfn in sorted(PAGES))
    assert list(dump.notes) == NOTES


def test_pieces_of_a_flattened_dump_written_twice(tmp_path: Path) -> None:
    path = write_kdump(tmp_path / "vmcore", PAGES, NOTES, shuffle=2)
    dump = open_dump(flatten(path, tmp_path / "flattened", piece=777, shuffle=8, rewritten=20_000))
    assert bytes(dump.pages(HERE)) == b"".join(PAGES[pfn] for pfn in sorted(PAGES))


@pytest.mark.parametrize("cut", [17, 5000])
def test_a_truncated_flattened_dump(tmp_path: Path, cut: int) -> None:
    path = flatten(write_kdump(tmp_path / "vmcore", PAGES), tmp_path / "flattened")
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DumpError, match="the flattened dump is truncated"):
        open_dump(path)


def test_pages_of_65536_bytes_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="pages of 65536 bytes"):
        open_dump(write_kdump(tmp_path / "vmcore", PAGES, block_size=65536))


@pytest.mark.parametrize("flags", [0x01, 0x02, 0x04, 0x20])
def test_every_compression(tmp_path: Path, flags: int) -> None:
    dump = open_dump(write_kdump(tmp_path / "vmcore", PAGES, NOTES, flags=flags))
    assert bytes(dump.pages(HERE)) == b"".join(PAGES[pfn] for pfn in sorted(PAGES))
    assert [bytes(row) for row in dump.heads(HERE, 20)] == [PAGES[pfn][:20] for pfn in sorted(PAGES)]
    assert dump.read(0x5010, 100) == PAGES[5][0x10:0x74]


@pytest.mark.parametrize("flags", [0x01, 0x02, 0x04, 0x20])
def test_a_damaged_page_is_told_and_the_others_are_read(tmp_path: Path, flags: int) -> None:
    path = write_kdump(tmp_path / "vmcore", PAGES, flags=flags)
    (offset,) = struct.unpack_from("<Q", path.read_bytes(), descriptor_of(path, 5))
    changed(path, offset, b"\xa5" * 16)
    dump = open_dump(path)
    for ask in (np.array([5], np.uint64), HERE):
        with pytest.raises(
            PageCorrupt, match=r"page at physical 0x5000: its data in the dump is damaged: .+"
        ) as caught:
            dump.pages(ask)
        assert caught.value.pfn == 5
    assert not dump.heads(HERE, 20)[sorted(PAGES).index(5)].any()
    others = HERE[HERE != 5]
    assert bytes(dump.pages(others)) == b"".join(PAGES[pfn] for pfn in others.tolist())


@pytest.mark.parametrize("lost", [[5], [1, 99, 40_049]])
def test_an_incomplete_dump_has_what_was_written(tmp_path: Path, lost: list[int]) -> None:
    path = write_kdump(tmp_path / "vmcore", PAGES, NOTES, status=0x9, lost=lost)
    path.write_bytes(path.read_bytes()[:-20])  # of the last page, pfn 40,049
    dump = open_dump(path)
    gone = sorted({*lost, 40_049})
    assert HERE[~dump.present(HERE)].tolist() == gone
    others = HERE[dump.present(HERE)]
    assert bytes(dump.pages(others)) == b"".join(PAGES[pfn] for pfn in others.tolist())
    for pfn in lost:
        with pytest.raises(PageAbsent, match=r"which is incomplete .its writer ran out of space"):
            dump.read(pfn << 12, 8)


def test_an_incomplete_dump_that_ends_in_its_descriptors(tmp_path: Path) -> None:
    path = write_kdump(tmp_path / "vmcore", PAGES, NOTES, status=0x9)
    path.write_bytes(path.read_bytes()[: descriptor_of(path, 5)])
    dump = open_dump(path)
    assert not dump.present(HERE).any()
    for ask in (HERE, HERE[:1]):
        with pytest.raises(PageAbsent, match=r"is incomplete|damaged in the dump"):
            dump.pages(ask)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (0, b"\xff" * 8),
        (0, bytes(8)),
        (8, b"\xff\xff\xff\x7f"),
        (8, bytes(4)),
        (12, b"\0"),
        (12, b"\3"),
        (12, b"\x21"),
    ],
)
def test_a_damaged_descriptor_is_an_absent_page(tmp_path: Path, field: int, value: bytes) -> None:
    path = write_kdump(tmp_path / "vmcore", PAGES | {pfn: numbered(pfn) for pfn in range(50_000, 50_000 + 5000)})
    changed(path, descriptor_of(path, 5) + field, value)
    dump = open_dump(path)
    assert HERE[~dump.present(HERE)].tolist() == [5]
    assert dump.reasons[int(dump.why(HERE[4:5])[0])] == "damaged in the dump (its place there cannot be)"
    for ask in (np.array([5], np.uint64), HERE):
        with pytest.raises(PageAbsent, match="page at physical 0x5000: damaged in the dump"):
            dump.pages(ask)
    assert dump.read(0x6000, 16) == PAGES[6][:16]
    assert not dump.heads(HERE, 8)[4].any()


@pytest.mark.parametrize("part", [0.999, 0.5])
def test_a_truncated_dump(tmp_path: Path, part: float) -> None:
    path = write_kdump(tmp_path / "vmcore", PAGES)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * part)])
    with pytest.raises(DumpError, match="truncated"):
        open_dump(path)


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (432, b"\xff" * 4, "truncated"),
        (436, b"\xff" * 4, "truncated"),
        (436, b"\1\0\0\0", "cannot hold"),
        (PAGE_SIZE + 96, b"\xff" * 8, "cannot hold"),
        (PAGE_SIZE + 56, b"\xff" * 8, "bytes of notes cannot be"),
        (PAGE_SIZE + 48, b"\xff" * 7, "truncated"),
    ],
)
def test_headers_that_lie(tmp_path: Path, at: int, value: bytes, reason: str) -> None:
    pages = {0: numbered(0), 40_000: numbered(40_000)}
    path = changed(write_kdump(tmp_path / "vmcore", pages, NOTES), at, value)
    with pytest.raises(DumpError, match=reason):
        open_dump(path)


def test_threads_share_the_cache_of_pages(tmp_path: Path) -> None:
    """Each of them asks for few pages at a time, and for more than the cache keeps."""
    table = {pfn: numbered(pfn) for pfn in range(0x100, 0x100 + 2 * CACHED_PAGES)}
    dump = open_dump(write_kdump(tmp_path / "dump", table))

    def right(seed: int) -> bool:
        order = np.random.default_rng(seed).permutation(np.array(list(table), np.uint64))
        return all(bytes(dump.pages(order[i : i + 1])) == table[int(order[i])] for i in range(len(order)))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, range(8)))
