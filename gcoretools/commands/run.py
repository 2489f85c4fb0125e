"""How every command runs: its usage text is its parser, and whatever goes wrong is one sentence."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable

from docopt import DocoptExit, docopt

from gcoretools import __version__
from gcoretools.commands.options import Arguments
from gcoretools.commands.report import Report, level, tell
from gcoretools.errors import GcoreError, UsageError


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
            body(arguments, Report(name, level(arguments["-v"])))
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
