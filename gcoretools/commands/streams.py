"""Where a command's records come from, and where they go: a dump, a stream, the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from gcoretools.commands import show
from gcoretools.commands.options import Arguments
from gcoretools.commands.report import PAGE_FAULTS, PROGRESS, Report
from gcoretools.errors import UsageError
from gcoretools.kernel.image import Image
from gcoretools.records import VERSION, Done, Header, Process, Record
from gcoretools.stages import source
from gcoretools.stream import Writer, read_stream


def read(file: str | None = None) -> Iterator[Record]:
    """The records of a stream, from standard input or a file."""
    if file:
        with Path(file).open("rb") as opened:
            yield from read_stream(opened)
        return
    if sys.stdin.isatty():
        raise UsageError("a stream is expected on standard input (or name a dump; see --help)")
    with open(sys.stdin.fileno(), "rb", closefd=False) as opened:
        yield from read_stream(opened)


def from_dump(arguments: Arguments, report: Report) -> tuple[Header, Image]:
    """The dump that the command line names; that it is in motion is told."""
    header, image = source.from_dump(arguments["VMCORE"], arguments["-k"], not arguments["--no-cache"])
    if image.dump.moving:
        path = image.dump.path
        report.say(PAGE_FAULTS, f"{path}: this is the memory of the running kernel, which changes while it is read")
    return header, image


def opened(arguments: Arguments, report: Report) -> tuple[Header, Image, Iterator[Record] | None]:
    """The dump that the command line or the stream on standard input names, and the stream's other records."""
    if arguments["VMCORE"]:
        if arguments.get("--dump"):
            raise UsageError("--dump goes with a stream; a dump is named already")
        return *from_dump(arguments, report), None
    if arguments["-k"]:
        raise UsageError("-k goes with a dump; a stream has its kernel's layout already")
    return from_stream(arguments)


def from_stream(arguments: Arguments, file: str | None = None) -> tuple[Header, Image, Iterator[Record]]:
    """The header of a stream, of a file or on standard input, the dump that it names, and the other records."""
    records = read(file)
    header = next(records)
    assert isinstance(header, Header)
    return header, source.from_header(header, arguments["--dump"]), records


def emit(header: Header, records: Iterable[Record], report: Report, settings: dict[str, object]) -> None:
    """Hand records on: as a table to a terminal, as a stream to everything else.

    Args:
        settings: what the arguments came to: all that gc-trim needs to do the same once more.
    """
    stage = {"stage": report.name, "version": VERSION, "arguments": sys.argv[1:], "settings": settings}
    header.history.append(stage)
    if sys.stdout.isatty():
        show.table(_told(records, report))
        return
    writer = Writer(1)
    writer.write(header)
    for record in _told(records, report):
        writer.write(record)
    writer.end()


def _told(records: Iterable[Record], report: Report) -> Iterator[Record]:
    """The records, with progress told at the end of each process."""
    process = None
    for record in records:
        yield record
        if isinstance(record, Process):
            process = record
        elif isinstance(record, Done) and process:
            report.say(PROGRESS, f"pid {process.pid}: {process.comm}: done")
