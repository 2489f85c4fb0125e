"""10,000 damaged dumps: each is read, or refused in one sentence, soon and in little memory."""

from __future__ import annotations

import contextlib
import itertools
import resource
import time
from pathlib import Path

import numpy as np
import pytest

from gcoretools.dumps import Dump, Pfns, open_dump
from gcoretools.dumps.search import find_vmcoreinfo
from gcoretools.errors import GcoreError
from tests.fuzz_dumps import FORMS, damaged
from tests.processes import Runner

SEEDS = range(640)
"""For each format: a failure is told by its seed, and comes again with it."""

TIME_LIMIT, MEMORY_LIMIT = 2.0, 200 << 10
"""Seconds of the CPU, and KiB, that a damaged dump may take."""

EXAMPLE = Path(__file__).parents[2] / "examples/vmcore"

EVERYWHERE: Pfns = np.concatenate([np.arange(70), [1 << 20, 1 << 40, (1 << 52) - 1]]).astype(np.uint64)


def read_everything(dump: Dump) -> None:
    """All that a dump can be asked; what it tells must fit together."""
    present = EVERYWHERE[dump.present(EVERYWHERE)]
    assert (dump.why(EVERYWHERE) < len(dump.reasons)).all()
    assert len(dump.fingerprint) == 32
    for note in dump.notes:
        assert note.desc is not None
    ranges = list(itertools.islice(dump.ranges(), 1000))
    assert all(size > 0 for _, size in ranges)
    for pfn in present.tolist():
        with contextlib.suppress(GcoreError):
            assert len(dump.pages(np.array([pfn], np.uint64))) == 4096
            assert len(dump.read(pfn << 12, 100)) == 100
    for ask in (lambda: dump.pages(present), lambda: find_vmcoreinfo(dump), lambda: dump.read(0x2800, 9000)):
        with contextlib.suppress(GcoreError):
            ask()


def outcome(path: Path) -> str:
    """The sentence that a dump is refused with; "" when it is read."""
    try:
        dump = open_dump(path)
    except GcoreError as error:
        sentence = str(error)
        assert sentence.startswith(f"{path}")
        assert "\n" not in sentence
        return sentence
    read_everything(dump)
    return ""


def memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("form", FORMS)
def test_a_dump_without_damage_is_read(form: str, tmp_path: Path) -> None:
    assert outcome(FORMS[form](tmp_path / "vmcore")) == ""


@pytest.mark.parametrize("form", FORMS)
def test_damaged_dumps(form: str, tmp_path: Path) -> None:
    good = FORMS[form](tmp_path / "vmcore").read_bytes()
    refused = 0
    before = memory()
    for seed in SEEDS:
        path = tmp_path / "damaged"
        path.write_bytes(damaged(good, seed))
        start = time.process_time()
        try:
            refused += bool(outcome(path))
        except Exception as error:
            raise AssertionError(f"{form}, seed {seed}: {error!r}") from error
        assert time.process_time() - start < TIME_LIMIT, f"seed {seed}"
        assert memory() - before < MEMORY_LIMIT, f"seed {seed}"
    assert 0 < refused < len(SEEDS) or form == "raw"


def test_that_there_are_ten_thousand() -> None:
    assert len(FORMS) * len(SEEDS) > 10_000


@pytest.mark.parametrize(
    "seeds", [range(at, at + 15) for at in range(0, 60, 15)], ids=lambda seeds: f"from {seeds[0]}"
)
def test_the_tasks_of_a_damaged_dump(seeds: range, runner: Runner, tmp_path: Path) -> None:
    good = EXAMPLE.read_bytes()
    for seed in seeds:
        path = tmp_path / "damaged"
        path.write_bytes(damaged(good, seed))
        ended = runner.run("gc-tasks", "--no-cache", path)
        assert ended.status in (0, 1), f"seed {seed}: {ended.err}"
        if ended.status:
            assert ended.sentence(), f"seed {seed}"
