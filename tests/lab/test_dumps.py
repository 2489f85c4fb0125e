"""dumps/ on real dumps: every form of one moment holds the same memory."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from gcoretools.dumps import Dump, open_dump, vmcoreinfo_note
from gcoretools.dumps.search import search_memory

from .lab import Capture


def frames(dump: Dump) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Every page frame of a dump below 4 GiB less the firmware's."""
    numbers = np.arange(0xF0000, dtype=np.uint64)
    return numbers[dump.present(numbers)]


@pytest.mark.lab("max", "kdump")
def test_every_form_holds_the_same_memory(captured: Capture) -> None:
    whole = open_dump(captured.vmcore)
    for kind, path in captured.dumps.items():
        dump = open_dump(path)
        here = frames(dump)
        assert whole.present(here).all(), kind
        assert kind == "d31" or len(here) == len(frames(whole)), kind
        for some in np.array_split(here, 64):
            assert bytes(dump.pages(some)) == bytes(whole.pages(some)), kind
            assert dump.read(int(some[-1]) << 12, 99) == whole.read(int(some[-1]) << 12, 99), kind


@pytest.mark.lab("max", "kdump")
def test_vmcoreinfo_in_memory_is_that_of_the_note(captured: Capture) -> None:
    for path in (captured.vmcore, captured.kdump):
        dump = open_dump(path)
        assert search_memory(dump) == vmcoreinfo_note(dump)


def test_a_flattened_dump_is_what_makedumpfile_makes_of_it(captured: Capture, tmp_path: Path) -> None:
    with captured.kdump.open("rb") as flattened:
        command = ["makedumpfile", "-R", str(tmp_path / "vmcore")]
        subprocess.run(command, stdin=flattened, check=True, capture_output=True)
    assert open_dump(tmp_path / "vmcore").fingerprint == open_dump(captured.kdump).fingerprint
