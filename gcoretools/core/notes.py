"""The notes of a core (include/uapi/linux/elf.h, fs/binfmt_elf.c), as rows and formats."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from gcoretools.arch import x86_64
from gcoretools.arch.formats import CoreFormat
from gcoretools.dumps.dump import PAGE_SIZE, Note
from gcoretools.dumps.notes import note_bytes
from gcoretools.kernel.cred import OVERFLOW_ID
from gcoretools.records import Process, Thread, Vma

NT_PRSTATUS, NT_PRPSINFO, NT_TASKSTRUCT, NT_AUXV, NT_SIGINFO, NT_FILE = 1, 3, 4, 6, 0x53494749, 0x46494C45

# State letters in the order of pr_state; the kernel shows any later one as '.' (fill_psinfo).
PSINFO_STATES = "RSDTZW"


def note(owner: str, kind: int, data: bytes) -> bytes:
    """An ELF note: header, owner and data, each padded to 4 bytes."""
    return note_bytes(Note(_encoded(owner).decode("latin-1"), kind, data))


def prstatus(thread: Thread, registers: Sequence[int], fpvalid: bool, form: CoreFormat = x86_64.CORE) -> bytes:
    """NT_PRSTATUS of a thread (fill_prstatus); what is longer than the core's words loses its upper part.

    Args:
        registers: elf_gregset_t.
        fpvalid: whether the core has the thread's floating-point registers, too.
    """
    signals = (thread.pending & form.mask, thread.blocked & form.mask)
    times = [part & form.mask for time in thread.times for part in divmod(time // 1000, 1_000_000)]
    head = struct.pack(
        form.prstatus, thread.signal & 0x7F, 0, 0, thread.signal & 0x7F, *signals, *thread.namespace_ids, *times
    )
    return head + _words(registers, form) + struct.pack(form.prstatus_end, fpvalid)


def prpsinfo(process: Process, form: CoreFormat = x86_64.CORE) -> bytes:
    """NT_PRPSINFO (fill_psinfo): NULs between arguments become spaces, ids without room the overflow id."""
    state = PSINFO_STATES.find(process.state)
    ids = (number if number <= form.id_limit else OVERFLOW_ID for number in (process.uid, process.gid))
    return struct.pack(
        form.prpsinfo,
        state if state >= 0 else len(PSINFO_STATES),
        process.state.encode() if state >= 0 else b".",
        process.state == "Z",
        process.nice & 0xFF,
        process.flags & form.mask,
        *ids,
        *process.namespace_ids,
        _encoded(process.comm)[:15],
        _encoded(process.arguments).replace(b"\0", b" ")[:79],
    )


def file_note(vmas: Iterable[Vma], form: CoreFormat = x86_64.CORE) -> bytes:
    """NT_FILE (fill_files_note): count and page size, start, end and page offset of each, then the names."""
    files = [vma for vma in vmas if vma.file]
    words = [len(files), PAGE_SIZE]
    for vma in files:
        words += [vma.start, vma.start + vma.size, vma.offset // PAGE_SIZE]
    return _words(words, form) + b"".join(_encoded(vma.name) + b"\0" for vma in files)


def _words(words: Sequence[int], form: CoreFormat) -> bytes:
    return struct.pack(f"<{len(words)}{form.word}", *(word & form.mask for word in words))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
