"""PIDs as a pid namespace numbers them (kernel/pid.c: pid_nr_ns, task_active_pid_ns)."""

from __future__ import annotations

from gcoretools.errors import KernelDataError
from gcoretools.kernel.image import Image, Struct

# MAX_PID_NS_LEVEL of include/linux/pid_namespace.h.
LEVEL_LIMIT = 32

# enum pid_type before PIDTYPE_TGID came (4.19): the order that our range of kernels shares.
OLD_PIDTYPES = {"PIDTYPE_PID": 0, "PIDTYPE_PGID": 1, "PIDTYPE_SID": 2}


class NamespaceIds:
    """The PIDs of tasks in their own pid namespaces; what a thread group shares is looked up once."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._shared: dict[tuple[object, ...], list[int]] = {}

    def of(self, task: Struct) -> list[int]:
        """The task's pid, parent's tgid, process group and session, as its own pid namespace numbers them."""
        if not self._image.has("pid.level"):
            return _plain_ids(self._image, task)
        own = _pid_of(self._image, task, "PIDTYPE_PID")
        namespace = _namespace(self._image, own)
        key = task["signal"], task["real_parent"], namespace
        if key not in self._shared:
            self._shared = {key: _shared_ids(self._image, task, namespace)}
        return [_number_in(self._image, own, *namespace), *self._shared[key]]


def namespace_ids(image: Image, task: Struct) -> list[int]:
    """NamespaceIds.of for a single task."""
    return NamespaceIds(image).of(task)


def _plain_ids(image: Image, task: Struct) -> list[int]:
    """The same of kernels without pid namespaces."""
    parent = image.struct("task_struct", task["real_parent"])
    signal = image.struct("signal_struct", task["signal"])
    return [task["pid"], parent["tgid"], signal["pgrp"], signal["session"]]


def _shared_ids(image: Image, task: Struct, namespace: tuple[int, int]) -> list[int]:
    parent = image.struct("task_struct", task["real_parent"])
    leader = image.struct("task_struct", parent["group_leader"])
    pids = (
        _pid_of(image, leader, "PIDTYPE_PID"),
        _pid_of(image, task, "PIDTYPE_PGID"),
        _pid_of(image, task, "PIDTYPE_SID"),
    )
    return [_number_in(image, pid, *namespace) for pid in pids]


def _pid_of(image: Image, task: Struct, kind: str) -> int:
    """Virtual address of the struct pid of a kind; 0 for a task that has been released."""
    index = image.constant(kind) if image.has(kind) else OLD_PIDTYPES[kind]
    if task.has("thread_pid"):
        if kind == "PIDTYPE_PID":
            return task["thread_pid"]
        size = image.pointer_size
        pids = image.struct("signal_struct", task["signal"]).raw("pids")
        return int.from_bytes(pids[index * size : (index + 1) * size], "little")
    holder = task if kind == "PIDTYPE_PID" else image.struct("task_struct", task["group_leader"])
    return image.pointer(holder.at("pids") + index * image.size("pid_link") + image.member("pid_link.pid").offset)


def _level(image: Image, pid: int) -> int:
    level = image.struct("pid", pid)["level"]
    if level > LEVEL_LIMIT:
        raise KernelDataError(f"struct pid at {pid:#x} has level {level}: it is damaged")
    return level


def _upid(image: Image, pid: int, level: int) -> Struct:
    return image.struct("upid", image.struct("pid", pid).at("numbers") + level * image.size("upid"))


def _namespace(image: Image, pid: int) -> tuple[int, int]:
    """The pid namespace that a struct pid was made in: its address and its level."""
    if not pid:
        return 0, 0
    level = _level(image, pid)
    return _upid(image, pid, level)["ns"], level


def _number_in(image: Image, pid: int, namespace: int, level: int) -> int:
    """The number that a namespace gives to a struct pid; 0 where the namespace cannot see it."""
    if not pid or _level(image, pid) < level:
        return 0
    upid = _upid(image, pid, level)
    return upid["nr"] if upid["ns"] == namespace else 0
