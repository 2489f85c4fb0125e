"""gc-regs: the registers of threads in a dump."""

from __future__ import annotations

import sys

from gcoretools.commands import options, run, streams
from gcoretools.commands.options import Arguments
from gcoretools.commands.report import Report, tell_origins
from gcoretools.stages import source
from gcoretools.stages.regs import add_registers
from gcoretools.stages.tasks import Tasks

USAGE = """gc-regs: recover the registers of every thread of processes in a kernel crash dump.

Usage:
  gc-regs [options] [VMCORE [SELECTOR...]]
  gc-regs -h | --help
  gc-regs --version

Reads the dump VMCORE, or else a stream on standard input (of gc-tasks, gc-maps or gc-pages), and adds a `regs`
record behind each thread. On a terminal: the registers of every thread, and where they came from.

VMCORE is a dump; of a split one all its parts, with commas between them; or /proc/kcore, the running kernel.
SELECTOR is a decimal PID (of any thread) or the hexadecimal address of a task_struct. None: the task that
panicked, else the one that was running on CPU 0.

Options:
  -k FILE      take the kernel's types and symbols from this vmlinux or ISF file instead of the dump
  --no-cache   neither use nor fill the cache of kernel layouts ($XDG_CACHE_HOME/gcoretools)
  --unwind FILE  call-frame information (.debug_frame or .eh_frame) of the kernel, in any ELF file: kernels up to
               4.1 save only a part of the registers of a system call (not given: that of -k's vmlinux, if any)
  --dump PATH  with a stream: the dump, when it is no longer where the stream says
  -v LEVEL     what to say on standard error: sum of 1 progress, 2 library errors, 4 page faults [default: 4]
  -h, --help   show this
  --version    show the version

Examples:
  gc-regs vmcore 12345
  gc-maps vmcore 12345 | gc-regs | gc-pages > all.gc; gc-elf < all.gc > core.12340
"""


def main(argv: list[str] | None = None) -> int:
    """The entry point."""
    return run.main(USAGE, _regs, argv)


def _regs(arguments: Arguments, report: Report) -> None:
    header, image, records = streams.opened(arguments, report)
    if records is None:
        records = Tasks(image).selected(arguments["SELECTOR"])
    cfi = source.call_frames(image, arguments["--unwind"], arguments["-k"])
    told = tell_origins(add_registers(records, image, cfi), report)
    streams.emit(header, told, report, options.head(arguments))


if __name__ == "__main__":
    sys.exit(main())
