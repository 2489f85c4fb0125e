"""struct pt_regs: the registers that an entry into the kernel saves (arch/x86/include/asm/ptrace.h)."""

from __future__ import annotations

import struct

from gcoretools.kernel.image import Image

# Bits of a segment selector.
SELECTOR = 0xFFFF


def pt_regs(image: Image) -> tuple[str, ...]:
    """The registers that this kernel's struct pt_regs has, in its order."""
    arch = image.arch
    absent = {name for name in arch.SAVED_SEGMENTS if name in arch.PT_REGS and not image.has(f"pt_regs.{name}")}
    return tuple(name for name in arch.PT_REGS if name not in absent)


def read_pt_regs(image: Image, names: tuple[str, ...], end: int) -> dict[str, int]:
    """The registers of these names, which end at a virtual address; selectors are cut to what they are.

    Raises KernelDataError, PageAbsent.
    """
    size = image.pointer_size * len(names)
    values = struct.unpack(f"<{len(names)}{image.arch.CORE.word}", image.memory.read(end - size, size))
    cut = image.arch.SELECTORS
    return {name: value & SELECTOR if name in cut else value for name, value in zip(names, values, strict=True)}
