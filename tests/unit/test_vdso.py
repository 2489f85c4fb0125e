"""Where the kernel has the pages of its vdso: a struct, arrays of pages, or one page."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcoretools.errors import KernelDataError
from gcoretools.kernel.vdso import vdso_page
from gcoretools.stages.tasks import Tasks
from tests.fake_kernel import FakeKernel

OLD = ("mm_struct.context.vdso_image",)


def page(kernel: FakeKernel, folder: Path, number: int = 0, bits: int = 64) -> int:
    image = kernel.image(folder)
    process = next(Tasks(image).selected(["100"]))
    process.bits = bits  # type: ignore[attr-defined]
    return vdso_page(image, process, number)  # type: ignore[arg-type]


def test_in_an_image(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1)
    data = kernel.alloc(3 * 4096, 4096)
    cat = kernel.process(100, "cat")
    cat.mm["context.vdso_image"] = kernel.new("vdso_image", data=data, size=3 * 4096)
    assert page(kernel, tmp_path, 2) == kernel.physical(data + 2 * 4096) >> 12


@pytest.mark.parametrize("bits", [64, 32])
def test_in_arrays_of_pages(tmp_path: Path, bits: int) -> None:
    """The 64-bit one is behind a pointer."""
    kernel = FakeKernel(cpus=1, without=OLD)
    kernel.process(100, "cat")
    base = kernel.alloc(1 << 16)
    kernel.symbol("mem_map", 8, base)
    kernel.symbol("max_mapnr", 8, 0x400)
    pages = b"".join((base + number * kernel.all_sizes["page"]).to_bytes(8, "little") for number in (0x70, 0x71))
    if bits == 64:
        kernel.symbol("vdso_pages", 8, kernel.store(pages))
    else:
        kernel.symbol("vdso32_pages", 16, pages)
    assert [page(kernel, tmp_path, number, bits) for number in (0, 1)] == [0x70, 0x71]
    with pytest.raises(KernelDataError, match="is no struct page"):
        page(kernel, tmp_path, 2, bits)
    with pytest.raises(KernelDataError, match="nothing in the kernel's symbols"):
        page(kernel, tmp_path, 0, 96 - bits)


def test_one_page(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1, without=OLD)
    kernel.process(100, "cat")
    at = kernel.alloc(4096, 4096)
    kernel.symbol("syscall32_page", 8, at)
    assert page(kernel, tmp_path, 0, 32) == kernel.physical(at) >> 12
