"""Sleeping threads of real kernels, unwound by the vmlinux's call-frame information up to the system call's entry.

These kernels have saved all registers in pt_regs by then and cleared them (8e1eb3fa009a, 4.16), so that each that
the functions on the way saved must come out as zero: one wrong row, and it is a kernel pointer.
"""

import pytest

from gcoretools.dumps import open_dump
from gcoretools.kernel.image import Image
from gcoretools.kernel.registers import ThreadRegisters, stack_padding, stack_size
from gcoretools.kernel.unwind import CALLEE_SAVED, SWITCH_FRAME, callee_saved, entry_frame, switch_frame
from gcoretools.layout.resolve import resolve_kernel
from gcoretools.layout.vmlinux import Vmlinux
from gcoretools.records import Thread
from gcoretools.stages.tasks import Tasks

from .lab import Capture


@pytest.mark.lab("max", "nehalem")
def test_every_sleeping_thread_is_unwound_to_its_system_call(captured: Capture) -> None:
    dump = open_dump(captured.vmcore)
    image = Image(dump, resolve_kernel(dump))
    frames = Vmlinux(captured.vmlinux()).call_frames
    registers = ThreadRegisters(image)
    threads = [r for r in Tasks(image).everything() if isinstance(r, Thread) and not r.active]
    returns, before = set(), 0
    for thread in threads:
        entry = thread.stack + stack_size(image) - stack_padding(image) - image.size("pt_regs")
        frame = entry_frame(image, thread, frames, entry)
        assert (frame.sp, frame.lost) == (entry, {})
        assert callee_saved(image, thread, frames, entry) == dict.fromkeys(CALLEE_SAVED, 0)
        before += any(switch_frame(image, thread, frames).registers.values())
        returns.add(frame.pc)
        # What is found is what the CPU held; what the thread had stands where the walk ends.
        assert set(SWITCH_FRAME) <= set(registers.of(thread).values)
    assert len(threads) > 80
    assert before == len(threads)
    entry_code = image.symbol("entry_SYSCALL_64"), image.symbol("syscall_return_via_sysret")
    assert len(returns) == 1
    assert entry_code[0] < returns.pop() < entry_code[1]
