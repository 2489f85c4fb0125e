"""Tasks and thread groups (include/linux/sched.h, kernel/pid.c)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gcoretools.errors import SelectorError
from gcoretools.kernel.image import Image, Struct

# include/linux/sched.h
PF_KTHREAD = 0x00200000
EXIT_STATES = 0x30

# Bits of task_struct.__state, lowest first, as ps shows them (fs/proc/array.c); exit states come first there.
STATE_LETTERS = ((0x01, "S"), (0x02, "D"), (0x04, "T"), (0x08, "t"), (0x40, "P"))
TASK_NOLOAD = 0x400

DEFAULT_PRIORITY = 120

# Decimal or hexadecimal digits; no number in the kernel has more.
_SELECTOR = re.compile(r"(0[xX])?[0-9a-fA-F]{1,20}")


def leaders(image: Image) -> Iterator[Struct]:
    """The leader of every thread group, kernel threads too, in the kernel's order; not the idle tasks."""
    init = image.struct("task_struct", image.symbol("init_task"))
    return image.list(init.at("tasks"), "task_struct.tasks")


def threads(image: Image, leader: Struct) -> Iterator[Struct]:
    """Every thread of a group that has not exited, in the kernel's order."""
    return (task for task in _group(image, leader) if not task["exit_state"] & EXIT_STATES)


def _group(image: Image, leader: Struct) -> Iterator[Struct]:
    if image.has("signal_struct.thread_head", "task_struct.thread_node"):
        head = image.struct("signal_struct", leader["signal"]).at("thread_head")
        yield from image.list(head, "task_struct.thread_node")
        return
    yield leader  # the ring passes through the leader itself
    if leader.has("thread_group"):
        yield from image.list(leader.at("thread_group"), "task_struct.thread_group")
    else:
        yield from _by_number(image, leader)


def without_thread_groups(image: Image) -> bool:
    """Whether the kernel is of the time before a thread group was a list (2.6.17).

    Nothing in types or symbols names what else was other than later: its core dumper's choice of memory, and that
    this wrote NT_TASKSTRUCT.
    """
    return not image.has("task_struct.thread_group") and not image.has("task_struct.thread_node")


def last_cpu(image: Image, thread: Struct) -> int:
    """The CPU that a thread runs on or ran on last: in task_struct, or at the low end of its kernel stack."""
    if thread.has("cpu"):
        return thread["cpu"]
    return image.struct("thread_info", thread["stack"])["cpu"] if image.has("thread_info.cpu") else 0


def _by_number(image: Image, leader: Struct) -> Iterator[Struct]:
    """The other threads of a group until 2.6.17: those whose struct pid of the group's kind has the same number."""
    offset = image.member("task_struct.pids").offset + image.constant("PIDTYPE_TGID") * image.size("pid")
    offset += image.member("pid.pid_list").offset
    nodes = image.nodes(leader.address + offset)
    return (image.struct("task_struct", node - offset) for node in nodes)


def is_kernel_thread(task: Struct) -> bool:
    """Whether a task is the kernel's own."""
    return bool(task["flags"] & PF_KTHREAD)


def state_letter(task: Struct) -> str:
    """The task's state as ps(1) shows it; Z for any that has exited."""
    if task["exit_state"] & EXIT_STATES:
        return "Z"
    state = task["__state"] & 0xFFFFFFFF
    if state & TASK_NOLOAD and state & 0x02:
        return "I"
    return next((letter for bit, letter in STATE_LETTERS if state & bit), "R")


def nice(task: Struct) -> int:
    """The task's nice value, -20 to 19."""
    return task["static_prio"] - DEFAULT_PRIORITY


def times(image: Image, thread: Struct, members: list[Struct]) -> list[int]:
    """utime, stime, cutime and cstime of NT_PRSTATUS, in nanoseconds.

    Args:
        members: the threads of its group; for the leader the times of all count, and of those that have exited.
    """
    signal = image.struct("signal_struct", thread["signal"])
    leads = thread["group_leader"] == thread.address
    counted = [*members, signal] if leads else [thread]
    times = [sum(each[name] for each in counted) for name in ("utime", "stime")]
    unit = _time_unit(image)
    return [time * unit % (1 << 64) for time in (*times, signal["cutime"], signal["cstime"])]


def _time_unit(image: Image) -> int:
    """Nanoseconds in what tasks count: one since 4.11, ticks before.

    No struct tells which; kernels before NT_FILE (3.7) count ticks for certain.
    """
    if image.has("elf_note_info.files") or not image.has("tick_nsec"):
        return 1
    return image.memory.integer(image.symbol("tick_nsec"), image.pointer_size)


def find(image: Image, selectors: list[str]) -> list[tuple[Struct, Struct]]:
    """The thread and the leader of its group for each selector, in the order given.

    Args:
        selectors: decimal PIDs (of any thread) or hexadecimal addresses of a task_struct; digits alone are a PID.
    Raises SelectorError for one that names no task.
    """
    found = dict[str, tuple[Struct, Struct]]()
    open_ = set(selectors)
    for leader in leaders(image):
        if not open_:
            break
        for task in _group(image, leader):
            for selector in [s for s in open_ if _is_named(task, s)]:
                found[selector] = task, leader
                open_.discard(selector)
    for selector in selectors:
        if selector not in found:
            raise SelectorError(_not_found(selector))
    return [found[selector] for selector in selectors]


def find_address(image: Image, address: int) -> tuple[Struct, Struct]:
    """The task at a virtual address and the leader of its group; the idle tasks are found, too."""
    task = image.struct("task_struct", address)
    return task, image.struct("task_struct", task["group_leader"])


def _is_named(task: Struct, selector: str) -> bool:
    if selector.isdecimal():
        return task["pid"] == int(selector)
    return task.address == int(selector, 16)


def _not_found(selector: str) -> str:
    if selector.isdecimal():
        return f"pid {selector}: no thread of that number is in the dump (gc-tasks -a lists all)"
    return f"task {selector}: there is no task_struct at that address (gc-tasks -a lists all)"


def check_selectors(selectors: list[str]) -> None:
    """Raises SelectorError for a selector that is neither a PID nor an address."""
    for selector in selectors:
        if not _SELECTOR.fullmatch(selector):
            raise SelectorError(f"{selector!r} is neither a PID nor the address of a task_struct")
