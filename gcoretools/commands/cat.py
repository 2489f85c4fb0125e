"""gc-cat: shows a stream."""

from __future__ import annotations

import sys

from gcoretools.commands import run, show, streams
from gcoretools.commands.options import Arguments
from gcoretools.commands.report import Report

USAGE = """gc-cat: show a stream of gcoretools as text.

Usage:
  gc-cat [options] [STREAM]
  gc-cat -h | --help
  gc-cat --version

Reads the stream from the file STREAM, or else from standard input.

Options:
  --json       one JSON object a line, a line for each record; the bytes of pages are counted, not shown
  -v LEVEL     what to say on standard error: sum of 1 progress, 2 library errors, 4 page faults [default: 4]
  -h, --help   show this
  --version    show the version

Examples:
  gc-cat maps.gc
  gc-maps vmcore 12345 | gc-cat --json
"""


def main(argv: list[str] | None = None) -> int:
    """The entry point."""
    return run.main(USAGE, _cat, argv)


def _cat(arguments: Arguments, report: Report) -> None:
    records = streams.read(arguments["STREAM"])
    if arguments["--json"]:
        show.json_lines(records)
    else:
        show.table(records)


if __name__ == "__main__":
    sys.exit(main())
