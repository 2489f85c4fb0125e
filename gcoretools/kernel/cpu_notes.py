"""What the dump's own notes say of each CPU's registers when it was taken.

QEMU writes one NT_PRSTATUS and one note of its own for each CPU, in their order; a crashing kernel writes one
NT_PRSTATUS for each CPU that answered, with the PID of its current task (kernel/crash_core.c: crash_save_cpu).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gcoretools.errors import KernelDataError, PageAbsent
from gcoretools.kernel.cpu import per_cpu_offset
from gcoretools.kernel.image import Image

NT_PRSTATUS = 1

# struct elf_prstatus: what stands between pr_pid and pr_reg, in bytes, beside the four timevals of two longs each.
BETWEEN = 4 * 4


@dataclass(frozen=True, slots=True)
class CpuNote:
    """A CPU's registers by name.

    Attributes:
        user_mode: the CPU ran the task's own code.
        from_qemu: QEMU wrote the note; else the crashing kernel did.
    """

    registers: dict[str, int]
    user_mode: bool
    from_qemu: bool


class CpuNotes:
    """The notes of a dump, found by CPU (QEMU) or by the thread that was running (a crashing kernel)."""

    def __init__(self, image: Image) -> None:
        notes = image.dump.notes
        self._image = image
        self._arch = image.arch
        self._word = image.arch.CORE.word
        self._regs_at = struct.calcsize(image.arch.CORE.prstatus)
        self._pid_at = self._regs_at - BETWEEN - 8 * image.pointer_size
        size = self._regs_at + image.pointer_size * len(self._arch.USER_REGS)
        self._status = [
            n.desc for n in notes if n.type == NT_PRSTATUS and len(n.desc) >= size and n.owner == "CORE"
        ]
        self._qemu = [n.desc for n in notes if n.owner == "QEMU"]

    def of(self, cpu: int, pid: int) -> CpuNote | None:
        """The registers of a CPU whose current task has that PID; None when the dump has no note of it."""
        if self._qemu:
            known = cpu < min(len(self._qemu), len(self._status))
            return self._from_qemu(cpu) if known else None
        for desc in self._status:
            if struct.unpack_from("<i", desc, self._pid_at)[0] == pid:
                return self._note(self._registers(desc), from_qemu=False)
        return None

    def _registers(self, desc: bytes) -> dict[str, int]:
        names = self._arch.USER_REGS
        return dict(zip(names, struct.unpack_from(f"<{len(names)}{self._word}", desc, self._regs_at), strict=True))

    def _from_qemu(self, cpu: int) -> CpuNote:
        """The segment bases out of QEMU's own note: in the kernel, SWAPGS has put the user's aside."""
        registers, desc = self._registers(self._status[cpu]), self._qemu[cpu]
        user_mode = registers["cs"] & 3 == 3
        if "gs_base" in registers and len(desc) >= self._arch.QEMU_KERNEL_GS_BASE + 8:
            for name, at in self._arch.QEMU_SEGMENTS.items():
                registers[name] = struct.unpack_from("<I", desc, at)[0]
            base = {n: at + self._arch.QEMU_SEGMENT_BASE for n, at in self._arch.QEMU_SEGMENTS.items()}
            registers["fs_base"] = struct.unpack_from("<Q", desc, base["fs"])[0]
            active, aside = (
                struct.unpack_from("<Q", desc, at)[0] for at in (base["gs"], self._arch.QEMU_KERNEL_GS_BASE)
            )
            # In the first and the last instructions of the kernel, SWAPGS has not yet or already been.
            registers["gs_base"] = active if user_mode or self._is_kernels(aside, cpu) else aside
        return self._note(registers, from_qemu=True)

    def _is_kernels(self, base: int, cpu: int) -> bool:
        """Whether that is the base of the kernel's own gs on a CPU."""
        try:
            return base != 0 and base == per_cpu_offset(self._image, cpu)
        except (KernelDataError, PageAbsent):
            return False

    def _note(self, registers: dict[str, int], from_qemu: bool) -> CpuNote:
        return CpuNote(registers, registers["cs"] & 3 == 3, from_qemu)
