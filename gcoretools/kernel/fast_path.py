"""Entries into old x86_64 kernels that save only a part of pt_regs (SAVE_ARGS in arch/x86/kernel/entry_64.S).

The entry code leaves the room of rbx, rbp and r12 to r15 free and calls what is wanted from there, so that its
return address stands where pt_regs has rbx: that tells such an entry from one that saved everything. The functions
that use those registers push them: call-frame information says where. That ended with 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from gcoretools.errors import KernelDataError, LayoutError, PageAbsent
from gcoretools.kernel import cpu, pda, unwind
from gcoretools.kernel.cpu_notes import CpuNote
from gcoretools.kernel.image import Image, Struct
from gcoretools.records import Thread

# The entry code that calls so, from one symbol to another: of system calls, also those of 32-bit programs, and of
# interrupts on their way out, when another thread is to run first.
SYSTEM_CALL = ("system_call", "stub_clone")
ENTRIES = (SYSTEM_CALL, ("ia32_sysenter_target", "ia32_ptregs_common"), ("retint_careful", "retint_signal"))

# All of it up to that of exceptions, which save everything; and what an interrupt puts into orig_rax: ~vector.
ENTRY_CODE = ("system_call", "divide_error")
INTERRUPTS = range((1 << 64) - 256, (1 << 64) - 32)

# The instruction SYSCALL saves rip and eflags in registers, and nothing else (Intel SDM, volume 2). What the kernel
# shows of such a thread when it stops it is what FIXUP_TOP_OF_STACK makes up.
SYSCALL_FRAME = {"cs": 0x33, "ss": 0x2B, "rcx": (1 << 64) - 1}

CALLEE_SAVED = tuple(unwind.CALLEE_SAVED)


@dataclass(frozen=True, slots=True)
class Completed:
    """The registers of a thread that pt_regs has only a part of.

    Attributes:
        values: by name; those that could not be recovered are left out.
        how: where the others came from, in words.
        lost: the names of those that could not be recovered, and why.
    """

    values: dict[str, int]
    how: str
    lost: tuple[str, ...] = ()
    why: str = ""


def completed(
    image: Image,
    thread: Thread,
    saved: dict[str, int],
    pt_regs: int,
    cfi: unwind.Rules | None,
    note: CpuNote | None = None,
) -> Completed | None:
    """All registers of a thread; None when pt_regs is whole.

    Args:
        saved: pt_regs.
        pt_regs: its virtual address.
        cfi: call-frame information of the kernel.
        note: of the CPU that runs the thread, in kernel mode.
    Raises KernelDataError or PageAbsent when the user's stack pointer cannot be read.
    """
    slot = pt_regs + image.pointer_size * image.arch.PT_REGS.index("rbx")
    entry = next((each for each in ENTRIES if _within(image, saved["rbx"], *each)), None)
    interrupted = thread.active and saved["orig_rax"] in INTERRUPTS
    if entry is None and not interrupted:
        return None
    known = {name: value for name, value in saved.items() if name not in CALLEE_SAVED}
    if entry == SYSTEM_CALL:
        known |= SYSCALL_FRAME | {"eflags": saved["r11"], "rsp": _user_rsp(image, thread)}
    found, how, why = _pushed(image, thread, slot, cfi, note)
    return Completed(known | found, how, tuple(name for name in CALLEE_SAVED if name not in found), why)


def _pushed(
    image: Image, thread: Thread, slot: int, cfi: unwind.Rules | None, note: CpuNote | None
) -> tuple[dict[str, int], str, str]:
    """Callee-saved registers, how they were found, and why others were not.

    Args:
        slot: virtual address of the return address into the entry code.
    """
    try:
        if cfi:
            return _unwound(image, thread, slot, cfi, note), "by call-frame information", "their places are lost"
        why = "without call-frame information: give a vmlinux with --unwind"
    except (KernelDataError, LayoutError, PageAbsent) as error:
        why = str(error)
    rbp = None if thread.active else frame_pointer(image, thread, slot)
    return ({}, "", why) if rbp is None else ({"rbp": rbp}, "by frame pointers", why)


def _unwound(image: Image, thread: Thread, slot: int, cfi: unwind.Rules, note: CpuNote | None) -> dict[str, int]:
    """Callee-saved registers at the call from the entry code. Raises as unwind.callee_saved does."""
    if not thread.active:
        frame = unwind.entry_frame(image, thread, cfi, slot)
    elif note is None:
        raise KernelDataError(f"the dump has no registers of CPU {thread.cpu}")
    else:
        frame = unwind.walk(image, cfi, unwind.running_frame(note.registers), lambda f: _is_entry(image, f.pc))
    found = frame.callee_saved
    if found.get("rbp") == slot:
        # An interrupt's entry code pushes rbp there, and then makes it a frame pointer.
        found["rbp"] = image.pointer(slot)
    elif not thread.active and frame.sp != slot + image.pointer_size:
        raise KernelDataError(f"the kernel stack of thread {thread.pid} does not lead to the entry code")
    return found


def _is_entry(image: Image, pc: int) -> bool:
    """Whether a function returns to the entry code there."""
    return _within(image, pc, *ENTRY_CODE) or (image.has("ret_from_intr") and pc == image.symbol("ret_from_intr"))


def frame_pointer(image: Image, thread: Thread, slot: int) -> int | None:
    """rbp of a sleeping thread by the chain of frame pointers; None when that does not lead to the entry code.

    Args:
        slot: as above: the frame before it pushed rbp right below.
    """
    size = image.pointer_size
    at = image.struct("task_struct", thread.task)["thread.sp"]
    try:
        while at < slot:
            following = image.pointer(at)
            if at == slot - size:
                return following
            if not at < following < slot:
                return None
            at = following
    except (KernelDataError, PageAbsent):
        return None
    return None


def _user_rsp(image: Image, thread: Thread) -> int:
    """The stack pointer that SYSCALL left in the CPU: put aside for the CPU, and for the thread when it sleeps."""
    task: Struct = image.struct("task_struct", thread.task)
    if not thread.active:
        return task["thread.usersp"]
    area = pda.area(image, thread.cpu)
    if area and area.has("oldrsp"):
        return area["oldrsp"]
    return image.pointer(cpu.per_cpu(image, image.symbol("old_rsp"), thread.cpu))


def _within(image: Image, address: int, first: str, end: str) -> bool:
    return image.has(first, end) and image.symbol(first) <= address < image.symbol(end)
