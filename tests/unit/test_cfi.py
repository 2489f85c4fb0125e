"""Call-frame information out of GCC and the assembler, against what readelf makes of it; and damage."""

import re
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcoretools.errors import LayoutError
from gcoretools.layout.cfi import CallFrames, Row
from gcoretools.layout.vmlinux import Vmlinux

VERSIONS = ("-gdwarf-2", "-gdwarf-3", "-gdwarf-4", "-gdwarf-5")
SOURCE = r"""
#include <stdio.h>
__attribute__((noinline)) static long deep(long a, long b, long c, long d, long e, long f, char *at)
{
    char room[a > 3 ? a : 3];
    long sum = printf("%ld %p", a, room);
    if (b)
        return sum + deep(b - 1, a, c, d, e, f, room) + a + b + c + d + e + f + at[0];
    return c * puts(at) + d * puts("d") + e * puts("e") + f * puts("f") + a;
}
int main(int count, char **words) { return deep(count, 2, 3, 4, 5, 6, words[0]) & 1; }
"""
# Old kernels' entry code: a signal's frame, and what no compiler writes.
ASSEMBLY = """
.cfi_sections .debug_frame
.globl _start
_start:
.cfi_startproc simple
.cfi_signal_frame
.cfi_def_cfa rsp, 160
.cfi_offset rip, -40
nop
.cfi_same_value rbx
.cfi_undefined r12
.cfi_register r13, rax
nop
.cfi_remember_state
.cfi_adjust_cfa_offset 8
.cfi_rel_offset r15, 0
nop
.cfi_restore_state
nop
.cfi_escape 0x0f, 3, 0x77, 8, 6
nop
.cfi_endproc
"""
NUMBERS = {
    "rax": 0,
    "rdx": 1,
    "rcx": 2,
    "rbx": 3,
    "rsi": 4,
    "rdi": 5,
    "rbp": 6,
    "rsp": 7,
    **{f"r{n}": n for n in range(8, 16)},
    "ra": 16,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cfi")


def build(folder: Path, *options: str) -> Path:
    source, target = folder / "deep.c", folder / ("deep" + "".join(options))
    source.write_text(SOURCE)
    if not target.exists():
        subprocess.run(["gcc", "-w", *options, "-o", target, source], check=True)
    return target


def assembled(folder: Path) -> Path:
    source, target = folder / "entry.s", folder / "entry"
    source.write_text(".intel_syntax noprefix\n.text\n" + ASSEMBLY)
    subprocess.run(["gcc", "-nostdlib", "-static", "-o", target, source], check=True)
    return target


def told(path: Path, section: str) -> dict[int, dict[str, str]]:
    """Every row of readelf's: {address: {"CFA": "rsp+8", "rbx": "c-16", ...}}."""
    # Both sections are printed one after the other.
    text = subprocess.run(
        ["readelf", "-W", "--debug-dump=frames-interp", path], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    text = text.partition(f"Contents of the {section} section")[2].partition("Contents of the ")[0]
    rows: dict[int, dict[str, str]] = {}
    for piece in re.split(r"\n(?=[0-9a-f]{8} )", text):
        head, *lines = piece.strip().splitlines()
        if " FDE " in head and lines:
            names = lines[0].split()[1:]
            for line in lines[1:]:
                words = line.split()
                if len(words) > len(names) + 1:
                    continue  # rules that are computed, in words of their own
                rows[int(words[0], 16)] = dict(zip(names, words[1:], strict=True))
    return rows


def check(frames: CallFrames, rows: dict[int, dict[str, str]]) -> int:
    """Holds every row against readelf's; how many there were."""
    for pc, wanted in rows.items():
        if wanted["CFA"] == "exp":
            with pytest.raises(LayoutError, match="DW_CFA_def_cfa_expression"):
                frames.row(pc)
            continue
        register, offset = wanted.pop("CFA").split("+")
        row = frames.row(pc)
        assert row.cfa == (NUMBERS[register], int(offset))
        saved = {NUMBERS[n]: int(rule[1:]) for n, rule in wanted.items() if rule.startswith("c")}
        assert row.saved == saved
        lost = {NUMBERS[n] for n, rule in wanted.items() if rule[0] not in "cs"}
        assert row.lost.keys() <= lost  # readelf calls what no rule names "u", too
    return len(rows)


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("version", VERSIONS)
def test_debug_frame(folder: Path, version: str, level: str) -> None:
    path = build(folder, "-no-pie", version, level, "-fno-asynchronous-unwind-tables")
    assert check(Vmlinux(path).call_frames, told(path, ".debug_frame")) > 6


@pytest.mark.parametrize("kind", ["-no-pie", "-pie", "-static"])
def test_eh_frame(folder: Path, kind: str) -> None:
    """Addresses relative to where they stand; the CFA of the PLT is computed."""
    path = build(folder, kind, "-O2", "-g")
    assert check(Vmlinux(path).call_frames, told(path, ".eh_frame")) > 10


def test_compressed_debug_frame(folder: Path) -> None:
    path = build(folder, "-no-pie", "-g", "-gz=zlib", "-fno-asynchronous-unwind-tables")
    assert check(Vmlinux(path).call_frames, told(path, ".debug_frame")) > 4


def test_entry_code(folder: Path) -> None:
    """An augmentation "S" alone, and each rule by its name."""
    path = assembled(folder)
    frames = Vmlinux(path).call_frames
    start = Vmlinux(path).symbols(["_start"])["_start"]
    lost = {12: "UNDEFINED", 13: "REGISTER"}
    assert frames.row(start) == Row((7, 160), {16: -40}, {})
    assert frames.row(start + 1) == Row((7, 160), {16: -40}, lost)
    assert frames.row(start + 2) == Row((7, 168), {16: -40, 15: -168}, lost)
    assert frames.row(start + 3) == Row((7, 160), {16: -40}, lost)
    with pytest.raises(LayoutError, match="DW_CFA_def_cfa_expression"):
        frames.row(start + 4)
    for pc in (start - 1, start + 5, 0, 1 << 63):
        with pytest.raises(LayoutError, match=f"no call-frame information describes {pc:#x}"):
            frames.row(pc)


def written(wide: bool, functions: int) -> bytes:
    """A .debug_frame by hand: a CIE, and functions of 16 bytes from 0x1000 on that push rbx at once."""
    mark, number = (b"\xff" * 4, "<Q") if wide else (b"", "<I")
    cie = struct.pack(number, (1 << (64 if wide else 32)) - 1) + b"\x01\0\x01\x78\x10\x0c\x07\x08\x90\x01"
    section = mark + struct.pack(number, len(cie)) + cie
    for i in range(functions):
        fde = struct.pack(number, 0) + struct.pack("<QQ", 0x1000 + 16 * i, 16) + b"\x41\x0e\x10\x83\x02"
        section += mark + struct.pack(number, len(fde)) + fde
    return section


@pytest.mark.parametrize("wide", [False, True])
def test_many_functions_and_64_bit_dwarf(wide: bool) -> None:
    frames = CallFrames(written(wide, 5000))
    assert len(frames) == 5000
    assert frames.row(0x1000 + 16 * 4321) == Row((7, 8), {16: -8}, {})
    assert frames.row(0x1000 + 16 * 4321 + 15) == Row((7, 16), {16: -8, 3: -16}, {})


def test_no_section(folder: Path) -> None:
    path = build(folder, "-no-pie", "-c", "-g", "-fno-asynchronous-unwind-tables")
    subprocess.run(["objcopy", "-R", ".debug_frame", path], check=True)
    with pytest.raises(LayoutError, match="no call-frame information"):
        Vmlinux(path).call_frames  # noqa: B018


def test_work_is_bounded() -> None:
    section = written(False, 0)
    steps = b"".join(b"\x41\x05" + bytes((0x80 | n & 0x7F, n >> 7)) + b"\x01" for n in range(1 << 13))
    fde = struct.pack("<IQQ", 0, 0x1000, 1 << 20) + steps
    frames = CallFrames(section + struct.pack("<I", len(fde)) + fde)
    with pytest.raises(LayoutError, match="more than any function needs"):
        frames.row(0x1100)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=8), st.booleans())
def test_damage_is_told_or_read(folder: Path, changes: list[tuple[int, int]], eh_frame: bool) -> None:
    if eh_frame:
        whole = bytes(Vmlinux(build(folder, "-no-pie", "-O2", "-g"))._sections[".eh_frame"].data())
    else:
        whole = written(False, 3)
    damaged = bytearray(whole)
    for at, value in changes:
        damaged[at % len(damaged)] = value
    try:
        frames = CallFrames(bytes(damaged), 0x1000, eh_frame)
    except LayoutError:
        return
    for start in frames._starts:
        with suppress(LayoutError):
            assert isinstance(frames.row(start), Row)
