"""VMCOREINFO when the dump has no note of it: it stands in the dumped kernel's own memory.

The kernel keeps it twice (kernel/crash_core.c, crash_save_vmcoreinfo_init): as text in a zeroed page of its own
(203e9e41219b, 4.13; before, in an array anywhere in .bss), and behind a note header, ready for /proc/vmcore.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE, Dump, Pfns
from gcoretools.dumps.notes import vmcoreinfo_note
from gcoretools.errors import DumpError, PageAbsent

TEXT = b"OSRELEASE="
NOTE = b"VMCOREINFO\0\0" + TEXT
"""Name, padding and first key of the note; its header is the 12 bytes before."""

_HEADER = struct.Struct("<III")
_SHORTEST, _LONGEST = 64, 16 * PAGE_SIZE
_LINES = re.compile(rb"(?:[!-<>-~][ -<>-~]*=[ -~]*\n)+")
_SYMBOL = re.compile(rb"^SYMBOL\(init_uts_ns\)=([0-9a-f]{8,16})$", re.M)
_NAME = re.compile(rb"^OFFSET\(uts_namespace\.name\)=(\d{1,6})$", re.M)
_PHYS_BASE = re.compile(rb"^NUMBER\(phys_base\)=(-?\d{1,19})$", re.M)
_START_KERNEL_MAP = 0xFFFFFFFF80000000
_DIRECT_MAPS_32 = (0xC0000000, 0xB0000000, 0x80000000, 0x78000000, 0x40000000)
"""Where the direct map of i386 begins, of which the kernel image is a part (CONFIG_PAGE_OFFSET)."""

_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Copy:
    """A VMCOREINFO text at physical address `pa`, and whether it stands behind a note header."""

    pa: int
    text: bytes
    noted: bool


def find_vmcoreinfo(dump: Dump) -> bytes | None:
    """The text of VMCOREINFO out of the note or, for want of one, out of memory; None when it is in neither."""
    note = vmcoreinfo_note(dump)
    return note if note and valid(note) else search_memory(dump)


def search_memory(dump: Dump) -> bytes | None:
    """The text of VMCOREINFO out of physical memory.

    First looks at the beginning of every page, where kernels since 4.13 have it, then everywhere. Copies of an
    earlier boot, or in a file's pages, can lie about: of several that differ, the one is taken whose init_uts_ns
    holds this very release, then the one that stands both alone and as a note, then a note, then the longest.
    """
    for copies in (_at_page_starts, _anywhere):
        found = [copy for copy in copies(dump) if valid(copy.text)]
        if found:
            return _chosen(dump, found)
    return None


def valid(text: bytes) -> bool:
    """Whether this is a whole VMCOREINFO: only KEY=value lines, among them those that every kernel writes."""
    return (
        _SHORTEST <= len(text) <= _LONGEST
        and text.startswith(TEXT)
        and b"\nPAGESIZE=" in text
        and b"\nSYMBOL(" in text
        and _LINES.fullmatch(text) is not None
    )


def _chosen(dump: Dump, copies: list[Copy]) -> bytes:
    """The best text, by the order that search_memory tells."""
    noted = {copy.text for copy in copies if copy.noted}
    alone = {copy.text for copy in copies if not copy.noted}
    return max(
        sorted(noted | alone),
        key=lambda text: (_witnessed(dump, text), text in noted and text in alone, text in noted, len(text)),
    )


def _witnessed(dump: Dump, text: bytes) -> bool:
    """Whether init_uts_ns, where this text says it is, holds the release that this text says."""
    symbol, name, base = _SYMBOL.search(text), _NAME.search(text), _PHYS_BASE.search(text)
    if not symbol:
        return False
    # Kernels that do not tell OFFSET(uts_namespace.name) have a struct kref before it.
    va = int(symbol[1], 16) + (int(name[1]) if name else 4)
    places = [va - _START_KERNEL_MAP + int(base[1])] if base else [va - start for start in _DIRECT_MAPS_32]
    release = text[len(TEXT) : text.index(b"\n")]
    return any(_release_at(dump, pa) == release for pa in places)


def _release_at(dump: Dump, pa: int) -> bytes:
    """The release in the utsname at a physical address; b"" when none is there."""
    try:
        # struct new_utsname: char sysname[65], nodename[65], release[65], ...
        names = dump.read(pa, 195) if 0 <= pa < 1 << 52 else b""
    except DumpError:
        return b""
    return names[130:].split(b"\0", 1)[0] if names.startswith(b"Linux\0") else b""


def _at_page_starts(dump: Dump) -> Iterator[Copy]:
    """Copies that begin a page, as text or as a note."""
    for pfns in _chunks(dump):
        heads = dump.heads(pfns, _HEADER.size + len(NOTE))
        for at, magic in ((0, TEXT), (_HEADER.size, NOTE)):
            same = (heads[:, at : at + len(magic)] == np.frombuffer(magic, np.uint8)).all(axis=1)
            for pfn in pfns[same].tolist():
                yield _copy(dump, (pfn << PAGE_SHIFT) + at + len(magic) - len(TEXT))


def _anywhere(dump: Dump) -> Iterator[Copy]:
    """Copies at any address, but within memory that the dump holds in one piece."""
    tail, end = b"", -1
    for pfns in _chunks(dump):
        pa = int(pfns[0]) << PAGE_SHIFT
        chunk = (tail if pa == end else b"") + _pages(dump, pfns)
        end = pa + (len(pfns) << PAGE_SHIFT)
        start = end - len(chunk)
        tail = chunk[1 - len(TEXT) :]
        at = chunk.find(TEXT)
        while at >= 0:
            yield _copy(dump, start + at)
            at = chunk.find(TEXT, at + 1)


def _pages(dump: Dump, pfns: Pfns) -> bytes:
    """The bytes of these pages, zeros for one that is damaged."""
    try:
        return bytes(dump.pages(pfns))
    except PageAbsent:
        if len(pfns) == 1:
            return bytes(PAGE_SIZE)
        half = len(pfns) // 2
        return _pages(dump, pfns[:half]) + _pages(dump, pfns[half:])


def _copy(dump: Dump, pa: int) -> Copy:
    """What may be a VMCOREINFO whose text begins at `pa`; where a note header stands before, it gives the size."""
    before = _HEADER.size + len(NOTE) - len(TEXT)
    head = _readable(dump, pa - before, before) if pa >= before else b""
    if head[_HEADER.size :] + TEXT == NOTE:
        name_size, size, kind = _HEADER.unpack_from(head)
        if name_size == 11 and kind == 0 and size <= _LONGEST:
            return Copy(pa, _readable(dump, pa, size).split(b"\0", 1)[0], True)
    return Copy(pa, _readable(dump, pa, PAGE_SIZE).split(b"\0", 1)[0], False)


def _readable(dump: Dump, pa: int, size: int) -> bytes:
    """The bytes at `pa`, or as many as the dump has before the next page border."""
    for length in (size, min(size, PAGE_SIZE - pa % PAGE_SIZE)):
        try:
            return dump.read(pa, length)
        except DumpError:
            continue
    return b""


def _chunks(dump: Dump) -> Iterator[Pfns]:
    """Every page frame of the dump, ascending, some consecutive ones at a time."""
    for pa, size in dump.ranges():
        first, end = pa >> PAGE_SHIFT, pa + size >> PAGE_SHIFT
        for start in range(first, end, _CHUNK):
            yield np.arange(start, min(start + _CHUNK, end), dtype=np.uint64)
