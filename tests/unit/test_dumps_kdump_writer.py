"""dumps/kdump_writer.py: a dump written is the dump read."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcoretools.dumps import PAGE_SIZE, Dump, Note, Pfns, open_dump, vmcoreinfo_note
from gcoretools.dumps.kdump_headers import read_headers
from gcoretools.dumps.kdump_writer import BATCH, write_kdump
from gcoretools.errors import PageAbsent
from tests.written_dumps import numbered, write_elf

RANDOM = np.random.default_rng(3).bytes(PAGE_SIZE)
NOTES = [
    Note("CORE", 1, b"\1" * 335),
    Note("CORE", 1, b"\2" * 336),
    Note("VMCOREINFO", 0, b"OSRELEASE=6.1\nPAGESIZE=4096\n"),
    Note("QEMU", 0, b""),
]
PAGES = st.one_of(
    st.just(bytes(PAGE_SIZE)), st.just(RANDOM), st.binary(max_size=9).map(lambda b: b.ljust(PAGE_SIZE, b"x"))
)


def pfns(numbers: object) -> Pfns:
    return np.array(list(numbers), np.uint64)  # type: ignore[call-overload]


def written(path: Path, dump: Dump, some: Pfns, notes: list[Note] = NOTES, bits: int = 64) -> Path:
    with path.open("w+b") as file:
        write_kdump(file.fileno(), dump, some, notes, "6.1.0-test", bits)
    return path


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("written")


@settings(max_examples=40)
@given(table=st.dictionaries(st.integers(0, 1 << 20), PAGES, min_size=1, max_size=12), data=st.data())
def test_the_pages_written_are_the_pages_read(
    tmp_path_factory: pytest.TempPathFactory, table: dict[int, bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("written")
    whole = open_dump(write_elf(folder / "whole", table))
    kept = sorted(data.draw(st.sets(st.sampled_from(sorted(table)))))
    dump = open_dump(written(folder / "kept", whole, pfns(kept)))
    assert dump.present(pfns(table)).tolist() == [pfn in kept for pfn in table]
    assert bytes(dump.pages(pfns(kept))) == b"".join(table[pfn] for pfn in kept)
    assert dump.notes == tuple(NOTES)
    for pfn in set(table) - set(kept):
        with pytest.raises(PageAbsent):
            dump.read(pfn << 12, 1)


@pytest.mark.parametrize("bits", [64, 32])
def test_the_headers(tmp_path: Path, bits: int) -> None:
    whole = open_dump(write_elf(tmp_path / "whole", {7: RANDOM}))
    raw = memoryview(written(tmp_path / "kept", whole, pfns([7]), bits=bits).read_bytes())
    headers = read_headers(tmp_path / "kept", raw)
    assert (headers.version, headers.status, headers.dump_level, headers.max_mapnr) == (6, 1, 31, 8)
    offset, size = headers.vmcoreinfo
    assert bytes(raw[offset : offset + size]) == NOTES[2].desc
    assert raw[12 + 2 * 65 :].tobytes().startswith(b"6.1.0-test\0")
    assert raw[12 + 4 * 65 :].tobytes().startswith(b"x86_64\0" if bits == 64 else b"i686\0")
    assert struct.unpack_from("<I", raw, {64: 424, 32: 412}[bits] + 36) == (2,)  # nr_cpus


def test_many_pages_and_one_of_zeros(folder: Path) -> None:
    """More than are compressed together; zero pages take no room."""
    table = {pfn: bytes(PAGE_SIZE) if pfn % 3 else numbered(pfn) for pfn in range(5, 5 + 3 * BATCH)}
    path = written(folder / "kept", open_dump(write_elf(folder / "whole", table)), pfns(table), [])
    dump = open_dump(path)
    assert bytes(dump.pages(pfns(table))) == b"".join(table.values())
    assert dump.notes == ()
    assert vmcoreinfo_note(dump) is None
    some = {pfn: page for pfn, page in table.items() if any(page)}
    less = written(folder / "less", open_dump(write_elf(folder / "other", some)), pfns(some), [])
    assert path.stat().st_size - less.stat().st_size == 24 * (len(table) - len(some))


def test_page_frames_far_up_take_no_room_on_the_disk(tmp_path: Path) -> None:
    """The bitmaps of 4 TiB."""
    top = (1 << 30) - 1
    path = written(
        tmp_path / "kept", open_dump(write_elf(tmp_path / "whole", {1: RANDOM, top: RANDOM})), pfns([1, top])
    )
    assert path.stat().st_size > 2 * (top >> 3)
    assert os.stat(path).st_blocks * 512 < 1 << 17
    assert bytes(open_dump(path).pages(pfns([top]))) == RANDOM


def test_no_pages_at_all(tmp_path: Path) -> None:
    dump = open_dump(written(tmp_path / "kept", open_dump(write_elf(tmp_path / "whole", {1: RANDOM})), pfns([])))
    assert list(dump.ranges()) == []


def test_a_full_device(tmp_path: Path) -> None:
    whole = open_dump(write_elf(tmp_path / "whole", {1: RANDOM}))
    with open("/dev/full", "wb") as full, pytest.raises(OSError, match="No space left"):
        write_kdump(full.fileno(), whole, pfns([1]), [], "6.1", 64)
