"""How a core is laid out: segments that only gaps split, and headers that other tools read."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment
from hypothesis import given
from hypothesis import strategies as st

from gcoretools.core import elf
from gcoretools.core.elf import Segment
from gcoretools.errors import OutputError
from gcoretools.records import Extent
from tests.written_streams import vma

PAGE = 4096
START = 0x400000


def extents(pattern: str) -> list[Extent]:
    """Extents out of a letter a page: d(ata), z(ero), g(ap); what follows in the mapping is not selected."""
    words = {"d": "data", "z": "zero", "g": "gap"}
    return [Extent(START + i * PAGE, PAGE, words[letter]) for i, letter in enumerate(pattern)]


def rows(pattern: str, pages: int) -> list[tuple[int, int, int]]:
    """(page it starts at, pages in the file, pages in memory) of each segment."""
    found = elf.segments(vma(START, pages * PAGE), extents(pattern))
    return [((s.start - START) // PAGE, s.file_size // PAGE, s.size // PAGE) for s in found]


@pytest.mark.parametrize(
    ("pattern", "pages", "wanted"),
    [
        ("d", 1, [(0, 1, 1)]),
        ("ddzd", 4, [(0, 4, 4)]),
        ("", 3, [(0, 0, 3)]),
        ("d", 3, [(0, 1, 3)]),
        ("g", 1, [(0, 0, 0)]),
        ("gd", 2, [(1, 1, 1)]),
        ("dg", 2, [(0, 1, 1)]),
        ("dgd", 3, [(0, 1, 1), (2, 1, 1)]),
        ("dggzgd", 8, [(0, 1, 1), (3, 1, 1), (5, 1, 3)]),
        ("ggg", 5, [(3, 0, 2)]),
        ("zg", 5, [(0, 1, 1), (2, 0, 3)]),
    ],
)
def test_only_gaps_split_a_mapping(pattern: str, pages: int, wanted: list[tuple[int, int, int]]) -> None:
    assert rows(pattern, pages) == wanted


@given(st.text("dzg", max_size=30), st.integers(0, 5))
def test_the_segments_have_what_is_no_gap(pattern: str, unselected: int) -> None:
    """In the file what is selected, in memory what is not selected, too; none of it twice."""
    pages = len(pattern) + unselected or 1
    found = rows(pattern, pages)
    stored = [page for start, file_pages, _ in found for page in range(start, start + file_pages)]
    covered = [page for start, _, size in found for page in range(start, start + size)]
    assert stored == [page for page, letter in enumerate(pattern) if letter != "g"]
    assert covered == [page for page in range(pages) if pattern[page : page + 1] != "g"]
    assert all(size for _, _, size in found) or len(found) == 1


def test_one_segment_however_its_bytes_come() -> None:
    merged = [Extent(START, 3 * PAGE, "data"), Extent(START + 3 * PAGE, PAGE, "zero")]
    assert elf.segments(vma(START, 4 * PAGE), merged) == [Segment(START, 4 * PAGE, 4 * PAGE, 6)]


@pytest.mark.parametrize(("flags", "wanted"), [(0, 0), (1, 4), (2, 2), (4, 1), (7, 7), (0x7FFFFFF8, 0), (0x75, 5)])
def test_permissions(flags: int, wanted: int) -> None:
    """p_flags has PF_ bits, never the kernel's VM_ bits."""
    assert elf.segments(vma(flags=flags), [])[0].flags == wanted


def test_the_order_of_segments() -> None:
    mappings = [vma(0x1000, 0x3000), vma(0x5000, 0x1000), vma(0x7000, 0x2000, dump_size=0), vma(0x9000, 0x1000)]
    assert elf.core_order(mappings, by_size=False) == mappings
    assert [v.start for v in elf.core_order(mappings, by_size=True)] == [0x7000, 0x5000, 0x9000, 0x1000]


def core(loads: list[Segment], note: bytes = b"", align: int = 4) -> bytes:
    """A core whose segments hold their own numbers."""
    head = elf.headers(loads, len(note), align, 62) + note
    body = b"".join(b"%d," % i * (s.file_size // len(b"%d," % i) + 1) for i, s in enumerate(loads[:3]))
    data = body.ljust(sum(s.file_size for s in loads), b".")[: sum(s.file_size for s in loads)]
    return head.ljust(elf.data_offset(len(loads), len(note)), b"\0") + data + elf.trailer(loads)


def test_the_headers_as_pyelftools_reads_them(tmp_path: Path) -> None:
    loads = [Segment(0x400000, 0x2000, 0x3000, 5), Segment(0x600000, 0, 0x1000, 6)]
    note = struct.pack("<III", 5, 4, 1) + b"CORE\0\0\0\0" + b"data"
    (tmp_path / "core").write_bytes(core(loads, note))
    with (tmp_path / "core").open("rb") as file:
        read = ELFFile(file)
        assert (read["e_type"], read["e_machine"], read.elfclass, read.little_endian) == (
            "ET_CORE",
            "EM_X86_64",
            64,
            True,
        )
        notes, *segments = read.iter_segments()
        assert isinstance(notes, NoteSegment)
        assert [(n["n_name"], n["n_descsz"]) for n in notes.iter_notes()] == [("CORE", 4)]
        assert (notes["p_filesz"], notes["p_memsz"], notes["p_align"], notes["p_flags"]) == (len(note), 0, 4, 0)
        found = [(s["p_vaddr"], s["p_filesz"], s["p_memsz"], s["p_flags"], s["p_paddr"]) for s in segments]
        assert found == [(0x400000, 0x2000, 0x3000, 5, 0), (0x600000, 0, 0x1000, 6, 0)]
        assert all(s["p_offset"] % PAGE == 0 and s["p_align"] == PAGE for s in segments)
        assert segments[1]["p_offset"] == segments[0]["p_offset"] + 0x2000
        assert read.num_sections() == 0


@pytest.mark.parametrize("count", [65_533, 65_534, 70_000])
def test_more_segments_than_the_header_counts(tmp_path: Path, count: int) -> None:
    """PN_XNUM: from 65,535 program headers on, PT_NOTE among them, the first section header counts them."""
    loads = [Segment((i + 1) * 2 * PAGE, PAGE if i in (0, count - 1) else 0, PAGE, 6) for i in range(count)]
    path = tmp_path / "core"
    path.write_bytes(core(loads))
    with path.open("rb") as file:
        read = ELFFile(file)
        assert read.num_segments() == count + 1
        assert read["e_phnum"] == (count + 1 if count < 65_534 else 0xFFFF)
        assert (read["e_version"], read["e_entry"], read["e_flags"], read["e_shstrndx"]) == ("EV_CURRENT", 0, 0, 0)
        last = read.get_segment(count)
        assert (last["p_vaddr"], last["p_filesz"]) == (count * 2 * PAGE, PAGE)
        assert last["p_offset"] + PAGE <= path.stat().st_size
    if count >= 65_534:
        # fill_extnum_info: sh_size is the number of sections, sh_info that of program headers.
        assert path.read_bytes()[-64:] == struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 1, 0, count + 1, 0, 0)
    told = subprocess.run(["readelf", "-lW", path], capture_output=True, text=True, check=True)
    assert f"There are {count + 1} program headers" in told.stdout
    assert told.stdout.count("LOAD") == count
    assert told.stderr == ""


def core32(loads: list[Segment], note: bytes) -> bytes:
    head = elf.headers(loads, len(note), 4, 3, elf.ELF32) + note
    data = b"".join(b"%d" % i * s.file_size for i, s in enumerate(loads))
    at = elf.data_offset(len(loads), len(note), elf.ELF32)
    return head.ljust(at, b"\0") + data + elf.trailer(loads, elf.ELF32)


def test_the_headers_of_a_32_bit_core(tmp_path: Path) -> None:
    loads = [Segment(0x8048000, 0x2000, 0x3000, 5), Segment(0xFFFFF000, 0x1000, 0x1000, 6)]
    note = struct.pack("<III", 5, 4, 1) + b"CORE\0\0\0\0" + b"data"
    (tmp_path / "core").write_bytes(core32(loads, note))
    with (tmp_path / "core").open("rb") as file:
        read = ELFFile(file)
        assert (read.elfclass, read["e_machine"], read["e_type"], read["e_ehsize"]) == (32, "EM_386", "ET_CORE", 52)
        notes, *segments = read.iter_segments()
        assert isinstance(notes, NoteSegment)
        assert [(n["n_name"], n["n_descsz"]) for n in notes.iter_notes()] == [("CORE", 4)]
        assert (notes["p_filesz"], notes["p_align"], notes["p_flags"]) == (len(note), 4, 0)
        found = [(s["p_vaddr"], s["p_filesz"], s["p_memsz"], s["p_flags"], s["p_paddr"]) for s in segments]
        assert found == [(0x8048000, 0x2000, 0x3000, 5, 0), (0xFFFFF000, 0x1000, 0x1000, 6, 0)]
        assert all(s["p_offset"] % PAGE == 0 and s["p_align"] == PAGE for s in segments)
        assert [s.data()[:1] for s in segments] == [b"0", b"1"]


def test_more_segments_than_a_32_bit_header_counts(tmp_path: Path) -> None:
    loads = [Segment((i + 1) * 2 * PAGE, 0, PAGE, 6) for i in range(70_000)]
    (tmp_path / "core").write_bytes(core32(loads, b""))
    told = subprocess.run(["readelf", "-lW", tmp_path / "core"], capture_output=True, text=True, check=True)
    assert "There are 70001 program headers" in told.stdout
    assert told.stderr == ""


@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        (Segment(1 << 32, 0, PAGE, 6), "beyond 32 bits"),
        (Segment(PAGE, 0, 1 << 32, 6), "beyond 32 bits"),
        (Segment(PAGE, (1 << 32) - PAGE, (1 << 32) - PAGE, 6), "more than 4294967295 bytes"),
    ],
)
def test_what_a_32_bit_core_cannot_say(segment: Segment, reason: str) -> None:
    with pytest.raises(OutputError, match=reason):
        elf.headers([segment], 0, 0, 3, elf.ELF32)


def test_more_than_a_file_can_hold() -> None:
    with pytest.raises(OutputError, match="more than"):
        elf.headers([Segment(0, 1 << 62, 1 << 62, 6)] * 3, 0, 0, 62)


@given(st.integers(0, 200_000), st.integers(0, 100_000))
def test_the_data_begins_on_the_next_page(loads: int, note_size: int) -> None:
    at = elf.data_offset(loads, note_size)
    assert at % PAGE == 0
    assert 0 <= at - (64 + 56 * (loads + 1) + note_size) < PAGE
