"""Architectures of dumped kernels, a module each, and what kinds of processes they run."""

from __future__ import annotations

from types import ModuleType

from gcoretools.arch import ia32, x86_64
from gcoretools.arch.formats import CoreFormat
from gcoretools.errors import GcoreError, LayoutError

ARCHITECTURES = {"x86_64": x86_64}

# By the name in the process's record. Kernels know one more: x32, 32-bit addresses with 64-bit registers.
CORE_FORMATS = {"x86_64": x86_64.CORE, "ia32": ia32.CORE}


def architecture(name: object) -> ModuleType:
    """The module of an architecture. Raises LayoutError for one that is not supported."""
    module = ARCHITECTURES.get(name) if isinstance(name, str) else None
    if module is None:
        raise LayoutError(f"kernels for {name} are not supported; {', '.join(ARCHITECTURES)} are")
    return module


def core_format(abi: object) -> CoreFormat:
    """The cores of a kind of process. Raises GcoreError for one of which no cores are written."""
    found = CORE_FORMATS.get(abi) if isinstance(abi, str) else None
    if found is None:
        raise GcoreError(f"it is a process of kind {abi}; cores are written of {', '.join(CORE_FORMATS)} only")
    return found
