"""The x87 state as 32-bit cores show it: struct user_i387_ia32_struct (arch/x86/kernel/fpu/regset.c)."""

from __future__ import annotations

import struct

from gcoretools.errors import KernelDataError

# The head of an FXSAVE image: control, status and abridged tag word, opcode, instruction and operand pointer.
FXSAVE_HEAD = struct.Struct("<HHBxHQQ")
# ... with a 32-bit kernel's FXSAVE: each pointer is an offset of 4 bytes and a selector of 2.
FXSAVE_HEAD_32 = struct.Struct("<HHBxHIHxxIHxx")
ST_SPACE, SLOT, REGISTER = 32, 16, 10

# cwd, swd, twd, fip, fcs, foo, fos; then eight registers of 10 bytes each.
FSAVE_HEAD = struct.Struct("<7I")
FSAVE_SIZE = 108

VALID, ZERO, SPECIAL, EMPTY = range(4)
RESERVED = 0xFFFF0000


def fsave(fxsave: bytes, segments: tuple[int, int] | None, *, by_stack: bool = True) -> bytes:
    """NT_PRFPREG of a 32-bit process: the 108 bytes of FSAVE out of an FXSAVE image (fpregs_get).

    Args:
        fxsave: at least the first 160 bytes.
        segments: fcs and fos, of 32 bits each, as a 64-bit kernel makes them up; None with a 32-bit kernel, whose
            FXSAVE has saved the true ones.
        by_stack: the tag of a register is that of its own value; 2.6.9 took the values in the order of the
            stack for those of the registers.
    Raises KernelDataError when the image is too short.
    """
    _check(fxsave)
    if segments:
        cwd, swd, present, _, ip, dp = FXSAVE_HEAD.unpack_from(fxsave)
        pointers = (ip & 0xFFFFFFFF, segments[0] & 0xFFFFFFFF, dp & 0xFFFFFFFF, segments[1])
    else:
        cwd, swd, present, opcode, ip, cs, dp, ds = FXSAVE_HEAD_32.unpack_from(fxsave)
        pointers = (ip, cs | opcode << 16, dp, ds)
    registers = [fxsave[ST_SPACE + SLOT * i :][:REGISTER] for i in range(8)]
    head = FSAVE_HEAD.pack(
        cwd | RESERVED, swd | RESERVED, _tags(registers, swd >> 11 & 7 if by_stack else 0, present), *pointers
    )
    return head + b"".join(registers)


def _tags(registers: list[bytes], top: int, present: int) -> int:
    """The tag word, two bits for each physical register, out of the abridged one and the values from `top` on."""
    tags = RESERVED
    for i in range(8):
        tag = _tag(registers[(i - top) & 7]) if present >> i & 1 else EMPTY
        tags |= tag << 2 * i
    return tags


def _tag(register: bytes) -> int:
    significand, exponent = struct.unpack("<QH", register)
    exponent &= 0x7FFF
    if exponent == 0 and significand == 0:
        return ZERO
    return VALID if exponent not in (0, 0x7FFF) and significand >> 63 else SPECIAL


def fxsave_head(fxsave: bytes) -> bytes:
    """NT_PRFPREG of 32-bit kernels before 2.6.25: the head as FXSAVE left it, and the registers (copy_fpu_fxsave).

    Raises KernelDataError when the image is too short.
    """
    _check(fxsave)
    return fxsave[: FSAVE_HEAD.size] + _registers(fxsave)


def _check(fxsave: bytes) -> None:
    if len(fxsave) < ST_SPACE + 8 * SLOT:
        raise KernelDataError(f"the FXSAVE image has {len(fxsave)} bytes: it is cut")


def _registers(fxsave: bytes) -> bytes:
    return b"".join(fxsave[ST_SPACE + SLOT * i :][:REGISTER] for i in range(8))
