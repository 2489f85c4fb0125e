"""dumps/elf.py: segments of every shape, and headers that lie."""

from io import FileIO
from pathlib import Path

import numpy as np
import pytest

from gcoretools.dumps import PAGE_SIZE, Note, open_dump, vmcoreinfo_note
from gcoretools.dumps.elf import ElfDump
from gcoretools.dumps.mapping import Unmapped
from gcoretools.errors import DumpError, PageAbsent
from tests.written_dumps import numbered, write_elf, write_kdump

PAGES = {pfn: numbered(pfn) for pfn in [*range(1, 40), *range(100, 130)]}
NOTES = [Note("CORE", 1, b"\1" * 336), Note("VMCOREINFO", 0, b"OSRELEASE=6.1\nPAGESIZE=4096\n")]


def pfns(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(numbers, dtype=np.uint64)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pad": 7},
        {"bits": 32},
        {"bits": 32, "pad": 13},
        {"xnum": True},
        {"bits": 32, "xnum": True},
        {"segments": [(110, 130), (1, 20), (100, 115), (20, 40), (3, 5)]},
        {"memsz_more": 12 * PAGE_SIZE},
    ],
    ids=str,
)
def test_the_pages_written_are_the_pages_read(tmp_path: Path, options: dict[str, object]) -> None:
    dump = open_dump(write_elf(tmp_path / "vmcore", PAGES, NOTES, **options))  # type: ignore[arg-type]
    here = pfns(*sorted(PAGES))
    assert bytes(dump.pages(here)) == b"".join(PAGES[pfn] for pfn in sorted(PAGES))
    assert bytes(dump.pages(here[::-1])) == b"".join(PAGES[pfn] for pfn in sorted(PAGES, reverse=True))
    assert dump.present(np.arange(200, dtype=np.uint64)).nonzero()[0].tolist() == sorted(PAGES)
    assert [pfn for pa, size in dump.ranges() for pfn in range(pa >> 12, (pa + size) >> 12)] == sorted(PAGES)
    assert list(dump.notes) == NOTES


def test_contiguous_pages_are_a_view_of_the_file(tmp_path: Path) -> None:
    dump = open_dump(write_elf(tmp_path / "vmcore", PAGES, pad=3))
    run = dump.pages(pfns(5, 6, 7))
    assert isinstance(run, memoryview)
    assert run.readonly
    assert bytes(run) == PAGES[5] + PAGES[6] + PAGES[7]


def test_read_crosses_pages_and_segments(tmp_path: Path) -> None:
    dump = open_dump(write_elf(tmp_path / "vmcore", PAGES, segments=[(3, 5), (1, 3)]))
    assert dump.read(0x2FFE, 4) == PAGES[2][-2:] + PAGES[3][:2]
    assert dump.read(0x1000, 0) == b""


@pytest.mark.parametrize(("pa", "size"), [(-8, 4), (-8, 16), (1 << 64, 8), ((1 << 64) - 4, 8), (1 << 80, 1 << 20)])
def test_no_memory_can_be_there(tmp_path: Path, pa: int, size: int) -> None:
    for write in (write_elf, write_kdump):
        with pytest.raises(PageAbsent):
            open_dump(write(tmp_path / "vmcore", PAGES)).read(pa, size)


def test_a_size_out_of_damaged_memory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="more than can be wanted at once"):
        open_dump(write_elf(tmp_path / "vmcore", PAGES)).read(0x1000, 1 << 50)


@pytest.mark.parametrize("pfn", [0, 40, 99, 130, 2**40, 2**52 - 1])
def test_a_page_in_no_segment_is_absent(tmp_path: Path, pfn: int) -> None:
    dump = open_dump(write_elf(tmp_path / "vmcore", PAGES))
    for ask in (pfns(pfn), pfns(1, pfn, 2)):
        with pytest.raises(PageAbsent, match=f"physical {pfn << 12:#x}: not in the dump"):
            dump.pages(ask)
    with pytest.raises(PageAbsent):
        dump.read((pfn << 12) + 8, 8)


def test_a_page_that_a_segment_holds_in_part_is_absent(tmp_path: Path) -> None:
    ragged = (0x500010, bytes(range(1, 251)) * 36)
    dump = open_dump(write_elf(tmp_path / "vmcore", PAGES, extra=[ragged]))
    assert dump.present(pfns(0x500, 0x501, 0x502)).tolist() == [False, True, False]
    assert bytes(dump.pages(pfns(0x501))) == ragged[1][0xFF0:0x1FF0]


def test_segments_without_physical_address_or_bytes_are_left_out(tmp_path: Path) -> None:
    extra = [(-1, b"x" * PAGE_SIZE), (0x500000, b"")]
    dump = open_dump(write_elf(tmp_path / "vmcore", PAGES, extra=extra))
    assert sum(size for _, size in dump.ranges()) == len(PAGES) * PAGE_SIZE


def test_memsz_beyond_filesz_is_told_as_the_reason(tmp_path: Path) -> None:
    dump = open_dump(write_elf(tmp_path / "vmcore", PAGES, memsz_more=PAGE_SIZE))
    assert "pages left out" in dump.absent_reason


def test_segments_that_share_the_file_over_and_over(tmp_path: Path) -> None:
    path = write_elf(tmp_path / "vmcore", PAGES, segments=[(1, 40), (2, 40), (3, 40), (4, 40)])
    raw = bytearray(path.read_bytes())
    for row in range(1, 5):
        raw[64 + 56 * row + 8 : 64 + 56 * row + 16] = (64 + 56 * 5).to_bytes(8, "little")
    path.write_bytes(raw[: 64 + 56 * 5 + 40 * PAGE_SIZE])
    with pytest.raises(DumpError, match="the segments share the bytes of the file"):
        open_dump(path)


@pytest.mark.parametrize("bits", [64, 32])
def test_an_incomplete_dump_has_what_was_written(tmp_path: Path, bits: int) -> None:
    path = write_elf(tmp_path / "vmcore", PAGES, NOTES, bits=bits, flags=1)
    path.write_bytes(path.read_bytes()[: -25 * PAGE_SIZE - 1])
    dump = open_dump(path)
    assert dump.present(pfns(39, 103, 104, 105, 129)).tolist() == [True, True, False, False, False]
    assert bytes(dump.pages(pfns(103, 39))) == PAGES[103] + PAGES[39]
    with pytest.raises(PageAbsent, match="which is incomplete"):
        dump.read(129 << 12, 8)


def test_what_cannot_be_mapped_is_read(tmp_path: Path) -> None:
    path = write_elf(tmp_path / "vmcore", PAGES, NOTES, pad=9)
    dump = ElfDump(path, Unmapped(path, FileIO(path), path.stat().st_size))
    assert dump.moving
    assert list(dump.notes) == NOTES[1:]
    order = [*range(5, 15), 120, 101, 102, 103]
    assert bytes(dump.pages(pfns(*order))) == b"".join(PAGES[pfn] for pfn in order)
    assert dump.read(0x2FFE, 4) == PAGES[2][-2:] + PAGES[3][:2]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PageAbsent, match=r"cannot be read at offset .*: the file ends there"):
        dump.read(129 << 12, PAGE_SIZE)


def test_no_segments_at_all(tmp_path: Path) -> None:
    dump = open_dump(write_elf(tmp_path / "vmcore", {}, NOTES))
    assert not dump.present(pfns(0, 1)).any()
    assert bytes(dump.pages(pfns())) == b""
    assert list(dump.ranges()) == []


def test_vmcoreinfo_loses_the_zeros_behind_it(tmp_path: Path) -> None:
    text = b"OSRELEASE=6.1\n"
    dump = open_dump(write_elf(tmp_path / "vmcore", PAGES, [Note("VMCOREINFO", 0, text.ljust(4096, b"\0"))]))
    assert vmcoreinfo_note(dump) == text


def test_fingerprint_is_of_the_dump_and_not_of_its_path(tmp_path: Path) -> None:
    one = open_dump(write_elf(tmp_path / "one", PAGES, NOTES)).fingerprint
    assert open_dump(write_elf(tmp_path / "two", PAGES, NOTES)).fingerprint == one
    assert open_dump(write_elf(tmp_path / "three", PAGES, NOTES[:1])).fingerprint != one


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        (10, "not in|truncated|begins like"),
        (50, "ELF header: the file is truncated"),
        (100, "program headers: the file is truncated"),
        (300, "notes: the file is truncated"),
        (-1, r"physical 0x64000, 122880 bytes, goes 1 bytes beyond the end of the file: the dump is truncated"),
    ],
)
def test_a_truncated_dump_says_what_is_missing(tmp_path: Path, cut: int, reason: str) -> None:
    path = write_elf(tmp_path / "vmcore", PAGES, NOTES)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DumpError, match=reason):
        open_dump(path)


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (4, b"\7", "ELF class 7"),
        (5, b"\2", "big-endian"),
        (16, b"\2", "an executable, such as a vmlinux, not a dump"),
        (56, b"\0\0", "without segments .a Xen guest's core"),
        (54, b"\x20", "program headers of 32 bytes cannot be"),
        (120 + 32, b"\xff" * 8, "the headers are damaged|beyond the end"),
        (120 + 8, b"\xff" * 8, "the headers are damaged|beyond the end"),
        (120 + 24, b"\xf0" + b"\xff" * 7, "the headers are damaged"),
        (64 + 32, b"\xff" * 8, "bytes of notes"),
    ],
)
def test_headers_that_lie(tmp_path: Path, at: int, value: bytes, reason: str) -> None:
    path = write_elf(tmp_path / "vmcore", PAGES, NOTES)
    raw = bytearray(path.read_bytes())
    raw[at : at + len(value)] = value
    path.write_bytes(raw)
    with pytest.raises(DumpError, match=reason):
        open_dump(path)


def test_the_core_of_a_process_is_told(tmp_path: Path) -> None:
    path = write_elf(tmp_path / "core", {}, extra=[(0, b"x" * PAGE_SIZE), (0, b"y" * PAGE_SIZE)])
    with pytest.raises(DumpError, match="a process's core, not a kernel dump"):
        open_dump(path)


def test_many_pages_that_lie_side_by_side(tmp_path: Path) -> None:
    """They are a view of the file, at whatever offset they begin."""
    table = {pfn: numbered(pfn) for pfn in range(0x100, 0x180)}
    for pad in (0, 1, 4095):
        dump = open_dump(write_elf(tmp_path / "dump", table, pad=pad))
        wanted = np.arange(0x101, 0x17F, dtype=np.uint64)
        assert bytes(dump.pages(wanted)) == b"".join(table[pfn] for pfn in wanted.tolist())
        assert dump.read(0x100123, 0x70000) == b"".join(table.values())[0x123:][:0x70000]
