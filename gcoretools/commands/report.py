"""Words for the user, as -v allows."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress

from gcoretools.commands import show
from gcoretools.errors import UsageError
from gcoretools.records import Record, Regs

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


def tell_origins(records: Iterable[Record], report: Report) -> Iterator[Record]:
    """The records, with each thread told: where its registers came from, or what of them is not to be had."""
    for record in records:
        if isinstance(record, Regs):
            report.registers(record)
        yield record


def level(text: str) -> int:
    """The level that -v gives. Raises UsageError."""
    if text not in list("01234567"):
        raise UsageError(f"-v {text}: the level is a sum of 1, 2 and 4")
    return int(text)
