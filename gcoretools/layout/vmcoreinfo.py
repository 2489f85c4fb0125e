"""VMCOREINFO: the "KEY=value" lines by which a kernel describes itself to dump tools.

Source: kernel/vmcore_info.c (kernel/crash_core.c before 6.8), arch/x86/kernel/vmcore_info_{64,32}.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gcoretools.errors import LayoutError

LIMIT = 1 << 16
"""The kernel writes at most a page (VMCOREINFO_BYTES); what stands beyond this many bytes is not read."""

_TABLED = re.compile(r"(SYMBOL|NUMBER|SIZE|OFFSET|LENGTH)\(([^()\s]{1,128})\)")
_BUILD_ID = re.compile(r"[0-9a-f]{2,128}")
_U64 = 1 << 64


@dataclass(frozen=True, slots=True)
class VmcoreInfo:
    """What VMCOREINFO says.

    Attributes:
        release: as `uname -r` says it.
        build_id: hex digits, or "" before 5.9.
        page_size: in bytes.
        kaslr_offset: runtime address minus link address of the kernel image, in bytes (KERNELOFFSET).
        symbols: runtime virtual addresses.
        numbers: constants and values of variables; may be negative.
        sizes, offsets, lengths: of structs ("list_head"), members ("list_head.next") in bytes, and arrays.
    """

    release: str = ""
    build_id: str = ""
    page_size: int = 0
    kaslr_offset: int = 0
    symbols: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)


def parse_vmcoreinfo(text: bytes) -> VmcoreInfo:
    """The lines of a VMCOREINFO note; lines of another form, and whatever follows a NUL, are passed over.

    Raises LayoutError when the text names no release: then it is no VMCOREINFO.
    """
    plain: dict[str, str] = {}
    tabled: dict[str, dict[str, int]] = {kind: {} for kind in ("SYMBOL", "NUMBER", "SIZE", "OFFSET", "LENGTH")}
    for line in text[:LIMIT].split(b"\0", 1)[0].decode("latin-1").split("\n"):
        key, equals, value = line.partition("=")
        row = _TABLED.fullmatch(key)
        if row:
            number = _integer(value, 16 if row[1] == "SYMBOL" else 10)
            if number is not None:
                tabled[row[1]].setdefault(row[2], number)
        elif equals:
            plain.setdefault(key, value.strip())
    if not plain.get("OSRELEASE"):
        raise LayoutError("VMCOREINFO: no OSRELEASE line: it is damaged; give the vmlinux of this kernel with -k")
    build_id = plain.get("BUILD-ID", "").lower()
    return VmcoreInfo(
        release=plain["OSRELEASE"],
        build_id=build_id if _BUILD_ID.fullmatch(build_id) else "",
        page_size=_integer(plain.get("PAGESIZE", ""), 10) or 0,
        kaslr_offset=_integer(plain.get("KERNELOFFSET", ""), 16) or 0,
        symbols=tabled["SYMBOL"],
        numbers=tabled["NUMBER"],
        sizes=tabled["SIZE"],
        offsets=tabled["OFFSET"],
        lengths=tabled["LENGTH"],
    )


def _integer(text: str, base: int) -> int | None:
    """A number that fits the kernel's long, signed or not; some decimal ones are written as 0x... all the same."""
    text = text.strip()[:24]
    try:
        value = int(text, 16 if text.startswith("0x") else base)
    except ValueError:
        return None
    return value if -_U64 // 2 <= value < _U64 else None
