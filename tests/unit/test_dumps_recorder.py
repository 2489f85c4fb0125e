"""dumps/recorder.py: what was read of a dump, and what was asked for in vain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcoretools.dumps import Pfns, open_dump
from gcoretools.dumps import recorder as module
from gcoretools.dumps.notes import vmcoreinfo_note
from gcoretools.dumps.recorder import Recorder
from gcoretools.errors import PageAbsent
from gcoretools.memory import NO_FRAME
from tests.unit.test_dumps_search import NEW
from tests.written_dumps import numbered, write_elf, write_kdump

TABLE = {pfn: numbered(pfn) for pfn in [*range(0x100, 0x140), 0x150]}


def pfns(*numbers: int) -> Pfns:
    return np.array(numbers, np.uint64)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(open_dump(write_kdump(tmp_path / "dump", TABLE, level=31, excluded=[0x141])))


def test_it_answers_as_the_dump(recorder: Recorder, tmp_path: Path) -> None:
    dump = open_dump(tmp_path / "dump")
    for name in ("path", "format", "notes", "reasons", "fingerprint", "moving"):
        assert getattr(recorder, name) == getattr(dump, name)
    some = pfns(0x150, 0x100, 0x13F)
    assert bytes(recorder.pages(some)) == bytes(dump.pages(some))
    assert recorder.read(0x100FF0, 0x20) == dump.read(0x100FF0, 0x20)
    assert list(recorder.ranges()) == list(dump.ranges())
    assert recorder.present(pfns(0x100, 0x141, 0x999)).tolist() == [True, False, False]
    assert recorder.why(pfns(0x141, 0x999)).tolist() == dump.why(pfns(0x141, 0x999)).tolist()
    assert (recorder.heads(some, 9) == dump.heads(some, 9)).all()


def test_what_was_read(recorder: Recorder) -> None:
    recorder.heads(pfns(0x120), 8)
    recorder.present(pfns(0x121))
    assert recorder.read_pfns.tolist() == []
    recorder.read(0x101FFF, 2)
    recorder.pages(pfns(0x150, 0x101))
    assert recorder.read_pfns.tolist() == [0x101, 0x102, 0x150]


def test_what_was_missed(recorder: Recorder) -> None:
    with pytest.raises(PageAbsent):
        recorder.pages(pfns(0x100, 0x141))
    with pytest.raises(PageAbsent):
        recorder.read(0x999000, 1)
    recorder.present(pfns(0x145, 0x100))
    assert recorder.missed_pfns.tolist() == [0x141, 0x145, 0x999]


def test_frames_that_no_address_is_in_are_not_missed(recorder: Recorder) -> None:
    """NO_FRAME, and what stands in a handle that is none: a run of them would end beyond any number."""
    assert not recorder.present(pfns(NO_FRAME, 1 << 52, (1 << 52) - 1)).any()
    assert recorder.missed_pfns.tolist() == [(1 << 52) - 1]
    assert recorder.read_pfns.tolist() == []


@given(st.lists(st.lists(st.sampled_from(sorted(TABLE)), max_size=20), max_size=20))
def test_everything_once_and_in_order(tmp_path_factory: pytest.TempPathFactory, asked: list[list[int]]) -> None:
    recorder = Recorder(open_dump(write_elf(tmp_path_factory.mktemp("dump") / "dump", TABLE)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PENDING_LIMIT", 32)
        for some in asked:
            recorder.pages(pfns(*some))
    assert recorder.read_pfns.tolist() == sorted({pfn for some in asked for pfn in some})


def test_vmcoreinfo_that_stands_in_memory_only_becomes_a_note(tmp_path: Path) -> None:
    page = NEW.ljust(4096, b"\0")
    recorder = Recorder(open_dump(write_elf(tmp_path / "dump", TABLE | {0x160: page})))
    assert vmcoreinfo_note(recorder) == NEW
    assert recorder.read_pfns.tolist() == []
