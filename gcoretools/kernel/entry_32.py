"""The user's registers of a thread whose CPU stood in a 32-bit kernel's entry code (arch/x86/entry/entry_32.S).

CPU and entry code push pt_regs onto the thread's stack one by one, with nothing between, and clear no register
before all are pushed; on the way out they are popped, and stay where they are. So what lies above the stack pointer
is on the stack, and everything else in the CPU. Since 45d7b255747c (4.19) they are pushed onto a stack of the CPU
and moved; what is where then is not known here.
"""

from __future__ import annotations

from gcoretools.dumps.dump import PAGE_SIZE
from gcoretools.errors import KernelDataError
from gcoretools.kernel.cpu_notes import CpuNote
from gcoretools.kernel.entry import ENTRY_STACK_SIZE, ENTRY_TEXT, AtEntry, entry_stack_top, unknown_entry, within
from gcoretools.kernel.image import Image
from gcoretools.kernel.pt_regs import pt_regs, read_pt_regs
from gcoretools.records import Thread

# What the CPU itself pushes, all at once.
FRAME = ("eip", "cs", "eflags", "esp", "ss")

# Bytes of code behind SYSENTER in which neither ebp nor eip is the user's yet: the vdso put another ebp there.
SYSENTER_SIZE = 0x60


def at_entry(image: Image, thread: Thread, note: CpuNote, stack_top: int) -> AtEntry | None:
    """The registers of a thread whose CPU was in kernel mode; None when its pt_regs is whole.

    Args:
        note: of the CPU that the thread was current on.
        stack_top: end of pt_regs on the thread's kernel stack (virtual address).
    Raises KernelDataError where they are not known, and PageAbsent.
    """
    eip, esp = (note.registers[name] for name in image.arch.POINTERS)
    names = pt_regs(image)
    in_part = stack_top - image.pointer_size * len(names) < esp <= stack_top
    if _is_unknown(image, thread, eip, esp, stack_top, in_part):
        raise unknown_entry(thread, eip)
    return (
        _interrupted(image, note, names, stack_top)
        if in_part
        else _behind_sysenter(image, thread, names, stack_top)
    )


def _is_unknown(image: Image, thread: Thread, eip: int, esp: int, stack_top: int, in_part: bool) -> bool:
    top = entry_stack_top(image, thread.cpu)
    if top not in (0, stack_top):
        return in_part or top - ENTRY_STACK_SIZE <= esp < top or within(image, eip, *ENTRY_TEXT)
    return image.has("sysenter_entry") and 0 <= eip - image.symbol("sysenter_entry") < SYSENTER_SIZE


def _behind_sysenter(image: Image, thread: Thread, names: tuple[str, ...], stack_top: int) -> AtEntry | None:
    """pt_regs as SYSENTER's entry code left it, not whole yet; None when it is.

    First eip and esp are places only. Then the kernel has still to fetch ebp from the user's stack, where the vdso
    put it to have the stack pointer in ebp (do_SYSENTER_32).
    """
    saved = read_pt_regs(image, names, stack_top)
    if not (saved["eip"] or saved["esp"]):
        raise KernelDataError(f"CPU {thread.cpu} had not yet saved the registers of its thread")
    if saved["ebp"] != saved["esp"] or not _in_vdso(image, thread, saved["eip"]):
        return None
    return AtEntry({n: v for n, v in saved.items() if n != "ebp"}, ("ebp",), "the door of a system call")


def _in_vdso(image: Image, thread: Thread, eip: int) -> bool:
    """Whether that is an address of the thread's vdso, where SYSENTER is."""
    if not image.has("task_struct.mm", "mm_struct.context.vdso"):
        return False
    mm = image.struct("task_struct", thread.task)["mm"]
    return mm != 0 and 0 <= eip - image.struct("mm_struct", mm)["context.vdso"] < PAGE_SIZE


def _interrupted(image: Image, note: CpuNote, names: tuple[str, ...], stack_top: int) -> AtEntry:
    """At the door of an interrupt, an exception, or a system call by int 0x80."""
    count = (stack_top - note.registers["esp"]) // image.pointer_size
    if count < len(FRAME):
        raise KernelDataError(f"the top of the kernel stack, {stack_top:#x}, has no frame of an interrupt")
    calls = image.has("system_call") and note.registers["eip"] == image.symbol("system_call")
    values = {name: note.registers[name] for name in names}
    values["orig_eax"] = values["eax"] if calls else image.arch.NO_SYSTEM_CALL
    pushed = read_pt_regs(image, names[len(names) - count :], stack_top)
    return AtEntry(values | pushed, (), "the door of an interrupt")
