"""Room that is taken for a core's bytes before they come."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcoretools.core import room
from gcoretools.core.room import STEP, WORTH, Room
from gcoretools.core.writer import CoreFile
from tests.unit.test_core_writer import opened, whole

# Bytes that are announced as this many, and come; or zeros.
STEPS = st.lists(st.tuples(st.integers(0, 20_000), st.binary(max_size=9000)) | st.integers(0, 100_000), max_size=9)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Where, and for how many bytes, a file system that is said to be ext4 is asked for room."""
    seen = []

    def ioctl(_fd: int, request: int, data: bytes) -> None:
        assert request == room.FS_IOC_RESVSP
        kind, whence, start, size, *unused = room.SPACE_RESV.unpack(data)
        assert not any((kind, whence, *unused))
        seen.append((start, size))

    monkeypatch.setattr(room, "_is_of_ext4", lambda fd: True)
    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    return seen


def test_only_ext4_is_asked(tmp_path: Path) -> None:
    """Others lie over it, overlayfs for one, and are as what is below them."""
    shown = subprocess.run(["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True).stdout
    with opened(tmp_path / "core") as fd:
        ext4 = room._is_of_ext4(fd)
        taking = Room(fd)
        taking.expect(0, 2 * WORTH)
        taking.reach(4096)
        status = os.fstat(fd)
    assert {"ext2/ext3": True, "tmpfs": False, "xfs": False, "btrfs": False}.get(shown.strip(), ext4) == ext4
    assert status.st_size == 0
    assert status.st_blocks * 512 // WORTH == (2 if ext4 else 0)


def test_a_pipe_is_asked_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no file knows other things by the same number."""
    asked: list[object] = []
    receiver, sender = os.pipe()
    monkeypatch.setattr(fcntl, "ioctl", lambda *arguments: asked.append(arguments))
    core = CoreFile(sender)
    core.expect(2 * WORTH)
    core.write(b"some")
    assert asked == []
    os.close(receiver)
    os.close(sender)


def test_a_step_at_a_time_as_the_bytes_come(asked: list[tuple[int, int]]) -> None:
    taking = Room(-1)
    taking.expect(100, 2 * STEP + 5)
    assert asked == []
    for end, so_far in ((101, 1), (100 + STEP, 1), (101 + STEP, 2), (105 + 2 * STEP, 3), (106 + 2 * STEP, 3)):
        taking.reach(end)
        assert len(asked) == so_far
    assert asked == [(100, STEP), (100 + STEP, STEP), (100 + 2 * STEP, 5)]


def test_a_few_bytes_are_not_worth_it(asked: list[tuple[int, int]]) -> None:
    taking = Room(-1)
    taking.expect(0, WORTH - 1)
    taking.reach(WORTH - 1)
    taking.expect(WORTH - 1, WORTH)
    taking.reach(WORTH)
    assert asked == [(WORTH - 1, WORTH)]


def test_without_room_it_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []

    def ioctl(*_: object) -> None:
        asked.append(None)
        raise OSError

    monkeypatch.setattr(room, "_is_of_ext4", lambda fd: True)
    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    taking = Room(-1)
    for start in (0, WORTH, 2 * WORTH):
        taking.expect(start, WORTH)
        taking.reach(start + WORTH)
    assert len(asked) == 1


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_the_core_is_the_same_whatever_was_expected(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bytes] | int]
) -> None:
    path = tmp_path_factory.mktemp("core") / "core"
    with pytest.MonkeyPatch.context() as patch, opened(path) as fd:
        patch.setattr(room, "_is_of_ext4", lambda fd: True)
        patch.setattr(room, "WORTH", 1)
        patch.setattr(room, "STEP", 4096)
        core = CoreFile(fd)
        for step in steps:
            if isinstance(step, int):
                core.zeros(step)
            else:
                core.expect(step[0])
                core.write(step[1])
        core.finish()
    assert path.read_bytes() == whole([step if isinstance(step, int) else step[1] for step in steps])
