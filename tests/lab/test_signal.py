"""The signal of a thread that stands before its tracer."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from .lab import Capture
from .test_cores import make_core
from .test_gdb import gdb

SIGSEGV, SEGV_MAPERR = 11, 1
BAD_ADDRESS = 0x5E9FA000  # as in guest/identity.c


@pytest.mark.lab("traced")
def test_siginfo_of_a_bad_access(captured: Capture, tmp_path: Path) -> None:
    core, _ = make_core(captured.vmcore, captured.process("traced"), tmp_path)
    kinds = [note.kind for note in core.notes]
    assert kinds[:5] == ["PRSTATUS", "PRPSINFO", "SIGINFO", "AUXV", "FILE"]
    status, info = core.notes[0].data, core.notes[2].data
    assert struct.unpack_from("<i8xh", status) == (SIGSEGV, SIGSEGV)
    assert struct.unpack_from("<iii4xQ", info) == (SIGSEGV, 0, SEGV_MAPERR, BAD_ADDRESS)
    assert len(info) == 128
    shown = gdb(captured, "traced", tmp_path / "core", "print $_siginfo._sifields._sigfault.si_addr")
    assert "signal SIGSEGV" in shown
    assert f"{BAD_ADDRESS:#x}" in shown


@pytest.mark.lab("max")
def test_no_signal_no_siginfo(captured: Capture, tmp_path: Path) -> None:
    core, _ = make_core(captured.vmcore, captured.process("threads"), tmp_path)
    assert "SIGINFO" not in [note.kind for note in core.notes]
