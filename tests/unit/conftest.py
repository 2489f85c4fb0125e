"""What several tests of units take."""

from __future__ import annotations

import pytest

from tests.fake_machine import FakeMachine, make_machine


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> FakeMachine:
    """A dump of a fake kernel with a bit of everything; tests change nothing of it."""
    return make_machine(tmp_path_factory.mktemp("machine"))
