"""gc-tasks: thread groups and their threads."""

from __future__ import annotations

from collections.abc import Iterator

from gcoretools.errors import SelectorError
from gcoretools.kernel import cpu, cred, mm, pid, siginfo, task
from gcoretools.kernel.image import Image, Struct
from gcoretools.records import Done, Process, Record, Thread


class Tasks:
    """Makes the records of thread groups.

    Args:
        image: the kernel.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self._ids = pid.NamespaceIds(image)
        self._running = {address: number for number, address in cpu.current_tasks(image).items()}

    def everything(self, comm: str | None = None, kernel_threads: bool = False) -> Iterator[Record]:
        """Every thread group, in the kernel's order.

        Args:
            comm: only those with this name.
            kernel_threads: the kernel's own too.
        Raises SelectorError when no group has the name.
        """
        found = False
        for leader in task.leaders(self._image):
            if not kernel_threads and task.is_kernel_thread(leader):
                continue
            if comm is None or leader.string("comm") == comm:
                found = True
                yield from self.group(leader, leader)
        if comm is not None and not found:
            raise SelectorError(f"no thread group is named {comm!r} (gc-tasks -a lists all)")

    def selected(self, selectors: list[str]) -> Iterator[Record]:
        """The thread groups that selectors name, in their order; none: the current task's.

        Raises SelectorError for a selector that names no task, before the first record.
        """
        task.check_selectors(selectors)
        found = task.find(self._image, selectors) if selectors else [self._current()]
        return (record for selected, leader in found for record in self.group(leader, selected))

    def _current(self) -> tuple[Struct, Struct]:
        return task.find_address(self._image, cpu.current_task(self._image))

    def group(self, leader: Struct, selected: Struct) -> Iterator[Record]:
        """A thread group: process, threads with the selected one first, done."""
        members = list(task.threads(self._image, leader))
        members.sort(key=lambda member: member.address != selected.address)
        threads = [self._thread(member, members) for member in members]
        yield self._process(leader, selected, members, any(thread.active for thread in threads))
        yield from threads
        yield Done(leader["tgid"])

    def _process(self, leader: Struct, selected: Struct, members: list[Struct], active: bool) -> Process:
        uid, gid = cred.real_ids(self._image, leader)
        process = Process(
            tgid=leader["tgid"],
            pid=selected["pid"],
            ppid=self._image.struct("task_struct", leader["real_parent"])["tgid"],
            task=leader.address,
            comm=leader.string("comm"),
            state=task.state_letter(leader),
            threads=len(members),
            active=active,
            uid=uid,
            gid=gid,
            nice=task.nice(leader),
            flags=leader["flags"] & 0xFFFFFFFF,
            namespace_ids=self._ids.of(leader),
        )
        # The leader may have exited before the other threads; they still have the memory.
        address = next((member["mm"] for member in [leader, *members] if member["mm"]), 0)
        if address and not task.is_kernel_thread(leader):
            self._add_memory(process, self._image.struct("mm_struct", address), selected)
        return process

    def _add_memory(self, process: Process, view: Struct, selected: Struct) -> None:
        process.mm = view.address
        process.page_table = mm.page_table(self._image, view)
        process.bits = mm.bits(self._image, view, selected)
        process.abi = mm.abi(self._image, view, process.bits)
        process.rss = mm.resident(self._image, view)
        process.vsz = mm.mapped(view)
        process.arguments = mm.arguments(self._image, view)
        process.auxv = mm.auxv(view, process.bits)
        if task.without_thread_groups(self._image):
            process.task_struct = self._image.memory.read(selected.address, self._image.size("task_struct"))
        process.coredump_filter = mm.coredump_filter(self._image, view)

    def _thread(self, thread: Struct, members: list[Struct]) -> Thread:
        signal, info = siginfo.signal_of(self._image, thread)
        return Thread(
            pid=thread["pid"],
            task=thread.address,
            stack=thread["stack"],
            comm=thread.string("comm"),
            state=task.state_letter(thread),
            cpu=self._running.get(thread.address, task.last_cpu(self._image, thread)),
            active=thread.address in self._running,
            namespace_ids=self._ids.of(thread),
            pending=thread["pending.signal"],
            blocked=thread["blocked"],
            times=task.times(self._image, thread, members),
            signal=signal,
            siginfo=info,
        )
