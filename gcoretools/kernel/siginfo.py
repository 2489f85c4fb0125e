"""The signal that a thread is dying of, or that stopped it under its tracer (include/linux/sched/signal.h)."""

from __future__ import annotations

from gcoretools.kernel.image import Image, Struct

# siginfo_t, which is struct kernel_siginfo filled up with zeros (include/linux/signal_types.h).
SIGINFO_SIZE = 128

# signal_struct.flags: the whole group is exiting, and group_exit_code says why.
SIGNAL_GROUP_EXIT = 0x4

# The bits of an exit code that hold the signal.
SIGNAL_MASK = 0x7F


def signal_of(image: Image, task: Struct) -> tuple[int, bytes]:
    """The number of the signal, 0 for none, and its siginfo_t where the kernel keeps one, else b"".

    A thread that stands before its tracer has it behind last_siginfo. A group that a signal kills keeps the number
    alone: the rest is in a local variable of the thread that took it.
    """
    if task.has("last_siginfo") and task["last_siginfo"]:
        data = image.memory.read(task["last_siginfo"], image.arch.KERNEL_SIGINFO_SIZE)
        return int.from_bytes(data[:4], "little") & SIGNAL_MASK, data.ljust(SIGINFO_SIZE, b"\0")
    signal = image.struct("signal_struct", task["signal"])
    if signal.has("flags") and signal["flags"] & SIGNAL_GROUP_EXIT:
        return signal["group_exit_code"] & SIGNAL_MASK, b""
    return 0, b""
