"""Which kinds of processes there are cores of."""

from __future__ import annotations

from gcoretools.arch import i386, ia32, x86_64
from gcoretools.arch.formats import CoreFormat
from gcoretools.errors import GcoreError
from gcoretools.records import Process

# By the process's `abi`. Kernels know one more: x32, 32-bit addresses with 64-bit registers.
CORE_FORMATS = {"x86_64": x86_64.CORE, "ia32": ia32.CORE, "i386": i386.CORE}


def core_format(process: Process) -> CoreFormat:
    """How a process's core is laid out. Raises GcoreError for a kind of which no cores are written."""
    found = CORE_FORMATS.get(process.abi)
    if found is None:
        kind = f"pid {process.pid}: {process.comm} is a process of kind {process.abi!r}"
        raise GcoreError(f"{kind}, of which cores are not written; those of {', '.join(CORE_FORMATS)} are")
    return found
