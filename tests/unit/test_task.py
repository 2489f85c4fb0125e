"""Thread groups, and the tasks that selectors name."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcoretools.errors import KernelDataError, SelectorError
from gcoretools.kernel import task
from gcoretools.kernel.pid import namespace_ids
from tests.fake_kernel import FakeKernel, FakeProcess, FakeTask
from tests.fake_layout import MODERN

# Lists of threads of both kinds (3.14 to 6.6), of the new kind alone, and of the old one.
KERNELS = {"both": (), "thread_node": ("task_struct.thread_group",), "thread_group": MODERN}


@pytest.fixture(params=[*KERNELS.values()], ids=[*KERNELS])
def kernel(request: pytest.FixtureRequest) -> FakeKernel:
    return FakeKernel(without=request.param)


@pytest.fixture
def cat(kernel: FakeKernel) -> FakeProcess:
    made = kernel.process(100, "cat")
    for pid in (105, 101, 103):
        made.thread(pid, "worker")
    return made


def found(kernel: FakeKernel, folder: Path, *selectors: str) -> list[tuple[int, int]]:
    """(thread, leader) by their PIDs."""
    task.check_selectors([*selectors])
    return [(t["pid"], leader["pid"]) for t, leader in task.find(kernel.image(folder), [*selectors])]


def test_the_leaders_in_the_kernels_order(kernel: FakeKernel, cat: FakeProcess, tmp_path: Path) -> None:
    kernel.kernel_thread(2, "kthreadd")
    kernel.process(7, "sh")
    assert [leader["pid"] for leader in task.leaders(kernel.image(tmp_path))] == [1, 100, 2, 7]


def test_the_threads_in_the_kernels_order(kernel: FakeKernel, cat: FakeProcess, tmp_path: Path) -> None:
    image = kernel.image(tmp_path)
    threads = task.threads(image, image.struct("task_struct", cat.address))
    assert [thread["pid"] for thread in threads] == [100, 105, 101, 103]


def test_threads_that_have_exited_are_not_listed(kernel: FakeKernel, cat: FakeProcess, tmp_path: Path) -> None:
    cat["exit_state"] = 0x20
    cat.members[2]["exit_state"] = 0x10
    image = kernel.image(tmp_path)
    threads = task.threads(image, image.struct("task_struct", cat.address))
    assert [thread["pid"] for thread in threads] == [105, 103]


def test_by_pid(kernel: FakeKernel, cat: FakeProcess, tmp_path: Path) -> None:
    assert found(kernel, tmp_path, "100") == [(100, 100)]
    assert found(kernel, tmp_path, "103") == [(103, 100)]
    assert found(kernel, tmp_path, "0101") == [(101, 100)]


@pytest.mark.parametrize("form", ["{:x}", "0x{:x}", "0X{:X}", "{:X}"])
def test_by_address(kernel: FakeKernel, cat: FakeProcess, tmp_path: Path, form: str) -> None:
    assert found(kernel, tmp_path, form.format(cat.address)) == [(100, 100)]
    assert found(kernel, tmp_path, form.format(cat.members[2].address)) == [(101, 100)]


def test_the_order_given_is_kept(kernel: FakeKernel, cat: FakeProcess, tmp_path: Path) -> None:
    address = f"{cat.address:x}"
    wanted = [(103, 100), (1, 1), (100, 100), (105, 100)]
    assert found(kernel, tmp_path, "103", "1", address, "105") == wanted


def test_damage_behind_a_task_does_not_hide_it(kernel: FakeKernel, cat: FakeProcess, tmp_path: Path) -> None:
    """No more tasks are looked at than it takes."""
    kernel.finish()
    kernel.write(cat.at("tasks"), (0xDEAD << 48).to_bytes(8, "little"))
    kernel.finish = lambda: None  # type: ignore[method-assign]
    assert found(kernel, tmp_path, "105", "1") == [(105, 100), (1, 1)]
    with pytest.raises(KernelDataError):
        found(kernel, tmp_path, "105", "2")


def test_the_same_task_named_twice(kernel: FakeKernel, cat: FakeProcess, tmp_path: Path) -> None:
    assert found(kernel, tmp_path, "100", "100", f"{cat.address:x}") == [(100, 100)] * 3


def test_kernel_threads_and_zombies_are_found(kernel: FakeKernel, cat: FakeProcess, tmp_path: Path) -> None:
    """Whether they have memory is for others to say."""
    kernel.kernel_thread(2, "kthreadd")
    cat["exit_state"] = 0x20
    assert found(kernel, tmp_path, "2", "100") == [(2, 2), (100, 100)]


@pytest.mark.parametrize("selector", ["99999", "0", "99999999999999999999"])
def test_an_unknown_pid(kernel: FakeKernel, cat: FakeProcess, tmp_path: Path, selector: str) -> None:
    with pytest.raises(SelectorError, match=f"pid {selector}: no thread of that number"):
        found(kernel, tmp_path, "100", selector)


@pytest.mark.parametrize("selector", ["ffff888001000001", "0xdead", "0x0", "ffffffffffffffffffff"])
def test_an_unknown_address(kernel: FakeKernel, cat: FakeProcess, tmp_path: Path, selector: str) -> None:
    with pytest.raises(SelectorError, match=f"task {selector}: there is no task_struct"):
        found(kernel, tmp_path, selector)


@pytest.mark.parametrize(
    "selector", ["cat", "", "12z", "-5", "0xg", "1.5", "--", "-ff", "1_0", " 5", "+5", "\u0665", "9" * 5000]
)
def test_what_names_no_task(selector: str) -> None:
    with pytest.raises(SelectorError, match="is neither a PID nor the address"):
        task.check_selectors(["100", selector])


# task_struct.__state, exit_state, and the letter that ps shows (fs/proc/array.c).
STATES = [
    (0x00, 0x00, "R"), (0x01, 0x00, "S"), (0x02, 0x00, "D"), (0x04, 0x00, "T"), (0x08, 0x00, "t"),
    (0x40, 0x00, "P"), (0x402, 0x00, "I"), (0x102, 0x00, "D"), (0x2001, 0x00, "S"), (0x80, 0x10, "Z"),
    (0x80, 0x20, "Z"), (0x00, 0x20, "Z"), (0x800, 0x00, "R"),
]  # fmt: skip


@pytest.mark.parametrize(("state", "exit_state", "letter"), STATES)
def test_states(
    kernel: FakeKernel, cat: FakeProcess, tmp_path: Path, state: int, exit_state: int, letter: str
) -> None:
    cat["__state"], cat["exit_state"] = state, exit_state
    assert task.state_letter(kernel.image(tmp_path).struct("task_struct", cat.address)) == letter


@pytest.mark.parametrize(("priority", "nice"), [(100, -20), (120, 0), (139, 19)])
def test_nice(kernel: FakeKernel, cat: FakeProcess, tmp_path: Path, priority: int, nice: int) -> None:
    cat["static_prio"] = priority
    assert task.nice(kernel.image(tmp_path).struct("task_struct", cat.address)) == nice


def test_kernel_threads(kernel: FakeKernel, cat: FakeProcess, tmp_path: Path) -> None:
    worker = kernel.kernel_thread(2, "kthreadd")
    image = kernel.image(tmp_path)
    assert task.is_kernel_thread(image.struct("task_struct", worker.address))
    assert not task.is_kernel_thread(image.struct("task_struct", cat.address))


def times(kernel: FakeKernel, thread: object, cat: FakeProcess, folder: Path) -> list[int]:
    image = kernel.image(folder)
    members = list(task.threads(image, image.struct("task_struct", cat.address)))
    return task.times(image, image.struct("task_struct", thread.address), members)  # type: ignore[attr-defined]


def test_the_leader_shows_the_groups_times(kernel: FakeKernel, cat: FakeProcess, tmp_path: Path) -> None:
    """fill_prstatus: those of its threads, of threads that have exited, and of children that were waited for."""
    for i, member in enumerate(cat.members):
        member["utime"], member["stime"] = 10**i, 2 * 10**i
    for name, value in (("utime", 50000), ("stime", 60000), ("cutime", 7), ("cstime", 8)):
        cat.signal[name] = value
    assert times(kernel, cat, cat, tmp_path) == [51111, 62222, 7, 8]
    assert times(kernel, cat.members[2], cat, tmp_path) == [100, 200, 7, 8]


def test_a_leader_left_alone_still_shows_the_times_of_the_others(kernel: FakeKernel, tmp_path: Path) -> None:
    cat = kernel.process(100, "cat")
    cat["utime"], cat.signal["utime"] = 1, 50000
    assert times(kernel, cat, cat, tmp_path)[0] == 50001


def test_damaged_times_stay_within_64_bits(kernel: FakeKernel, cat: FakeProcess, tmp_path: Path) -> None:
    for member in cat.members:
        member["utime"] = (1 << 64) - 1
    assert times(kernel, cat, cat, tmp_path)[0] == (1 << 64) - 4


class Unlinked(FakeKernel):
    """A kernel of 2.6.9: threads of a group are on the list of a struct pid that lies in each task."""

    def __init__(self) -> None:
        super().__init__(without=(*MODERN, "task_struct.thread_group", "pid.level", "task_struct.exit_state"))
        self.extend(pid__pid_list=16, signal_struct__pgrp=4, signal_struct__session=4)
        self.layout.constants["PIDTYPE_TGID"] = 1
        self.layout.sizes["pid"] = self.all_sizes["pid"]
        self.layout.members.pop("task_struct.pids")
        self.extend(task_struct__pids=4 * self.all_sizes["pid"])
        self.layout.members["task_struct.exit_state"] = self.all_members["task_struct.__state"]

    def finish(self) -> None:
        super().finish()
        for each in self.tasks:
            lists = [self.list_of(member) for member in each.members]
            if lists:
                self.link(lists[0], lists[1:])

    def list_of(self, each: FakeTask) -> int:
        return each.at("pids") + self.all_sizes["pid"] + self.all_members["pid.pid_list"].offset


def test_threads_before_they_had_a_list_of_their_own(tmp_path: Path) -> None:
    kernel = Unlinked()
    cat = kernel.process(100, "cat")
    for pid in (105, 101):
        cat.thread(pid, "worker")
    cat.members[1]["__state"] = 0x20
    cat.signal["pgrp"], cat.signal["session"] = 90, 80
    image = kernel.image(tmp_path)
    leader = image.struct("task_struct", cat.address)
    assert [thread["pid"] for thread in task.threads(image, leader)] == [100, 101]
    assert task.without_thread_groups(image)
    assert namespace_ids(image, leader) == [100, 1, 90, 80]
    assert not task.without_thread_groups(FakeKernel().image(tmp_path))


def test_a_list_of_threads_without_end(tmp_path: Path) -> None:
    kernel = Unlinked()
    cat = kernel.process(100, "cat")
    cat.thread(101, "worker")
    kernel.finish()
    kernel.finish = lambda: None  # type: ignore[method-assign]
    kernel.write(kernel.list_of(cat.members[1]), kernel.list_of(cat.members[1]).to_bytes(8, "little"))
    image = kernel.image(tmp_path)
    with pytest.raises(KernelDataError, match="does not end"):
        list(task.threads(image, image.struct("task_struct", cat.address)))


def test_the_last_cpu(tmp_path: Path) -> None:
    """In the task, or in the thread_info at the end of its stack; 0 where nothing says it."""
    for without, wanted in (((), 1), (("task_struct.cpu",), 3)):
        kernel = FakeKernel(without=without)
        cat = kernel.process(100, "cat")
        cat["cpu"] = 1
        kernel.extend(thread_info__cpu=4)
        kernel.write(cat.stack, (3).to_bytes(4, "little"))
        image = kernel.image(tmp_path)
        assert task.last_cpu(image, image.struct("task_struct", cat.address)) == wanted
    kernel = FakeKernel(without=("task_struct.cpu",))
    image = kernel.image(tmp_path)
    assert task.last_cpu(image, image.struct("task_struct", kernel.init.address)) == 0


@pytest.mark.parametrize(("without", "unit"), [((), 1), (("elf_note_info",), 4_000_000)])
def test_times_that_are_counted_in_ticks(tmp_path: Path, without: tuple[str, ...], unit: int) -> None:
    kernel = FakeKernel(without=without)
    kernel.symbol("tick_nsec", 8, 4_000_000)
    cat = kernel.process(100, "cat")
    worker = cat.thread(101, "worker")
    worker["utime"], worker["stime"] = 7, 5
    image = kernel.image(tmp_path)
    thread = image.struct("task_struct", worker.address)
    assert task.times(image, thread, [thread]) == [7 * unit, 5 * unit, 0, 0]
