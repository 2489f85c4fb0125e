"""Properties of every format: a dump written is the dump read, and a damaged one is an error or a result."""

import contextlib
import tempfile
from collections.abc import Callable
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gcoretools.dumps import PAGE_SIZE, Note, Pfns, open_dump
from gcoretools.dumps.bitmap import Bitmap, _ones_by_table, ones
from gcoretools.dumps.page_runs import page_runs
from gcoretools.dumps.search import find_vmcoreinfo
from gcoretools.errors import GcoreError, PageAbsent
from tests.written_dumps import flatten, numbered, write_avml, write_elf, write_kdump, write_lime

relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

page_numbers = st.integers(0, 90) | st.integers(32_700, 32_800)
kinds: dict[str, Callable[[int], bytes]] = {
    "numbered": numbered,
    "zero": lambda pfn: bytes(PAGE_SIZE),
    "random": lambda pfn: np.random.default_rng(pfn).bytes(PAGE_SIZE),
}
tables = st.dictionaries(page_numbers, st.sampled_from(sorted(kinds)), max_size=40).map(
    lambda table: {pfn: kinds[kind](pfn) for pfn, kind in table.items()}
)
notes = st.lists(
    st.builds(Note, st.sampled_from(["CORE", "QEMU", "A"]), st.integers(1, 9), st.binary(max_size=40)), max_size=3
)


def write_flattened(path: Path, pages: dict[int, bytes], notes: list[Note]) -> Path:
    plain = write_kdump(path.with_name("plain"), pages, notes, level=1)
    return flatten(plain, path, piece=3000, shuffle=len(pages))


def write_flattened_elf(path: Path, pages: dict[int, bytes], notes: list[Note]) -> Path:
    return flatten(write_elf(path.with_name("plain"), pages, notes, pad=5), path, piece=3000, shuffle=1)


WITHOUT_NOTES = ("lime", "avml")

WRITERS: dict[str, Callable[..., Path]] = {
    "elf": lambda p, pages, n: write_elf(p, pages, n, pad=5),
    "elf32": lambda p, pages, n: write_elf(p, pages, n, bits=32),
    "kdump": lambda p, pages, n: write_kdump(p, pages, n, level=31, excluded=[91, 33_000]),
    "kdump32": lambda p, pages, n: write_kdump(p, pages, n, bits=32, shuffle=4),
    "plain": lambda p, pages, n: write_kdump(p, pages, n, compressed=False),
    "lzo": lambda p, pages, n: write_kdump(p, pages, n, flags=0x02),
    "snappy": lambda p, pages, n: write_kdump(p, pages, n, flags=0x04, shuffle=1),
    "zstd": lambda p, pages, n: write_kdump(p, pages, n, flags=0x20),
    "flattened": write_flattened,
    "flattened elf": write_flattened_elf,
    "lime": lambda p, pages, n: write_lime(p, pages, step=5 << 12),
    "avml": lambda p, pages, n: write_avml(p, pages, block=20 << 12, zeros=True),
}


@relaxed
@given(tables, notes, st.data())
@pytest.mark.parametrize("form", WRITERS)
def test_a_dump_written_is_the_dump_read(form: str, pages: dict[int, bytes], notes: list[Note], data: Any) -> None:
    assume(pages or form not in WITHOUT_NOTES)
    with tempfile.TemporaryDirectory() as folder:
        dump = open_dump(WRITERS[form](Path(folder) / "vmcore", pages, notes))
    asked: Pfns = np.arange(33_100, dtype=np.uint64)
    assert dump.present(asked).nonzero()[0].tolist() == sorted(pages)
    assert list(dump.notes) == ([] if form in WITHOUT_NOTES else notes)
    order = data.draw(st.permutations(sorted(pages)))
    assert bytes(dump.pages(np.array(order, dtype=np.uint64))) == b"".join(pages[pfn] for pfn in order)
    absent = data.draw(st.integers(0, 33_100).filter(lambda pfn: pfn not in pages))
    with pytest.raises(PageAbsent):
        dump.pages(np.array([*order, absent], dtype=np.uint64))
    with pytest.raises(PageAbsent):
        dump.read((absent << 12) + 100, 8)
    for pa, size in dump.ranges():
        assert bytes(dump.read(pa, size)) == b"".join(pages[pfn] for pfn in range(pa >> 12, (pa + size) >> 12))


places = st.integers(0, 700) | st.integers(4096, 4096 + 700) | st.integers(0, 12_000)
values = st.binary(min_size=1, max_size=9) | st.sampled_from(
    [b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f", b"\1" * 4]
)


@relaxed
@given(
    st.sampled_from(sorted(WRITERS)),
    st.lists(st.tuples(places, values), min_size=1, max_size=4),
    st.integers(0, 40_000),
)
def test_a_damaged_dump_is_an_error_or_a_result(form: str, damage: list[tuple[int, bytes]], cut: int) -> None:
    pages = {pfn: numbered(pfn) for pfn in range(20)}
    with tempfile.TemporaryDirectory() as folder:
        path = WRITERS[form](Path(folder) / "vmcore", pages, [Note("CORE", 1, b"x" * 100)])
        raw = bytearray(path.read_bytes())
        for at, value in damage:
            raw[at % len(raw) : at % len(raw) + len(value)] = value
        path.write_bytes(raw[:cut] if cut < 20_000 else raw)
        with contextlib.suppress(GcoreError):
            dump = open_dump(path)
            present = np.arange(64, dtype=np.uint64)[dump.present(np.arange(64, dtype=np.uint64))]
            for ask in (
                lambda: dump.pages(present),
                lambda: find_vmcoreinfo(dump),
                lambda: dump.read(0x1800, 4000),
            ):
                with contextlib.suppress(GcoreError):
                    ask()


@relaxed
@given(st.binary(max_size=300), st.integers(0, 2400))
def test_a_bitmap_counts_as_a_list_does(raw: bytes, length: int) -> None:
    data = raw.ljust(PAGE_SIZE, b"\0")
    bits = [bool(data[i // 8] >> i % 8 & 1) for i in range(length)]
    bitmap = Bitmap(memoryview(data), length)
    numbers = np.arange(length, dtype=np.uint64)
    assert bitmap.isset(numbers).tolist() == bits == [bitmap.bit(i) for i in range(length)]
    assert bitmap.ranks(numbers).tolist() == list(accumulate(bits, initial=0))[:length]
    assert [bitmap.rank(i) for i in range(length)] == bitmap.ranks(numbers).tolist()
    assert [i for first, end in bitmap.runs() for i in range(first, end)] == [i for i, on in enumerate(bits) if on]
    assert not bitmap.isset(np.array([length, 2**50], dtype=np.uint64)).any()


@relaxed
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_bits_are_counted_the_same_without_numpy_2(words: list[int]) -> None:
    array = np.array(words, dtype=np.uint64)
    assert _ones_by_table(array).tolist() == ones(array).tolist() == [word.bit_count() for word in words]


@relaxed
@given(st.lists(st.tuples(st.integers(0, 200_000), st.integers(1, 60_000)), max_size=12))
def test_page_runs_are_the_whole_pages_of_the_segments(segments: list[tuple[int, int]]) -> None:
    columns = [np.array(column, dtype=np.uint64) for column in zip(*segments, strict=True)] or [
        np.zeros(0, np.uint64)
    ] * 2
    # The file is as large as memory and holds every address at its own place, shifted by 77 bytes.
    runs = page_runs(columns[0], columns[1], columns[0] + np.uint64(77))
    pages = {p for pa, size in segments for p in range(-(-pa >> 12), pa + size >> 12)}
    rows = list(zip(runs.first.tolist(), runs.end.tolist(), runs.offset.tolist(), strict=True))
    assert [p for first, end, _ in rows for p in range(first, end)] == sorted(pages)
    assert all(offset == (first << 12) + 77 for first, _, offset in rows)
    assert all(after[0] > before[1] for before, after in pairwise(rows))
