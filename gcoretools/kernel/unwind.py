"""The kernel stack of a sleeping thread, left frame by frame up to the system call's entry.

Kernels up to 4.15 save no callee-saved registers in pt_regs when a thread makes a plain system call: the functions
that use them push them, each where its compiler chose, and the call-frame information says where.
Source: arch/x86/include/asm/switch_to.h, struct inactive_task_frame; 21d375b6b34f (4.16) ended it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from gcoretools.errors import KernelDataError, PageAbsent
from gcoretools.kernel.image import Image
from gcoretools.records import Thread

if TYPE_CHECKING:
    from gcoretools.layout.cfi import Row

# DWARF numbers of what a function must leave as it found them (System V ABI for AMD64, figure 3.36).
CALLEE_SAVED = {"rbx": 3, "rbp": 6, "r12": 12, "r13": 13, "r14": 14, "r15": 15}
STACK_POINTER = 7
RETURN_ADDRESS = 16

# The switch frame's own names of them.
SWITCH_FRAME = {"rbx": "bx", "rbp": "bp", "r12": "r12", "r13": "r13", "r14": "r14", "r15": "r15"}

# No kernel stack has room for more, or more bytes.
FRAMES_LIMIT = 512
STACK_LIMIT = 1 << 16


class Rules(Protocol):
    """Where rows come from: gcoretools.layout.cfi.CallFrames is one."""

    def row(self, pc: int) -> Row:
        """How to leave the function at link-time address `pc`. Raises LayoutError."""

    def body(self, pc: int) -> int:
        """Where in the function at link-time address `pc` most registers are saved. Raises LayoutError."""


@dataclass
class Frame:
    """A function that waits for another one to return.

    Attributes:
        pc: where it goes on (runtime address).
        sp: its stack pointer then.
        registers: those that calls preserve, by DWARF number; what is not known is absent.
        lost: why not, by DWARF number.
    """

    pc: int
    sp: int
    registers: dict[int, int]
    lost: dict[int, str] = field(default_factory=dict)

    @property
    def callee_saved(self) -> dict[str, int]:
        """The registers by name."""
        return {name: self.registers[n] for name, n in CALLEE_SAVED.items() if n in self.registers}


def callee_saved(image: Image, thread: Thread, cfi: Rules, entry: int) -> dict[str, int]:
    """rbx, rbp and r12 to r15 of a sleeping thread, as they were when it entered the kernel.

    Args:
        cfi: of the thread's kernel.
        entry: virtual address from which on the entry code keeps its own: where pt_regs begins.
    Returns: those that are known; `entry_frame(...).lost` says why of the others.
    Raises KernelDataError, PageAbsent and LayoutError when the stack cannot be followed up to there.
    """
    return entry_frame(image, thread, cfi, entry).callee_saved


def entry_frame(image: Image, thread: Thread, cfi: Rules, entry: int) -> Frame:
    """The entry code's frame below all others. Raises as callee_saved does."""
    return walk(image, cfi, switch_frame(image, thread, cfi), lambda frame: frame.sp >= entry)


def walk(image: Image, cfi: Rules, frame: Frame, is_end: Callable[[Frame], bool]) -> Frame:
    """The first frame from this one on, towards callers, that is the end. Raises as callee_saved does."""
    limit = frame.sp + STACK_LIMIT
    for _ in range(FRAMES_LIMIT):
        if is_end(frame):
            return frame
        frame = _caller(image, cfi, frame, limit)
    raise KernelDataError(f"the kernel stack at {frame.sp:#x} has more than {FRAMES_LIMIT} frames")


def running_frame(registers: Mapping[str, int]) -> Frame:
    """Where a CPU was: by its registers, not behind a call."""
    known = {n: registers[name] for name, n in CALLEE_SAVED.items()}
    return Frame(registers["rip"] + 1, registers["rsp"], known)


def switch_frame(image: Image, thread: Thread, cfi: Rules) -> Frame:
    """Where the scheduler left a thread: the frame that its thread.sp names.

    Until 7b32aeadbc95 (4.9) that was in the midst of schedule(), rbp and eflags pushed (switch_to). Where code
    from there on has no symbol, the call-frame information of its whole body serves: it is the same.
    """
    at = image.struct("task_struct", thread.task)["thread.sp"]
    if not image.has("inactive_task_frame.ret_addr"):
        rbp = image.pointer(at)
        return Frame(_switch(image, cfi) + 1, at + 2 * image.pointer_size, {CALLEE_SAVED["rbp"]: rbp})
    saved = image.struct("inactive_task_frame", at)
    registers = {n: saved[SWITCH_FRAME[name]] for name, n in CALLEE_SAVED.items()}
    return Frame(saved["ret_addr"], saved.at("ret_addr") + 8, registers)


def _switch(image: Image, cfi: Rules) -> int:
    """A runtime address behind the switch to another thread."""
    if image.has("thread_return"):
        return image.symbol("thread_return")
    offset = image.kernel.kaslr_offset
    return cfi.body(image.symbol("__schedule") - offset) + offset


def _caller(image: Image, cfi: Rules, frame: Frame, limit: int) -> Frame:
    """The frame of the function that called this one, below `limit`."""
    # The call is before the address where it returns, which can be another function's when it never does.
    row = cfi.row(frame.pc - 1 - image.kernel.kaslr_offset)
    register, offset = row.cfa
    base = frame.sp if register == STACK_POINTER else frame.registers.get(register)
    if base is None:
        raise KernelDataError(f"the frame at {frame.pc:#x} counts from register {register}, which is not known")
    cfa = base + offset
    if not (frame.sp < cfa <= limit) or RETURN_ADDRESS not in row.saved:
        raise KernelDataError(f"the frame at {frame.pc:#x} does not lead to a caller on the same stack")
    found = Frame(image.pointer(cfa + row.saved[RETURN_ADDRESS]), cfa, dict(frame.registers), dict(frame.lost))
    for n in CALLEE_SAVED.values():
        if n in row.saved:
            _restore(image, found, n, cfa + row.saved[n])
        elif n in row.lost:
            found.registers.pop(n, None)
            found.lost[n] = f"the function at {frame.pc:#x} has the rule {row.lost[n]} for it"
    return found


def _restore(image: Image, frame: Frame, n: int, at: int) -> None:
    try:
        frame.registers[n] = image.pointer(at)
        frame.lost.pop(n, None)
    except (KernelDataError, PageAbsent) as error:
        frame.registers.pop(n, None)
        frame.lost[n] = str(error)
