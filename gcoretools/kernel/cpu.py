"""CPUs: per-CPU variables, and which task was current on each CPU (kernel/sched/sched.h, struct rq)."""

from __future__ import annotations

from collections.abc import Iterator

from gcoretools.errors import KernelDataError, PageAbsent
from gcoretools.kernel import pda
from gcoretools.kernel.image import Image
from gcoretools.memory import NotMapped

# NR_CPUS of the largest configuration.
CPU_LIMIT = 8192


def cpu_count(image: Image) -> int:
    """How many CPU numbers are possible."""
    if not image.has("nr_cpu_ids"):
        return max(sum(1 for _ in pda.areas(image)), 1)
    count = image.memory.integer(image.symbol("nr_cpu_ids"), 4)
    if not 0 < count <= CPU_LIMIT:
        raise KernelDataError(f"nr_cpu_ids is {count}: the dump or the layout is damaged")
    return count


def per_cpu_offset(image: Image, cpu: int) -> int:
    """What to add to the address of a per-CPU variable, in bytes (modulo the size of a pointer)."""
    if not image.has("__per_cpu_offset"):
        area = pda.area(image, cpu)
        return area["data_offset"] if area else 0
    return image.pointer(image.symbol("__per_cpu_offset") + cpu * image.pointer_size)


def per_cpu(image: Image, address: int, cpu: int) -> int:
    """Virtual address of a CPU's copy of the per-CPU variable at `address`."""
    return (address + per_cpu_offset(image, cpu)) & ((1 << 8 * image.pointer_size) - 1)


def current_tasks(image: Image) -> dict[int, int]:
    """The task_struct that was current on each CPU: {CPU: virtual address}."""
    return dict(_current_tasks(image))


def _current_tasks(image: Image) -> Iterator[tuple[int, int]]:
    for cpu in range(cpu_count(image)):
        try:
            yield cpu, image.struct("rq", per_cpu(image, image.symbol("runqueues"), cpu))["curr"]
        except (NotMapped, PageAbsent):
            continue  # a number without a CPU behind it has no runqueue


def panicked_cpu(image: Image) -> int | None:
    """The CPU that panicked, None when none did (kernel/panic.c, arch/x86/kernel/reboot.c)."""
    for symbol in ("crashing_cpu", "panic_cpu"):
        if image.has(symbol):
            cpu = int.from_bytes(image.memory.read(image.symbol(symbol), 4), "little", signed=True)
            if 0 <= cpu < cpu_count(image):
                return cpu
    return None


def current_task(image: Image) -> int:
    """The task_struct of the current context: of the CPU that panicked, else of CPU 0 (virtual address)."""
    tasks = current_tasks(image)
    cpu = panicked_cpu(image) or 0
    if cpu not in tasks:
        raise KernelDataError(f"the dump does not hold the runqueue of CPU {cpu}: name a PID")
    return tasks[cpu]


def has_feature(image: Image, number: int) -> bool | None:
    """Whether the boot CPU has an X86_FEATURE_ by its number; None when the kernel does not tell.

    The number is 32 times the word of x86_capability, plus the bit (arch/x86/include/asm/cpufeatures.h).
    """
    if not image.has("boot_cpu_data", "cpuinfo_x86.x86_capability"):
        return None
    at = image.struct("cpuinfo_x86", image.symbol("boot_cpu_data")).at("x86_capability")
    try:
        return bool(image.memory.integer(at + number // 32 * 4, 4) >> number % 32 & 1)
    except (KernelDataError, PageAbsent):
        return None
