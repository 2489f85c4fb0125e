"""Work dealt out to processes."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gcoretools.workers import WORTH, dealt, workers

JOBS = 4 * WORTH


@pytest.fixture(autouse=True)
def cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three, whatever there are."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})


@pytest.fixture
def memory() -> mmap.mmap:
    """Which all processes have, a byte a job."""
    return mmap.mmap(-1, 2 * JOBS)


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def marks(memory: mmap.mmap) -> Callable[[int], None]:
    """A job that leaves a mark: the number of its process among its fellows."""
    here = os.getpid()

    def mark(number: int) -> None:
        memory[number] = 1 + (os.getpid() - here) % 250

    return mark


def test_each_worker_does_every_nth_job(memory: mmap.mmap) -> None:
    before = children()
    assert list(dealt(JOBS, marks(memory), JOBS)) == [True] * JOBS
    assert [len(set(memory[first:JOBS:3])) for first in range(3)] == [1, 1, 1]
    assert len(set(memory[:JOBS])) == 3
    assert children() <= before


def test_few_jobs_are_left_to_the_caller(memory: mmap.mmap) -> None:
    assert list(dealt(WORTH, marks(memory), JOBS)) == [False] * WORTH
    assert list(dealt(0, marks(memory), JOBS)) == []
    assert not any(memory[:])


def test_with_one_cpu_all_are(memory: mmap.mmap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5})
    assert workers() == 1
    assert list(dealt(JOBS, marks(memory), JOBS)) == [False] * JOBS
    assert not any(memory[:])


def fails() -> None:
    raise ValueError


def exits() -> None:
    sys.exit()


def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("end", [fails, exits, is_killed])
def test_what_a_worker_fails_at_is_left_to_the_caller(
    memory: mmap.mmap, end: Callable[[], None], capfd: pytest.CaptureFixture[str]
) -> None:
    def job(number: int) -> None:
        if number == 10:
            end()
        memory[number] = 1

    done = list(dealt(JOBS, job, JOBS))
    assert done == [number % 3 != 1 or number < 10 for number in range(JOBS)]
    assert [number for number in range(JOBS) if memory[number]] == [n for n in range(JOBS) if done[n]]
    assert capfd.readouterr() == ("", "")


def test_nobody_is_further_ahead_than_allowed(memory: mmap.mmap) -> None:
    most = 0
    for number, done in enumerate(dealt(JOBS, marks(memory), 2)):
        assert done
        time.sleep(0.002)
        most = max(most, sum(map(bool, memory[:JOBS])) - number)
    assert 3 < most <= 6


def test_when_the_rest_is_not_wanted_the_workers_are_gone(memory: mmap.mmap) -> None:
    before = children()
    with closing(dealt(JOBS, marks(memory), 1)) as all_done:
        assert next(all_done)
        assert len(children() - before) == 3
    assert children() <= before
    assert sum(map(bool, memory[:])) <= 6


def test_without_room_for_processes_the_caller_does_everything(
    memory: mmap.mmap, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, fork = children(), os.fork
    forked: list[None] = []

    def twice() -> int:
        if len(forked) == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        forked.append(None)
        return fork()

    monkeypatch.setattr(os, "fork", twice)
    assert list(dealt(JOBS, marks(memory), JOBS)) == [number % 3 != 2 for number in range(JOBS)]
    assert children() <= before


def test_where_nobody_waits_for_children_all_is_done(memory: mmap.mmap) -> None:
    """A parent may have left SIGCHLD ignored, and then what has ended is gone at once."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert list(dealt(JOBS, marks(memory), JOBS)) == [True] * JOBS
    finally:
        signal.signal(signal.SIGCHLD, before)


ORPHANS = """
import os, sys, time
from gcoretools.workers import dealt
os.sched_getaffinity = lambda pid: {0, 1, 2}
all_done = dealt(30, lambda number: None, 1)
next(all_done)
with open(f"/proc/self/task/{os.getpid()}/children") as file:
    print(file.read(), flush=True)
time.sleep(60)
"""


def test_workers_do_not_outlive_who_hired_them() -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE) as process:
        assert process.stdout
        pids = [Path(f"/proc/{pid}") for pid in process.stdout.readline().decode().split()]
        process.kill()
    assert len(pids) == 3
    deadline = time.monotonic() + 10
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(is_alive, pids))


def is_alive(process: Path) -> bool:
    """And no zombie that nobody has waited for."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
