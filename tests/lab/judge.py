"""Holds a core of ours against the kernel's own core of the same process, by the rules of what may differ."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from .corefile import CoreFile, Note, Segment
from .facts import Facts

PAGE = 4096

# struct elf_prstatus by the bytes of a word: what is the same at any moment, as (name, offset, size) in bytes.
# The signal it died of, at the start, and the times, between sid and the registers, are the moment's own.
PRSTATUS_FIELDS = {
    8: (
        ("sigpend", 16, 8), ("sighold", 24, 8), ("pid", 32, 4), ("ppid", 36, 4), ("pgrp", 40, 4), ("sid", 44, 4),
        ("fpvalid", 328, 4),
    ),
    4: (
        ("sigpend", 16, 4), ("sighold", 20, 4), ("pid", 24, 4), ("ppid", 28, 4), ("pgrp", 32, 4), ("sid", 36, 4),
        ("fpvalid", 140, 4),
    ),
}  # fmt: skip

# struct elf_prpsinfo, likewise; state, its letter, zombie and flags are the moment's own.
PRPSINFO_FIELDS = {
    8: (
        ("nice", 3, 1), ("uid", 16, 4), ("gid", 20, 4), ("pid", 24, 4), ("ppid", 28, 4), ("pgrp", 32, 4),
        ("sid", 36, 4), ("fname", 40, 16), ("psargs", 56, 80),
    ),
    4: (
        ("nice", 3, 1), ("uid", 8, 2), ("gid", 10, 2), ("pid", 12, 4), ("ppid", 16, 4), ("pgrp", 20, 4),
        ("sid", 24, 4), ("fname", 28, 16), ("psargs", 44, 80),
    ),
}  # fmt: skip

# A thread killed in a system call saw it return; one that was running went on.
CALL_RESULT = {"rax", "eax"}
RUNNING_ON = {"rip", "eip", "eflags"}
NO_CALL = {"orig_rax": (1 << 64) - 1, "orig_eax": (1 << 32) - 1}

# Selectors of the first two descriptors of a thread, of a 64-bit kernel and of a 32-bit one, and of those that the
# tests make in a process's local table.
OWN_SELECTORS = {12 << 3 | 3, 13 << 3 | 3, 6 << 3 | 3, 7 << 3 | 3, 0 << 3 | 7, 5 << 3 | 7}

# Notes of the process among those of its threads, and those of a thread that a running one has in its CPU.
PROCESS_NOTES = {"PRPSINFO", "SIGINFO", "AUXV", "FILE"}
LAST_NOTES = {"X86_XSAVE_LAYOUT"}
FPU_NOTES = {"FPREGSET", "PRXFPREG", "X86_XSTATE", "X86_SHSTK"}


@dataclass(frozen=True)
class Judged:
    """What a comparison found: each difference in words, and how many pages were held against each other."""

    differences: list[str]
    pages: int


def judge(
    ours: CoreFile,
    kernels: CoreFile,
    gaps: list[tuple[int, int]],
    threads: Iterable[Facts],
    stale: Collection[int] = (),
) -> Judged:
    """Compare two cores.

    Args:
        gaps: (start, size) of what our stream reported as missing, in bytes.
        threads: what the process said of its threads: kind, tid, fs_base, gs_base.
        stale: tids of those of which our stream says that their floating-point registers are old.
    """
    missing = {page for start, size in gaps for page in range(start, start + size, PAGE)}
    pages = list(_pages(ours, kernels, missing))
    differences = [
        *_headers(ours, kernels),
        *_segments(ours, kernels, missing),
        *(f"page {va:#x} is wrong" for va, equal in pages if not equal),
        *_process_notes(ours, kernels),
        *_threads(ours, kernels, {thread["tid"]: thread for thread in threads}),
        *_thread_notes(ours, kernels, stale),
    ]
    return Judged(differences, len(pages))


def _headers(ours: CoreFile, kernels: CoreFile) -> Iterator[str]:
    """ELF headers but for the offset of section headers and the number of segments, which a gap changes."""
    entry_end = kernels.shape.offsets["phoff"] + kernels.shape.word
    flags = kernels.shape.offsets["flags"]
    for name, start, size in (("identity to phoff", 0, entry_end), ("flags to phentsize", flags, 8)):
        if ours.at(start, size) != kernels.at(start, size):
            yield f"ELF header: {name} differ"
    mine, theirs = (next(s for s in core.segments if s.kind == 4) for core in (ours, kernels))
    for field in ("flags", "va", "pa", "memsz", "align"):
        if getattr(mine, field) != getattr(theirs, field):
            yield f"PT_NOTE: {field} is {getattr(mine, field)}, the kernel's {getattr(theirs, field)}"


def _segments(ours: CoreFile, kernels: CoreFile, missing: set[int]) -> Iterator[str]:
    """Every PT_LOAD of the kernel is one of ours, or several that only gaps have split."""
    left = list(ours.loads)
    shift = ours.loads[0].offset - kernels.loads[0].offset
    for load in kernels.loads:
        mine: list[Segment] = []
        while left and load.va <= left[0].va < load.va + load.memsz:
            mine.append(left.pop(0))
        if not any(page in missing for page in range(load.va, load.va + load.filesz, PAGE)):
            moved = [Segment(s.kind, s.flags, s.offset - shift, *_rest(s)) for s in mine]
            if moved != [load]:
                yield f"segment {load.va:#x} is {mine}, the kernel's {load}"
            continue
        # What a gap takes out of the file moves everything behind it.
        stored = sum(page not in missing for page in range(load.va, load.va + load.filesz, PAGE)) * PAGE
        shift -= load.filesz - stored
        same = all((s.flags, s.align, s.pa) == (load.flags, load.align, load.pa) for s in mine)
        if not (same and _covers(mine, load, missing) and sum(s.filesz for s in mine) == stored):
            yield f"segment {load.va:#x} is {mine}, the kernel's {load}"
    yield from (f"segment {s.va:#x} is none of the kernel's" for s in left)


def _rest(segment: Segment) -> tuple[int, int, int, int, int]:
    return segment.va, segment.pa, segment.filesz, segment.memsz, segment.align


def _covers(segments: list[Segment], load: Segment, missing: set[int]) -> bool:
    """Whether segments cover what one of the kernel's does, but for gaps, and nothing twice."""
    covered = [page for s in segments for page in range(s.va, s.va + s.memsz, PAGE)]
    return covered == [page for page in range(load.va, load.va + load.memsz, PAGE) if page not in missing]


def _pages(ours: CoreFile, kernels: CoreFile, missing: set[int]) -> Iterator[tuple[int, bool]]:
    """Each page of the kernel's core that is no gap of ours, and whether ours is the same."""
    step = 1 << 20
    for load in kernels.loads:
        for start in range(load.va, load.va + load.filesz, step):
            size = min(step, load.va + load.filesz - start)
            theirs = kernels.at(load.offset + start - load.va, size)
            mine = ours.read(start, size)
            for at in range(0, size, PAGE):
                if start + at not in missing:
                    page = mine[at : at + PAGE] if mine else ours.read(start + at, PAGE)
                    yield start + at, page == theirs[at : at + PAGE]


def _process_notes(ours: CoreFile, kernels: CoreFile) -> Iterator[str]:
    mine, theirs = ({n.kind: n for n in core.notes} for core in (ours, kernels))
    for kind in ("AUXV", "FILE"):
        if mine[kind].data != theirs[kind].data:
            yield f"{kind}: {mine[kind].data!r}, the kernel's {theirs[kind].data!r}"
    yield from _fields(PRPSINFO_FIELDS[kernels.shape.word], mine["PRPSINFO"], theirs["PRPSINFO"], "PRPSINFO")
    order = [n.kind for n in kernels.notes if n.kind != "SIGINFO"]
    if sorted(n.kind for n in ours.notes) != sorted(order):
        yield f"notes are {[n.kind for n in ours.notes]}, the kernel's {order}"
    first = [kind for kind, _ in itertools.groupby(order) if kind in PROCESS_NOTES | {"PRSTATUS"}]
    if [n.kind for n in ours.notes if n.kind in PROCESS_NOTES | {"PRSTATUS"}][: len(PROCESS_NOTES)] != first[:4]:
        yield f"notes are {[n.kind for n in ours.notes]}, the kernel's {order}"
    for kind in LAST_NOTES & theirs.keys():
        if ours.notes[-1] != theirs[kind]:
            yield f"the last note is {ours.notes[-1]}, the kernel's {theirs[kind]}"


def _thread_notes(ours: CoreFile, kernels: CoreFile, stale: Collection[int]) -> Iterator[str]:
    """The notes of each thread behind its NT_PRSTATUS: the same in the same order."""
    mine, theirs = _by_thread(ours), _by_thread(kernels)
    for pid in mine.keys() & theirs.keys():
        kinds = [[(n.owner, n.kind, len(n.data)) for n in notes] for notes in (mine[pid], theirs[pid])]
        if kinds[0] != kinds[1]:
            yield f"thread {pid}: notes are {kinds[0]}, the kernel's {kinds[1]}"
            continue
        for one, other in zip(mine[pid], theirs[pid], strict=True):
            if one.data != other.data and not (pid in stale and one.kind in FPU_NOTES):
                at = next(i for i, (a, b) in enumerate(zip(one.data, other.data, strict=True)) if a != b)
                yield f"thread {pid}: {one.kind} differs from byte {at} on"


def _by_thread(core: CoreFile) -> dict[int, list[Note]]:
    found: dict[int, list[Note]] = {}
    for note in core.notes:
        if note.kind == "PRSTATUS":
            pid = core.pid(note)
            found[pid] = []
        elif note.kind not in PROCESS_NOTES | LAST_NOTES:
            found[pid].append(note)
    return found


def _threads(ours: CoreFile, kernels: CoreFile, facts: dict[int, Facts]) -> Iterator[str]:
    """Threads by PID, the first one first; general registers but for what the moment changes."""
    mine, theirs = ours.threads, kernels.threads
    if sorted(mine) != sorted(theirs) or next(iter(mine)) != next(iter(theirs)):
        yield f"threads are {list(mine)}, the kernel's {list(theirs)}"
    notes = [{core.pid(n): n for n in core.notes if n.kind == "PRSTATUS"} for core in (ours, kernels)]
    for pid in mine.keys() & theirs.keys():
        yield from _fields(PRSTATUS_FIELDS[kernels.shape.word], notes[0][pid], notes[1][pid], f"thread {pid}")
        in_call = all(mine[pid][name] != none for name, none in NO_CALL.items() if name in mine[pid])
        allowed = RUNNING_ON if facts[pid]["kind"] == "spinning" else CALL_RESULT if in_call else set()
        for name, value in theirs[pid].items():
            if (
                mine[pid][name] != value
                and name not in allowed
                and not _cleared(name, mine[pid], value, facts[pid])
            ):
                yield f"thread {pid}: {name} is {mine[pid][name]:#x}, the kernel's {value:#x}"


def _cleared(name: str, mine: dict[str, int], theirs: int, facts: Facts) -> bool:
    """Before 5.16 (92307383082d) the other threads drop fs and gs before the core is written: then the
    process's own word counts, and of selectors those that it can have."""
    if name in ("fs", "gs"):
        return theirs == 0 and mine[name] in OWN_SELECTORS
    return name in ("fs_base", "gs_base") and theirs == 0 and mine[name] == facts[name]


def _fields(fields: tuple[tuple[str, int, int], ...], mine: Note, theirs: Note, what: str) -> Iterator[str]:
    for name, at, size in fields:
        if mine.data[at : at + size] != theirs.data[at : at + size]:
            yield f"{what}: {name} is {mine.data[at : at + size]!r}, the kernel's {theirs.data[at : at + size]!r}"
    if len(mine.data) != len(theirs.data):
        yield f"{what}: {len(mine.data)} bytes, the kernel's {len(theirs.data)}"
