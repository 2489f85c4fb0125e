"""THE schema of the stream: one dataclass a record, units beside each field.

A stream is a header, then for each process its records in the order below, then an end. Text that came from
the dump (names, paths) need not be UTF-8: other bytes are kept as surrogate escapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

VERSION = 1
FORMAT = "gcoretools"

# The most bytes that one `pages` record carries.
DATA_LIMIT = 1 << 20

# What a number must be on the wire, where a core's notes and headers have room for no other.
U64 = int
U32 = int
I32 = int

# A task's state as ps(1) shows it: one ASCII letter.
Letter = str

# Four of them: pid, ppid, pgrp, sid; and utime, stime, cutime, cstime.
Ids = list[int]
Times = list[int]


@dataclass(slots=True)
class Record:
    """What all records share. `more` keeps fields that a later stage added or that we do not know."""

    kind: ClassVar[str] = ""
    more: dict[str, object] | None = field(default=None, kw_only=True)


@dataclass(slots=True)
class Header(Record):
    """The first record: what the stream speaks of, and where the kernel of the dump keeps things."""

    kind: ClassVar[str] = "header"
    format: str  # always "gcoretools"
    version: int  # of this schema
    history: list[dict[str, object]]  # each stage's {"stage", "version", "arguments"}, oldest first
    dump: dict[str, object]  # {"path", "format", "fingerprint"}
    kernel: dict[str, object]  # release, build id, architecture, paging roots, provenance, layout
    rules: dict[str, object]  # of this kernel's own core dumper: gcoretools.kernel.core_rules


@dataclass(slots=True)
class Process(Record):
    """A thread group, as its leader and its memory say."""

    kind: ClassVar[str] = "process"
    tgid: I32  # as the initial pid namespace numbers it
    pid: I32  # of the thread that was selected; the leader's otherwise
    ppid: I32  # as the initial pid namespace numbers it
    task: U64  # virtual address of the leader's task_struct
    comm: str  # the leader's name
    state: Letter  # the leader's
    threads: U32  # how many follow
    active: bool  # whether one of them was running when the dump was taken
    uid: U32  # real user id, as its own user namespace numbers it
    gid: U32
    nice: I32
    flags: U64  # PF_ bits of the leader
    namespace_ids: Ids  # the leader's pid, ppid, pgrp, sid in its own pid namespace
    mm: U64 = 0  # virtual address of its mm_struct; 0: a kernel thread, or it has exited
    page_table: U64 = 0  # physical address of its top page table, in bytes
    bits: U32 = 64  # 32 or 64: the class of its core
    abi: str = "x86_64"  # what kind of process: a key of gcoretools.core.formats.CORE_FORMATS, or x32
    rss: U64 = 0  # resident, in bytes
    vsz: U64 = 0  # mapped, in bytes
    arguments: str = ""  # the start of its command line, NUL behind each argument
    auxv: bytes = b""  # the auxiliary vector up to and with AT_NULL
    coredump_filter: U64 = 0  # the bits of /proc/PID/coredump_filter
    task_struct: bytes = b""  # the selected thread's, where the kernel writes it into cores (NT_TASKSTRUCT, 2.6.9)


@dataclass(slots=True)
class Thread(Record):
    """A thread of the process before it. The selected thread comes first."""

    kind: ClassVar[str] = "thread"
    pid: I32  # as the initial pid namespace numbers it
    task: U64  # virtual address of its task_struct
    stack: U64  # virtual address of the low end of its kernel stack
    comm: str
    state: Letter
    cpu: U32  # the one that it runs on or ran on last
    active: bool  # it was that CPU's current task when the dump was taken
    namespace_ids: Ids  # pid, ppid, pgrp, sid in its own pid namespace
    pending: U64  # signals pending for the thread, a bit each from signal 1 on
    blocked: U64  # signals that it blocks
    times: Times  # utime, stime, cutime, cstime in nanoseconds
    signal: U32 = 0  # the one that it is dying of, or that stopped it under its tracer; 0: none
    siginfo: bytes = b""  # siginfo_t of it, where the kernel keeps that


@dataclass(slots=True)
class Regs(Record):
    """The registers of the thread before it."""

    kind: ClassVar[str] = "regs"
    pid: I32
    origin: str  # where they came from, in words
    registers: dict[str, int]  # the general registers by name
    notes: list[dict[str, object]]  # {"owner", "type", "data"}: the core's notes for this thread, in order
    fpu_origin: str = ""  # likewise of the floating-point ones; "stale: ..." when the CPU had newer ones


@dataclass(slots=True)
class Vma(Record):
    """A mapping of the process."""

    kind: ClassVar[str] = "vma"
    start: U64  # virtual address
    size: U64  # bytes
    flags: U64  # VM_ bits of the kernel
    category: str  # a key of gcoretools.core.filter.CATEGORIES: AP, AS, FP, ... or "special", "IO"
    written: bool  # it has pages of its own (an anon_vma)
    offset: U64  # into the file, in bytes
    file: bool  # it maps a file: NT_FILE names it
    device: list[int]  # major, minor of the file's file system
    inode: U64
    mode: U32  # st_mode of the file
    name: str  # path as the kernel would print it, "[heap]", "[stack]", "[vdso]", or ""
    faultable: bool  # an empty page-table entry can be filled from the file or the mapping's owner
    mapping: U64 = 0  # virtual address of the file's struct address_space, whose cache has its pages; 0: none
    dump_size: int = -1  # bytes that the filter selects, from `start` on; -1: gc-pages has not decided yet


@dataclass(slots=True)
class Extent(Record):
    """What a core holds of [start, start + size): the extents of a process come before its first page."""

    kind: ClassVar[str] = "extent"
    start: U64  # virtual address
    size: U64  # bytes
    what: str  # "data", "zero" (never touched), or "gap"
    reason: str = ""  # why a gap is one


@dataclass(slots=True)
class Pages(Record):
    """Memory: the bytes from `start` on, at most DATA_LIMIT, all in one data extent."""

    kind: ClassVar[str] = "pages"
    start: U64  # virtual address
    data: bytes | memoryview

    @property
    def size(self) -> int:
        """How many bytes."""
        return len(self.data)


@dataclass(slots=True)
class Unread(Record):
    """Memory that still lies where it was found: stands for `pages` inside one process, never on the wire."""

    kind: ClassVar[str] = "unread"
    start: U64  # virtual address
    size: U64  # bytes, at most DATA_LIMIT
    read: Callable[[], bytes | bytearray | memoryview]  # gives the bytes, in any process
    slow: bool  # whether that takes longer than to hand them on


@dataclass(slots=True)
class Done(Record):
    """The end of a process, with its totals."""

    kind: ClassVar[str] = "done"
    tgid: I32
    data: U64 = 0  # bytes in data extents
    zero: U64 = 0
    gaps: dict[str, int] = field(default_factory=dict)  # bytes by reason


@dataclass(slots=True)
class End(Record):
    """The last record. A stream without it was cut."""

    kind: ClassVar[str] = "end"
    records: int  # how many came before it, the header among them


@dataclass(slots=True)
class Foreign(Record):
    """A record of a kind that we do not know: passed on as it came."""

    fields: dict[str, object]


KINDS: dict[str, type[Record]] = {
    cls.kind: cls for cls in (Header, Process, Thread, Regs, Vma, Extent, Pages, Done, End)
}
