"""The signal that a thread is dying of, or that stopped it under its tracer."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcoretools.core.notes import prstatus
from gcoretools.kernel.siginfo import SIGINFO_SIZE, signal_of
from gcoretools.records import Thread
from gcoretools.stages.tasks import Tasks
from tests.fake_kernel import FakeKernel

INFO = (11).to_bytes(4, "little") + bytes(4) + (1).to_bytes(4, "little") + bytes(range(36))


def test_no_signal(tmp_path: Path) -> None:
    kernel = FakeKernel()
    cat = kernel.process(100, "cat")
    image = kernel.image(tmp_path)
    assert signal_of(image, image.struct("task_struct", cat.address)) == (0, b"")


def test_before_its_tracer(tmp_path: Path) -> None:
    kernel = FakeKernel()
    cat = kernel.process(100, "cat")
    cat["last_siginfo"] = kernel.store(INFO)
    threads = (r for r in Tasks(kernel.image(tmp_path)).everything() if isinstance(r, Thread))
    thread = next(thread for thread in threads if thread.pid == 100)
    assert thread.signal == 11
    assert thread.siginfo == INFO.ljust(SIGINFO_SIZE, b"\0")
    status = prstatus(thread, [0] * 27, fpvalid=False)
    assert (status[:4], status[12:14]) == (b"\x0b\0\0\0", b"\x0b\0")


@pytest.mark.parametrize(("flags", "code", "wanted"), [(4, 9, 9), (4, 0x86, 6), (4, 3 << 8, 0), (0, 9, 0)])
def test_a_group_that_is_exiting(tmp_path: Path, flags: int, code: int, wanted: int) -> None:
    kernel = FakeKernel()
    cat = kernel.process(100, "cat")
    cat.signal["flags"] = flags
    cat.signal["group_exit_code"] = code
    image = kernel.image(tmp_path)
    assert signal_of(image, image.struct("task_struct", cat.address)) == (wanted, b"")
