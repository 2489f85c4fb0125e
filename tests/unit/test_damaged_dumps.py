"""A dump is untrusted, too: whatever the kernel's structs say, every stage ends soon, with a sentence or well."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcoretools.core.writer import new_file
from gcoretools.dumps import open_dump
from gcoretools.errors import GcoreError
from gcoretools.kernel.core_rules import core_rules
from gcoretools.kernel.image import Image
from gcoretools.kernel.page_state import STORED
from gcoretools.kernel.swap.swap import Swap
from gcoretools.records import Process
from gcoretools.stages.ahead import read_here
from gcoretools.stages.elf import write_cores
from gcoretools.stages.maps import add_mappings
from gcoretools.stages.pages import add_pages
from gcoretools.stages.regs import Recovery, add_registers
from gcoretools.stages.tasks import Tasks
from tests.fake_kernel import FakeKernel, FakeProcess, Object
from tests.fake_layout import MODERN
from tests.fake_machine import describe
from tests.fake_swap import FakeSwap, deflated, swap_entries
from tests.written_streams import header, packed, read, wires

# No stage needs so long for a dump of some pages, in seconds.
TIME_LIMIT = 20

# What damage looks like: small numbers, the edges of words, and addresses of nothing.
VALUES = st.sampled_from(
    [0, 1, 2, 3, 0xFF, 0x1000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 39, (1 << 47) - 1, 1 << 47, 1 << 63,
     (1 << 63) - 1, (1 << 64) - 1, (1 << 64) - 4096, 0xDEAD << 48, 0xFFFF888000000000, 0xFFFF888001000000]
)  # fmt: skip


def kernel_of(old: bool) -> FakeKernel:
    """The fake machine's kernel, or one of before the maple tree, written but not yet a file."""
    kernel = FakeKernel(cpus=2, without=MODERN if old else ())
    cat = describe(kernel)
    if not old:
        swap_out(kernel, cat)
    kernel.finish()
    return kernel


def swap_out(kernel: FakeKernel, cat: FakeProcess) -> None:
    """A mapping whose pages are in zram, in zswap, and in the swap cache."""
    swap = FakeSwap(kernel)
    zram, area = swap.zram("/dev/zram0", 64, ("deflate", "842")), swap.area("/dev/vdb", 64)
    zram.put(1, deflated(b"in zram" * 585 + b"!"))
    zram.put(2, bytes(4096))
    zram.put_same(3, 0x1234)
    clusters = kernel.new(
        "swap_cluster_info", table=kernel.store(bytes(8 * 4) + (5 << 2 | 2).to_bytes(8, "little"))
    )
    area["cluster_info"] = clusters
    swap.zswap(area, {1: deflated(bytes(4096)), 2: 0x5678}, allocator="zsmalloc", compressor="deflate")
    cat.map(0x7FFE10000000, 8, 0x73, written=True)
    for number, (kind, offset) in enumerate([(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (1, 4)]):
        cat.tables.put(0x7FFE10000000 + number * 4096, kind << 59 | (~offset & (1 << 50) - 1) << 9)


KERNELS = {"new": kernel_of(old=False), "old": kernel_of(old=True)}


def places(kernel: FakeKernel) -> list[tuple[Object, str]]:
    """Every member of every struct."""
    return [
        (each, name.partition(".")[2])
        for each in kernel.objects
        for name in kernel.layout.members
        if name.partition(".")[0] == each.name
    ]


PLACES = {name: places(kernel) for name, kernel in KERNELS.items()}


@contextmanager
def damaged(kernel: FakeKernel, changes: list[tuple[int, bytes]]) -> Iterator[None]:
    """The kernel's memory with other bytes at some addresses."""
    before = [(va, kernel.read(va, len(data))) for va, data in changes]
    for va, data in changes:
        kernel.write(va, data)
    try:
        yield
    finally:
        for va, data in reversed(before):
            kernel.write(va, data)


@contextmanager
def in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError("a stage does not end")

    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(TIME_LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


def take_out(image: Image, folder: Path, selectors: list[str]) -> None:
    """All that a user would do with processes; each step may fail with a sentence of ours."""
    rules = core_rules(image)
    stream = add_registers(Tasks(image).selected(selectors), image)
    made = list(read_here(add_pages(add_mappings(stream, image), image, rules, 127)))
    head = header(rules=rules)
    # As the next command would read it: what cannot be sent is refused there.
    head, *records = read(packed(wires([head, *made])))  # type: ignore[assignment]
    cores = write_cores(head, records, lambda _: new_file(folder / "core"), Recovery(image).of, False)
    assert all(isinstance(process, Process) for process in cores)


def outcome(kernel: FakeKernel, folder: Path) -> None:
    with in_time(), suppress(GcoreError):
        image = Image(open_dump(kernel.write_dump(folder / "vmcore")), kernel.kernel())
        with suppress(GcoreError):
            list(Tasks(image).everything(kernel_threads=True))
        for selectors in (["101"], ["200"], []):
            with suppress(GcoreError):
                take_out(image, folder, selectors)


@pytest.mark.parametrize("name", KERNELS)
def test_without_damage_the_cores_are_made(name: str, tmp_path: Path) -> None:
    kernel = KERNELS[name]
    image = Image(open_dump(kernel.write_dump(tmp_path / "vmcore")), kernel.kernel())
    if name == "new":
        for area in (0, 1):
            assert Swap(image).locate(swap_entries(area, 1, 2))[0].tolist() == [STORED] * 2
    for pid in ("101", "200"):
        take_out(image, tmp_path, [pid])
        (tmp_path / "core").unlink()


@pytest.mark.parametrize("name", KERNELS)
@given(data=st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_member_of_any_struct(name: str, data: st.DataObject, tmp_path: Path) -> None:
    kernel, changes = KERNELS[name], []
    for number in data.draw(st.lists(st.integers(0, len(PLACES[name]) - 1), min_size=1, max_size=3)):
        where, member = PLACES[name][number]
        value = data.draw(VALUES | st.sampled_from(kernel.objects).map(lambda each: each.address))
        size = min(kernel.all_members[f"{where.name}.{member}"].size, 8)
        changes.append((where.at(member), (value % (1 << 8 * size)).to_bytes(size, "little")))
    with damaged(kernel, changes):
        outcome(kernel, tmp_path)


@pytest.mark.parametrize("name", KERNELS)
@given(place=st.integers(0, 1 << 30), value=VALUES, missing=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_word_of_memory(name: str, place: int, value: int, missing: bool, tmp_path: Path) -> None:
    """Page tables, tree nodes and names among them; or the whole page is not in the dump."""
    kernel = KERNELS[name]
    first = kernel.direct_map + 0x1000000
    va = first + place % (kernel.memory.top - 0x1000000 - 8) // 8 * 8
    if missing:
        kernel.exclude(va)
    try:
        with damaged(kernel, [(va, value.to_bytes(8, "little"))]):
            outcome(kernel, tmp_path)
    finally:
        kernel.memory.excluded.discard(kernel.physical(va) >> 12)
