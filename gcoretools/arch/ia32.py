"""32-bit processes of a 64-bit kernel (IA32 emulation): what their cores are, as data."""

from __future__ import annotations

from gcoretools.arch.formats import CoreFormat

# struct user_regs_struct32 of arch/x86/include/asm/user32.h, and which register of the kernel's each one is.
_REGISTERS = {
    "ebx": "rbx", "ecx": "rcx", "edx": "rdx", "esi": "rsi", "edi": "rdi", "ebp": "rbp", "eax": "rax", "ds": "ds",
    "es": "es", "fs": "fs", "gs": "gs", "orig_eax": "orig_rax", "eip": "rip", "cs": "cs", "eflags": "eflags",
    "esp": "rsp", "ss": "ss",
}  # fmt: skip

# The structs are compat_elf_prstatus and compat_elf_prpsinfo of include/linux/elfcore-compat.h.
CORE = CoreFormat(
    bits=32,
    machine=3,
    registers=tuple(_REGISTERS),
    sources=_REGISTERS,
    prstatus="<iiih2xIIiiii8I",
    prstatus_end="<i",
    prpsinfo="<bcbBIHHiiii16s80s",
    id_limit=0xFFFF,
)
