"""Raw physical memory: QEMU's pmemsave, VMware's .vmem; each byte at its own address."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gcoretools.dumps.dump import PAGE_SIZE, digest
from gcoretools.dumps.mapping import FileBytes
from gcoretools.dumps.page_runs import page_runs
from gcoretools.dumps.runs import RunsDump

SMALLEST = 1 << 20
"""No kernel runs in less, in bytes; a shorter file is something else."""

SAMPLES = 64
"""Pages that the fingerprint is made of."""


class RawDump(RunsDump):
    """A file that is memory, and nothing says so: whether a kernel is in it shows when it is looked for."""

    format = "raw"
    notes = ()
    reasons = ("beyond the end of the dump (raw memory)",)

    def __init__(self, path: Path, data: FileBytes) -> None:
        self.path = path
        size = np.array([len(data)], np.uint64)
        step = max(len(data) // SAMPLES, PAGE_SIZE)
        samples = [bytes(data[at : at + PAGE_SIZE]) for at in [*range(0, len(data), step), len(data) - PAGE_SIZE]]
        self.fingerprint = digest(b"raw", len(data).to_bytes(8, "little"), *samples)
        self.hold(data, page_runs(np.zeros(1, np.uint64), size, np.zeros(1, np.uint64)))


def can_be_raw(data: FileBytes) -> bool:
    """Whether a file of unknown format has the size that memory has."""
    return len(data) >= SMALLEST and len(data) % PAGE_SIZE == 0
