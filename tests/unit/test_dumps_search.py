"""dumps/search.py and dumps/notes.py: VMCOREINFO out of the note, or out of memory."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from gcoretools.dumps import PAGE_SIZE, Dump, Note, open_dump
from gcoretools.dumps.notes import parse_notes
from gcoretools.dumps.search import find_vmcoreinfo, search_memory
from gcoretools.errors import DumpError
from tests.written_dumps import note_bytes, numbered, write_elf, write_kdump

UTS_PFN = 30
PHYS_BASE = 0x1000000


def text(release: bytes, lines: int = 10) -> bytes:
    """A VMCOREINFO whose init_uts_ns stands at UTS_PFN."""
    uts = 0xFFFFFFFF80000000 - PHYS_BASE + (UTS_PFN << 12) & (1 << 64) - 1
    out = b"OSRELEASE=%s\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=%x\n" % (release, uts)
    out += b"OFFSET(uts_namespace.name)=0\nNUMBER(phys_base)=%d\n" % PHYS_BASE
    return out + b"".join(b"OFFSET(page.m%d)=%d\n" % (i, i) for i in range(lines))


def page(data: bytes) -> bytes:
    return data.ljust(PAGE_SIZE, b"\0")


def note(data: bytes) -> bytes:
    return page(note_bytes([Note("VMCOREINFO", 0, data)]))


def uts(release: bytes) -> bytes:
    return page(b"Linux".ljust(65, b"\0") + b"host".ljust(65, b"\0") + release)


NEW, OLD = text(b"6.1.0-new"), text(b"5.10.0-old", 40)
BASE = {pfn: numbered(pfn) for pfn in range(10, 50)}
UNALIGNED = numbered(0)[:777] + NEW

Write = Callable[[Path, dict[int, bytes]], Path]


@pytest.fixture(params=[write_elf, write_kdump])
def dump_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[dict[int, bytes]], Dump]:
    write: Write = request.param
    return lambda pages: open_dump(write(tmp_path / "vmcore", BASE | pages))


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        ({}, None),
        ({20: page(NEW)}, NEW),
        ({20: note(NEW)}, NEW),
        ({20: page(UNALIGNED)}, NEW),
        ({20: numbered(20)[:-100] + NEW[:100], 21: page(NEW[100:])}, NEW),
        ({20: page(b"OSRELEASE=6.1")}, None),
        ({20: page(NEW[:-5])}, None),
        ({20: page(NEW + b"\x80=1\n")}, None),
        ({20: b"OSRELEASE=" + numbered(20)[10:]}, None),
    ],
)
def test_found_in_memory(
    dump_of: Callable[[dict[int, bytes]], Dump], pages: dict[int, bytes], found: bytes
) -> None:
    assert search_memory(dump_of(pages)) == found


@pytest.mark.parametrize(
    "pages",
    [
        {12: page(OLD), 20: page(NEW), 21: note(NEW)},
        {12: page(OLD), 21: note(NEW)},
        {12: note(OLD), 13: page(OLD), 20: page(NEW), UTS_PFN: uts(b"6.1.0-new")},
        {12: page(UNALIGNED.replace(b"new", b"odd")), 20: page(NEW)},
    ],
)
def test_of_several_copies_the_best(dump_of: Callable[[dict[int, bytes]], Dump], pages: dict[int, bytes]) -> None:
    assert search_memory(dump_of(pages)) == NEW


@pytest.mark.parametrize("start", [0xC0000000, 0x80000000])
def test_the_witness_of_a_32_bit_kernel(dump_of: Callable[[dict[int, bytes]], Dump], start: int) -> None:
    """Its image is a part of the direct map, and VMCOREINFO does not say where that begins."""
    lines = b"PAGESIZE=4096\nSYMBOL(init_uts_ns)=%x\nOFFSET(uts_namespace.name)=0\n" % (start + (UTS_PFN << 12))
    new, old = (b"OSRELEASE=%s\n" % release + lines for release in (b"6.1.0-new", b"5.10.0-old-and-longer"))
    assert search_memory(dump_of({12: note(old), 13: page(old), 20: page(new), UTS_PFN: uts(b"6.1.0-new")})) == new


def test_the_note_is_better_than_memory(tmp_path: Path) -> None:
    path = write_elf(tmp_path / "vmcore", BASE | {20: page(OLD)}, [Note("VMCOREINFO", 0, NEW + bytes(500))])
    assert find_vmcoreinfo(open_dump(path)) == NEW


def test_a_note_that_is_none_sends_us_to_memory(tmp_path: Path) -> None:
    path = write_elf(tmp_path / "vmcore", BASE | {20: page(NEW)}, [Note("VMCOREINFO", 0, bytes(1024))])
    assert find_vmcoreinfo(open_dump(path)) == NEW


def test_notes_end_at_zeros() -> None:
    notes = [Note("CORE", 1, b"abc"), Note("", 5, b""), Note("QEMU", 0, b"")]
    assert list(parse_notes(memoryview(note_bytes(notes) + bytes(100)), "vmcore")) == notes


@pytest.mark.parametrize("cut", [1, 4, 20])
def test_a_cut_note_is_an_error(cut: int) -> None:
    raw = note_bytes([Note("CORE", 1, b"x" * 32)])
    with pytest.raises(DumpError, match=f"vmcore: the note at offset 0x0 is cut: {cut} bytes are missing"):
        list(parse_notes(memoryview(raw[:-cut]), "vmcore"))


def test_a_name_of_4_gib_is_an_error() -> None:
    with pytest.raises(DumpError, match="is cut"):
        list(parse_notes(memoryview(struct.pack("<III", 2**32 - 1, 2**32 - 1, 1)), "vmcore"))
