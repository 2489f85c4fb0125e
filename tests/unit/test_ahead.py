"""Page data read before its turn."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcoretools import workers
from gcoretools.errors import PageCorrupt
from gcoretools.records import DATA_LIMIT, Done, Pages, Record, Unread
from gcoretools.stages import ahead
from gcoretools.stages.ahead import AHEAD, read_ahead, read_here

# Size in bytes, and whether it is slow to read; or a record of another kind.
RUNS = st.lists(st.tuples(st.integers(1, 70_000), st.booleans()) | st.none(), max_size=120)


@pytest.fixture(autouse=True)
def many_and_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two CPUs, whatever there are, to whom two jobs are worth a process."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(workers, "WORTH", 1)


def content(number: int, size: int) -> bytes:
    return (b"%07d " % number * (size // 8 + 1))[:size]


def records(runs: list[tuple[int, bool] | None]) -> Iterator[Record]:
    for number, run in enumerate(runs):
        if run is None:
            yield Done(number)
        else:
            yield Unread(number, run[0], partial(content, number, run[0]), run[1])


def plain(stream: Iterator[Record]) -> list[Record | tuple[int, bytes]]:
    """Each record while it holds."""
    return [(each.start, bytes(each.data)) if isinstance(each, Pages) else each for each in stream]


@given(runs=RUNS, dealt=st.integers(1, 5))
@settings(max_examples=40)
def test_it_is_what_reading_at_its_turn_gives(runs: list[tuple[int, bool] | None], dealt: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "DEALT", dealt)
        read = plain(read_ahead(records(runs)))
    assert read == plain(read_here(records(runs)))
    assert read == [Done(n) if run is None else (n, content(n, run[0])) for n, run in enumerate(runs)]


def test_other_processes_read_it() -> None:
    """More than there is memory for at a time."""
    runs = [Unread(number, DATA_LIMIT, mine, True) for number in range(5 * AHEAD)]
    pids = [bytes(record.data[:8]) for record in read_ahead(iter(runs)) if isinstance(record, Pages)]
    assert len(pids) == 5 * AHEAD
    assert len(set(pids)) == 2
    assert b"%08d" % os.getpid() not in pids


def test_what_is_quick_to_read_this_one_reads() -> None:
    runs = [Unread(number, DATA_LIMIT, mine, False) for number in range(20)]
    pids = {bytes(record.data[:8]) for record in read_ahead(iter(runs)) if isinstance(record, Pages)}
    assert pids == {b"%08d" % os.getpid()}


def mine() -> bytes:
    return b"%08d" % os.getpid() * (DATA_LIMIT // 8)


def damaged() -> bytes:
    raise PageCorrupt("the page is damaged", 5)


def test_what_cannot_be_read_is_told_in_its_turn() -> None:
    runs = [Unread(number, DATA_LIMIT, damaged if number == 17 else mine, True) for number in range(40)]
    read = read_ahead(iter(runs))
    assert [record.start for record in islice(read, 17) if isinstance(record, Pages)] == list(range(17))
    with pytest.raises(PageCorrupt, match="the page is damaged"):
        next(read)
