"""The general registers of a thread as its core would show them (arch/x86/kernel/ptrace.c, process_64.c)."""

from __future__ import annotations

from dataclasses import dataclass

from gcoretools.errors import KernelDataError, PageAbsent
from gcoretools.kernel import entry, entry_32
from gcoretools.kernel.cpu_notes import CpuNote, CpuNotes
from gcoretools.kernel.entry import AtEntry
from gcoretools.kernel.fast_path import SYSTEM_CALL, Completed, completed
from gcoretools.kernel.image import Image, Struct
from gcoretools.kernel.pt_regs import pt_regs, read_pt_regs
from gcoretools.kernel.segments import bases, saves_bases
from gcoretools.kernel.unwind import Rules
from gcoretools.records import Thread

# Who knows the entry code, by the size of a pointer.
AT_ENTRY = {8: entry.at_entry, 4: entry_32.at_entry}


@dataclass(frozen=True, slots=True)
class Registers:
    """Registers by the kernel's names, and where they came from; where they are lost, an empty map and why."""

    values: dict[str, int]
    origin: str


class ThreadRegisters:
    """Recovers registers of the threads of one dump.

    Args:
        cfi: the kernel's call-frame information: kernels up to 4.15 save only a part of the registers.
    """

    def __init__(self, image: Image, cfi: Rules | None = None) -> None:
        self._image = image
        self._cfi = cfi
        self._arch = image.arch
        self._notes = CpuNotes(image)
        self._bases_by_selector = "fs_base" in self._arch.SAVED_SEGMENTS and not saves_bases(image)
        self._pt_regs = pt_regs(image)
        self._apart = _saved_apart(image, self._pt_regs)
        self._stack_top = stack_size(image) - stack_padding(image)

    def of(self, thread: Thread) -> Registers:
        """The registers of a thread; those of a running one out of its CPU's note where it has one."""
        note = self._notes.of(thread.cpu, thread.pid) if thread.active else None
        if note and note.user_mode:
            return Registers(
                note.registers | {self._arch.SYSTEM_CALL: self._arch.NO_SYSTEM_CALL},
                f"the dump's note of CPU {thread.cpu} (running in user mode)",
            )
        try:
            task = self._image.struct("task_struct", thread.task)
            top = self._top(thread, task)
            door = AT_ENTRY[self._image.pointer_size](self._image, thread, note, top) if note else None
            saved = door.values if door else self._saved(top)
            rest = None if door else self._rest(thread, saved, top, note)
            saved = self._checked(rest.values if rest else saved, top)
            return Registers(saved | self._segments(task, note), self._origin(thread, note, door) + _told(rest))
        except (KernelDataError, PageAbsent) as error:
            return Registers({}, f"not recovered: {error}")

    def _top(self, thread: Thread, task: Struct) -> int:
        """Where pt_regs ends: what the kernel tells the CPU, where it keeps that for each thread."""
        member = self._arch.STACK_TOP
        return task[member] if member and task.has(member) else thread.stack + self._stack_top

    def _saved(self, top: int) -> dict[str, int]:
        """pt_regs at the top of the kernel stack, as the last entry from user mode left them."""
        return read_pt_regs(self._image, self._pt_regs, top)

    def _rest(self, thread: Thread, saved: dict[str, int], top: int, note: CpuNote | None) -> Completed | None:
        """What the entry code did not save of a thread; None where it saves everything."""
        if self._image.pointer_size == 4 or not self._image.has(*SYSTEM_CALL):
            return None
        at = top - self._image.pointer_size * len(self._pt_regs)
        return completed(self._image, thread, saved, at, self._cfi, note)

    def _checked(self, registers: dict[str, int], top: int) -> dict[str, int]:
        if registers["cs"] not in self._arch.USER_CODE_SEGMENTS:
            raise KernelDataError(f"the top of the kernel stack, {top:#x}, holds no registers of user mode")
        return registers

    def _segments(self, task: Struct, note: CpuNote | None) -> dict[str, int]:
        """Segment registers and bases: in the CPU while the thread runs, else in its thread_struct."""
        if note:
            return {name: note.registers[name] for name in self._apart}
        saved = {name: task[member] for name, member in self._apart.items()}
        return saved | bases(self._image, task, saved) if self._bases_by_selector else saved

    def _origin(self, thread: Thread, note: CpuNote | None, door: AtEntry | None) -> str:
        if not thread.active:
            return "the kernel stack (not running)"
        if door:
            lost = f"; not recovered: {', '.join(door.lost)}" if door.lost else ""
            return f"the dump's note of CPU {thread.cpu} and its stack (at {door.where}){lost}"
        if note:
            return f"the kernel stack (running in the kernel on CPU {thread.cpu})"
        return f"the kernel stack (running on CPU {thread.cpu}, of which the dump has no note: may be old)"


def _told(rest: Completed | None) -> str:
    """What the words about the origin of registers go on with."""
    if rest is None:
        return ""
    how = f"; callee-saved ones {rest.how}" if rest.how else ""
    return f"{how}; not recovered: {', '.join(rest.lost)} ({rest.why})" if rest.lost else how


def _saved_apart(image: Image, names: tuple[str, ...]) -> dict[str, str]:
    """The registers that are not saved in pt_regs, and the members of task_struct that have them."""
    lazy = {name for name, unless in image.arch.LAZY_SEGMENTS.items() if not image.has(unless)}
    saved = {*names} - lazy
    return {name: member for name, member in image.arch.SAVED_SEGMENTS.items() if name not in saved}


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
