"""The XSAVE area: what the kernel keeps of a thread, made into what a core shows of it.

The kernel saves in the standard format or in the compacted one (XSAVES, XSAVEC), and need not write components
that are in their initial state; a core always has the standard format, every component whole (Intel SDM volume 1,
chapter 13; arch/x86/kernel/fpu/xstate.c).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from gcoretools.errors import KernelDataError

# The image of FXSAVE; behind it in an XSAVE area the header (XSTATE_BV, XCOMP_BV, reserved), then components.
FXSAVE_SIZE = 512
HEADER_SIZE = 64
EXTENDED = FXSAVE_SIZE + HEADER_SIZE

# Bytes of the FXSAVE image, which hold in an XSAVE area what software puts there: XCR0 comes first.
SOFTWARE = slice(464, 512)

FP, SSE, YMM = 1 << 0, 1 << 1, 1 << 2
PKRU, CET_USER = 9, 11
MXCSR = (24, 32)

# The parts of an FXSAVE image: the components that hold it (any of them), and where it begins and ends.
LEGACY = (
    (FP, 0, 24),  # control, status and tag words, opcode, pointers
    (SSE | YMM, *MXCSR),
    (FP, 32, 160),  # st0 to st7
    (SSE, 160, 416),  # xmm0 to xmm15
)

COMPACTED = 1 << 63
ALIGNED = 64

# Components of user mode: x87, SSE, AVX, MPX, AVX-512, PKRU, AMX, APX; the others are the kernel's own
# (XFEATURE_MASK_USER_SUPPORTED in arch/x86/include/asm/fpu/xstate.h).
USER_COMPONENTS = 0x0E02FF

# The largest area that any CPU is known to have is some 11 KiB (AMX).
AREA_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True)
class XsaveTables:
    """The kernel's own tables of the XSAVE area on this machine; sizes and offsets in bytes.

    Attributes:
        size: of the standard format with all components of user mode.
        features: those components, a bit each.
        offsets, sizes: of each component by its number, in the standard format.
        compacted: its offsets in the compacted format, where the kernel keeps them in a table (until 7aa5128b5fea,
            5.18); else they follow from xcomp_bv.
        aligned: components that the compacted format aligns, a bit each.
        initial: init_fpstate: the image of an area in its initial state.
        software: what the kernel puts into bytes SOFTWARE.
        by_parts: a core's bytes are those of the saved components and zeros (eb6f51723f03, 5.14). Before, what
            lies between and behind them is as the area has it, or init_fpstate when the area is compacted.
    """

    size: int
    features: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    compacted: tuple[int, ...]
    aligned: int
    initial: bytes
    software: bytes
    by_parts: bool

    def extended(self, features: int) -> Iterator[int]:
        """The numbers of those of these components that are not part of the FXSAVE image."""
        return (i for i in range(2, len(self.offsets)) if features >> i & 1)

    def check(self) -> None:
        """Raises KernelDataError for tables that describe no area."""
        if not EXTENDED <= self.size <= AREA_LIMIT:
            raise KernelDataError(f"the kernel's XSAVE area has {self.size} bytes: that number is damaged")
        for i in self.extended(self.features):
            if not EXTENDED <= self.offsets[i] <= self.offsets[i] + self.sizes[i] <= self.size:
                raise KernelDataError(f"component {i} of the XSAVE area lies outside of it: the table is damaged")


def fxsave(area: bytes, tables: XsaveTables | None) -> bytes:
    """The FXSAVE image of NT_PRFPREG and NT_PRXFPREG (xfpregs_get).

    Args:
        area: as the kernel saved it.
        tables: None when the CPU has no XSAVE; the area is that image then.
    Raises KernelDataError when the area is too short.
    """
    _check(area, EXTENDED if tables else FXSAVE_SIZE)
    if tables is None:
        return area[:FXSAVE_SIZE]
    image = bytearray(FXSAVE_SIZE if tables.by_parts else area[:FXSAVE_SIZE])
    _put_legacy(image, area, present(area) & (FP | SSE), tables, keep_mxcsr=not tables.by_parts)
    return bytes(image)


def xstate(area: bytes, tables: XsaveTables, features: int, pkru: int | None) -> bytes:
    """NT_X86_XSTATE (xstateregs_get, copy_xstate_to_uabi_buf).

    Args:
        area: as the kernel saved it, in either format.
        features: components of user mode that this thread may have, a bit each.
        pkru: the thread's PKRU where the kernel keeps it elsewhere.
    Raises KernelDataError when the area is too short for what its header says.
    """
    _check(area, EXTENDED)
    saved, raw = present(area) & features, not _layout(area) & COMPACTED
    if tables.by_parts:
        image = bytearray(tables.size)
    else:
        image = bytearray((area if raw else tables.initial)[: tables.size].ljust(tables.size, b"\0"))
    _put_legacy(image, area, saved, tables, keep_mxcsr=raw and not tables.by_parts)
    own_pkru = struct.pack("<Q", pkru or 0)
    image[SOFTWARE] = tables.software
    image[FXSAVE_SIZE:EXTENDED] = struct.pack("<Q", saved).ljust(HEADER_SIZE, b"\0")
    for i in tables.extended(tables.features & features):
        at, size = tables.offsets[i], tables.sizes[i]
        if saved >> i & 1:
            kept_apart = i == PKRU and pkru is not None
            image[at : at + size] = own_pkru.ljust(size, b"\0")[:size] if kept_apart else component(area, tables, i)
        elif raw:
            image[at : at + size] = bytes(size)
    return bytes(image)


def component(area: bytes, tables: XsaveTables, number: int) -> bytes:
    """A component of an area, wherever its format puts it. Raises KernelDataError when it is not in there."""
    layout = _layout(area)
    if not layout & COMPACTED:
        at = tables.offsets[number]
    elif tables.compacted:
        at = tables.compacted[number]
    else:
        at = _compacted_offset(layout, tables, number)
    found = area[at : at + tables.sizes[number]]
    if at < EXTENDED or len(found) != tables.sizes[number]:
        raise KernelDataError(f"component {number} lies outside of the saved XSAVE area: its header is damaged")
    return found


def layout_note(tables: XsaveTables) -> bytes:
    """NT_X86_XSAVE_LAYOUT: struct x86_xfeat_component (type, size, offset, flags) of each component."""
    rows = ((i, tables.sizes[i], tables.offsets[i], 0) for i in tables.extended(tables.features))
    return b"".join(struct.pack("<IIII", *row) for row in rows)


def _put_legacy(image: bytearray, area: bytes, saved: int, tables: XsaveTables, *, keep_mxcsr: bool) -> None:
    """The FXSAVE part: what is present from the area, the rest in its initial state."""
    for components, start, end in LEGACY:
        from_area = saved & components or (keep_mxcsr and (start, end) == MXCSR)
        image[start:end] = (area if from_area else tables.initial)[start:end]


def present(area: bytes) -> int:
    """XSTATE_BV: which components are not in their initial state."""
    bits: int = struct.unpack_from("<Q", area, FXSAVE_SIZE)[0]
    return bits


def _layout(area: bytes) -> int:
    """XCOMP_BV: the format, and what a compacted area has room for."""
    bits: int = struct.unpack_from("<Q", area, FXSAVE_SIZE + 8)[0]
    return bits


def _compacted_offset(layout: int, tables: XsaveTables, number: int) -> int:
    if not layout >> number & 1:
        raise KernelDataError(f"the saved XSAVE area has no room for its component {number}: its header is damaged")
    at = EXTENDED
    for i in tables.extended(layout):
        if tables.aligned >> i & 1:
            at += -at % ALIGNED
        if i == number:
            break
        at += tables.sizes[i]
    return at


def _check(area: bytes, least: int) -> None:
    if len(area) < least:
        raise KernelDataError(f"the saved floating-point state has {len(area)} bytes instead of {least}")
