"""gc-tasks: lists the thread groups in a dump."""

from __future__ import annotations

import sys

from gcoretools.commands import options, run, show, streams
from gcoretools.commands.options import Arguments
from gcoretools.commands.report import Report
from gcoretools.errors import UsageError
from gcoretools.stages.tasks import Tasks

USAGE = """gc-tasks: list the thread groups in a kernel crash dump.

Usage:
  gc-tasks [options] VMCORE [SELECTOR...]
  gc-tasks -h | --help
  gc-tasks --version

On a terminal: a table as crash's ps prints it, a line for each thread group, `>` before those that were
running. Into a pipe or a file: a stream of `process` and `thread` records for gc-maps, gc-regs and gc-cat.

VMCORE is a dump; of a split one all its parts, with commas between them; or /proc/kcore, the running kernel.
SELECTOR is a decimal PID (of any thread) or the hexadecimal address of a task_struct. None: all processes.

Options:
  -a           kernel threads, too
  --comm NAME  only thread groups whose leader has this name
  -k FILE      take the kernel's types and symbols from this vmlinux or ISF file instead of the dump
  --no-cache   neither use nor fill the cache of kernel layouts ($XDG_CACHE_HOME/gcoretools)
  -v LEVEL     what to say on standard error: sum of 1 progress, 2 library errors, 4 page faults [default: 4]
  -h, --help   show this
  --version    show the version

Examples:
  gc-tasks vmcore
  gc-tasks vmcore 12345 | gc-cat
  gc-tasks vmcore --comm nginx | gc-maps | gc-pages | gc-elf -o core.%p
"""


def main(argv: list[str] | None = None) -> int:
    """The entry point."""
    return run.main(USAGE, _tasks, argv)


def _tasks(arguments: Arguments, report: Report) -> None:
    header, image = streams.from_dump(arguments, report)
    tasks = Tasks(image)
    if arguments["SELECTOR"] and (arguments["--comm"] or arguments["-a"]):
        raise UsageError("--comm and -a choose among all tasks; they do not go with a SELECTOR")
    if arguments["SELECTOR"]:
        records = tasks.selected(arguments["SELECTOR"])
    else:
        records = tasks.everything(arguments["--comm"], arguments["-a"])
    if sys.stdout.isatty():
        show.tasks(records)
    else:
        settings = options.head(arguments, comm=arguments["--comm"], kernel_threads=arguments["-a"])
        streams.emit(header, records, report, settings)


if __name__ == "__main__":
    sys.exit(main())
