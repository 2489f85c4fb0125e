"""The user's registers of a thread whose CPU stood in the kernel's entry code, where pt_regs is not whole yet.

The CPU enters the kernel with the user's registers; the entry code pushes them one by one, on the thread's stack
or, for interrupts and exceptions, first on the CPU's entry stack, and clears none before all are pushed. So what
lies above the stack pointer is on the stack, and everything else still in the CPU. On the way out pt_regs stays as
it is until the next entry. Source: arch/x86/entry/entry_64.S, calling.h (PUSH_AND_CLEAR_REGS).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gcoretools.errors import KernelDataError, PageAbsent
from gcoretools.kernel import cpu
from gcoretools.kernel.cpu_notes import CpuNote
from gcoretools.kernel.image import Image
from gcoretools.records import Thread

# Pieces of the entry code: from a system call up to where its way out begins, and all of it.
SYSTEM_CALL = ("entry_SYSCALL_64", "syscall_return_via_sysret")
ENTRY_TEXT = ("__entry_text_start", "__entry_text_end")

# The ways out, each with the instruction that it ends with: SYSRETQ, IRETQ.
WAYS_OUT = {
    "syscall_return_via_sysret": bytes.fromhex("480f07"),
    "swapgs_restore_regs_and_return_to_usermode": bytes.fromhex("48cf"),
}
WAY_OUT_SIZE = 512

# struct cpu_entry_area: the entry stack is one page.
ENTRY_STACK_SIZE = 4096

# SYSCALL saves these two in other registers (Intel SDM, volume 2), and sets the segments.
SYSCALL_SAVES = {"rip": "rcx", "eflags": "r11", "orig_rax": "rax"}
USER_SEGMENTS = {"cs": 0x33, "ss": 0x2B}

# mov %rsp, %gs:..., with an absolute or a relative address: length by first bytes.
SAVING_RSP = {bytes.fromhex("6548892425"): 9, bytes.fromhex("65488925"): 8}


@dataclass(frozen=True, slots=True)
class AtEntry:
    """What is known of a thread at the kernel's door.

    Attributes:
        values: registers by name.
        lost: names of those that could not be recovered.
        where: the place, in words.
    """

    values: dict[str, int]
    lost: tuple[str, ...]
    where: str


def at_entry(image: Image, thread: Thread, note: CpuNote, stack_top: int) -> AtEntry | None:
    """The registers of a thread whose CPU was in kernel mode; None when its pt_regs is whole.

    Args:
        note: of the CPU that the thread was current on.
        stack_top: end of pt_regs on the thread's kernel stack (virtual address).
    Raises KernelDataError and PageAbsent when the stack cannot be read, or the CPU is on one that nobody knows.
    """
    rip, rsp = (note.registers[name] for name in image.arch.POINTERS)
    size = 8 * len(image.arch.PT_REGS)
    if stack_top - size >= rsp >= thread.stack or _on_the_way_out(image, rip):
        return None
    top = entry_stack_top(image, thread.cpu)
    if top - ENTRY_STACK_SIZE <= rsp < top:
        return _interrupted(image, note, top)
    if within(image, rip, *SYSTEM_CALL):
        return _in_system_call(image, thread, note, stack_top)
    if within(image, rip, *ENTRY_TEXT):
        raise unknown_entry(thread, rip)
    return None


def unknown_entry(thread: Thread, at: int) -> KernelDataError:
    """The error for a CPU in a piece of entry code that is not known."""
    return KernelDataError(f"CPU {thread.cpu} was in entry code at {at:#x} that this program does not know")


def _interrupted(image: Image, note: CpuNote, top: int) -> AtEntry:
    """At the door of an interrupt or an exception: the CPU itself pushed rip, cs, eflags, rsp and ss."""
    pushed = _pushed(image, note.registers["rsp"], top)
    if within(image, pushed.get("rdi", 0), *ENTRY_TEXT):
        del pushed["rdi"]  # error_entry's return address, until it has moved that below pt_regs
    values = _general(image, note) | pushed | {"orig_rax": image.arch.NO_SYSTEM_CALL}
    lost = tuple(name for name in ("rip", "cs", "eflags", "rsp", "ss") if name not in pushed)
    if values.get("cs") == USER_SEGMENTS["cs"]:
        return AtEntry(_without(values, lost), lost, "the door of an interrupt")
    lost = (*lost, "orig_rax")  # a 32-bit program makes system calls by an interrupt
    return AtEntry(_without(values, lost), lost, "the door of an interrupt")


def _in_system_call(image: Image, thread: Thread, note: CpuNote, stack_top: int) -> AtEntry:
    """Between the instruction SYSCALL and the last push."""
    registers = note.registers
    values = _general(image, note) | {name: registers[source] for name, source in SYSCALL_SAVES.items()}
    values |= USER_SEGMENTS
    rsp = _user_rsp(image, thread.cpu, registers["rip"], registers["rsp"])
    if rsp is not None:
        values["rsp"] = rsp
    if thread.stack <= registers["rsp"] < stack_top:
        values |= _pushed(image, registers["rsp"], stack_top)
    lost = () if "rsp" in values else ("rsp",)
    return AtEntry(values, lost, "the door of a system call")


def _on_the_way_out(image: Image, rip: int) -> bool:
    """Whether registers are being restored at that address, for user mode."""
    for name, last in WAYS_OUT.items():
        ahead = rip - image.symbol(name) if image.has(name) else -1
        if 0 <= ahead < WAY_OUT_SIZE:
            try:
                return ahead <= image.memory.read(image.symbol(name), WAY_OUT_SIZE).find(last)
            except (KernelDataError, PageAbsent):
                return False
    return False


def _general(image: Image, note: CpuNote) -> dict[str, int]:
    names = image.arch.PT_REGS[: image.arch.PT_REGS.index("orig_rax")]
    return {name: note.registers[name] for name in names}


def _pushed(image: Image, rsp: int, top: int) -> dict[str, int]:
    """Those of pt_regs that are on the stack already."""
    names = image.arch.PT_REGS
    count = min(max(top - rsp, 0) // 8, len(names))
    values = struct.unpack(f"<{count}Q", image.memory.read(top - 8 * count, 8 * count)) if count else ()
    return dict(zip(names[len(names) - count :], values, strict=True))


def _user_rsp(image: Image, number: int, rip: int, rsp: int) -> int | None:
    """The user's stack pointer: in the CPU until the entry code has put it aside, then in a per-CPU variable."""
    if not image.has("cpu_tss_rw", "tss_struct.x86_tss.sp2"):
        return None
    start = image.symbol("entry_SYSCALL_64")
    try:
        code = image.memory.read(start, 64)
        aside = min(start + code.index(first) + size for first, size in SAVING_RSP.items() if first in code)
        if rip < aside:
            return rsp
        tss = cpu.per_cpu(image, image.symbol("cpu_tss_rw"), number)
        return image.struct("tss_struct", tss)["x86_tss.sp2"]
    except (KernelDataError, PageAbsent, ValueError):
        return None


def entry_stack_top(image: Image, number: int) -> int:
    """Where a CPU's entry stack begins, from above; 0 on kernels without one."""
    if not image.has("cpu_tss_rw", "tss_struct.x86_tss.sp0"):
        return 0
    try:
        return image.struct("tss_struct", cpu.per_cpu(image, image.symbol("cpu_tss_rw"), number))["x86_tss.sp0"]
    except (KernelDataError, PageAbsent):
        return 0


def within(image: Image, address: int, first: str, end: str) -> bool:
    """Whether a virtual address lies from one symbol on and before another one, where the kernel has both."""
    return image.has(first, end) and image.symbol(first) <= address < image.symbol(end)


def _without(values: dict[str, int], names: tuple[str, ...]) -> dict[str, int]:
    return {name: value for name, value in values.items() if name not in names}
