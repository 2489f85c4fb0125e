"""Names of core files by a template, as the kernel makes them of core_pattern (fs/coredump.c: format_corename)."""

from __future__ import annotations

import re
from pathlib import Path

from gcoretools.records import Process

# What a template that is not given comes to.
DEFAULT = "core.%p"


def core_name(template: str, process: Process) -> Path:
    """The name that a template gives to a process's core.

    Args:
        template: a path in which %p is the thread group's PID, %i the selected thread's, %e the process's name,
            and %% a percent sign; slashes in the process's name become '!'.
    """
    name = process.comm.replace("/", "!")
    values = {"%p": str(process.tgid), "%i": str(process.pid), "%e": name, "%%": "%"}
    return Path(re.sub("%[pie%]", lambda found: values[found[0]], template))
