"""Page frames and their struct page, in each memory model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gcoretools.errors import LayoutError
from gcoretools.kernel.page import Pages
from gcoretools.memory import NO_FRAME
from gcoretools.paging import Words
from tests.fake_kernel import FakeKernel, Object


def words(*numbers: int) -> Words:
    return np.array(numbers, np.uint64)


def vmemmap(kernel: FakeKernel) -> int:
    """KASLR moves it; no page of it need be in the dump."""
    base = 0xFFFFF1A5C0000000
    kernel.symbol("vmemmap_base", 8, base)
    return base


def flat(kernel: FakeKernel) -> int:
    base = kernel.alloc(1 << 16)
    kernel.symbol("mem_map", 8, base)
    kernel.symbol("max_mapnr", 8, 0x400)
    return base


def nodes(kernel: FakeKernel) -> int:
    """Two nodes; the frames of the second one do not follow those of the first."""
    bases = [kernel.alloc(1 << 15), kernel.alloc(1 << 15)]
    table = [
        kernel.new("pglist_data", node_mem_map=bases[0], node_start_pfn=0, node_spanned_pages=0x100),
        kernel.new("pglist_data", node_mem_map=bases[1], node_start_pfn=0x1000, node_spanned_pages=0x100),
    ]
    kernel.symbol("node_data", 32, b"".join(each.address.to_bytes(8, "little") for each in table))
    return bases[0]


@pytest.mark.parametrize("make", [vmemmap, flat, nodes])
def test_frames_by_struct_page_and_back(tmp_path: Path, make: Callable[[FakeKernel], int]) -> None:
    kernel = FakeKernel(cpus=1)
    base = make(kernel)
    size = kernel.all_sizes["page"]
    pages = Pages(kernel.image(tmp_path))
    frames = words(0, 1, 2, 0xFF)
    addresses = pages.addresses(frames)
    assert addresses.tolist() == [base + number * size for number in (0, 1, 2, 0xFF)]
    assert pages.pfns(addresses).tolist() == frames.tolist()
    assert pages.pfns(words(base - size, base + 1, 0, (1 << 64) - 1)).tolist() == [NO_FRAME] * 4


def test_frames_of_the_second_node(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1)
    nodes(kernel)
    pages = Pages(kernel.image(tmp_path))
    inside, outside = words(0x1000, 0x10FF), words(0x100, 0xFFF, 0x1100)
    assert pages.pfns(pages.addresses(inside)).tolist() == inside.tolist()
    assert pages.addresses(outside).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("levels", "base"), [(4, 0xFFFFEA0000000000), (4, 0xFFFFE20000000000), (5, 0xFFD4000000000000)]
)
def test_a_virtual_array_at_its_fixed_address(tmp_path: Path, levels: int, base: int) -> None:
    kernel = FakeKernel(cpus=1, levels=levels)
    kernel.symbol("mem_section")
    kernel.symbol("mem_map", 8, 0)
    size = kernel.all_sizes["page"]
    kernel.tables.map(base + (kernel.tables.root >> 12) * size & ~0xFFF, 0x1000)
    pages = Pages(kernel.image(tmp_path))
    assert pages.addresses(words(5)).tolist() == [base + 5 * size]


def test_nothing_tells(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="nothing in the kernel's symbols tells where its struct pages are"):
        Pages(FakeKernel(cpus=1).image(tmp_path))


def test_sections_behind_pointers(tmp_path: Path) -> None:
    """Classic SPARSEMEM of 64 bits: a page of sections at a time; each says where frame 0 would be."""
    kernel = FakeKernel(cpus=1)
    size, each = kernel.all_sizes["page"], kernel.all_sizes["mem_section"]
    together, frames = 4096 // each, 1 << 15
    base = kernel.alloc(1 << 16, 64)
    root = kernel.alloc(4096, 4096)
    number = together + 3  # of the second pointer
    section = Object(kernel, "mem_section", root + 3 * each)
    section["section_mem_map"] = base - number * frames * size | 3
    table = [0, root, *[0] * ((1 << 19) // together - 2)]
    kernel.symbol("mem_section", 8 * len(table), b"".join(at.to_bytes(8, "little") for at in table))
    pages = Pages(kernel.image(tmp_path))
    inside = words(number * frames, number * frames + 77)
    assert pages.addresses(inside).tolist() == [base, base + 77 * size]
    assert pages.pfns(pages.addresses(inside)).tolist() == inside.tolist()
    assert pages.addresses(words(0, frames, (number + 1) * frames)).tolist() == [0, 0, 0]
