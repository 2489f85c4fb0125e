"""What several tests of units take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_machine import FakeMachine, make_machine
from tests.processes import Runner, Zygote


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> FakeMachine:
    """A dump of a fake kernel with a bit of everything; tests change nothing of it."""
    return make_machine(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="session")
def whole(machine: FakeMachine) -> bytes:
    """A stream of its process 100, selected by thread 101, ready for gc-elf."""
    return machine.stream("101")


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Forks commands; kept for all tests."""
    started = Zygote()
    yield started
    started.close()


@pytest.fixture
def runner(machine: FakeMachine, zygote: Zygote, tmp_path: Path) -> Runner:
    """Runs commands in a folder that is empty but for what the test put there."""
    return Runner(machine, tmp_path, zygote)
