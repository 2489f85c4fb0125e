"""Why a page is not in a dump that was trimmed: as the whole dump said, or because it was left out.

gc-trim puts that into a note of its own: the whole dump's reasons, NUL behind each, and behind another NUL those
page frames that had been asked for and were absent already: first, last and reason of each run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import Note, Pfns
from gcoretools.errors import DumpError

OWNER, TYPE = "gcoretools", 1

LEFT_OUT = "left out of the dump by gc-trim"

_RUN = np.dtype([("first", "<u8"), ("last", "<u8"), ("reason", "<u8")])


@dataclass(frozen=True)
class LeftOut:
    """The absent page frames of a trimmed dump.

    Attributes:
        reasons: those of the whole dump, and last that a page was left out.
        runs: page frames, ascending, that the whole dump had not either.
    """

    reasons: tuple[str, ...]
    runs: NDArray[np.void]

    def why(self, pfns: Pfns) -> NDArray[np.uint8]:
        """Which of the reasons holds for these."""
        why = np.full(len(pfns), len(self.reasons) - 1, np.uint8)
        if len(self.runs):
            index = np.searchsorted(self.runs["first"], pfns, side="right").astype(np.int64) - 1
            inside = (index >= 0) & (pfns <= self.runs["last"][index])
            why[inside] = self.runs["reason"][index[inside]]
        return why

    def note(self) -> Note:
        """The note that says so."""
        words = b"".join(reason.encode() + b"\0" for reason in self.reasons[:-1])
        return Note(OWNER, TYPE, words + b"\0" + self.runs.tobytes())


def left_out(reasons: tuple[str, ...], pfns: Pfns, why: NDArray[np.uint8]) -> LeftOut:
    """What to say of a trimmed dump.

    Args:
        reasons: of the whole dump.
        pfns: page frames, ascending, that it has not.
        why: which of the reasons holds for each.
    """
    known = reasons[:-1] if reasons[-1] == LEFT_OUT else reasons
    mine = why < len(known)
    pfns, why = pfns[mine], why[mine]
    new = np.ones(len(pfns), np.bool_)
    new[1:] = (np.diff(pfns) != 1) | (np.diff(why) != 0)
    runs = np.zeros(int(new.sum()), _RUN)
    runs["first"], runs["reason"] = pfns[new], why[new]
    runs["last"] = pfns[np.roll(new, -1)]
    return LeftOut((*known, LEFT_OUT), runs)


def read_left_out(path: Path, notes: Iterable[Note]) -> LeftOut | None:
    """What the notes of a dump say; None when it was not trimmed. Raises DumpError for a note that cannot be."""
    note = next((note for note in notes if (note.owner, note.type) == (OWNER, TYPE)), None)
    if note is None:
        return None
    words, end, rows = note.desc.partition(b"\0\0")
    reasons = words.decode("utf-8", "replace").split("\0")
    if not end or not words or len(rows) % _RUN.itemsize or len(reasons) >= 1 << 8:
        raise DumpError(f"{path}: the note of gc-trim is damaged")
    runs = np.frombuffer(rows, _RUN)
    ascending = (runs["first"][1:] > runs["last"][:-1]).all() and (runs["first"] <= runs["last"]).all()
    if not (ascending and (runs["reason"] < len(reasons)).all()):
        raise DumpError(f"{path}: the note of gc-trim is damaged: its page frames are not in order")
    return LeftOut((*reasons, LEFT_OUT), runs)
