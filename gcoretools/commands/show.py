"""Records as text: tables for people, one JSON object a line for other programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path

from gcoretools.records import Done, Extent, Foreign, Header, Pages, Process, Record, Regs, Thread, Vma
from gcoretools.stream import to_wire

# Task states as crash's ps names them, by ps(1)'s letter.
STATES = {"R": "RU", "S": "IN", "D": "UN", "T": "ST", "t": "TR", "Z": "ZO", "I": "ID", "P": "PA"}

PERMISSIONS = ((1, "r"), (2, "w"), (4, "x"))
VM_SHARED = 8

TASKS_HEAD = "     PID    PPID CPU       TASK       ST THR      VSZ      RSS COMM"


def table(records: Iterable[Record]) -> None:
    """Print records as tables: for each kind its line, a heading where the kind changes."""
    last = ""
    for record in records:
        head, line = _LINES.get(record.kind, ("", _foreign))
        if head and record.kind != last:
            print(head)
        text = line(record)
        if text:
            print(printable(text))
        last = record.kind


def json_lines(records: Iterable[Record]) -> None:
    """Print each record as a JSON object; bytes as hexadecimal, the bytes of pages by their number only."""
    for record in records:
        wire = to_wire(record)
        if isinstance(record, Pages):
            wire["data"] = f"{len(record.data)} bytes"
        print(json.dumps(wire, default=lambda value: bytes(value).hex()))


def tasks(records: Iterable[Record]) -> None:
    """Print thread groups as crash's ps does: a line each, `>` before one that was running."""
    print(TASKS_HEAD)
    process: Process | None = None
    cpu = 0
    for record in records:
        if isinstance(record, Process):
            process, cpu = record, -1
        elif isinstance(record, Thread) and (cpu < 0 or record.active):
            cpu = record.cpu
        elif isinstance(record, Done) and process:
            print(printable(_task(process, max(cpu, 0))))


def _task(process: Process, cpu: int) -> str:
    mark = ">" if process.active else " "
    state = STATES.get(process.state, process.state)
    return (
        f"{mark}{process.tgid:7} {process.ppid:7} {cpu:3} {process.task:16x}  {state} {process.threads:3}"
        f" {process.vsz >> 10:8} {process.rss >> 10:8} {one_line(process.comm)}"
    )


def _process(process: Process) -> str:
    selected = "" if process.pid == process.tgid else f", selected by {process.pid}"
    return f"process {process.tgid} {process.comm!r}: {process.threads} threads, {process.bits} bits{selected}"


def _thread(thread: Thread) -> str:
    running = f"running on CPU {thread.cpu}" if thread.active else f"last on CPU {thread.cpu}"
    return f"  thread {thread.pid} {thread.comm!r} {STATES.get(thread.state, thread.state)}, {running}"


def _regs(regs: Regs) -> str:
    rows = [f"    registers from {regs.origin}"]
    names = list(regs.registers)
    digits = 8 if "eip" in names else 16
    for at in range(0, len(names), 4):
        rows.append("   " + "".join(f" {n:>8} {regs.registers[n]:0{digits}x}" for n in names[at : at + 4]))
    if regs.fpu_origin:
        rows.append(f"    floating-point registers {regs.fpu_origin}")
    return "\n".join(rows)


def _vma(vma: Vma) -> str:
    size = "-" if vma.dump_size < 0 else vma.dump_size >> 10
    where = f"{vma.start:16x} {vma.size >> 10:10} {size:>10}"
    return f"  {where} {permissions(vma)} {vma.category:7} {vma.offset:8x} {one_line(vma.name)}"


def _extent(extent: Extent) -> str:
    return f"  {extent.start:16x} {extent.size >> 10:10} {extent.what:4} {extent.reason}".rstrip()


def _pages(pages: Pages) -> str:
    return f"  {pages.start:16x} {len(pages.data) >> 10:10} KiB"


def _done(done: Done) -> str:
    if not (done.data or done.zero or done.gaps):
        return ""  # no stage has planned its memory yet
    return f"  done {done.tgid}: {totals(done.data, done.zero, done.gaps)}"


def _header(header: Header) -> str:
    kernel = header.kernel
    stages = " | ".join(str(stage.get("stage")) for stage in header.history)
    return (
        f"stream of {stages}\n"
        f"dump {header.dump.get('path')} ({header.dump.get('format')})\n"
        f"kernel {kernel.get('release')} {kernel.get('arch')}, types from {kernel.get('types_from')},"
        f" symbols from {kernel.get('symbols_from')}"
    )


def _foreign(record: Record) -> str:
    named = record.fields if isinstance(record, Foreign) else {f.name: "" for f in fields(record)}
    return f"  {named}"


def saved(path: Path) -> None:
    """Print that a core has been written, as crash's gcore does."""
    print(f"Saved {one_line(printable(str(path)))}", flush=True)


def permissions(vma: Vma) -> str:
    """As in /proc/PID/maps: rwx and whether it is shared."""
    allowed = "".join(letter if vma.flags & bit else "-" for bit, letter in PERMISSIONS)
    return allowed + ("s" if vma.flags & VM_SHARED else "p")


def totals(data: int, zero: int, gaps: Mapping[str, int]) -> str:
    """Bytes of memory by what they are, gaps by their reason, as words."""
    missing = "".join(f", {size >> 10} KiB {reason}" for reason, size in gaps.items())
    return f"{data >> 10} KiB data, {zero >> 10} KiB zero{missing}"


def one_line(text: str) -> str:
    """Text with its ends of lines escaped."""
    return text.replace("\n", "\\n")


def printable(text: str) -> str:
    """Text from the dump without what a terminal would obey, and without bytes that are no text."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


# For each kind of record the heading of its lines, and the function that makes one.
_LINES: dict[str, tuple[str, Callable[..., str]]] = {
    "header": ("", _header),
    "process": ("", _process),
    "thread": ("", _thread),
    "regs": ("", _regs),
    "vma": ("             START        KIB   DUMP KIB PERM KIND      OFFSET NAME", _vma),
    "extent": ("             START        KIB WHAT", _extent),
    "pages": ("", _pages),
    "done": ("", _done),
}
