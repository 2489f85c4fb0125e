"""Swap entries of every encoding, and what their types mean on kernels old and new."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcoretools.arch.swap_format import SWAP_FORMATS, SwapFormat
from gcoretools.kernel.image import Image
from gcoretools.kernel.swap import entry
from gcoretools.kernel.swap.entry import SwapEntries
from gcoretools.layout.layout import Layout, Member
from tests.fake_kernel import FakeKernel

# What kernels of these releases have of the signs, with everything configured in.
RELEASES: dict[str, tuple[str, ...]] = {
    "2.6.18": ("migrate_pages",),
    "2.6.32": ("migrate_pages", "memory_failure", "task_struct.real_cred"),
    "4.19": ("migrate_pages", "memory_failure", "task_struct.real_cred", "l1tf_mitigation", "migrate_vma_setup"),
    "5.15": ("migrate_pages", "memory_failure", "l1tf_mitigation", "migrate_vma_setup", "xarray.xa_head",
             "make_device_exclusive", "make_device_exclusive_range"),
    "6.1": ("migrate_pages", "memory_failure", "l1tf_mitigation", "migrate_vma_setup", "xarray.xa_head",
            "make_device_exclusive", "make_device_exclusive_range", "PG_anon_exclusive", "mm_struct.mm_mt"),
    "6.1 cloud": ("migrate_pages", "l1tf_mitigation", "migrate_vma_setup", "xarray.xa_head", "PG_anon_exclusive",
                  "mm_struct.mm_mt"),
    "6.12": ("migrate_pages", "memory_failure", "l1tf_mitigation", "migrate_vma_setup", "xarray.xa_head",
             "make_device_exclusive", "make_device_exclusive_range", "PG_anon_exclusive", "mm_struct.mm_mt",
             "percpu_counter"),
    "7.2": ("migrate_pages", "memory_failure", "l1tf_mitigation", "migrate_vma_setup", "xarray.xa_head",
            "make_device_exclusive", "PG_anon_exclusive", "mm_struct.mm_mt", "percpu_counter"),
}  # fmt: skip

# The highest types of each, up to 31: Swapped, Migration, Exclusive, poisoned (X), Private, marKer.
HIGHEST = {
    "2.6.18": "SSSSSSMM",
    "2.6.32": "SSSSSXMM",
    "4.19": "SSSXMMPP",
    "5.15": "SXMMPPEE",
    "6.1": "XMMMPPEEKX",
    "6.1 cloud": "SSSMMMKX",
    "6.12": "XMMMPPEEK",
    "7.2": "XMMMPPEK",
}
LETTERS = "SMEXPK"


def image_of(folder: Path, signs: tuple[str, ...], levels: int = 4) -> Image:
    """A kernel that has just these."""
    kernel = FakeKernel(cpus=1, levels=levels, inverted="l1tf_mitigation" in signs)
    image = kernel.image(folder)
    members = {name: Member(0, 96) for name in (*signs, "mm_struct.rss_stat") if "." in name}
    symbols = {name: 1 for name in signs if "." not in name and not name.startswith("PG_")}
    sizes = {name: 32 for name in signs if name == "percpu_counter"}
    constants = {name: 19 for name in signs if name.startswith("PG_")}
    return Image(image.dump, replace(image.kernel, layout=Layout(members, sizes, constants, symbols)))


def encoded(form: SwapFormat, type_: int, offset: int) -> int:
    """A page-table entry, written from the description of the format."""
    bits = offset ^ ((1 << form.offset_bits) - 1) if form.inverted else offset
    return type_ << form.type_shift | bits << form.offset_shift


@pytest.mark.parametrize("release", RELEASES)
def test_the_highest_types_of(release: str, tmp_path: Path) -> None:
    entries = SwapEntries(image_of(tmp_path, RELEASES[release]))
    all_types = np.arange(32, dtype=np.uint64) << np.uint64(58)
    shown = "".join(LETTERS[kind] for kind in entries.kinds(all_types))
    assert shown == "S" * (32 - len(HIGHEST[release])) + HIGHEST[release]


# Entries as pgtable_64.h lays them out: the page-table entry, its type and its offset.
WRITTEN = [
    ("7.2", (~0x10 & (1 << 50) - 1) << 9, 0, 0x10),
    ("6.12", 3 << 59 | (~0x1234 & (1 << 50) - 1) << 9, 3, 0x1234),
    ("6.12", 3 << 59 | (~0x1234 & (1 << 50) - 1) << 9 | 0xE, 3, 0x1234),  # exclusive, write-protected, soft-dirty
    ("2.6.32", 0x1234 << 9 | 3 << 1, 3, 0x1234),
    ("2.6.18", 0x1234 << 8 | 3 << 1, 3, 0x1234),
]


@pytest.mark.parametrize(("release", "raw", "type_", "offset"), WRITTEN)
def test_an_entry_of_the_page_table(release: str, raw: int, type_: int, offset: int, tmp_path: Path) -> None:
    found = SwapEntries(image_of(tmp_path, RELEASES[release])).of_table(np.array([raw], np.uint64))
    assert entry.types(found).tolist() == [type_]
    assert entry.offsets(found).tolist() == [offset]


@pytest.mark.parametrize(("release", "tag"), [("6.12", 1), ("2.6.32", 2)])
def test_a_value_of_a_page_cache(release: str, tag: int, tmp_path: Path) -> None:
    """An xarray's value is the entry with bit 0 set above it; an exceptional entry of a radix tree has bit 1."""
    width = 63 if tag == 1 else 62
    value = (5 << (width - 5) | 0x777) << tag | tag
    found = SwapEntries(image_of(tmp_path, RELEASES[release])).of_cache(np.array([value], np.uint64))
    assert (entry.types(found).tolist(), entry.offsets(found).tolist()) == ([5], [0x777])


@pytest.mark.parametrize(("levels", "bits"), [(4, 34), (5, 40)])
def test_the_frame_of_a_migration_entry_has_bits_above_it(levels: int, bits: int, tmp_path: Path) -> None:
    entries = SwapEntries(image_of(tmp_path, RELEASES["6.12"], levels))
    young_and_dirty = 3 << bits
    found = np.array([28 << 58 | young_and_dirty | 0x54321], np.uint64)
    assert entries.frames(found).tolist() == [0x54321]


FORMATS = [form for rows in SWAP_FORMATS.values() for _, form in rows]


@given(st.sampled_from(FORMATS), st.data())
def test_formats_do_not_overlap(form: SwapFormat, data: st.DataObject) -> None:
    """Whatever type and offset, the bits by which the CPU and the kernel tell a page that is there stay clear."""
    type_ = data.draw(st.integers(0, (1 << form.type_bits) - 1))
    offset = data.draw(st.integers(0, (1 << form.offset_bits) - 1))
    raw = encoded(form, type_, offset)
    assert not raw & 1
    assert raw < 1 << 64
    assert raw >> form.type_shift & ((1 << form.type_bits) - 1) == type_


@pytest.mark.parametrize("arch", {name for name, _ in SWAP_FORMATS})
def test_every_kernel_has_a_format(arch: str) -> None:
    """The last row of each asks for nothing."""
    assert all(rows[-1][0] == () for (name, _), rows in SWAP_FORMATS.items() if name == arch)
