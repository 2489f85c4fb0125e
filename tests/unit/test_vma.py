"""Mappings out of a tree or a list, and what kind of memory each one is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcoretools.errors import KernelDataError
from gcoretools.kernel.image import Image
from gcoretools.kernel.path import Paths, process_root
from gcoretools.kernel.vma import Mappings
from gcoretools.records import Vma
from tests.fake_kernel import FakeKernel, FakeProcess
from tests.fake_layout import MODERN

READ, WRITE, EXEC, SHARED, MAYREAD = 1, 2, 4, 8, 0x10
IO, HUGETLB, DONTDUMP = 0x4000, 0x400000, 0x4000000
RW = 0x73

# The maple tree, and the list before it.
KERNELS: dict[str, tuple[str, ...]] = {"tree": (), "list": MODERN}


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> FakeKernel:
    return FakeKernel(cpus=1, without=KERNELS[request.param], seed=7)


@pytest.fixture
def cat(kernel: FakeKernel) -> FakeProcess:
    return kernel.process(100, "cat")


def mappings(image: Image, process: FakeProcess, bits: int = 64) -> list[Vma]:
    paths = Paths(image, process_root(image, image.struct("task_struct", process.address)))
    return list(Mappings(image, process.mm.address, paths, bits))


def test_every_mapping_in_order(cat: FakeProcess, tmp_path: Path) -> None:
    for i in range(100):
        cat.map(0x400000 + i * 0x3000, 1 + i % 3)
    found = mappings(cat.kernel.image(tmp_path), cat)
    assert [(v.start, v.size) for v in found] == [(0x400000 + i * 0x3000, (1 + i % 3) << 12) for i in range(100)]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 1000)), max_size=60), st.sampled_from(sorted(KERNELS)))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_mapped_is_found(tmp_path: Path, steps: list[tuple[int, int]], name: str) -> None:
    kernel = FakeKernel(cpus=1, without=KERNELS[name])
    cat, at, wanted = kernel.process(100, "cat"), 0, []
    for gap, pages in steps:
        at += gap << 12
        cat.map(at, pages)
        wanted.append((at, pages << 12))
        at += pages << 12
    assert [(v.start, v.size) for v in mappings(kernel.image(tmp_path), cat)] == wanted


def test_a_process_that_has_unmapped_all(cat: FakeProcess, tmp_path: Path) -> None:
    assert mappings(cat.kernel.image(tmp_path), cat) == []


def test_what_is_said_of_a_file(cat: FakeProcess, tmp_path: Path) -> None:
    file = cat.kernel.file("/usr/bin/cat", mode=0o100755, number=0x1234567)
    cat.map(0x400000, 4, READ | EXEC | MAYREAD, file=file, offset=3, written=True)
    (found,) = mappings(cat.kernel.image(tmp_path), cat)
    assert found == Vma(
        start=0x400000, size=0x4000, flags=READ | EXEC | MAYREAD, category="FP", written=True, offset=0x3000,
        file=True, device=[8, 1], inode=0x1234567, mode=0o100755, name="/usr/bin/cat", faultable=True,
    )  # fmt: skip


def test_what_is_said_of_anonymous_memory(cat: FakeProcess, tmp_path: Path) -> None:
    """Its vm_pgoff is its address, not an offset."""
    cat.map(0x500000, 2, RW, offset=0x500)
    (found,) = mappings(cat.kernel.image(tmp_path), cat)
    assert found == Vma(
        start=0x500000, size=0x2000, flags=RW, category="AP", written=False, offset=0, file=False,
        device=[0, 0], inode=0, mode=0, name="", faultable=False,
    )  # fmt: skip


# vm_flags; the file's link count (None without a file) and whether it is DAX; the kind.
KINDS = [
    (RW, None, False, "AP"),
    (RW, 1, False, "FP"),
    (RW, 0, False, "FP"),
    (RW | SHARED, 1, False, "FS"),
    (RW | SHARED, 0, False, "AS"),
    (RW | SHARED, None, False, "AS"),
    (RW | HUGETLB, 0, False, "HP"),
    (RW | HUGETLB | SHARED, 0, False, "HS"),
    (RW | HUGETLB | SHARED, 1, False, "HS"),
    (RW, 1, True, "DP"),
    (RW | SHARED, 1, True, "DS"),
    (RW | HUGETLB, 1, True, "DP"),
    (RW | IO, None, False, "IO"),
    (RW | IO | SHARED, 1, False, "IO"),
    (RW | IO | HUGETLB, 1, False, "HP"),
    (RW | DONTDUMP, None, False, "AP"),
]


@pytest.mark.parametrize(("flags", "links", "dax", "kind"), KINDS)
def test_kinds(cat: FakeProcess, tmp_path: Path, flags: int, links: int | None, dax: bool, kind: str) -> None:
    file = None if links is None else cat.kernel.file("/x", links=links, flags=dax << 13)
    cat.map(0x400000, 1, flags, file=file)
    (found,) = mappings(cat.kernel.image(tmp_path), cat)
    assert found.category == kind


def special(cat: FakeProcess, start: int, name: str, fault: int = 1) -> None:
    """A mapping that the kernel made: its operations name it."""
    kernel = cat.kernel
    ops = kernel.new("vm_operations_struct", name=0x1111, fault=fault)
    mapping = kernel.new("vm_special_mapping", name=kernel.store(name.encode()))
    cat.map(start, 2, READ | EXEC | MAYREAD, vm_ops=ops, vm_private_data=mapping)


def test_special_mappings(cat: FakeProcess, tmp_path: Path) -> None:
    special(cat, 0x7FFF00000000, "[vvar]")
    special(cat, 0x7FFF00004000, "[vdso]")
    special(cat, 0x7FFF00008000, "[uprobes]", fault=0)
    found = mappings(cat.kernel.image(tmp_path), cat)
    assert [(v.name, v.category, v.faultable) for v in found] == [
        ("[vvar]", "special", True), ("[vdso]", "special", True), ("[uprobes]", "special", False),
    ]  # fmt: skip


def test_a_driver_that_names_its_mapping(cat: FakeProcess, tmp_path: Path) -> None:
    """Its private data is something else: no name is to be had there."""
    ops = cat.kernel.new("vm_operations_struct", name=0x1111)
    cat.map(0x400000, 1, vm_ops=ops, vm_private_data=0x1234)
    (found,) = mappings(cat.kernel.image(tmp_path), cat)
    assert (found.name, found.category) == ("[special]", "special")


def test_the_vdso_of_kernels_without_special_mappings(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1, without=("vm_operations_struct.name",))
    cat = kernel.process(100, "cat")
    cat.map(0x7FFF00000000, 2)
    cat.map(0x7FFF00004000, 2)
    cat.mm["context.vdso"] = 0x7FFF00004000
    assert [(v.name, v.category) for v in mappings(kernel.image(tmp_path), cat)] == [
        ("", "AP"),
        ("[vdso]", "special"),
    ]


def test_heap_and_stack(cat: FakeProcess, tmp_path: Path) -> None:
    cat.map(0x500000, 1)
    cat.map(0x600000, 4)
    cat.map(0x7FFFF000, 4)
    cat.mm["start_brk"], cat.mm["brk"], cat.mm["start_stack"] = 0x600100, 0x603000, 0x80001234
    assert [v.name for v in mappings(cat.kernel.image(tmp_path), cat)] == ["", "[heap]", "[stack]"]


def test_memory_with_a_name_of_its_own(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1)
    cat = kernel.process(100, "cat")
    cat.map(0x500000, 1, anon_name=kernel.new("anon_vma_name", name="glibc: malloc"))
    cat.map(0x600000, 1, SHARED | RW, file=kernel.file("/x"), anon_name=0x1234)
    assert [v.name for v in mappings(kernel.image(tmp_path), cat)] == ["[anon:glibc: malloc]", "/x"]


@pytest.mark.parametrize(
    ("symbols", "mode", "bits", "wanted"),
    [
        (True, 0, 64, ["[vsyscall]"]),
        (True, 1, 64, ["[vsyscall]"]),
        (True, 2, 64, []),
        (True, 0, 32, []),
        (False, 0, 64, []),
    ],
)
def test_the_gate_page(
    cat: FakeProcess, tmp_path: Path, symbols: bool, mode: int, bits: int, wanted: list[str]
) -> None:
    kernel = cat.kernel
    gate = kernel.new("vm_area_struct", vm_start=0xFFFFFFFFFF600000, vm_end=0xFFFFFFFFFF601000, vm_flags=EXEC)
    if symbols:
        kernel.symbol("vsyscall_mode", 4, mode)
        kernel.symbols["gate_vma"] = gate.address
    found = mappings(kernel.image(tmp_path), cat, bits)
    assert [v.name for v in found] == wanted
    assert all((v.category, v.start, v.size) == ("special", 0xFFFFFFFFFF600000, 0x1000) for v in found)


@pytest.mark.parametrize(("start", "end"), [(0x300000, 0x301000), (0x500000, 0x500000), (0x600000, 0x5FF000)])
def test_a_mapping_that_cannot_be(cat: FakeProcess, tmp_path: Path, start: int, end: int) -> None:
    cat.map(0x400000, 1)
    broken = cat.map(0x500000, 1)
    image = cat.kernel.image(tmp_path)
    broken["vm_start"], broken["vm_end"] = start, end
    path = tmp_path / "again"
    path.mkdir()
    cat.kernel.finish = lambda: None  # type: ignore[method-assign]
    image = cat.kernel.image(path)
    with pytest.raises(KernelDataError, match=f"vm_area_struct at {broken.address:#x} is out of order"):
        mappings(image, cat)


def test_a_list_that_leads_back(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1, without=MODERN)
    cat = kernel.process(100, "cat")
    first, last = cat.map(0x400000, 1), cat.map(0x500000, 1)
    kernel.finish()
    last["vm_next"] = first
    kernel.finish = lambda: None  # type: ignore[method-assign]
    with pytest.raises(KernelDataError, match="out of order"):
        mappings(kernel.image(tmp_path), cat)


def test_what_is_read_before_the_damage_is_given(cat: FakeProcess, tmp_path: Path) -> None:
    cat.map(0x400000, 1)
    cat.map(0x500000, 1, file=None, vm_file=0x1234)
    image = cat.kernel.image(tmp_path)
    paths = Paths(image, process_root(image, image.struct("task_struct", cat.address)))
    given_ = iter(Mappings(image, cat.mm.address, paths, 64))
    assert next(given_).start == 0x400000
    with pytest.raises(KernelDataError, match="file at 0x1234"):
        next(given_)
