"""Architectures of dumped kernels: a module each, found by the name that the header carries."""

from __future__ import annotations

from types import ModuleType

from gcoretools.arch import i386, x86_64
from gcoretools.errors import LayoutError

ARCHITECTURES = {"x86_64": x86_64, "i386": i386}


def architecture(name: object) -> ModuleType:
    """The module of an architecture. Raises LayoutError for one that is not supported."""
    module = ARCHITECTURES.get(name) if isinstance(name, str) else None
    if module is None:
        raise LayoutError(f"kernels for {name} are not supported; {', '.join(ARCHITECTURES)} are")
    return module
