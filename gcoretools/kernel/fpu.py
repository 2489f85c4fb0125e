"""The floating-point state of threads: where the kernel keeps it, and whether it is current.

Everything is found by layout: struct fpu stood in thread_struct until cb7ca40a3882 (6.16) put it behind
task_struct; it held the registers itself until 87d0e5be0fac (5.16) put a pointer to them (struct fpstate) there.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from gcoretools.arch.i387 import FSAVE_SIZE
from gcoretools.arch.xsave import AREA_LIMIT, FXSAVE_SIZE, SOFTWARE, USER_COMPONENTS, XsaveTables
from gcoretools.errors import GcoreError, KernelDataError
from gcoretools.kernel.cpu import has_feature
from gcoretools.kernel.image import Image, Struct
from gcoretools.kernel.task import is_kernel_thread
from gcoretools.records import Thread

# Components that an old kernel, which has no XFEATURE_MAX, can know.
COMPONENTS = 10
COMPONENTS_LIMIT = 63

# X86_FEATURE_FXSR: CPUs from the Pentium II on.
FXSR = 0 * 32 + 24

# include/linux/sched.h.
PF_USED_MATH = 0x2000

NEVER_USED = "the thread has never used them"

# A component whose xstate_flags have this bit is aligned in the compacted format (XSTATE_FLAG_ALIGNED64).
FLAG_ALIGNED = 1 << 1

# clear_bit of TIF_NEED_FPU_LOAD in switch_fpu_return: (lock) and byte [register + displacement], mask.
CLEAR_BIT = re.compile(rb"[\xf0\x3e]\x80(?:[\x60-\x63\x65-\x67](.)|[\xa0-\xa3\xa5-\xa7](.{4}))(.)", re.DOTALL)
CODE_SIZE = 256


@dataclass(frozen=True, slots=True)
class FpuState:
    """What memory has of a thread's floating-point state.

    Attributes:
        area: as XSAVE, FXSAVE or, when the CPU has neither, FSAVE left it.
        features: components of user mode that the thread may have, a bit each.
        pkru: where the kernel keeps it outside of the area.
        origin: where it comes from, in words; "stale" begins them when the CPU had a newer one.
    """

    area: bytes
    features: int
    pkru: int | None
    origin: str


class FpuStates:
    """Reads the saved state of the threads of one dump.

    Args:
        user_size: bytes of the XSAVE area's standard format; 0 when the CPU has no XSAVE.
    """

    def __init__(self, image: Image, user_size: int) -> None:
        self._image = image
        self.tables = xsave_tables(image, user_size) if user_size else None
        self._least = _least_size(image)
        self._area_size = _area_size(image) if user_size else self._least
        self._needs_load = _needs_load_bit(image)

    def of(self, thread: Thread, task: Struct) -> FpuState:
        """The state of a thread. Raises KernelDataError, PageAbsent or LayoutError."""
        if is_kernel_thread(task):
            raise KernelDataError("a kernel thread has no registers of user mode")
        pkru = task["thread.pkru"] if task.has("thread.pkru") else None
        features, own = self.tables.features if self.tables else 0, False
        if self._image.has("fpu.fpstate"):
            fpu = self._image.struct("fpu", self._fpu(task))
            # While a guest of KVM has the registers, the thread's own are put aside (__task_fpstate).
            aside = fpu["__task_fpstate"] if fpu.has("__task_fpstate") else 0
            own = bool(aside)
            state = self._image.struct("fpstate", aside or fpu["fpstate"])
            at, size = state.at("regs"), state["size"]
            features &= state["user_xfeatures"]
        else:
            at, size = self._area(task), self._area_size
        if not self._least <= size <= AREA_LIMIT:
            raise KernelDataError(f"the floating-point state at {at:#x} has {size} bytes: that number is damaged")
        area = self._image.memory.read(at, size)
        return FpuState(area, features, pkru, self._origin(thread, task, own))

    def _area(self, task: Struct) -> int:
        """Virtual address of the state as it was kept until 5.16."""
        if task.has("thread.fpu") and self._image.member("fpu.state").size > 8:
            return self._image.struct("fpu", self._fpu(task)).at("state")  # a pointer before 4.2
        if not _has_used(task):
            raise KernelDataError(NEVER_USED)
        if task.has("thread.i387"):
            return task.at("thread.i387")
        if task.has("thread.xstate"):
            return task["thread.xstate"]
        return self._image.struct("fpu", self._fpu(task))["state"]

    def _fpu(self, task: Struct) -> int:
        if task.has("thread.fpu"):
            return task.at("thread.fpu")
        return task.address + self._image.size("task_struct")

    def _origin(self, thread: Thread, task: Struct, aside: bool) -> str:
        if not thread.active:
            return "from memory (not running)"
        if aside or (self._needs_load and task["thread_info.flags"] & self._needs_load):
            return f"from memory (running in the kernel on CPU {thread.cpu}, saved before)"
        return f"stale: from memory as last saved; CPU {thread.cpu} had the current ones"


def _least_size(image: Image) -> int:
    """Bytes of the state where the CPU has no XSAVE; every 64-bit one has FXSAVE."""
    return FSAVE_SIZE if image.pointer_size == 4 and has_feature(image, FXSR) is False else FXSAVE_SIZE


def _has_used(task: Struct) -> bool:
    """Whether a thread ever used the FPU (used_math, tsk_used_math)."""
    return bool(task["used_math"] if task.has("used_math") else task["flags"] & PF_USED_MATH)


def xsave_tables(image: Image, user_size: int) -> XsaveTables:
    """The kernel's tables of the XSAVE area. Raises LayoutError, KernelDataError, PageAbsent."""
    by_parts = image.has("copy_xstate_to_uabi_buf")
    initial_at = image.symbol("init_fpstate") + (
        image.member("fpstate.regs").offset if image.has("fpu.fpstate") else 0
    )
    flags = _numbers(image, "xstate_flags") if image.has("xstate_flags") else ()
    tables = XsaveTables(
        size=user_size,
        features=_features(image),
        offsets=_numbers(image, "xstate_offsets"),
        sizes=_numbers(image, "xstate_sizes"),
        compacted=_numbers(image, "xstate_comp_offsets") if image.has("xstate_comp_offsets") else (),
        aligned=sum(1 << i for i, flag in enumerate(flags) if flag & FLAG_ALIGNED),
        initial=image.memory.read(initial_at, FXSAVE_SIZE if by_parts else min(user_size, AREA_LIMIT)),
        software=image.memory.read(image.symbol("xstate_fx_sw_bytes"), SOFTWARE.stop - SOFTWARE.start),
        by_parts=by_parts,
    )
    tables.check()
    return tables


def _features(image: Image) -> int:
    """The components of user mode that the kernel uses, a bit each."""
    if image.has("fpu_user_cfg", "fpu_state_config.max_features"):
        return image.struct("fpu_state_config", image.symbol("fpu_user_cfg"))["max_features"]
    return image.memory.integer(image.symbol("xfeatures_mask_all"), 8) & USER_COMPONENTS


def _area_size(image: Image) -> int:
    """Bytes that the kernel itself saves, where no thread says it."""
    if image.has("fpu_kernel_xstate_size"):
        return image.memory.integer(image.symbol("fpu_kernel_xstate_size"), 4)
    return FXSAVE_SIZE


def _numbers(image: Image, symbol: str) -> tuple[int, ...]:
    """An array of one unsigned int for each component."""
    known = image.has("XFEATURE_MAX")
    count = min(image.constant("XFEATURE_MAX"), COMPONENTS_LIMIT) if known else COMPONENTS
    return struct.unpack(f"<{count}I", image.memory.read(image.symbol(symbol), 4 * count))


def _needs_load_bit(image: Image) -> int:
    """TIF_NEED_FPU_LOAD as a mask: a running thread that has it is saved in memory (5f409e20b794, 5.2).

    Its number has changed and is in no type: the function that clears it says it. 0 when it is not known; then
    no running thread's state passes for current.
    """
    if not image.has("switch_fpu_return", "task_struct.thread_info.flags"):
        return 0
    try:
        code = image.memory.read(image.symbol("switch_fpu_return"), CODE_SIZE)
    except GcoreError:
        return 0
    found = CLEAR_BIT.search(code)
    if not found:
        return 0
    cleared = ~found[3][0] & 0xFF
    byte = int.from_bytes(found[1] or found[2], "little")
    byte -= image.member("task_struct.thread_info.flags").offset
    return cleared << 8 * byte if 0 <= byte < 8 and cleared.bit_count() == 1 else 0
