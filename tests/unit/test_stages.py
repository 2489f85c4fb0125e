"""What each stage adds to a stream, and that it leaves the rest as it came."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from gcoretools.errors import KernelDataError, PageAbsent, SelectorError, StreamError
from gcoretools.kernel.image import Image
from gcoretools.records import Done, Extent, Foreign, Pages, Process, Record, Regs, Thread, Vma
from gcoretools.stages import source
from gcoretools.stages.ahead import read_here
from gcoretools.stages.maps import add_mappings
from gcoretools.stages.pages import add_pages
from gcoretools.stages.regs import add_registers
from gcoretools.stages.tasks import Tasks
from tests.fake_kernel import FakeKernel
from tests.fake_layout import MODERN
from tests.fake_machine import RW, FakeMachine, describe
from tests.written_streams import wires

Stage = Callable[[Iterable[Record]], Iterator[Record]]


def of(kind: type[Record], records: Iterable[Record]) -> list[Record]:
    return [record for record in records if isinstance(record, kind)]


@pytest.fixture
def stages(machine: FakeMachine) -> dict[str, Stage]:
    """Each stage on the fake machine."""
    image, rules = machine.image, machine.header().rules
    return {
        "maps": lambda records: add_mappings(records, image),
        "regs": lambda records: add_registers(records, image),
        "pages": lambda records: read_here(add_pages(records, image, rules, 127)),
    }


# Tasks


def test_a_thread_group(machine: FakeMachine) -> None:
    process, *threads, done = Tasks(machine.image).selected(["100"])
    assert isinstance(process, Process)
    assert (process.tgid, process.pid, process.ppid, process.comm, process.threads) == (100, 100, 1, "cat", 3)
    assert (process.task, process.mm) == (machine.cat.address, machine.cat.mm.address)
    assert (process.page_table, process.bits, process.coredump_filter) == (machine.cat.tables.root, 64, 0x33)
    assert (process.vsz, process.arguments, process.active) == (13 * 4096, "cat\0/etc/motd\0", True)
    assert done == Done(100)
    found = [(t.pid, t.active, t.cpu) for t in threads if isinstance(t, Thread)]
    assert found == [(100, False, 0), (101, True, 1), (102, False, 0)]


def test_the_selected_thread_comes_first(machine: FakeMachine) -> None:
    process, *threads, _ = Tasks(machine.image).selected(["102"])
    assert isinstance(process, Process)
    assert (process.tgid, process.pid, process.task) == (100, 102, machine.cat.address)
    assert [t.pid for t in threads if isinstance(t, Thread)] == [102, 100, 101]


def test_kernel_threads_and_zombies_have_no_memory(machine: FakeMachine) -> None:
    worker, zombie = of(Process, Tasks(machine.image).selected(["2", "300"]))
    assert isinstance(worker, Process)
    assert isinstance(zombie, Process)
    assert (worker.mm, worker.page_table, worker.vsz, worker.threads) == (0, 0, 0, 1)
    assert (zombie.mm, zombie.state, zombie.threads) == (0, "Z", 0)


def test_a_kernel_thread_that_borrows_memory_has_none(tmp_path: Path) -> None:
    """kthread_use_mm gives it a user's mm for a while."""
    kernel = FakeKernel(cpus=1)
    worker = kernel.kernel_thread(2, "vhost")
    worker["mm"] = kernel.process(100, "cat").mm
    (process,) = of(Process, Tasks(kernel.image(tmp_path)).selected(["2"]))
    assert isinstance(process, Process)
    assert process.mm == 0


def test_a_leader_that_exited_before_its_threads(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1)
    cat = kernel.process(100, "cat")
    cat.thread(101, "worker")
    cat["exit_state"], cat["mm"] = 0x20, 0
    process, thread, _ = Tasks(kernel.image(tmp_path)).selected(["100"])
    assert isinstance(process, Process)
    assert isinstance(thread, Thread)
    assert (process.pid, process.state, process.mm, thread.pid) == (100, "Z", cat.mm.address, 101)


def test_every_group_or_those_of_a_name(machine: FakeMachine) -> None:
    tasks = Tasks(machine.image)
    for records, wanted in [
        (tasks.everything(), [1, 100, 200, 300]),
        (tasks.everything(kernel_threads=True), [1, 2, 100, 200, 300]),
        (tasks.everything("cat"), [100]),
    ]:
        assert [p.tgid for p in of(Process, records) if isinstance(p, Process)] == wanted
    with pytest.raises(SelectorError, match="no thread group is named 'dog'"):
        list(tasks.everything("dog"))


def test_selectors_are_looked_up_before_anything_is_said(machine: FakeMachine) -> None:
    with pytest.raises(SelectorError):
        Tasks(machine.image).selected(["100", "99999"])


def test_the_current_task_is_the_one_that_panicked(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=2)
    cat = kernel.process(100, "cat")
    crashing = cat.thread(101, "crashing")
    kernel.run(0, kernel.process(200, "other"))
    kernel.run(1, crashing)
    for symbol, wanted in ((None, (200, 200)), ("panic_cpu", (100, 101))):
        if symbol:
            kernel.symbol(symbol, 4, 1)
        process = next(iter(Tasks(kernel.image(tmp_path)).selected([])))
        assert isinstance(process, Process)
        assert (process.tgid, process.pid) == wanted


# Stages behind


def test_each_stage_puts_its_records_in_their_places(machine: FakeMachine) -> None:
    kinds = " ".join(record.kind for record in machine.records("100"))
    assert re.fullmatch("process( thread regs){3}( vma){4}( extent){12}( pages){5} done", kinds)


@pytest.mark.parametrize("name", ["maps", "regs", "pages"])
def test_what_a_stage_does_not_own_passes_as_it_came(
    machine: FakeMachine, stages: dict[str, Stage], name: str
) -> None:
    """Records of later versions, and fields of later versions in known ones."""
    given: list[Record] = []
    for record in machine.records("100"):
        record.more = {"since": [2, record.kind]}
        given += [record, Foreign({"kind": "x-comment", "behind": record.kind})]
    found = list(stages[name](iter(given)))
    own = {"maps": Vma, "regs": Regs, "pages": Extent | Pages}[name]
    before, after = (
        [wire for r, wire in zip(records, wires(records), strict=True) if not isinstance(r, own)]
        for records in (given, found)
    )
    assert before == after


@pytest.mark.parametrize("name", ["maps", "regs", "pages"])
def test_a_stage_twice_is_a_stage_once(machine: FakeMachine, stages: dict[str, Stage], name: str) -> None:
    """What is there already is made anew."""
    whole = machine.records("100", "200")
    again = list(stages[name](iter(whole)))
    if name == "maps":  # their sizes are for gc-pages to say again
        again = list(stages["pages"](iter(again)))
    assert list(wires(again)) == list(wires(whole))


def test_stages_look_at_no_more_than_one_process_at_a_time(machine: FakeMachine, stages: dict[str, Stage]) -> None:
    """The first one is through before the second is asked for."""
    asked = Counter[str]()

    def counted() -> Iterator[Record]:
        for record in Tasks(machine.image).selected(["100", "200"]):
            asked[record.kind] += 1
            yield record

    stream = stages["pages"](stages["maps"](stages["regs"](counted())))
    assert next(r for r in stream if isinstance(r, Done)).tgid == 100
    assert asked["process"] == 1


def test_a_process_without_memory_has_no_mappings(machine: FakeMachine, stages: dict[str, Stage]) -> None:
    for pid, words in (("2", "pid 2: kthreadd is a kernel thread"), ("300", "pid 300: zombie has exited")):
        with pytest.raises(SelectorError, match=words):
            list(stages["maps"](Tasks(machine.image).selected([pid])))


def test_a_thread_of_no_process(machine: FakeMachine, stages: dict[str, Stage]) -> None:
    threads = of(Thread, Tasks(machine.image).selected(["100"]))
    with pytest.raises(StreamError, match="thread 100 before any process"):
        list(stages["regs"](threads))


def test_damaged_mappings_say_whose_they_are(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1)
    cat = kernel.process(100, "cat")
    cat.map(0x400000, 1, vm_file=0x1234)
    image = kernel.image(tmp_path)
    with pytest.raises(KernelDataError, match="pid 100: file at 0x1234: "):
        list(add_mappings(Tasks(image).selected(["100"]), image))


# Pages


def test_all_extents_come_before_the_first_page(machine: FakeMachine) -> None:
    kinds = [record.kind for record in machine.records("100", "200")]
    for part in ",".join(kinds).split("done"):
        assert "extent" not in part.partition("pages")[2]


def test_the_plan(machine: FakeMachine) -> None:
    found = [(e.start, e.size >> 12, e.what) for e in machine.records("100") if isinstance(e, Extent)]
    assert found == [
        (0x400000, 1, "data"), (0x401000, 1, "gap"),
        (0x600000, 2, "data"), (0x602000, 1, "gap"), (0x603000, 1, "data"), (0x604000, 1, "gap"),
        (0x605000, 1, "zero"), (0x800000, 1, "gap"), (0x801000, 1, "data"), (0x802000, 1, "gap"),
        (0x7FFE00000000, 1, "zero"), (0x7FFE00001000, 1, "data"),
    ]  # fmt: skip


def test_each_gap_has_its_reason_and_the_totals_are_right(machine: FakeMachine) -> None:
    records = machine.records("100")
    extents = [r for r in records if isinstance(r, Extent)]
    assert all(bool(e.reason) == (e.what == "gap") for e in extents)
    done = records[-1]
    assert isinstance(done, Done)
    sizes = Counter[str]()
    for extent in extents:
        sizes[extent.reason or extent.what] += extent.size
    assert {"data": done.data, "zero": done.zero, **done.gaps} == dict(sizes)
    assert sum(len(r.data) for r in records if isinstance(r, Pages)) == done.data


def test_gaps_of_two_reasons_side_by_side_stay_two(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1)
    cat = kernel.process(100, "cat")
    cat.map(0x400000, 4, RW, written=True)
    kernel.memory.excluded |= {cat.page(0x400000, b"x"), cat.page(0x401000, b"x")}
    for va in (0x402000, 0x403000):
        cat.tables.put(va, 0x00FF_FFFF_FFFF_FC02)
    image = kernel.image(tmp_path)
    mapped = add_mappings(Tasks(image).selected(["100"]), image)
    gaps = [(e.size, e.reason) for e in add_pages(mapped, image, {}, 127) if isinstance(e, Extent)]
    assert [size for size, _ in gaps] == [8192, 8192]
    assert len({reason for _, reason in gaps}) == 2


def test_the_filter_is_the_processs_own_unless_another_is_chosen(machine: FakeMachine) -> None:
    """0x33 of the kernel: anonymous memory, ELF headers and hugetlb."""
    for chosen, sizes in [(None, [1, 6, 3, 2]), (127, [2, 6, 3, 2]), (0, [0, 0, 0, 0]), (2, [0, 0, 3, 0])]:
        found = [v.dump_size >> 12 for v in machine.records("100", filter_=chosen) if isinstance(v, Vma)]
        assert found == sizes, chosen


@pytest.mark.parametrize(
    ("content", "wanted"), [(b"\x7fELF", 4096), (b"#!/bin", 0), (None, 4096)], ids=["magic", "script", "absent"]
)
def test_an_elf_header_by_its_magic(tmp_path: Path, content: bytes | None, wanted: int) -> None:
    """A page that is not there may be one: it becomes a gap, not a silence."""
    kernel = FakeKernel(cpus=1)
    cat = kernel.process(100, "cat")
    cat.map(0x400000, 2, 0x75, file=kernel.file("/lib/x.so"))
    if content:
        cat.page(0x400000, content)
    image = kernel.image(tmp_path)
    records = add_pages(
        add_mappings(Tasks(image).selected(["100"]), image), image, {"elf_header_by_magic": True}, 16
    )
    assert [v.dump_size for v in records if isinstance(v, Vma)] == [wanted]


def test_data_records_are_no_longer_than_their_limit(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1)
    cat = kernel.process(100, "cat")
    cat.map(0x400000, 600, RW, written=True)
    for i in range(600):
        cat.page(0x400000 + i * 4096, b"%d" % i)
    image = kernel.image(tmp_path)
    mapped = add_mappings(Tasks(image).selected(["100"]), image)
    records = list(read_here(add_pages(mapped, image, {}, 127)))
    pages = [r for r in records if isinstance(r, Pages)]
    assert [(p.start - 0x400000 >> 12, len(p.data) >> 12) for p in pages] == [(0, 256), (256, 256), (512, 88)]
    data = b"".join(p.data for p in pages)
    assert all(data[i << 12 :].startswith(b"%d\0" % i) for i in range(600))
    assert [e.size >> 12 for e in records if isinstance(e, Extent)] == [600]


def test_pages_need_mappings(machine: FakeMachine, stages: dict[str, Stage]) -> None:
    with pytest.raises(StreamError, match="pid 100: the stream has no mappings: put gc-maps before gc-pages"):
        list(stages["pages"](Tasks(machine.image).selected(["100"])))


def test_damaged_tables_say_whose_they_are(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=1)
    cat = kernel.process(100, "cat")
    cat.map(0, 1 << 34, RW, written=True)
    kernel.memory.write(cat.tables.root, (cat.tables.root | 0x67).to_bytes(8, "little") * 256)
    image = kernel.image(tmp_path)
    with pytest.raises(KernelDataError, match="pid 100: mapping at 0x0: page table at "):
        list(add_pages(add_mappings(Tasks(image).selected(["100"]), image), image, {}, 127))


# Kernels that keep the same things elsewhere
VARIANTS = {
    "other offsets": {"seed": 77},
    "five levels": {"levels": 5},
    "frames as they are": {"inverted": False},
    "before the maple tree": {"without": MODERN, "seed": 3},
    "no list of threads in the leader": {"without": ("task_struct.thread_group",)},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_records_do_not_depend_on_the_kernel(machine: FakeMachine, tmp_path: Path, name: str) -> None:
    """But for where its own structs lie."""
    kernel = FakeKernel(cpus=2, **VARIANTS[name])  # type: ignore[arg-type]
    cat = describe(kernel)
    other = FakeMachine(tmp_path, tmp_path, kernel.image(tmp_path), cat)
    assert list(without_addresses(other.records("101", "200"))) == list(
        without_addresses(machine.records("101", "200"))
    )


def without_addresses(records: Iterable[Record]) -> Iterator[dict[str, object]]:
    for wire in wires(records):
        yield {key: value for key, value in wire.items() if key not in ("task", "mm", "page_table", "stack")}


# The dump behind a stream


def test_the_dump_is_found_again(machine: FakeMachine) -> None:
    image = source.from_header(machine.header(), None)
    assert image.kernel == machine.image.kernel
    assert isinstance(image, Image)


def test_another_dump_is_refused(machine: FakeMachine, tmp_path: Path) -> None:
    other = FakeKernel(seed=5).dump(tmp_path / "other")
    with pytest.raises(StreamError, match="is not the dump that the stream was made from"):
        source.from_header(machine.header(), str(other))


def test_a_dump_that_has_moved_is_where_the_header_then_says(machine: FakeMachine, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.write_bytes(machine.dump.read_bytes())
    header = machine.header()
    source.from_header(header, str(moved))
    assert header.dump["path"] == str(moved)


def test_a_dump_that_lost_pages_since_is_told(machine: FakeMachine, tmp_path: Path) -> None:
    """A process's page table may not be in the dump at all."""
    kernel = FakeKernel(cpus=1)
    cat = kernel.process(100, "cat")
    kernel.exclude(cat.mm.address)
    with pytest.raises(PageAbsent, match="mm_struct at "):
        list(Tasks(kernel.image(tmp_path)).selected(["100"]))
