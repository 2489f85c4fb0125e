"""Memory copied into a core by several processes."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcoretools import workers
from gcoretools.core import copying
from gcoretools.core.copying import Read
from gcoretools.core.writer import CoreFile
from gcoretools.errors import DumpError
from gcoretools.workers import JOB, SMALL
from tests.unit.test_core_writer import opened, whole

# Bytes that are written, that are to be read and written, or zeros.
STEPS = st.lists(
    st.tuples(st.booleans(), st.binary(min_size=1, max_size=9000)) | st.integers(0, 300_000), max_size=30
)


@pytest.fixture(autouse=True)
def many_and_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two CPUs, whatever there are, to whom two jobs are worth a process."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(workers, "WORTH", 1)


def copy(fd: int, reads: Iterable[Read], size: int) -> None:
    core = CoreFile(fd)
    for read in reads:
        core.copy(read, size)
    core.finish()


def write(fd: int, steps: list[tuple[bool, bytes] | int]) -> None:
    core = CoreFile(fd)
    for step in steps:
        if isinstance(step, int):
            core.zeros(step)
        elif step[0]:
            core.copy(partial(bytes, step[1]), len(step[1]))
        else:
            core.write(step[1])
    core.finish()


@given(steps=STEPS)
@settings(max_examples=60)
def test_everything_comes_to_its_place(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, bytes] | int]
) -> None:
    path = tmp_path_factory.mktemp("copied") / "core"
    with opened(path) as fd:
        write(fd, steps)
    assert path.read_bytes() == whole([step if isinstance(step, int) else step[1] for step in steps])


def test_into_a_pipe_it_is_copied_in_order() -> None:
    reader, writer = os.pipe()
    write(writer, [(True, b"one"), 3, (True, b"two"), (False, b"three")])
    os.close(writer)
    with open(reader, "rb") as file:
        assert file.read() == b"one\0\0\0twothree"


@pytest.mark.parametrize("size", [1 << 12, 1 << 16, JOB])
def test_pieces_of_every_size_are_copied_by_several(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "DEALT", 3)  # and again, and again
    who = mmap.mmap(-1, 4 * 1000)
    count = 11 * JOB // max(size, SMALL)

    def piece(number: int) -> bytes:
        who[4 * number : 4 * number + 4] = os.getpid().to_bytes(4, "little")
        return b"%08d" % number * (size // 8)

    with opened(tmp_path / "core") as fd:
        copy(fd, (partial(piece, number) for number in range(count)), size)
    with (tmp_path / "core").open("rb") as file:
        assert all(file.read(size) == b"%08d" % number * (size // 8) for number in range(count))
        assert not file.read()
    pids = [who[4 * number : 4 * number + 4] for number in range(count)]
    assert len(set(pids)) > 4
    assert os.getpid().to_bytes(4, "little") not in pids[: count // 2]


def test_a_page_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    def one(number: int) -> bytes:
        if number == 50:
            raise DumpError("the page is gone")
        return bytes(JOB)

    with opened(tmp_path / "core") as fd, pytest.raises(DumpError, match="the page is gone"):
        copy(fd, (partial(one, number) for number in range(100)), JOB)


def test_the_last_page_is_missed_too(tmp_path: Path) -> None:
    def lost() -> bytes:
        raise DumpError("the page is gone")

    with opened(tmp_path / "core") as fd, pytest.raises(DumpError, match="the page is gone"):
        copy(fd, [lost], 4)


@pytest.mark.parametrize("count", [1, 20])
def test_what_cannot_be_written_is_raised(tmp_path: Path, count: int) -> None:
    (tmp_path / "core").touch()
    fd = os.open(tmp_path / "core", os.O_RDONLY)
    with pytest.raises(OSError, match="Bad file descriptor"):
        copy(fd, [partial(bytes, JOB)] * count, JOB)
    os.close(fd)
