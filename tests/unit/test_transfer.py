"""Bytes on their way out, of a mapped file and others, to whatever takes them."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import pytest

from gcoretools.errors import DumpError
from gcoretools.transfer import LARGE, MappedFile, write_all

DATA = random.Random(5).randbytes(5 * LARGE)


@pytest.fixture
def mapped(tmp_path: Path) -> memoryview:
    (tmp_path / "data").write_bytes(DATA)
    return memoryview(MappedFile(FileIO(tmp_path / "data")))


def through_pipe(send: Callable[[int], None], at_a_time: int = 7_001) -> bytes:
    """What comes out of a pipe that is written to."""
    receiver, sender = os.pipe()

    def run() -> None:
        try:
            send(sender)
        finally:
            os.close(sender)

    sending = threading.Thread(target=run)
    sending.start()
    with open(receiver, "rb", buffering=0) as file:
        found = b"".join(iter(lambda: file.read(at_a_time), b""))
    sending.join()
    return found


def test_pieces_are_written_whole_by_however_little() -> None:
    """A pipe takes what fits; the rest must follow."""
    pieces: list[bytearray | bytes | memoryview] = [DATA[:100_000], bytearray(), memoryview(DATA)[100_000:]]
    assert through_pipe(lambda fd: write_all(fd, pieces)) == DATA


@pytest.mark.parametrize("start", [0, 1, 4096, LARGE - 1])
@pytest.mark.parametrize("size", [0, 1, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE + 4097])
def test_a_view_is_the_same_to_a_pipe_and_a_file(mapped: memoryview, start: int, size: int, tmp_path: Path) -> None:
    wanted = b"before" + DATA[start : start + size] + b"behind"
    for source in (mapped, memoryview(DATA)):
        view = source[start:][:size]

        def send(fd: int, view: memoryview = view) -> None:
            write_all(fd, [b"before", view, b"behind"])

        assert through_pipe(send) == wanted
        for mode in ("wb", "ab"):
            with (tmp_path / mode).open(mode) as file:
                send(file.fileno())
            assert (tmp_path / mode).read_bytes() == wanted
            (tmp_path / mode).unlink()


def test_a_view_of_what_is_mapped_knows_its_offset(mapped: memoryview) -> None:
    assert isinstance(mapped.obj, MappedFile)
    assert [mapped.obj.offset(mapped[at:]) for at in (0, 1, LARGE, len(DATA) - 1)] == [0, 1, LARGE, len(DATA) - 1]


def test_a_file_that_is_cut_meanwhile(mapped: memoryview, tmp_path: Path) -> None:
    os.truncate(tmp_path / "data", LARGE)

    def send(fd: int) -> None:
        with pytest.raises(DumpError, match=f"was cut at offset {LARGE:#x} while it was read"):
            write_all(fd, [mapped[100 : LARGE + 4096]])

    assert through_pipe(send) == DATA[100:LARGE]
    with (tmp_path / "copy").open("wb") as file:
        send(file.fileno())
    assert (tmp_path / "copy").read_bytes() == DATA[100:LARGE]


def test_nobody_reads(mapped: memoryview) -> None:
    receiver, sender = os.pipe()
    os.close(receiver)
    with pytest.raises(BrokenPipeError):
        write_all(sender, [mapped])
    os.close(sender)
