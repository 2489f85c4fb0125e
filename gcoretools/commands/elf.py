"""gc-elf: core files out of a stream."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache

from gcoretools.commands import options, run, show, streams
from gcoretools.commands.account import Account
from gcoretools.commands.options import Arguments
from gcoretools.commands.report import PROGRESS, Report, tell_origins
from gcoretools.core.pattern import core_name
from gcoretools.core.writer import new_file, standard_output
from gcoretools.errors import StreamError, UsageError
from gcoretools.records import Header, Process, Record, Regs, Thread
from gcoretools.stages import source
from gcoretools.stages.elf import write_cores
from gcoretools.stages.regs import Recovery

USAGE = """gc-elf: assemble ELF core files out of a stream, as the kernel would have written them.

Usage:
  gc-elf [options]
  gc-elf -h | --help
  gc-elf --version

Reads a stream from gc-pages on standard input. One process goes to standard output; for several give -o.
The dump is needed only for threads without a `regs` record.

Memory that is a gap is in no segment: the one before it ends there, and debuggers say that they cannot read it.

Options:
  -o TEMPLATE  write each process to a file of its own, mode 0600, named when it is whole:
               %p is its PID (thread group), %i the selected thread's, %e its name, %% a percent sign
  --strict     exit 1 when the stream has gaps; the cores are written all the same
  --gaps KIND  what gaps become: absent, or zero (zeros in the file) [default: absent]
  --unwind FILE  call-frame information (.debug_frame or .eh_frame) of the kernel, in any ELF file: kernels up to
               4.1 save only a part of the registers of a system call
  --dump PATH  the dump, when it is no longer where the stream says
  -v LEVEL     what to say on standard error: sum of 1 progress, 2 library errors, 4 page faults [default: 4]
  -h, --help   show this
  --version    show the version

Examples:
  gc-maps vmcore 12345 | gc-pages | gc-elf > core.12340
  gc-tasks vmcore --comm nginx | gc-maps | gc-regs | gc-pages | gc-elf -o core.%p
"""


def main(argv: list[str] | None = None) -> int:
    """The entry point."""
    return run.main(USAGE, _elf, argv)


def _elf(arguments: Arguments, report: Report) -> None:
    zero = options.gaps_are_zero(arguments)
    template = arguments["-o"]
    if template is None and sys.stdout.isatty():
        raise UsageError("a core does not go to a terminal: redirect it, or give -o core.%p")
    records = tell_origins(streams.read(), report)
    header = next(records)
    assert isinstance(header, Header)
    output = (lambda process: new_file(core_name(template, process))) if template else _single_output()
    recover = _recovery(header, arguments["--dump"], arguments["--unwind"], report)
    account = Account(report)
    for process in write_cores(header, account.noted(_with_process(records)), output, recover, zero):
        report.say(PROGRESS, f"pid {process.pid}: {process.comm}: done")
        if template:
            show.saved(core_name(template, process))
    if arguments["--strict"]:
        account.demand_whole()


def _single_output() -> Callable[[Process], AbstractContextManager[int]]:
    taken = []

    def output(process: Process) -> AbstractContextManager[int]:
        taken.append(process.pid)
        if len(taken) > 1:
            raise StreamError("the stream has several processes: give -o core.%p")
        return standard_output()

    return output


def _with_process(records: Iterator[Record]) -> Iterator[Record]:
    """The records; a stream without any process is an error, not an empty core."""
    seen = False
    for record in records:
        seen = seen or isinstance(record, Process)
        yield record
    if not seen:
        raise StreamError("the stream has no process")


def _recovery(
    header: Header, dump: str | None, unwind: str | None, report: Report
) -> Callable[[Process, Thread], Regs]:
    """How to get the registers of a thread that came without: the dump is opened when the first one does."""

    @cache
    def recovery() -> Recovery:
        image = source.from_header(header, dump)
        return Recovery(image, source.call_frames(image, unwind, None))

    def recover(process: Process, thread: Thread) -> Regs:
        found = recovery().of(process, thread)
        report.registers(found)
        return found

    return recover


if __name__ == "__main__":
    sys.exit(main())
