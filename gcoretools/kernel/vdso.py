"""The pages of the vdso: the kernel keeps them for all processes (arch/x86/entry/vdso, arch/x86/vdso before)."""

from __future__ import annotations

import numpy as np

from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE
from gcoretools.errors import KernelDataError
from gcoretools.kernel.image import Image
from gcoretools.kernel.page import Pages
from gcoretools.memory import NO_FRAME
from gcoretools.records import Process


def vdso_page(image: Image, process: Process, number: int) -> int:
    """The page frame of a page of a process's vdso, counted from its first.

    Raises KernelDataError, LayoutError or PageAbsent when the kernel does not tell.
    """
    if image.has("mm_struct.context.vdso_image"):
        mm = image.struct("mm_struct", process.mm)
        view = image.struct("vdso_image", mm["context.vdso_image"])
        return image.memory.translate(view["data"] + number * PAGE_SIZE)[0] >> PAGE_SHIFT
    if image.has("syscall32_page"):
        return image.memory.translate(image.pointer(image.symbol("syscall32_page")))[0] >> PAGE_SHIFT
    return _of_array(image, _pages_of(image, process.bits), number)


def _pages_of(image: Image, bits: int) -> int:
    """Virtual address of the array of pointers to struct page, until 6f121e548f83 (3.16)."""
    if bits == 32 and image.has("vdso32_pages"):
        return image.symbol("vdso32_pages")
    if bits == 64 and image.has("vdso_pages"):
        return image.pointer(image.symbol("vdso_pages"))
    raise KernelDataError("nothing in the kernel's symbols tells where its vdso is")


def _of_array(image: Image, array: int, number: int) -> int:
    page = image.pointer(array + number * image.pointer_size)
    frame = int(Pages(image).pfns(np.array([page], np.uint64))[0])
    if frame == NO_FRAME:
        raise KernelDataError(f"{page:#x} is no struct page")
    return frame
