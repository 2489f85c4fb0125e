"""The kernel seen through its layout: members by name, lists, and what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcoretools.errors import KernelDataError, LayoutError, PageAbsent
from gcoretools.layout.layout import Member
from tests.fake_kernel import FakeKernel


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel(cpus=1)


def test_members_by_name(kernel: FakeKernel, tmp_path: Path) -> None:
    made = kernel.process(77, "name\udcff")
    made["exit_state"], made["flags"], made["utime"] = -5, 0xFFFFFFFF, (1 << 64) - 1
    task = kernel.image(tmp_path).struct("task_struct", made.address)
    assert (task["pid"], task["exit_state"], task["flags"], task["utime"]) == (77, -5, 0xFFFFFFFF, (1 << 64) - 1)
    assert task.string("comm") == "name\udcff"
    assert task.raw("comm") == b"name\xff".ljust(16, b"\0")
    assert task.at("comm") == made.at("comm")
    assert task.has("comm")
    assert not task.has("no_such_member")


def test_a_member_longer_than_a_word_gives_its_first(kernel: FakeKernel, tmp_path: Path) -> None:
    made = kernel.process(77, "x")
    image = kernel.image(tmp_path)
    assert image.struct("task_struct", made.address)["tasks"] == kernel.idle[0].at("tasks")


def test_what_this_kernel_lacks(kernel: FakeKernel, tmp_path: Path) -> None:
    image = kernel.image(tmp_path)
    assert image.has("task_struct.pid", "task_struct", "PIDTYPE_PID", "init_task")
    assert not image.has("task_struct.pid", "task_struct.nothing")
    for ask in (image.member, image.size, image.constant, image.symbol):
        with pytest.raises(LayoutError, match="nothing is not known"):
            ask("nothing")
    with pytest.raises(LayoutError, match="do not describe struct nothing"):
        image.span("nothing")


def test_a_struct_that_cannot_be_read_is_named(kernel: FakeKernel, tmp_path: Path) -> None:
    page = kernel.alloc(4096 * 4, 4096)
    kernel.exclude(page + 4096)
    image = kernel.image(tmp_path)
    with pytest.raises(KernelDataError, match="task_struct at 0x10: "):
        image.struct("task_struct", 0x10)["pid"]
    with pytest.raises(PageAbsent, match=f"inode at {page + 4096:#x}: .*not in the dump"):
        image.struct("inode", page + 4096)["i_ino"]


def test_a_list(kernel: FakeKernel, tmp_path: Path) -> None:
    processes = [kernel.process(pid, "x") for pid in (5, 3, 9)]
    image = kernel.image(tmp_path)
    found = [task["pid"] for task in image.list(kernel.idle[0].at("tasks"), "task_struct.tasks")]
    assert found == [1, 5, 3, 9]
    head = processes[0].signal.at("thread_head")
    assert [task["pid"] for task in image.list(head, "task_struct.thread_node")] == [5]


def test_an_empty_list(kernel: FakeKernel, tmp_path: Path) -> None:
    head = kernel.alloc(16)
    kernel.link(head, [])
    assert list(kernel.image(tmp_path).list(head, "task_struct.tasks")) == []


@pytest.mark.parametrize("back_to", [0, 1, 2])
def test_a_list_that_does_not_come_back_to_its_head(kernel: FakeKernel, tmp_path: Path, back_to: int) -> None:
    processes = [kernel.process(pid, "x") for pid in (5, 3, 9)]
    kernel.finish()
    kernel.write(processes[2].at("tasks"), processes[back_to].at("tasks").to_bytes(8, "little"))
    kernel.finish = lambda: None  # type: ignore[method-assign]
    image = kernel.image(tmp_path)
    with pytest.raises(KernelDataError, match=r"task_struct\.tasks .* does not end"):
        list(image.list(kernel.idle[0].at("tasks"), "task_struct.tasks"))


@pytest.mark.parametrize("pointer", [0, 0x1234, 0xDEAD << 48])
def test_a_list_that_leads_nowhere(kernel: FakeKernel, tmp_path: Path, pointer: int) -> None:
    head = kernel.alloc(16)
    kernel.write(head, pointer.to_bytes(8, "little"))
    with pytest.raises(KernelDataError, match="task_struct at"):
        list(kernel.image(tmp_path).list(head, "task_struct.tasks"))


def test_a_long_member_is_not_read_whole(kernel: FakeKernel, tmp_path: Path) -> None:
    """A struct is read from its first to its last member: one of megabytes must not make that slow."""
    kernel.layout.members["task_struct.huge"] = Member(0, 1 << 20)
    low, high = kernel.image(tmp_path).span("task_struct")
    assert high - low < 1 << 13
