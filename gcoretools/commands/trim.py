"""gc-trim: the smallest dump that gives the same streams again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from gcoretools.commands import run, show, streams
from gcoretools.commands.options import Arguments
from gcoretools.commands.replay import Replay
from gcoretools.commands.report import PROGRESS, Report
from gcoretools.core.writer import new_file
from gcoretools.dumps import Note, open_dump
from gcoretools.dumps.kdump_writer import write_kdump
from gcoretools.dumps.left_out import OWNER, left_out
from gcoretools.dumps.recorder import Recorder
from gcoretools.errors import GcoreError, OutputError, StreamError
from gcoretools.layout.code import code_pages
from gcoretools.layout.machine import describe
from gcoretools.records import Header, Record

USAGE = """gc-trim: cut a kernel crash dump down to what a stream was made of.

Usage:
  gc-trim [options] TRIMMED [STREAM...]
  gc-trim -h | --help
  gc-trim --version

Reads streams of one dump, from the files STREAM or else one from standard input, and writes TRIMMED: a
kdump-compressed dump (zlib) that gives the same streams again, and the same cores, with what they take: notes,
VMCOREINFO, the kernel's types and symbols, page tables, structures, and the memory that the streams have.
So one process can be handed on instead of the whole machine.

Does what the stages did once more, on the whole dump, which must be there, and then on TRIMMED, and compares.
Of TRIMMED the stages call a page that was left out a gap, and say that gc-trim did it.

Options:
  --no-code    leave the kernel's own code out; fails when the streams cannot do without
  --dump PATH  the dump, when it is no longer where the streams say
  -v LEVEL     what to say on standard error: sum of 1 progress, 2 library errors, 4 page faults [default: 4]
  -h, --help   show this
  --version    show the version

Examples:
  gc-maps vmcore 12345 | gc-pages -f 21 | gc-trim small.vmcore
  gc-tasks vmcore > tasks.gc; gc-maps vmcore 12345 | gc-pages > pages.gc; gc-trim small.vmcore tasks.gc pages.gc
"""


@dataclass(frozen=True)
class _Stream:
    """A stream that is to be had again: its name, how it came about, and what it says."""

    name: str
    replay: Replay
    digests: tuple[str, str]


def main(argv: list[str] | None = None) -> int:
    """The entry point."""
    return run.main(USAGE, _trim, argv)


def _trim(arguments: Arguments, report: Report) -> None:
    trimmed, files = Path(arguments["TRIMMED"]), arguments["STREAM"] or [None]
    header, image, records = streams.from_stream(arguments, files[0])
    if image.dump.moving:
        raise StreamError(f"{image.dump.path} is the memory of the running kernel, which never says the same twice")
    recorder = Recorder(image.dump)
    kept = [_recorded(header, records, recorder, files[0])]
    for file in files[1:]:
        header, image, records = streams.from_stream(arguments, file)
        if image.dump.fingerprint != recorder.fingerprint:
            raise StreamError(f"{file}: the stream is of another dump than {files[0]}")
        kept.append(_recorded(header, records, recorder, file))
    pfns = recorder.read_pfns
    if arguments["--no-code"]:
        pfns = np.setdiff1d(pfns, code_pages(image.memory, describe(image.dump)), assume_unique=True)
    with new_file(trimmed) as fd:
        write_kdump(fd, image.dump, pfns, _notes(recorder), image.kernel.release, 8 * image.paging.pointer_size)
        for stream in kept:
            _check(stream, Path(f"/proc/self/fd/{fd}"), trimmed, recorder)
    report.say(PROGRESS, f"{len(pfns)} pages of {recorder.path}")
    show.saved(trimmed)


def _recorded(header: Header, records: Iterator[Record], recorder: Recorder, file: str | None) -> _Stream:
    """A stream, with what it takes noted. Raises StreamError when the dump does not give it."""
    name, replay = file or "the stream", Replay(header)
    given, made = replay.digests(chain([header], records)), replay.digests(replay.records(recorder))
    if given[0] != made[0]:
        raise StreamError(f"{name} is not what these stages make of {recorder.path} now: make it anew")
    return _Stream(name, replay, made)


def _notes(recorder: Recorder) -> list[Note]:
    """The notes of the new dump: one of them tells which pages were absent before."""
    missed = recorder.missed_pfns
    told = left_out(recorder.reasons, missed, recorder.why(missed)).note()
    return [*(note for note in recorder.notes if note.owner != OWNER), told]


def _check(stream: _Stream, file: Path, trimmed: Path, recorder: Recorder) -> None:
    """Raises OutputError when the new dump does not give the stream."""
    try:
        dump = open_dump(file)
        dump.path = recorder.path  # some sentences in the records have it
        same = stream.replay.digests(stream.replay.records(dump)) == stream.digests
        why = "it says something else"
    except GcoreError as error:
        same, why = False, str(error).replace(str(file), str(trimmed))
    if not same:
        raise OutputError(f"{trimmed} does not give {stream.name} again, and is not kept: {why}")


if __name__ == "__main__":
    sys.exit(main())
