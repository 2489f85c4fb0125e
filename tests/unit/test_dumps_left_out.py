"""dumps/left_out.py: the words for what a trimmed dump has not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcoretools.dumps import Note, Pfns, open_dump
from gcoretools.dumps.left_out import LEFT_OUT, left_out, read_left_out
from gcoretools.errors import DumpError
from tests.written_dumps import numbered, write_kdump

REASONS = ("excluded", "no memory", "lost")


def pfns(*numbers: int) -> Pfns:
    return np.array(numbers, np.uint64)


@given(st.dictionaries(st.integers(0, 60) | st.integers((1 << 64) - 4, (1 << 64) - 1), st.integers(0, 2)))
def test_every_page_keeps_its_reason(absent: dict[int, int]) -> None:
    missed = pfns(*sorted(absent))
    why = np.array([absent[pfn] for pfn in sorted(absent)], np.uint8)
    told = read_left_out(Path("dump"), [Note("CORE", 1, b""), left_out(REASONS, missed, why).note()])
    assert told
    assert told.reasons == (*REASONS, LEFT_OUT)
    asked = [*range(64), *range((1 << 64) - 9, 1 << 64)]
    assert told.why(pfns(*asked)).tolist() == [absent.get(pfn, 3) for pfn in asked]


def test_a_dump_that_is_trimmed_twice() -> None:
    """What was left out the first time is left out."""
    once = left_out(REASONS, pfns(1, 2), np.array([0, 1], np.uint8))
    twice = left_out(once.reasons, pfns(1, 2, 3), once.why(pfns(1, 2, 3)))
    assert twice.reasons == once.reasons
    assert twice.why(pfns(1, 2, 3, 4)).tolist() == [0, 1, 3, 3]


def test_a_dump_that_was_not_trimmed() -> None:
    assert read_left_out(Path("dump"), [Note("CORE", 1, b""), Note("gcoretools", 2, b"")]) is None


def test_a_dump_with_the_note(tmp_path: Path) -> None:
    note = left_out(REASONS, pfns(0x200), np.array([1], np.uint8)).note()
    dump = open_dump(write_kdump(tmp_path / "dump", {0x100: numbered(0x100)}, [note], excluded=[0x200, 0x300]))
    assert dump.reasons == (*REASONS, LEFT_OUT)
    assert dump.why(pfns(0x200, 0x300, 0x99999)).tolist() == [1, 3, 3]
    assert LEFT_OUT in str(dump.absent(0x300))


RUN = np.array([5, 7, 0], np.uint64).tobytes()


@pytest.mark.parametrize(
    "desc",
    [
        b"", b"words", b"\0\0" + RUN, b"words\0\0" + RUN[:-1], b"words\0\0" + RUN + RUN,
        b"words\0\0" + np.array([7, 5, 0], np.uint64).tobytes(),
        b"words\0\0" + np.array([5, 7, 1], np.uint64).tobytes(),
        b"words\0" * 256 + b"\0" + RUN,
    ],
)  # fmt: skip
def test_notes_that_cannot_be(desc: bytes) -> None:
    with pytest.raises(DumpError, match="the note of gc-trim is damaged"):
        read_left_out(Path("dump"), [Note("gcoretools", 1, desc)])
