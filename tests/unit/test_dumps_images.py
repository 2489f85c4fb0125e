"""dumps/lime.py, avml.py and raw.py: memory images without notes."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gcoretools.dumps import PAGE_SIZE, open_dump
from gcoretools.errors import DumpError, PageAbsent, PageCorrupt
from tests.written_dumps import numbered, write_avml, write_lime, write_raw

PAGES = {pfn: numbered(pfn) for pfn in [*range(1, 100), *range(5000, 5300)]}
HERE = np.array(sorted(PAGES), dtype=np.uint64)

WRITERS: dict[str, Callable[[Path, dict[int, bytes]], Path]] = {
    "lime": write_lime,
    "avml": write_avml,
    "raw": write_raw,
}


@pytest.mark.parametrize("form", WRITERS)
def test_the_pages_written_are_the_pages_read(form: str, tmp_path: Path) -> None:
    dump = open_dump(WRITERS[form](tmp_path / "image", PAGES))
    assert dump.format == form
    assert dump.notes == ()
    assert bytes(dump.pages(HERE)) == b"".join(PAGES[pfn] for pfn in sorted(PAGES))
    assert bytes(dump.pages(HERE[::-1])) == b"".join(PAGES[pfn] for pfn in sorted(PAGES, reverse=True))
    assert [bytes(row) for row in dump.heads(HERE, 9)] == [PAGES[pfn][:9] for pfn in sorted(PAGES)]
    assert dump.read(0x2FFE, 4) == PAGES[2][-2:] + PAGES[3][:2]
    for pfn in (5300, 1 << 40, *([300] if form != "raw" else [])):
        with pytest.raises(PageAbsent, match=r"not in the dump|beyond the end of the dump"):
            dump.read(pfn << 12, 8)


@pytest.mark.parametrize("form", WRITERS)
def test_fingerprints_differ(form: str, tmp_path: Path) -> None:
    one = open_dump(WRITERS[form](tmp_path / "one", PAGES)).fingerprint
    assert open_dump(WRITERS[form](tmp_path / "two", PAGES)).fingerprint == one
    last = max(PAGES)
    assert open_dump(WRITERS[form](tmp_path / "three", PAGES | {last: numbered(1)})).fingerprint != one


def test_a_range_need_not_be_whole_pages(tmp_path: Path) -> None:
    data = bytes(range(256)) * 40
    path = tmp_path / "image"
    path.write_bytes(struct.pack("<4sIQQQ", b"EMiL", 1, 0x10800, 0x10800 + len(data) - 1, 0) + data)
    dump = open_dump(path)
    assert dump.present(np.array([0x10, 0x11, 0x12], np.uint64)).tolist() == [False, True, True]
    assert dump.read(0x11000, 4096) == data[0x800:0x1800]


def test_avml_leaves_out_blocks_of_zeros(tmp_path: Path) -> None:
    pages = PAGES | {pfn: bytes(PAGE_SIZE) for pfn in range(8192, 8192 + 40)}
    dump = open_dump(write_avml(tmp_path / "image", pages, block=20 << 12))
    assert bytes(dump.pages(HERE)) == b"".join(PAGES[pfn] for pfn in sorted(PAGES))
    with pytest.raises(PageAbsent, match="AVML leaves out blocks of zeros"):
        dump.read(8192 << 12, 8)


@pytest.mark.parametrize("form", ["lime", "avml"])
@pytest.mark.parametrize("cut", [1, 7, 100, 5000])
def test_a_cut_image(form: str, cut: int, tmp_path: Path) -> None:
    path = WRITERS[form](tmp_path / "image", PAGES)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DumpError, match=r"truncated|no header of a block"):
        open_dump(path)


@pytest.mark.parametrize(
    ("form", "at", "value", "words"),
    [
        ("lime", 4, b"\2", "offset 0x0 is no header of a range"),
        ("lime", 16, bytes(8), "offset 0x0 is no header of a range"),
        ("lime", 16, b"\xff" * 8, "truncated"),
        ("avml", 4, b"\1", "offset 0x0 is no header of a block"),
        ("avml", 16, bytes(8), "offset 0x0 is no header of a block"),
        ("avml", -8, b"\xff" * 8, "truncated"),
        ("avml", -8, bytes(8), "no header of a block"),
    ],
)
def test_headers_that_lie(form: str, at: int, value: bytes, words: str, tmp_path: Path) -> None:
    path = WRITERS[form](tmp_path / "image", PAGES)
    raw = bytearray(path.read_bytes())
    at %= len(raw)
    raw[at : at + len(value)] = value
    path.write_bytes(raw)
    with pytest.raises(DumpError, match=words):
        open_dump(path)


@pytest.mark.parametrize(
    ("at", "words"), [(32 + 10 + 30, "the frame at offset .* is damaged"), (32 + 10, "the block of")]
)
def test_a_damaged_block_of_avml(at: int, words: str, tmp_path: Path) -> None:
    path = write_avml(tmp_path / "image", PAGES)
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0x55
    path.write_bytes(raw)
    dump = open_dump(path)
    with pytest.raises(PageCorrupt, match=words):
        dump.read(0x1000, 8)
    assert dump.read(5000 << 12, 9) == PAGES[5000][:9]


@pytest.mark.parametrize("size", [4096, (1 << 20) + 1])
def test_what_cannot_be_memory(size: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(size))
    with pytest.raises(DumpError, match="file: not a dump: it begins like no format that is known here"):
        open_dump(tmp_path / "file")
