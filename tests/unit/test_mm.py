"""What an mm_struct says of its process as a whole."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from gcoretools.kernel import mm
from gcoretools.kernel.image import Image, Struct
from tests.fake_kernel import FakeKernel, FakeProcess, Object

AT_PAGESZ, AT_EXECFN = 6, 31


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel(cpus=3)


@pytest.fixture
def cat(kernel: FakeKernel) -> FakeProcess:
    return kernel.process(100, "cat", arguments=b"cat\0/etc/motd\0")


def seen(process: FakeProcess, folder: Path) -> tuple[Image, Struct]:
    image = process.kernel.image(folder)
    return image, image.struct("mm_struct", process.mm.address)


def task_of(image: Image, process: FakeProcess) -> Struct:
    return image.struct("task_struct", process.address)


def test_page_table_and_size(cat: FakeProcess, tmp_path: Path) -> None:
    cat.map(0x400000, 3)
    cat.map(0x500000, 4)
    image, view = seen(cat, tmp_path)
    assert mm.page_table(image, view) == cat.tables.root
    assert mm.mapped(view) == 7 * 4096


def test_the_page_table_lies_anywhere(cat: FakeProcess, tmp_path: Path) -> None:
    """With page-table isolation the pgd is the second half of a pair: its address is not aligned to two pages."""
    low = cat.kernel.alloc(8192, 8192)
    cat.mm["pgd"] = low + 4096
    image, view = seen(cat, tmp_path)
    assert mm.page_table(image, view) == cat.kernel.physical(low) + 4096


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (b"cat\0/etc/motd\0", "cat\0/etc/motd\0"),
        (b"x" * 200, "x" * 79),
        (b"a\0" * 50, ("a\0" * 50)[:79]),
        (b"\xff\xfe\0", "\udcff\udcfe\0"),
        (b"", ""),
    ],
)
def test_arguments(kernel: FakeKernel, tmp_path: Path, given: bytes, wanted: str) -> None:
    image, view = seen(kernel.process(100, "cat", arguments=given), tmp_path)
    assert mm.arguments(image, view) == wanted


def test_arguments_across_pages(cat: FakeProcess, tmp_path: Path) -> None:
    cat.page(0x7FFF0000, b"." * 4086 + b"0123456789")
    cat.page(0x7FFF1000, b"abc\0")
    cat.mm["arg_start"], cat.mm["arg_end"] = 0x7FFF0FF6, 0x7FFF1004
    image, view = seen(cat, tmp_path)
    assert mm.arguments(image, view) == "0123456789abc\0"


@pytest.mark.parametrize(
    ("start", "end"), [(0x1000, 0x2000), (0x7FFFFFFF0000, 0), (1 << 63, (1 << 63) + 5), (0, (1 << 64) - 1)]
)
def test_arguments_that_are_not_there(cat: FakeProcess, tmp_path: Path, start: int, end: int) -> None:
    cat.mm["arg_start"], cat.mm["arg_end"] = start, end
    image, view = seen(cat, tmp_path)
    assert mm.arguments(image, view) == ""


def test_the_vector_ends_with_its_null(cat: FakeProcess, tmp_path: Path) -> None:
    words = [AT_PAGESZ, 4096, AT_EXECFN, 0, 0, 0]
    cat.mm["saved_auxv"] = struct.pack("<8Q", *words, 7, 7)
    _, view = seen(cat, tmp_path)
    assert mm.auxv(view, 64) == struct.pack("<6Q", *words)


def test_the_vector_of_a_32_bit_process(cat: FakeProcess, tmp_path: Path) -> None:
    words = [AT_PAGESZ, 4096, AT_EXECFN, 0, 0, 0]
    cat.mm["saved_auxv"] = struct.pack("<8I", *words, 7, 7)
    _, view = seen(cat, tmp_path)
    assert mm.auxv(view, 32) == struct.pack("<6I", *words)


def test_a_vector_without_a_null(cat: FakeProcess, tmp_path: Path) -> None:
    size = cat.kernel.all_members["mm_struct.saved_auxv"].size
    cat.mm["saved_auxv"] = b"\1" * size
    _, view = seen(cat, tmp_path)
    assert mm.auxv(view, 64) == b"\1" * size


def test_the_class_of_the_core(cat: FakeProcess, tmp_path: Path) -> None:
    compat = cat.kernel.symbol("compat_elf_format")
    for binfmt, bits in ((compat, 32), (compat + 8, 64), (0, 64)):
        cat.mm["binfmt"] = binfmt
        image, view = seen(cat, tmp_path)
        assert mm.bits(image, view, task_of(image, cat)) == bits


@pytest.mark.parametrize(
    ("members", "abi"),
    [
        ({"context.flags": 1}, "ia32"),
        ({"context.flags": 1 | 8}, "ia32"),
        ({"context.flags": 2}, "x32"),
        ({"context.ia32_compat": 17}, "ia32"),
        ({"context.ia32_compat": 30}, "x32"),
        ({}, "ia32"),
    ],
)
def test_the_kinds_of_32_bit_processes(tmp_path: Path, members: dict[str, int], abi: str) -> None:
    """By the flags of the memory's context, and by what stood there before 5.11."""
    without = {f"mm_struct.{name}" for name in ("context.flags", "context.ia32_compat") if name not in members}
    cat = FakeKernel(without=without).process(100, "cat")
    image, view = seen(cat, tmp_path)
    assert mm.abi(image, view, mm.bits(image, view, task_of(image, cat))) == "x86_64"
    cat.mm["binfmt"] = cat.kernel.symbol("compat_elf_format")
    for name, value in members.items():
        cat.mm[name] = value
    image, view = seen(cat, tmp_path)
    assert mm.abi(image, view, mm.bits(image, view, task_of(image, cat))) == abi


def test_the_class_where_the_task_names_the_loader(tmp_path: Path) -> None:
    """Until 2.6.32."""
    kernel = FakeKernel(cpus=1, without=("mm_struct.binfmt",))
    kernel.extend(task_struct__binfmt=8)
    cat, dog = kernel.process(100, "cat"), kernel.process(200, "dog")
    cat["binfmt"] = kernel.symbol("compat_elf_format")
    image = kernel.image(tmp_path)
    for process, bits in ((cat, 32), (dog, 64)):
        view = image.struct("mm_struct", process.mm.address)
        assert mm.bits(image, view, task_of(image, process)) == bits


def test_a_kernel_without_32_bit_processes(cat: FakeProcess, tmp_path: Path) -> None:
    image, view = seen(cat, tmp_path)
    assert mm.bits(image, view, task_of(image, cat)) == 64


@pytest.mark.parametrize(("flags", "wanted"), [(0x33 << 2, 0x33), (0x1FF << 2 | 3, 0x1FF), (1 << 11 | 1 << 20, 0)])
def test_the_filter(cat: FakeProcess, tmp_path: Path, flags: int, wanted: int) -> None:
    cat.mm["flags"] = flags
    image, view = seen(cat, tmp_path)
    assert mm.coredump_filter(image, view) == wanted


def test_before_there_was_a_filter(tmp_path: Path) -> None:
    image, view = seen(FakeKernel(cpus=1, without=("mm_struct.flags",)).process(100, "cat"), tmp_path)
    assert mm.coredump_filter(image, view) == 0x7F


@pytest.mark.parametrize(("filters", "wanted"), [({}, 0x3), ({0: 0x7F}, 0x7F), ({1: 0x7F, 0: 0x41}, 0x41)])
def test_filters_in_a_hash_table(tmp_path: Path, filters: dict[int, int], wanted: int) -> None:
    """RHEL 5: in any of its lists; 1 stands for another process's."""
    kernel = FakeKernel(cpus=1, without=("mm_struct.flags",))
    cat = kernel.process(100, "cat")
    kernel.extend(mm_flags__hlist=8, mm_flags__mm=8, mm_flags__flags=8)
    first = 0
    for other, flags in filters.items():
        first = kernel.new("mm_flags", hlist=first, mm=cat.mm.address + 8 * other, flags=flags).address
    kernel.symbol("mm_flags_hash", 8 << 10, bytes(8 * 77) + first.to_bytes(8, "little"))
    image, view = seen(cat, tmp_path)
    assert mm.coredump_filter(image, view) == wanted


def test_resident_memory_in_counters_of_each_cpu(cat: FakeProcess, tmp_path: Path) -> None:
    """A common count and what each CPU has not added yet (s32); those of swap entries do not count."""
    kernel = cat.kernel
    size = kernel.all_sizes["percpu_counter"]
    for index, count, shares in (
        (0, 100, (1, 2, 3)),
        (1, 50, (-4, 0, 0)),
        (2, 7777, (1, 1, 1)),
        (3, 10, (0, 0, -10)),
    ):
        counter = Object(kernel, "percpu_counter", cat.mm.at("rss_stat") + index * size)
        counter["count"], counter["counters"] = count, 0x2000 + 0x100 * index
        kernel.shares[0x2000 + 0x100 * index] = shares
    image, view = seen(cat, tmp_path)
    assert mm.resident(image, view) == (106 + 46 + 0) * 4096


def test_resident_memory_in_plain_counters(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1, without=("percpu_counter",))
    cat = kernel.process(100, "cat")
    cat.mm["rss_stat"] = struct.pack("<4q", 100, 50, 7777, -10)
    image, view = seen(cat, tmp_path)
    assert mm.resident(image, view) == 140 * 4096


def test_the_counters_where_the_types_do_not_name_them(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1, without=("percpu_counter", "MM_FILEPAGES", "MM_ANONPAGES", "MM_SHMEMPAGES"))
    cat = kernel.process(100, "cat")
    cat.mm["rss_stat"] = struct.pack("<4q", 100, 50, 7777, 8)
    image, view = seen(cat, tmp_path)
    assert mm.resident(image, view) == 158 * 4096


def test_resident_memory_never_is_negative(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1, without=("percpu_counter",))
    cat = kernel.process(100, "cat")
    cat.mm["rss_stat"] = struct.pack("<4q", 1, 2, 3, -10)
    image, view = seen(cat, tmp_path)
    assert mm.resident(image, view) == 0


def test_sizes_out_of_damaged_counters_stay_within_64_bits(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1, without=("percpu_counter",))
    cat = kernel.process(100, "cat")
    cat.mm["rss_stat"] = struct.pack("<4q", (1 << 63) - 1, 0, 0, 0)
    cat.mm["total_vm"] = (1 << 64) - 1
    image, view = seen(cat, tmp_path)
    assert mm.resident(image, view) < 1 << 64
    assert mm.mapped(view) < 1 << 64
