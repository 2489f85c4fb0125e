"""The notes of a core, read back as the C structs that debuggers take them for."""

from __future__ import annotations

import ctypes
import struct

import pytest

from gcoretools.arch import ia32
from gcoretools.core import notes
from tests.written_streams import process, thread, vma

REGISTERS = list(range(1, 28))


class PrStatus(ctypes.Structure):
    """struct elf_prstatus of <sys/procfs.h>, x86_64."""

    _fields_ = (
        ("si_signo", ctypes.c_int), ("si_code", ctypes.c_int), ("si_errno", ctypes.c_int),
        ("pr_cursig", ctypes.c_short), ("pr_sigpend", ctypes.c_ulong), ("pr_sighold", ctypes.c_ulong),
        ("pr_pid", ctypes.c_int), ("pr_ppid", ctypes.c_int), ("pr_pgrp", ctypes.c_int), ("pr_sid", ctypes.c_int),
        ("times", ctypes.c_long * 8), ("pr_reg", ctypes.c_ulong * 27), ("pr_fpvalid", ctypes.c_int),
    )  # fmt: skip


class PrPsInfo(ctypes.Structure):
    """struct elf_prpsinfo of <sys/procfs.h>, x86_64."""

    _fields_ = (
        ("pr_state", ctypes.c_byte), ("pr_sname", ctypes.c_char), ("pr_zomb", ctypes.c_byte),
        ("pr_nice", ctypes.c_byte), ("pr_flag", ctypes.c_ulong), ("pr_uid", ctypes.c_uint),
        ("pr_gid", ctypes.c_uint), ("pr_pid", ctypes.c_int), ("pr_ppid", ctypes.c_int), ("pr_pgrp", ctypes.c_int),
        ("pr_sid", ctypes.c_int), ("pr_fname", ctypes.c_char * 16), ("pr_psargs", ctypes.c_char * 80),
    )  # fmt: skip


def test_the_sizes_that_debuggers_ask_for() -> None:
    assert len(notes.prstatus(thread(), REGISTERS, False)) == 336 == ctypes.sizeof(PrStatus)
    assert len(notes.prpsinfo(process())) == 136 == ctypes.sizeof(PrPsInfo)


def test_prstatus() -> None:
    given = thread(
        namespace_ids=[7, 1, 6, 5], pending=1 << 63 | 1, blocked=0x10000,
        times=[1_999_999_999, 3_000_000, 999, 61_000_000_000],
    )  # fmt: skip
    found = PrStatus.from_buffer_copy(notes.prstatus(given, REGISTERS, True))
    assert (found.si_signo, found.si_code, found.si_errno, found.pr_cursig) == (0, 0, 0, 0)
    assert (found.pr_sigpend, found.pr_sighold) == (1 << 63 | 1, 0x10000)
    assert (found.pr_pid, found.pr_ppid, found.pr_pgrp, found.pr_sid) == (7, 1, 6, 5)
    # utime, stime, cutime, cstime in seconds and microseconds; what is less is dropped.
    assert list(found.times) == [1, 999_999, 0, 3_000, 0, 0, 61, 0]
    assert list(found.pr_reg) == REGISTERS
    assert found.pr_fpvalid == 1


def test_prstatus_takes_the_largest_numbers() -> None:
    top = (1 << 64) - 1
    given = thread(namespace_ids=[-1, -(1 << 31), 0, (1 << 31) - 1], times=[top] * 4, pending=top, blocked=top)
    found = PrStatus.from_buffer_copy(notes.prstatus(given, [top] * 27, False))
    assert (found.pr_pid, found.pr_ppid, found.pr_sid) == (-1, -(1 << 31), (1 << 31) - 1)
    assert list(found.pr_reg) == [top] * 27


def test_prpsinfo() -> None:
    given = process(
        state="D", nice=-20, flags=0x40404040, uid=4294967295, gid=65534, namespace_ids=[7, 1, 6, 5],
        comm="cat", arguments="cat\0-n\0/etc/motd\0",
    )  # fmt: skip
    found = PrPsInfo.from_buffer_copy(notes.prpsinfo(given))
    assert (found.pr_state, found.pr_sname, found.pr_zomb, found.pr_nice) == (2, b"D", 0, -20)
    assert (found.pr_flag, found.pr_uid, found.pr_gid) == (0x40404040, 4294967295, 65534)
    assert (found.pr_pid, found.pr_ppid, found.pr_pgrp, found.pr_sid) == (7, 1, 6, 5)
    assert (found.pr_fname, found.pr_psargs) == (b"cat", b"cat -n /etc/motd ")


@pytest.mark.parametrize(
    ("letter", "number", "name", "zombie"),
    [("R", 0, b"R", 0), ("S", 1, b"S", 0), ("D", 2, b"D", 0), ("T", 3, b"T", 0), ("Z", 4, b"Z", 1),
     ("W", 5, b"W", 0), ("t", 6, b".", 0), ("I", 6, b".", 0), ("P", 6, b".", 0)],
)  # fmt: skip
def test_the_state(letter: str, number: int, name: bytes, zombie: int) -> None:
    found = PrPsInfo.from_buffer_copy(notes.prpsinfo(process(state=letter)))
    assert (found.pr_state, found.pr_sname, found.pr_zomb) == (number, name, zombie)


@pytest.mark.parametrize("nice", [-20, -1, 0, 19, -121, 200])
def test_nice_is_cut_to_a_char_as_the_kernel_cuts_it(nice: int) -> None:
    found = PrPsInfo.from_buffer_copy(notes.prpsinfo(process(nice=nice)))
    assert found.pr_nice == (nice + 128) % 256 - 128


def test_arguments_of_any_length_end_in_a_nul() -> None:
    for arguments in ("x" * 79, "x" * 80, "x" * 4000, "a\0" * 60, "\u00e9" * 79):
        raw = notes.prpsinfo(process(arguments=arguments))[56:]
        assert len(raw) == 80
        assert raw[79] == 0
        assert raw[:79] == arguments.encode().replace(b"\0", b" ")[:79]


def test_names_of_any_length_and_bytes() -> None:
    found = PrPsInfo.from_buffer_copy(notes.prpsinfo(process(comm="a-name-of-16-let")))
    assert found.pr_fname == b"a-name-of-16-le"
    odd = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert PrPsInfo.from_buffer_copy(notes.prpsinfo(process(comm=odd))).pr_fname == b"\xff\xfe"


def test_the_files() -> None:
    maps = [
        vma(0x400000, 0x2000, file=True, name="/bin/cat"),
        vma(0x500000, 0x1000),
        vma(0x600000, 0x1000, file=True, offset=0x5000, name="/tmp/\udcff (deleted)"),
        vma((1 << 64) - 0x1000, 0x1000, file=True, offset=(1 << 64) - 0x1000, name="/top"),
    ]
    data = notes.file_note(maps)
    words = struct.unpack_from("<11Q", data)
    assert words == (
        3, 4096, 0x400000, 0x402000, 0, 0x600000, 0x601000, 5, (1 << 64) - 0x1000, 0, (1 << 52) - 1,
    )  # fmt: skip
    assert data[88:] == b"/bin/cat\0/tmp/\xff (deleted)\0/top\0"


class PrStatus32(ctypes.Structure):
    """struct elf_prstatus of <sys/procfs.h>, i386."""

    _fields_ = (
        ("si_signo", ctypes.c_int), ("si_code", ctypes.c_int), ("si_errno", ctypes.c_int),
        ("pr_cursig", ctypes.c_short), ("pr_sigpend", ctypes.c_uint32), ("pr_sighold", ctypes.c_uint32),
        ("pr_pid", ctypes.c_int), ("pr_ppid", ctypes.c_int), ("pr_pgrp", ctypes.c_int), ("pr_sid", ctypes.c_int),
        ("times", ctypes.c_int32 * 8), ("pr_reg", ctypes.c_uint32 * 17), ("pr_fpvalid", ctypes.c_int),
    )  # fmt: skip


class PrPsInfo32(ctypes.Structure):
    """struct elf_prpsinfo of <sys/procfs.h>, i386."""

    _fields_ = (
        ("pr_state", ctypes.c_byte), ("pr_sname", ctypes.c_char), ("pr_zomb", ctypes.c_byte),
        ("pr_nice", ctypes.c_byte), ("pr_flag", ctypes.c_uint32), ("pr_uid", ctypes.c_ushort),
        ("pr_gid", ctypes.c_ushort), ("pr_pid", ctypes.c_int), ("pr_ppid", ctypes.c_int),
        ("pr_pgrp", ctypes.c_int), ("pr_sid", ctypes.c_int), ("pr_fname", ctypes.c_char * 16),
        ("pr_psargs", ctypes.c_char * 80),
    )  # fmt: skip


def test_prstatus_of_a_32_bit_thread() -> None:
    given = thread(
        namespace_ids=[7, 1, 6, 5], pending=1 << 63 | 1, blocked=0x10000,
        times=[1_999_999_999, 3_000_000, (1 << 64) - 1, 61_000_000_000],
    )  # fmt: skip
    registers = [*range(1, 17), (1 << 64) - 1]
    raw = notes.prstatus(given, registers, True, ia32.CORE)
    assert len(raw) == 144 == ctypes.sizeof(PrStatus32)
    found = PrStatus32.from_buffer_copy(raw)
    assert (found.pr_sigpend, found.pr_sighold) == (1, 0x10000)
    assert (found.pr_pid, found.pr_ppid, found.pr_pgrp, found.pr_sid) == (7, 1, 6, 5)
    assert list(found.times)[:4] == [1, 999_999, 0, 3_000]
    assert list(found.times)[6:] == [61, 0]
    assert list(found.pr_reg) == [*registers[:-1], 0xFFFFFFFF]
    assert found.pr_fpvalid == 1


@pytest.mark.parametrize(("given", "shown"), [(0, 0), (1000, 1000), (65535, 65535), (65536, 65534)])
def test_prpsinfo_of_a_32_bit_process(given: int, shown: int) -> None:
    """Ids of 16 bits; larger ones are the overflow id (high2lowuid)."""
    of = process(uid=given, gid=given, flags=1 << 32 | 0x400000, namespace_ids=[7, 1, 6, 5])
    raw = notes.prpsinfo(of, ia32.CORE)
    assert len(raw) == 124 == ctypes.sizeof(PrPsInfo32)
    found = PrPsInfo32.from_buffer_copy(raw)
    assert (found.pr_uid, found.pr_gid, found.pr_flag) == (shown, shown, 0x400000)
    assert (found.pr_pid, found.pr_sid) == (7, 5)
    assert (found.pr_fname, found.pr_psargs) == (b"cat", b"cat /etc/motd ")


def test_the_files_of_a_32_bit_process() -> None:
    maps = [
        vma(0x8048000, 0x2000, file=True, name="/bin/cat"),
        vma((1 << 32) - 0x1000, 0x1000, file=True, offset=0x5000, name="/top"),
    ]
    data = notes.file_note(maps, ia32.CORE)
    assert struct.unpack_from("<8I", data) == (2, 4096, 0x8048000, 0x804A000, 0, 0xFFFFF000, 0, 5)
    assert data[32:] == b"/bin/cat\0/top\0"


def test_no_files() -> None:
    assert notes.file_note([vma()]) == struct.pack("<QQ", 0, 4096)


@pytest.mark.parametrize("size", range(9))
def test_notes_are_padded_to_four_bytes(size: int) -> None:
    for owner in ("CORE", "LINUX", "x"):
        raw = notes.note(owner, 7, b"d" * size)
        assert len(raw) % 4 == 0
        assert struct.unpack_from("<III", raw) == (len(owner) + 1, size, 7)
        at = 12 + -(-(len(owner) + 1) // 4) * 4
        assert raw[12 : 12 + len(owner) + 1] == owner.encode() + b"\0"
        assert raw[at:] == (b"d" * size).ljust(-(-size // 4) * 4, b"\0")
