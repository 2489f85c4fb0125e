"""The notes of a core (include/uapi/linux/elf.h, fs/binfmt_elf.c), as rows and formats."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from gcoretools.dumps.dump import PAGE_SIZE
from gcoretools.records import Process, Thread, Vma

NT_PRSTATUS, NT_PRPSINFO, NT_AUXV, NT_FILE = 1, 3, 6, 0x46494C45

# struct elf_prstatus up to pr_reg: siginfo (signo, code, errno), cursig, sigpend, sighold, pid, ppid, pgrp,
# sid, then four timevals; behind pr_reg stands pr_fpvalid.
PRSTATUS = "<iiih2xQQiiii8q"
PRSTATUS_END = "<i4x"

# struct elf_prpsinfo: state, sname, zomb, nice, flag, uid, gid, pid, ppid, pgrp, sid, fname, psargs.
PRPSINFO = "<bcbB4xQIIiiii16s80s"

# State letters in the order of pr_state; the kernel shows any later one as '.' (fill_psinfo).
PSINFO_STATES = "RSDTZW"


def note(owner: str, kind: int, data: bytes) -> bytes:
    """An ELF note: header, owner and data, each padded to 4 bytes."""
    name = _encoded(owner) + b"\0"
    return struct.pack("<III", len(name), len(data), kind) + _padded(name) + _padded(data)


def prstatus(thread: Thread, registers: Sequence[int], fpvalid: bool) -> bytes:
    """NT_PRSTATUS of a 64-bit thread (fill_prstatus).

    Args:
        registers: elf_gregset_t, 8 bytes each.
        fpvalid: whether the core has the thread's floating-point registers, too.
    """
    times = [part for time in thread.times for part in divmod(time // 1000, 1_000_000)]
    head = struct.pack(PRSTATUS, 0, 0, 0, 0, thread.pending, thread.blocked, *thread.namespace_ids, *times)
    return head + struct.pack(f"<{len(registers)}Q", *registers) + struct.pack(PRSTATUS_END, fpvalid)


def prpsinfo(process: Process) -> bytes:
    """NT_PRPSINFO (fill_psinfo): NULs between arguments become spaces."""
    state = PSINFO_STATES.find(process.state)
    return struct.pack(
        PRPSINFO,
        state if state >= 0 else len(PSINFO_STATES),
        process.state.encode() if state >= 0 else b".",
        process.state == "Z",
        process.nice & 0xFF,
        process.flags,
        process.uid,
        process.gid,
        *process.namespace_ids,
        _encoded(process.comm)[:15],
        _encoded(process.arguments).replace(b"\0", b" ")[:79],
    )


def file_note(vmas: Iterable[Vma]) -> bytes:
    """NT_FILE (fill_files_note): count and page size, start, end and page offset of each, then the names."""
    files = [vma for vma in vmas if vma.file]
    words = [len(files), PAGE_SIZE]
    for vma in files:
        words += [vma.start, (vma.start + vma.size) % (1 << 64), vma.offset // PAGE_SIZE]
    return struct.pack(f"<{len(words)}Q", *words) + b"".join(_encoded(vma.name) + b"\0" for vma in files)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
