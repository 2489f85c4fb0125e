"""PIDs as the task's own pid namespace numbers them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcoretools.errors import KernelDataError
from gcoretools.kernel.pid import namespace_ids
from tests.fake_kernel import FakeKernel, FakeTask
from tests.fake_layout import MODERN

NEW: tuple[str, ...] = ()
OLD = (*MODERN, "PIDTYPE_PID", "PIDTYPE_PGID", "PIDTYPE_SID")


@pytest.fixture(params=[NEW, MODERN, OLD], ids=["thread_pid", "pids", "pids without types"])
def kernel(request: pytest.FixtureRequest) -> FakeKernel:
    return FakeKernel(cpus=1, without=request.param)


def ids(task: FakeTask, folder: Path) -> list[int]:
    image = task.kernel.image(folder)
    return namespace_ids(image, image.struct("task_struct", task.address))


def test_in_the_first_namespace(kernel: FakeKernel, tmp_path: Path) -> None:
    shell = kernel.process(50, "sh")
    cat = kernel.process(100, "cat")
    cat.parent, cat.group, cat.session = shell, shell.struct_pid, kernel.init.struct_pid
    assert ids(cat, tmp_path) == [100, 50, 50, 1]


def test_a_thread_has_the_groups_ids(kernel: FakeKernel, tmp_path: Path) -> None:
    cat = kernel.process(100, "cat")
    cat.group = kernel.init.struct_pid
    thread = cat.thread(101, "worker")
    assert ids(thread, tmp_path) == [101, 1, 1, 100]


def test_the_parent_is_a_thread_group(kernel: FakeKernel, tmp_path: Path) -> None:
    """A child of a thread has the thread's group for its parent."""
    shell = kernel.process(50, "sh")
    cat = kernel.process(100, "cat")
    cat.parent = shell.thread(51, "worker")
    assert ids(cat, tmp_path)[1] == 50


def test_in_a_container(kernel: FakeKernel, tmp_path: Path) -> None:
    """Three namespaces deep; parent and session are out of sight."""
    one = kernel.new("pid_namespace", level=1)
    two = kernel.new("pid_namespace", level=2)
    inner = kernel.process(900, "init")
    inner.numbered((kernel.namespace, 900), (one, 90), (two, 1))
    inner.session = kernel.init.struct_pid
    child = kernel.process(901, "cat")
    child.numbered((kernel.namespace, 901), (one, 91), (two, 2))
    child.parent, child.group = inner, inner.struct_pid
    assert ids(inner, tmp_path) == [1, 0, 1, 0]
    assert ids(child, tmp_path) == [2, 1, 1, 2]


def test_a_sibling_namespace_is_another_one(kernel: FakeKernel, tmp_path: Path) -> None:
    """The group lives at the same level, but in a namespace beside this one."""
    here, beside = (kernel.new("pid_namespace", level=1) for _ in range(2))
    cat = kernel.process(100, "cat")
    cat.numbered((kernel.namespace, 100), (here, 5))
    cat.group = kernel.pid((kernel.namespace, 200), (beside, 6))
    assert ids(cat, tmp_path) == [5, 0, 0, 5]


def test_a_task_that_has_been_released(kernel: FakeKernel, tmp_path: Path) -> None:
    cat = kernel.process(100, "cat")
    image = kernel.image(tmp_path)
    cat["thread_pid"] = 0
    cat["pids"] = bytes(kernel.all_members["task_struct.pids"].size)
    kernel.write(cat.signal.at("pids"), bytes(32))
    kernel.finish = lambda: None  # type: ignore[method-assign]
    (tmp_path / "again").mkdir()
    image = kernel.image(tmp_path / "again")
    assert namespace_ids(image, image.struct("task_struct", cat.address)) == [0, 0, 0, 0]


def test_a_level_that_cannot_be(kernel: FakeKernel, tmp_path: Path) -> None:
    cat = kernel.process(100, "cat")
    cat.struct_pid["level"] = 1000
    with pytest.raises(KernelDataError, match="has level 1000: it is damaged"):
        ids(cat, tmp_path)
