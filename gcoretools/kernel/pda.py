"""The PDA: what each CPU of x86_64 kernels had for itself, until 2.6.30 (include/asm-x86_64/pda.h)."""

from __future__ import annotations

from collections.abc import Iterator

from gcoretools.errors import KernelDataError, PageAbsent
from gcoretools.kernel.image import Image, Struct

# NR_CPUS of such kernels is 255 at most.
CPU_LIMIT = 255


def areas(image: Image) -> Iterator[Struct]:
    """The struct x8664_pda of every CPU that was ever up, by its number."""
    for cpu in range(CPU_LIMIT):
        found = area(image, cpu)
        if found is None:
            return
        yield found


def area(image: Image, cpu: int) -> Struct | None:
    """The struct x8664_pda of a CPU; None where it has none, or was never up."""
    try:
        found = image.struct("x8664_pda", _address(image, cpu))
        return found if found["pcurrent"] and found["cpunumber"] == cpu else None
    except (KernelDataError, PageAbsent):
        return None


def _address(image: Image, cpu: int) -> int:
    if image.has("_cpu_pda"):
        return image.pointer(image.symbol("_cpu_pda") + cpu * image.pointer_size)
    if image.has("cpu_pda"):
        return image.symbol("cpu_pda") + cpu * image.size("x8664_pda")
    raise KernelDataError("this kernel has no PDA")
