"""What every command shares: its usage text is its parser, and whatever goes wrong is one sentence."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from docopt import DocoptExit, docopt

from gcoretools import __version__
from gcoretools.commands import show
from gcoretools.core.filter import parse_filter
from gcoretools.errors import GcoreError, UsageError
from gcoretools.kernel.image import Image
from gcoretools.records import VERSION, Done, Header, Process, Record, Regs
from gcoretools.stages import source
from gcoretools.stream import Writer, read_stream
from gcoretools.sysroot.backing import Sysroot

# What docopt makes of a command line: option or argument to its value.
Arguments = dict[str, Any]

# The bits of -v.
PROGRESS, LIBRARY_ERRORS, PAGE_FAULTS = 1, 2, 4


class Report:
    """Words for the user on standard error, behind the command's name, as -v allows.

    Args:
        name: the command.
        level: sum of PROGRESS, LIBRARY_ERRORS and PAGE_FAULTS.
    """

    def __init__(self, name: str, level: int) -> None:
        self.name = name
        self._level = level
        self._told = set[str]()
        shown = logging.StreamHandler() if level & LIBRARY_ERRORS else logging.NullHandler()
        shown.setFormatter(logging.Formatter(f"{name}: %(message)s"))
        logging.getLogger("gcoretools").addHandler(shown)

    def say(self, kind: int, sentence: str) -> None:
        """A sentence of a kind, when that kind is asked for."""
        if self.says(kind):
            tell(self.name, sentence)

    def says(self, kind: int) -> bool:
        """Whether that kind is asked for."""
        return bool(self._level & kind)

    def registers(self, regs: Regs) -> None:
        """Tell where a thread's registers came from; what is not to be had as an error, each reason of the
        floating-point ones once."""
        lost = "not recovered" in regs.origin
        words = "registers" if regs.origin.startswith("not recovered") else "registers from"
        self.say(PAGE_FAULTS if lost else PROGRESS, f"thread {regs.pid}: {words} {regs.origin}")
        if regs.fpu_origin.startswith("stale"):
            self.say(PAGE_FAULTS, f"thread {regs.pid}: floating-point registers {regs.fpu_origin}")
        elif regs.fpu_origin.startswith("not recovered") and regs.fpu_origin not in self._told:
            self._told.add(regs.fpu_origin)
            self.say(PAGE_FAULTS, f"thread {regs.pid}: floating-point registers {regs.fpu_origin}")


def tell(name: str, sentence: str) -> None:
    """A sentence on standard error, behind the command's name: one line, whatever names out of a dump are in it."""
    with suppress(OSError):
        print(f"{name}: {show.one_line(show.printable(sentence))}", file=sys.stderr)


def main(usage: str, body: Callable[[Arguments, Report], None], argv: list[str] | None = None) -> int:
    """Run a command.

    Args:
        usage: docopt's usage text; its first word names the command.
        body: the command itself.
        argv: the arguments without the command's name; None takes the process's own.
    Returns: the exit status: 0 done, 1 failed, 2 the command line is wrong.
    """
    name = usage.split(maxsplit=1)[0].rstrip(":")
    try:
        _check_standard_streams(name)
        arguments = _parsed(usage, argv, f"{name} {__version__}")
        if arguments is not None:
            body(arguments, Report(name, _level(arguments["-v"])))
        sys.stdout.flush()
        return 0
    except DocoptExit as error:
        print(error, file=sys.stderr)
        return 2
    except UsageError as error:
        tell(name, str(error))
        return 2
    except GcoreError as error:
        tell(name, str(error))
    except BrokenPipeError:
        _die_of(signal.SIGPIPE)
    except KeyboardInterrupt:
        _die_of(signal.SIGINT)
    except OSError as error:
        tell(name, f"{error.filename or 'standard output'}: {error.strerror}")
    _forget_output()
    return 1


def _parsed(usage: str, argv: list[str] | None, version: str) -> Arguments | None:
    """The command line; None when it asked for help or the version, which have then been printed."""
    try:
        return docopt(usage, argv, version=version)
    except DocoptExit:
        raise
    except SystemExit:
        return None


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


def chosen_filter(arguments: Arguments) -> int | None:
    """The bits of -f; None when it is not given. Raises UsageError."""
    return None if arguments["-f"] is None else parse_filter(arguments["-f"])


def swap_images(arguments: Arguments) -> dict[str, Path]:
    """The images of --swap by the names of their areas, "" for one without. Raises UsageError."""
    images: dict[str, Path] = {}
    for word in arguments["--swap"]:
        name, _, path = word.partition("=") if "=" in word and not Path(word).exists() else ("", "", word)
        if name in images:
            raise UsageError(f"--swap {word}: there is an image of {name or 'the swap area'} already")
        images[name] = Path(path)
    return images


def sysroot(arguments: Arguments, report: Report) -> Sysroot | None:
    """The folder of --sysroot; None when it is not given. Raises FileError."""
    if arguments["--sysroot"] is None:
        return None
    return Sysroot(Path(arguments["--sysroot"]), partial(report.say, PROGRESS), partial(report.say, PAGE_FAULTS))


def gaps_are_zero(arguments: Arguments) -> bool:
    """Whether --gaps asks for zeros. Raises UsageError."""
    if arguments["--gaps"] not in ("absent", "zero"):
        raise UsageError(f"--gaps {arguments['--gaps']}: gaps are absent or zero")
    return bool(arguments["--gaps"] == "zero")


def head(arguments: Arguments, **more: object) -> dict[str, object]:
    """The settings of a stage at the head of a pipe; of another there are none."""
    if not arguments["VMCORE"]:
        return {}
    return settings(arguments, "-k", selectors=arguments["SELECTOR"], **more)


def settings(arguments: Arguments, *paths: str, **more: object) -> dict[str, object]:
    """The settings of a stage: options that name files, with paths that are good from any folder, and others."""
    named = {option.lstrip("-"): arguments[option] for option in paths}
    return {option: path and str(Path(path).resolve()) for option, path in named.items()} | more


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


def tell_origins(records: Iterable[Record], report: Report) -> Iterator[Record]:
    """The records, with each thread told: where its registers came from, or what of them is not to be had."""
    for record in records:
        if isinstance(record, Regs):
            report.registers(record)
        yield record


def _told(records: Iterable[Record], report: Report) -> Iterator[Record]:
    """The records, with progress told at the end of each process."""
    process = None
    for record in records:
        yield record
        if isinstance(record, Process):
            process = record
        elif isinstance(record, Done) and process:
            report.say(PROGRESS, f"pid {process.pid}: {process.comm}: done")


def _level(text: str) -> int:
    if text not in list("01234567"):
        raise UsageError(f"-v {text}: the level is a sum of 1, 2 and 4")
    return int(text)


def _check_standard_streams(name: str) -> None:
    """A closed standard stream would be taken by the first file that is opened.

    Names out of a dump may have letters that the user's encoding has not: they are shown escaped.
    """
    for stream, words in ((sys.stderr, "error"), (sys.stdin, "input"), (sys.stdout, "output")):
        if stream is None:
            if sys.stderr:
                tell(name, f"standard {words} is closed")
            os._exit(1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _die_of(number: signal.Signals) -> None:
    """End as a command that does not handle the signal would."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _forget_output() -> None:
    """Keep the interpreter from trying once more to write what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
