"""Memory copied into a core by several threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcoretools.core.copying import BACKLOG, Copying, Read
from gcoretools.core.writer import CoreFile
from gcoretools.errors import DumpError
from tests.unit.test_core_writer import opened, whole

# Bytes that are written, that other threads are to read and write, or zeros.
STEPS = st.lists(
    st.tuples(st.booleans(), st.binary(min_size=1, max_size=9000)) | st.integers(0, 300_000), max_size=30
)


def copy(fd: int, reads: Iterable[Read]) -> None:
    """Pieces of 4 bytes."""
    with CoreFile(fd) as core:
        for read in reads:
            core.copy(read, 4)
        core.finish()


def write(fd: int, steps: list[tuple[bool, bytes] | int]) -> None:
    with CoreFile(fd) as core:
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


def test_threads_that_overtake_each_other_do_no_harm(tmp_path: Path) -> None:
    def slowly(number: int) -> bytes:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return b"%04d" % number

    with opened(tmp_path / "core") as fd:
        copy(fd, (partial(slowly, number) for number in range(200)))
    assert (tmp_path / "core").read_bytes() == b"".join(b"%04d" % number for number in range(200))


def lost() -> bytes:
    raise DumpError("the page is gone")


def test_a_page_that_cannot_be_read_is_told_and_ends_the_rest(tmp_path: Path) -> None:
    read = []

    def one(number: int) -> bytes:
        read.append(number)
        return lost() if number == 5 else b"page"

    with opened(tmp_path / "core") as fd, pytest.raises(DumpError, match="the page is gone"):
        copy(fd, (partial(one, number) for number in range(1000)))
    assert 5 in read
    assert len(read) < 1000


def test_the_last_page_is_missed_too(tmp_path: Path) -> None:
    with opened(tmp_path / "core") as fd, pytest.raises(DumpError):
        copy(fd, [lost])


def test_what_cannot_be_written_is_raised(tmp_path: Path) -> None:
    (tmp_path / "core").touch()
    fd = os.open(tmp_path / "core", os.O_RDONLY)
    with pytest.raises(OSError, match="Bad file descriptor"):
        copy(fd, [partial(bytes, 4)])
    os.close(fd)


def test_nobody_writes_behind_the_end(tmp_path: Path) -> None:
    """However the block ends: the descriptor may then be another file's."""
    started, go_on = threading.Event(), threading.Event()

    def held() -> bytes:
        started.set()
        go_on.wait(10)
        return b"late"

    def let_go() -> None:
        started.wait(10)
        time.sleep(0.05)
        go_on.set()

    def interrupted() -> Iterator[Read]:
        yield from [held] * 20
        releasing.start()
        raise KeyboardInterrupt

    releasing = threading.Thread(target=let_go)
    with opened(tmp_path / "core") as fd:
        with pytest.raises(KeyboardInterrupt):
            copy(fd, interrupted())
        size = os.fstat(fd).st_size
        assert go_on.is_set()
        time.sleep(0.05)
        assert os.fstat(fd).st_size == size
    releasing.join()


def test_no_more_waits_than_the_backlog(tmp_path: Path) -> None:
    go_on, asked = threading.Event(), []

    def held(number: int) -> bytes:
        go_on.wait(10)
        return b"%04d" % number

    def feed(copying: Copying) -> None:
        for number in range(BACKLOG + 10):
            asked.append(number)
            copying.copy(partial(held, number), number * 4)

    with opened(tmp_path / "core") as fd:
        copying = Copying(fd)
        feeding = threading.Thread(target=feed, args=[copying])
        feeding.start()
        feeding.join(0.3)
        assert len(asked) == BACKLOG + 1
        go_on.set()
        feeding.join()
        copying.finish()
    assert len((tmp_path / "core").read_bytes()) == 4 * (BACKLOG + 10)
