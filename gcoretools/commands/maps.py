"""gc-maps: the mappings of processes in a dump."""

from __future__ import annotations

import sys

from gcoretools.commands import options, run, streams
from gcoretools.commands.options import Arguments
from gcoretools.commands.report import Report
from gcoretools.stages.maps import add_mappings
from gcoretools.stages.tasks import Tasks

USAGE = """gc-maps: list the memory mappings of processes in a kernel crash dump, classified for the core filter.

Usage:
  gc-maps [options] [VMCORE [SELECTOR...]]
  gc-maps -h | --help
  gc-maps --version

Reads the dump VMCORE, or else a stream from gc-tasks on standard input, and adds a `vma` record for each
mapping. On a terminal: a table.

VMCORE is a dump; of a split one all its parts, with commas between them; or /proc/kcore, the running kernel.
SELECTOR is a decimal PID (of any thread) or the hexadecimal address of a task_struct. None: the task that
panicked, else the one that was running on CPU 0.

Options:
  -k FILE      take the kernel's types and symbols from this vmlinux or ISF file instead of the dump
  --no-cache   neither use nor fill the cache of kernel layouts ($XDG_CACHE_HOME/gcoretools)
  --dump PATH  with a stream: the dump, when it is no longer where the stream says
  -v LEVEL     what to say on standard error: sum of 1 progress, 2 library errors, 4 page faults [default: 4]
  -h, --help   show this
  --version    show the version

Examples:
  gc-maps vmcore 12345
  gc-maps vmcore 12345 | gc-pages -f 21 | gc-elf > core.12340
  gc-tasks vmcore --comm nginx | gc-maps > maps.gc
"""


def main(argv: list[str] | None = None) -> int:
    """The entry point."""
    return run.main(USAGE, _maps, argv)


def _maps(arguments: Arguments, report: Report) -> None:
    header, image, records = streams.opened(arguments, report)
    if records is None:
        records = Tasks(image).selected(arguments["SELECTOR"])
    streams.emit(header, add_mappings(records, image), report, options.head(arguments))


if __name__ == "__main__":
    sys.exit(main())
