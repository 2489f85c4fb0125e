"""Where a core goes: files with holes, pipes, devices, and what is left behind when it fails."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcoretools.core.writer import CoreFile, new_file, standard_output
from gcoretools.errors import GcoreError, OutputError

MIB = 1 << 20
STEPS = st.lists(st.binary(max_size=9000) | st.integers(0, 300_000), max_size=8)


def whole(steps: list[bytes | int]) -> bytes:
    return b"".join(step if isinstance(step, bytes) else bytes(step) for step in steps)


def write(fd: int, steps: list[bytes | int]) -> None:
    core = CoreFile(fd)
    for step in steps:
        core.zeros(step) if isinstance(step, int) else core.write(step)
    core.finish()


def fail(fd: int, error: BaseException) -> None:
    write(fd, [b"half"])
    raise error


@contextmanager
def opened(path: Path, flags: int = os.O_CREAT) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | flags)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def stdout_is(path: Path, flags: int = 0) -> Iterator[None]:
    """Descriptor 1 is that file."""
    kept = os.dup(1)
    with opened(path, os.O_CREAT | flags) as fd:
        os.dup2(fd, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_a_file_and_a_pipe_get_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, steps: list[bytes | int]
) -> None:
    path = tmp_path_factory.mktemp("core") / "core"
    with opened(path) as fd:
        write(fd, steps)
    assert path.read_bytes() == whole(steps)
    receiver, sender = os.pipe()

    def send() -> None:
        write(sender, steps)
        os.close(sender)

    sending = threading.Thread(target=send)
    sending.start()
    with open(receiver, "rb") as file:
        assert file.read() == whole(steps)
    sending.join()


def test_zeros_take_no_room_in_a_file(tmp_path: Path) -> None:
    with opened(tmp_path / "core") as fd:
        write(fd, [b"head", 64 * MIB, b"middle", 64 * MIB])
    status = (tmp_path / "core").stat()
    assert status.st_size == 128 * MIB + 10
    assert status.st_blocks * 512 < MIB


def test_zeros_that_are_written_are_zeros_of_the_core(tmp_path: Path) -> None:
    """A hole in a file that has bytes already would show them."""
    (tmp_path / "core").write_bytes(b"old" * 10_000)
    with opened(tmp_path / "core") as fd:
        write(fd, [b"head", 20_000, b"tail"])
    assert (tmp_path / "core").read_bytes()[:20_008] == b"head" + bytes(20_000) + b"tail"


def test_a_file_that_is_appended_to_has_no_holes(tmp_path: Path) -> None:
    with opened(tmp_path / "core", os.O_CREAT | os.O_APPEND) as fd:
        write(fd, [b"head", 70_000, b"tail", 5])
    assert (tmp_path / "core").read_bytes() == b"head" + bytes(70_000) + b"tail" + bytes(5)
    with opened(tmp_path / "core", os.O_APPEND) as fd:
        write(fd, [3, b"more"])
    assert (tmp_path / "core").read_bytes()[70_013:] == bytes(3) + b"more"


def test_a_file_that_others_began_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path / "core") as fd:
        os.write(fd, b"begun ")
        write(fd, [b"head", 5000, b"tail"])
    assert (tmp_path / "core").read_bytes() == b"begun head" + bytes(5000) + b"tail"


def test_the_new_file_is_there_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "core.1"
    with new_file(path) as fd:
        write(fd, [b"core", 100])
        assert not path.exists()
        assert len(list(tmp_path.iterdir())) == 1
    assert path.read_bytes() == b"core" + bytes(100)
    assert [*tmp_path.iterdir()] == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_mode_does_not_hang_on_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with new_file(tmp_path / "core.1") as fd:
            assert os.fstat(fd).st_mode & 0o777 == 0o600
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "core.1").stat().st_mode) == 0o600


@pytest.mark.parametrize("error", [GcoreError("cut"), KeyboardInterrupt(), ZeroDivisionError()], ids=repr)
def test_a_failure_leaves_nothing_and_the_old_file(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "core.1").write_bytes(b"an older core")
    for name in ("core.1", "core.2"):
        with pytest.raises(type(error)), new_file(tmp_path / name) as fd:
            fail(fd, error)
    assert [*tmp_path.iterdir()] == [tmp_path / "core.1"]
    assert (tmp_path / "core.1").read_bytes() == b"an older core"


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "core.1").write_bytes(b"an older and longer core")
    with new_file(tmp_path / "core.1") as fd:
        os.write(fd, b"new")
    assert (tmp_path / "core.1").read_bytes() == b"new"


def test_what_cannot_be_written_is_told_by_its_name(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        pytest.raises(OutputError, match=f"cannot write {tmp_path}/core.1: No space left"),
        new_file(tmp_path / "core.1"),
    ):
        raise full
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match=r"missing/core\.1: No such file"), new_file(tmp_path / "missing/core.1"):
        pytest.fail("there is no such folder")
    with pytest.raises(OutputError, match="File name too long"), new_file(tmp_path / ("x" * 250)):
        pytest.fail("no room for the temporary name")


@pytest.mark.parametrize("what", ["folder", "pipe", "device", "link to a device", "NUL"])
def test_only_a_regular_file_is_replaced(tmp_path: Path, what: str) -> None:
    """A rename over /dev/null would take it away from everybody."""
    path = tmp_path / "here"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path = Path("/dev/full")
    elif what == "link to a device":
        path.symlink_to("/dev/null")
    else:
        path = tmp_path / "a\0b"
    with pytest.raises(OutputError, match="no regular file"), new_file(path):
        pytest.fail("it was opened")
    assert Path("/dev/full").is_char_device()


def test_standard_output_is_emptied_when_the_core_fails(tmp_path: Path) -> None:
    with stdout_is(tmp_path / "core"), pytest.raises(GcoreError), standard_output() as fd:
        fail(fd, GcoreError("cut"))
    assert (tmp_path / "core").read_bytes() == b""


def test_what_others_wrote_to_standard_output_stays(tmp_path: Path) -> None:
    for flags in (0, os.O_APPEND):
        (tmp_path / "core").write_bytes(b"theirs")
        with stdout_is(tmp_path / "core", flags):
            os.lseek(1, 0, os.SEEK_END)
            with pytest.raises(GcoreError), standard_output() as fd:
                fail(fd, GcoreError("cut"))
        assert (tmp_path / "core").read_bytes() == b"theirshalf"


def test_a_whole_core_on_standard_output_stays(tmp_path: Path) -> None:
    with stdout_is(tmp_path / "core"), standard_output() as fd:
        write(fd, [b"core", 10])
    assert (tmp_path / "core").read_bytes() == b"core" + bytes(10)


@pytest.mark.parametrize("steps", [[b"core"], [70_000]], ids=["bytes", "zeros"])
def test_a_full_device(steps: list[bytes | int]) -> None:
    with (
        stdout_is(Path("/dev/full")),
        pytest.raises(OutputError, match="standard output: No space left"),
        standard_output() as fd,
    ):
        write(fd, steps)


def test_a_reader_that_went_away_is_no_error_of_ours() -> None:
    receiver, sender = os.pipe()
    os.close(receiver)
    kept = os.dup(1)
    os.dup2(sender, 1)
    os.close(sender)
    try:
        with pytest.raises(BrokenPipeError), standard_output() as fd:
            write(fd, [b"core"])
    finally:
        os.dup2(kept, 1)
        os.close(kept)
