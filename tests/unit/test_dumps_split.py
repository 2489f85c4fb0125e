"""dumps/split.py and dumps/parts.py: one dump in several files."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from gcoretools.dumps import PAGE_SIZE, Note, absolute, open_dump
from gcoretools.dumps.parts import parts
from gcoretools.errors import DumpError, PageAbsent
from tests.written_dumps import numbered, write_elf, write_kdump

PAGES = {pfn: numbered(pfn) for pfn in [*range(1, 100), *range(40_000, 40_050)]}
HERE = np.array(sorted(PAGES), dtype=np.uint64)
NOTES = [Note("CORE", 1, b"\1" * 336), Note("VMCOREINFO", 0, b"OSRELEASE=6.1\nPAGESIZE=4096\n")]
END = 40_050
BORDERS = [0, 37, 40_010, END]


def write_parts(folder: Path, borders: list[int] = BORDERS) -> list[Path]:
    return [
        write_kdump(folder / f"part{number}", PAGES, NOTES, split=(first, end), level=31, excluded=[50_000 % END])
        for number, (first, end) in enumerate(itertools.pairwise(borders))
    ]


def joined(paths: list[Path]) -> str:
    return ",".join(map(str, paths))


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_the_parts_are_one_dump(tmp_path: Path, order: list[int]) -> None:
    files = write_parts(tmp_path)
    dump = open_dump(joined([files[number] for number in order]))
    whole = open_dump(write_kdump(tmp_path / "whole", PAGES, NOTES, level=31, excluded=[50_000 % END]))
    numbers = np.arange(END + 50, dtype=np.uint64)
    assert dump.present(numbers).tolist() == whole.present(numbers).tolist()
    assert dump.why(numbers).tolist() == whole.why(numbers).tolist()
    assert bytes(dump.pages(HERE)) == bytes(whole.pages(HERE))
    assert bytes(dump.pages(HERE[::-1])) == bytes(whole.pages(HERE[::-1]))
    assert (dump.heads(HERE, 30) == whole.heads(HERE, 30)).all()
    assert dump.read(36 * PAGE_SIZE + 4000, 200) == PAGES[36][4000:] + PAGES[37][:104]
    assert list(dump.ranges()) == [
        (0x1000, 36 << 12),
        (37 << 12, 63 << 12),
        (40_000 << 12, 10 << 12),
        (40_010 << 12, 40 << 12),
    ]
    assert dump.notes == whole.notes
    with pytest.raises(PageAbsent):
        dump.read(200 << 12, 8)
    with pytest.raises(PageAbsent):
        dump.read(-8, 8)


def test_the_fingerprint_is_of_the_parts_in_any_order(tmp_path: Path) -> None:
    files = write_parts(tmp_path)
    one = open_dump(joined(files)).fingerprint
    assert open_dump(joined(files[::-1])).fingerprint == one
    assert open_dump(joined(write_parts(tmp_path, [0, 38, END]))).fingerprint != one


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ([0], "one part of a split dump .page frames 0x0 to 0x25.: name all its parts, with commas between them"),
        ([0, 2], "the part of the split dump with page frames 0x25 to 0x9c4a is missing"),
        ([1, 2], "the part of the split dump with page frames 0x0 to 0x25 is missing"),
        ([0, 1], "the part of the split dump that begins at page frame 0x9c4a is missing"),
        ([0, 1, 1, 2], "two parts of the split dump hold page frame 0x25"),
    ],
)
def test_parts_that_do_not_make_a_dump(tmp_path: Path, which: list[int], words: str) -> None:
    files = write_parts(tmp_path)
    with pytest.raises(DumpError, match=words):
        open_dump(joined([files[number] for number in which]))


def test_other_dumps_are_no_parts(tmp_path: Path) -> None:
    files = write_parts(tmp_path)
    other = write_kdump(tmp_path / "other", PAGES, NOTES[:1], split=(37, 40_010))
    with pytest.raises(DumpError, match="other: a part of another dump than"):
        open_dump(joined([files[0], other, files[2]]))
    for alone in (write_elf(tmp_path / "elf", PAGES), write_kdump(tmp_path / "whole", PAGES)):
        with pytest.raises(DumpError, match=f"{alone.name}: not a part of a split dump"):
            open_dump(joined([*files, alone]))
    with pytest.raises(DumpError, match="missing: No such file"):
        open_dump(f"{files[0]},{tmp_path}/missing")


def test_a_name_with_a_comma_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    whole = write_kdump(tmp_path / "a,b/one,two", PAGES)
    assert parts(whole) == [whole]
    assert open_dump(whole).read(0x1000, 4) == PAGES[1][:4]
    files = write_parts(tmp_path / "a,b")
    assert parts(joined(files)) == files
    assert open_dump(joined(files)).read(0x1000, 4) == PAGES[1][:4]
    assert parts("x\0,y") == [Path("x\0,y")]


def test_the_absolute_path_names_every_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_parts(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert absolute("part0,part1,part2") == joined(files)
    assert absolute("no,such") == str(tmp_path / "no,such")
