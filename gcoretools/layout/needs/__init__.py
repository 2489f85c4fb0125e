"""Everything that we need to know of a kernel: one row a thing, newest spelling first, a module a subject.

Differences between kernels are decided here, once, against the dump's own types; never by a version number,
since distributions backport. Behind an older spelling stands the commit that replaced it. A row that is not
required may be missing; the code that uses it then knows another way, or the feature is not there.
"""

from __future__ import annotations

from gcoretools.layout.needs import (
    core_rules,
    cpu,
    file,
    memory,
    module,
    page_cache,
    place,
    registers,
    swap,
    task,
)
from gcoretools.layout.needs.need import Need

__all__ = ["CONSTANTS", "MEMBERS", "SIZES", "SYMBOLS", "Need"]

_SUBJECTS = (
    place,
    task,
    cpu,
    registers,
    memory,
    file,
    page_cache,
    core_rules,
    module,
    swap,
)

MEMBERS = tuple(row for subject in _SUBJECTS for row in subject.MEMBERS)
SIZES = tuple(row for subject in _SUBJECTS for row in subject.SIZES)
CONSTANTS = tuple(row for subject in _SUBJECTS for row in subject.CONSTANTS)
SYMBOLS = tuple(row for subject in _SUBJECTS for row in subject.SYMBOLS)
