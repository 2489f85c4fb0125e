"""The general registers of a thread as its core would show them (arch/x86/kernel/ptrace.c, process_64.c)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gcoretools.errors import KernelDataError, PageAbsent
from gcoretools.kernel.cpu_notes import CpuNote, CpuNotes
from gcoretools.kernel.entry import AtEntry, at_entry
from gcoretools.kernel.image import Image, Struct
from gcoretools.kernel.segments import bases, saves_bases
from gcoretools.records import Thread


@dataclass(frozen=True, slots=True)
class Registers:
    """Registers by the kernel's names, and where they came from; where they are lost, an empty map and why."""

    values: dict[str, int]
    origin: str


class ThreadRegisters:
    """Recovers registers of the threads of one dump."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._arch = image.arch
        self._notes = CpuNotes(image)
        self._saves_bases = saves_bases(image)
        self._stack_top = stack_size(image) - stack_padding(image)

    def of(self, thread: Thread) -> Registers:
        """The registers of a thread; those of a running one out of its CPU's note where it has one."""
        note = self._notes.of(thread.cpu, thread.pid) if thread.active else None
        if note and note.user_mode:
            return Registers(
                note.registers | {"orig_rax": self._arch.NO_SYSTEM_CALL},
                f"the dump's note of CPU {thread.cpu} (running in user mode)",
            )
        try:
            top = thread.stack + self._stack_top
            door = at_entry(self._image, thread, note, top) if note else None
            saved = door.values if door else self._saved(thread)
            task = self._image.struct("task_struct", thread.task)
            return Registers(saved | self._segments(task, note), self._origin(thread, note, door))
        except (KernelDataError, PageAbsent) as error:
            return Registers({}, f"not recovered: {error}")

    def _saved(self, thread: Thread) -> dict[str, int]:
        """pt_regs at the top of the kernel stack, as the last entry from user mode left them.

        It is whole on every kernel that is read. Up to 4.15 a system call leaves rbx, rbp and r12 to r15 out:
        there, unwind.callee_saved gives them.
        """
        names = self._arch.PT_REGS
        size = 8 * len(names)
        at = thread.stack + self._stack_top - size
        values = struct.unpack(f"<{len(names)}Q", self._image.memory.read(at, size))
        registers = dict(zip(names, values, strict=True))
        if registers["cs"] not in self._arch.USER_CODE_SEGMENTS:
            raise KernelDataError(f"the top of the kernel stack, {at:#x}, holds no registers of user mode")
        return registers

    def _segments(self, task: Struct, note: CpuNote | None) -> dict[str, int]:
        """Segment registers and bases: in the CPU while the thread runs, else in its thread_struct."""
        if note:
            return {name: note.registers[name] for name in self._arch.SAVED_SEGMENTS}
        saved = {name: task[member] for name, member in self._arch.SAVED_SEGMENTS.items()}
        return saved if self._saves_bases else saved | bases(self._image, task, saved)

    def _origin(self, thread: Thread, note: CpuNote | None, door: AtEntry | None) -> str:
        if not thread.active:
            return "the kernel stack (not running)"
        if door:
            lost = f"; not recovered: {', '.join(door.lost)}" if door.lost else ""
            return f"the dump's note of CPU {thread.cpu} and its stack (at {door.where}){lost}"
        if note:
            return f"the kernel stack (running in the kernel on CPU {thread.cpu})"
        return f"the kernel stack (running on CPU {thread.cpu}, of which the dump has no note: may be old)"


def stack_size(image: Image) -> int:
    """Size of a kernel stack in bytes (THREAD_SIZE)."""
    if image.has("__start_init_stack", "__end_init_stack"):
        return image.symbol("__end_init_stack") - image.symbol("__start_init_stack")
    size: int = image.size("thread_union") if image.has("thread_union") else image.arch.STACK_SIZE
    return size


def stack_padding(image: Image) -> int:
    """Bytes between pt_regs and the top of the stack (TOP_OF_KERNEL_STACK_PADDING)."""
    padding: int = image.arch.FRED_PADDING if image.has("asm_fred_entrypoint_user") else 0
    return padding
