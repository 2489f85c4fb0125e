"""A small synthetic kernel, written struct by struct into a dump: no offset of it is a real kernel's.

    kernel = FakeKernel()
    cat = kernel.process(100, "cat")
    cat.map(0x400000, 2, VM_READ, file=kernel.file("/bin/cat"))
    cat.page(0x400000, b"bytes of its first page")
    image = kernel.image(tmp_path)

Everything that was described can still be changed by name (`cat.leader["flags"] = PF_KTHREAD`) until `image`
or `dump` writes it. `FakeKernel(without=MODERN)` is a kernel as they were before the maple tree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from gcoretools.arch import x86_64
from gcoretools.arch.xsave import FXSAVE_SIZE
from gcoretools.dumps import PAGE_SHIFT, PAGE_SIZE, Note, open_dump
from gcoretools.kernel.image import Image
from gcoretools.layout import cache, sources
from gcoretools.layout.layout import Kernel, Layout, Member
from tests.fake_layout import OLD_PIDTYPES, draw, resolved
from tests.fake_maple_tree import write_maple_tree
from tests.fake_memory import PRESENT, USER_PAGE, FakeMemory, FakeTables
from tests.written_dumps import write_elf

RELEASE = "9.9.9-fake"
BUILD_ID = "fa4e" * 10

# Where each kind of kernel has its direct map (Documentation/arch/x86/x86_64/mm.rst).
DIRECT_MAP = {4: 0xFFFF888000000000, 5: 0xFF11000000000000}
ARENA_MAP_SHIFT = 21

# Bytes of each CPU's own variables.
PER_CPU_SIZE = 3 * PAGE_SIZE

USER_STACK_POINTER = 0x7FFE00001000

# The segment selectors of user mode.
USER_CS, USER_SS = 0x33, 0x2B

# Vectors of a process start here unless it says otherwise; AT_PAGESZ, AT_NULL, and then what is not its own.
AUXV = (6, 4096, 0, 0, 7, 7)


class Object:
    """A struct in the fake kernel's memory: members by name, as numbers, bytes, text or other objects."""

    def __init__(self, kernel: FakeKernel, name: str, address: int) -> None:
        self.kernel = kernel
        self.name = name
        self.address = address

    def at(self, member: str) -> int:
        """The address of a member."""
        return self.address + self.kernel.all_members[f"{self.name}.{member}"].offset

    def __setitem__(self, member: str, value: Value) -> None:
        size = self.kernel.all_members[f"{self.name}.{member}"].size
        self.kernel.write(self.at(member), _encoded(value, size)[:size])

    def __getitem__(self, member: str) -> int:
        where = self.kernel.all_members[f"{self.name}.{member}"]
        return int.from_bytes(self.kernel.read(self.at(member), min(where.size, 8)), "little", signed=where.signed)


# What a member can be set to.
Value = int | bytes | str | Object


def _encoded(value: Value, size: int) -> bytes:
    if isinstance(value, int):
        return (value & (1 << 8 * min(size, 8)) - 1).to_bytes(min(size, 8), "little")
    if isinstance(value, Object):
        return value.address.to_bytes(8, "little")
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


class FakeKernel:
    """The kernel and its memory.

    Args:
        levels: of its page tables, 4 or 5.
        inverted: whether it inverts the frames of entries that are not present.
        seed: of the offsets.
        without: members, structs and constants that it does not have.
        cpus: how many.
        fsgsbase: whether it saves segment bases whatever the selectors.

    Attributes:
        notes: of the dump.
        current: the task of each CPU.
        objects: every struct that was made.
        shares: per-CPU numbers (s32), by where they lie in each CPU's area.
    """

    def __init__(
        self,
        *,
        levels: int = 4,
        inverted: bool = True,
        seed: int = 1,
        without: Collection[str] = (),
        cpus: int = 2,
        fsgsbase: bool = True,
    ) -> None:
        self.memory = FakeMemory()
        self.paging = x86_64.paging(levels, inverted)
        self.direct_map = DIRECT_MAP[levels]
        self.levels = levels
        whole = draw(seed)
        self.layout = resolved(whole, without)
        self.all_members, self.all_sizes = whole.members, whole.sizes
        self.notes: list[Note] = []
        self.shares: dict[int, Sequence[int]] = {}
        self.objects: list[Object] = []
        self.tables = FakeTables(self.memory, self.paging)
        self.symbols: dict[str, int] = {}
        if inverted:
            self.symbol("l1tf_mitigation", 4)
        self.symbol("x86_gsbase_read_cpu_inactive")
        capability = bytes(36) + fsgsbase.to_bytes(4, "little")
        self.symbols["boot_cpu_data"] = self.new("cpuinfo_x86", x86_capability=capability).address
        self.namespace = self.new("pid_namespace", level=0)
        self.users = self.user_namespace([(0, 0, 0xFFFFFFFF)])
        self.root = FakeMount(self)
        self.tasks: list[FakeTask] = []
        self.idle = [FakeTask(self, 0, f"swapper/{cpu}", kernel_thread=True) for cpu in range(cpus)]
        self.symbols["init_task"] = self.idle[0].address
        self.current = [idle.object for idle in self.idle]
        self.init = self.process(1, "init")

    # Memory

    def alloc(self, size: int, align: int = 16) -> int:
        """The virtual address of new memory, all zeros."""
        return self.direct_map + self.memory.alloc(size, align)

    def physical(self, va: int) -> int:
        """The physical address of the kernel's own memory."""
        return va - self.direct_map

    def write(self, va: int, data: bytes) -> None:
        """Bytes at a virtual address of the kernel."""
        self.memory.write(self.physical(va), data)

    def read(self, va: int, size: int) -> bytes:
        """Bytes at a virtual address of the kernel."""
        return self.memory.read(self.physical(va), size)

    def store(self, data: bytes) -> int:
        """The virtual address of a copy of these bytes."""
        at = self.alloc(len(data) + 1)
        self.write(at, data)
        return at

    def new(self, name: str, /, *, align: int = 16, more: int = 0, **members: Value) -> Object:
        """A new struct, of `more` bytes beyond its size; "__" in a member's name stands for the dot."""
        made = Object(self, name, self.alloc(self.all_sizes[name] + more, align))
        self.objects.append(made)
        for member, value in members.items():
            made[member.replace("__", ".")] = value
        return made

    def symbol(self, name: str, size: int = 8, value: int | bytes = 0) -> int:
        """A variable of the kernel, or a function; its address."""
        at = self.symbols[name] = self.alloc(size)
        self.write(at, value.to_bytes(size, "little") if isinstance(value, int) else value)
        return at

    def extend(self, **members: int) -> None:
        """Members of this many bytes behind all others of structs: task_struct__used_math=4, as kernels had."""
        for name, size in members.items():
            struct, _, member = name.partition("__")
            at = -(-self.all_sizes.get(struct, 0) // 8) * 8
            full = f"{struct}.{member.replace('__', '.')}"
            self.all_members[full] = self.layout.members[full] = Member(at, size)
            self.all_sizes[struct] = at + size
            if struct in self.layout.sizes:
                self.layout.sizes[struct] = at + size

    def exclude(self, va: int) -> None:
        """Leave the page of a kernel address out of the dump."""
        self.memory.excluded.add(self.physical(va) >> PAGE_SHIFT)

    # Things

    def process(self, pid: int, comm: str, **options: object) -> FakeProcess:
        """A thread group with one thread and memory of its own."""
        return FakeProcess(self, pid, comm, **options)  # type: ignore[arg-type]

    def kernel_thread(self, pid: int, comm: str) -> FakeTask:
        """A task of the kernel's own."""
        task = FakeTask(self, pid, comm, kernel_thread=True)
        self.tasks.append(task)
        return task

    def run(self, cpu: int, task: FakeTask) -> None:
        """Let a task be the current one of a CPU."""
        self.current[cpu] = task.object
        task["cpu"] = cpu

    def pid(self, *numbers: tuple[Object, int]) -> Object:
        """A struct pid: (namespace, number) from the initial namespace on."""
        made = self.new("pid", level=len(numbers) - 1)
        for level, (namespace, number) in enumerate(numbers):
            upid = Object(self, "upid", made.at("numbers") + level * self.all_sizes["upid"])
            upid["nr"], upid["ns"] = number, namespace
        return made

    def pid_type(self, name: str) -> int:
        """The number of a PIDTYPE_."""
        return self.layout.constants.get(name, OLD_PIDTYPES[name])

    def user_namespace(
        self, uids: Sequence[tuple[int, int, int]], gids: Sequence[tuple[int, int, int]] = ()
    ) -> Object:
        """A user namespace by its maps: (first, lower first, count)."""
        made = self.new("user_namespace")
        for member, extents in (("uid_map", uids), ("gid_map", gids or uids)):
            table = Object(self, "uid_gid_map", made.at(member))
            data = b"".join(number.to_bytes(4, "little") for extent in extents for number in extent)
            table["nr_extents"] = len(extents)
            if len(extents) <= 5:
                table["extent"] = data
            else:
                table["forward"] = self.store(data)
        return made

    def file(self, path: str, **options: object) -> Object:
        """An open file of the first mount, by its path."""
        return self.root.file(path, **options)  # type: ignore[arg-type]

    def link(self, head: int, nodes: Iterable[int]) -> None:
        """A list_head at `head` through the list_heads at `nodes`."""
        ring = [head, *nodes]
        for here, following in zip(ring, [*ring[1:], head], strict=True):
            self.write(here, following.to_bytes(8, "little"))
            self.write(following + 8, here.to_bytes(8, "little"))

    # The whole

    def kernel(self) -> Kernel:
        """What resolving this kernel would have given."""
        layout = Layout(self.layout.members, self.layout.sizes, self.layout.constants, self.symbols)
        return Kernel(
            RELEASE, BUILD_ID, "x86_64", self.levels, self.tables.root, 0, 0, "made up", "made up", layout
        )

    def finish(self) -> None:
        """Write lists, runqueues, trees and the kernel's own page table."""
        self.link(self.idle[0].at("tasks"), [task.at("tasks") for task in self.tasks])
        for task in [*self.idle, *self.tasks]:
            task.finish()
        self._finish_cpus()
        size = 1 << ARENA_MAP_SHIFT
        for pa in range(0, self.memory.top + 8 * PAGE_SIZE, size):
            self.tables.map(self.direct_map + pa, pa >> PAGE_SHIFT, shift=ARENA_MAP_SHIFT)
        # VMCOREINFO names the table by an address in the kernel image.
        self.tables.map(x86_64.START_KERNEL_MAP + self.tables.root, self.tables.root >> PAGE_SHIFT)

    def _finish_cpus(self) -> None:
        """Runqueues, found by a small number and each CPU's offset, as x86 had it up to 6.14."""
        self.symbols["runqueues"] = 0x1000
        offsets = b""
        for cpu, task in enumerate(self.current):
            area = self.alloc(PER_CPU_SIZE, PAGE_SIZE)
            Object(self, "rq", area + self.symbols["runqueues"])["curr"] = task
            for at, shares in self.shares.items():
                self.write(area + at, shares[cpu].to_bytes(4, "little", signed=True))
            offsets += area.to_bytes(8, "little")
        self.symbol("nr_cpu_ids", 4, len(self.current))
        self.symbol("__per_cpu_offset", len(offsets), offsets)

    def dump(self, path: Path) -> Path:
        """Write the dump."""
        self.finish()
        return self.write_dump(path)

    def write_dump(self, path: Path) -> Path:
        """Write the memory as it is, with the VMCOREINFO that leads to the page table."""
        info = {
            "OSRELEASE": RELEASE,
            "BUILD-ID": BUILD_ID,
            "PAGESIZE": "4096",
            "SYMBOL(swapper_pg_dir)": f"{x86_64.START_KERNEL_MAP + self.tables.root:x}",
            "NUMBER(phys_base)": "0",
            "NUMBER(pgtable_l5_enabled)": str(int(self.levels == 5)),
        }
        text = "".join(f"{key}={value}\n" for key, value in info.items()).encode()
        return write_elf(path, self.memory.pages(), [*self.notes, Note("VMCOREINFO", 0, text)])

    def image(self, folder: Path) -> Image:
        """The kernel as the code under test sees it, out of a dump in that folder."""
        return Image(open_dump(self.dump(folder / "vmcore")), self.kernel())

    def remember(self, folder: Path) -> None:
        """Put the layout into the cache that lies in `folder`, where commands find it by the build ID."""
        path = cache.entry_path(folder / "gcoretools", BUILD_ID, sources.ALL, "dump")
        assert path
        cache.save(path, cache.Entry(self.kernel().layout, "made up", "made up"))


class FakeTask:
    """A thread: its task_struct, its stack with pt_regs on it, its struct pid and its credentials.

    Attributes:
        object: the task_struct; members are set on the task itself, too.
        registers: what stands in pt_regs; each register spells its own name unless it is told otherwise.
        groups: the struct pids of its process group and session.
    """

    def __init__(
        self,
        kernel: FakeKernel,
        pid: int,
        comm: str,
        *,
        kernel_thread: bool = False,
        leader: FakeTask | None = None,
    ) -> None:
        self.kernel = kernel
        self.pid = pid
        self.leader = leader or self
        self.members: list[FakeTask] = [self] if leader is None else []
        self.object = kernel.new("task_struct", pid=pid, tgid=self.leader.pid, comm=comm.ljust(16, "\0"))
        self.address = self.object.address
        self.stack = kernel.alloc(kernel.all_sizes["thread_union"], PAGE_SIZE)
        self.registers = {name: spelled(name) for name in x86_64.PT_REGS} | {
            "cs": USER_CS, "ss": USER_SS, "eflags": 0x246, "rsp": USER_STACK_POINTER,
        }  # fmt: skip
        self.struct_pid = kernel.pid((kernel.namespace, pid))
        self.signal: Object = leader.signal if leader else kernel.new("signal_struct")
        self.group = self.session = self.struct_pid
        self.parent: FakeTask | None = None
        initial: dict[str, Value] = {
            "stack": self.stack,
            "group_leader": self.leader.object,
            "signal": self.signal,
            "static_prio": 120,
            "__state": 1,
            "flags": 0x200000 if kernel_thread else 0x400000,
            "thread.fsbase": spelled("fs_base"),
            "thread.gsbase": spelled("gs_base"),
        }
        for member, value in initial.items():
            self[member] = value
        self.credentials(0, 0)
        fpu = Object(kernel, "fpu", self.at("thread.fpu"))
        fpu["fpstate"] = kernel.new("fpstate", size=FXSAVE_SIZE)

    def __setitem__(self, member: str, value: Value) -> None:
        self.object[member] = value

    def __getitem__(self, member: str) -> int:
        return self.object[member]

    def at(self, member: str) -> int:
        """The address of a member of the task_struct."""
        return self.object.at(member)

    def credentials(self, uid: int, gid: int, namespace: Object | None = None) -> None:
        """Real ids as the kernel keeps them, and the user namespace that the task is in."""
        users = namespace or self.kernel.users
        self["real_cred"] = self.kernel.new("cred", uid=uid, gid=gid, user_ns=users)
        self["uid"], self["gid"] = uid, gid

    def numbered(self, *numbers: tuple[Object, int]) -> None:
        """Its PIDs by namespace, from the initial one on; group and session are its own."""
        self.struct_pid = self.group = self.session = self.kernel.pid(*numbers)

    def thread(self, pid: int, comm: str) -> FakeTask:
        """Another thread of the group."""
        task = FakeTask(self.kernel, pid, comm, leader=self)
        self.members.append(task)
        task["mm"], task["fs"] = self["mm"], self["fs"]
        return task

    def finish(self) -> None:
        """Write what leads from this task, when it is a leader from the whole group, to other things."""
        kernel = self.kernel
        kernel.link(self.signal.at("thread_head"), [task.at("thread_node") for task in self.members])
        kernel.link(self.at("thread_group"), [task.at("thread_group") for task in self.members[1:]])
        for task in self.members:
            parent = self.parent or (kernel.idle[0] if self.pid == 1 or self.pid == 0 else kernel.init)
            task["real_parent"] = parent.object
            task["thread_pid"] = task.struct_pid
            task._write_registers()
            task._link_pid("PIDTYPE_PID", task.struct_pid)
        for name, pid in (("PIDTYPE_PGID", self.group), ("PIDTYPE_SID", self.session)):
            self._link_pid(name, pid)
            at = self.signal.at("pids") + 8 * kernel.pid_type(name)
            kernel.write(at, pid.address.to_bytes(8, "little"))

    def _link_pid(self, name: str, pid: Object) -> None:
        """A struct pid where old kernels had it: in the task, that of group and session in the leader."""
        link = self.at("pids") + self.kernel.pid_type(name) * self.kernel.all_sizes["pid_link"]
        Object(self.kernel, "pid_link", link)["pid"] = pid

    def _write_registers(self) -> None:
        data = b"".join(self.registers[name].to_bytes(8, "little") for name in x86_64.PT_REGS)
        padding = 16 if "asm_fred_entrypoint_user" in self.kernel.symbols else 0
        top = self.stack + self.kernel.all_sizes["thread_union"] - padding
        self.kernel.write(top - len(data), data)


class FakeProcess(FakeTask):
    """A thread group with memory: mappings and pages are added by address.

    Args:
        arguments: the command line, NUL behind each.
    """

    def __init__(self, kernel: FakeKernel, pid: int, comm: str, *, arguments: bytes = b"") -> None:
        super().__init__(kernel, pid, comm)
        kernel.tasks.append(self)
        self.tables = FakeTables(kernel.memory, kernel.paging)
        self.vmas: list[Object] = []
        self.mm = kernel.new("mm_struct", pgd=kernel.direct_map + self.tables.root, flags=0x33 << 2)
        self.mm["saved_auxv"] = b"".join(word.to_bytes(8, "little") for word in AUXV)
        self["mm"] = self.mm
        self["fs"] = fs = kernel.new("fs_struct")
        self.root = Object(kernel, "path", fs.at("root"))
        self.root["mnt"], self.root["dentry"] = kernel.root.vfsmount, kernel.root.top
        if arguments:
            at = 0x7FFFFFFF0000
            self.page(at, arguments)
            self.mm["arg_start"], self.mm["arg_end"] = at, at + len(arguments)

    def map(
        self,
        start: int,
        pages: int,
        flags: int = 0x73,
        *,
        file: Object | None = None,
        offset: int = 0,
        written: bool = False,
        **members: int | Object,
    ) -> Object:
        """A mapping of so many pages; `offset` is in pages of the file."""
        vma = self.kernel.new("vm_area_struct", vm_start=start, vm_end=start + pages * PAGE_SIZE, vm_flags=flags)
        vma["vm_pgoff"] = offset
        for member, value in {"vm_file": file or 0, "anon_vma": 0x1234 * written, **members}.items():
            vma[member] = value
        if file and "vm_ops" not in members:
            vma["vm_ops"] = self.kernel.new("vm_operations_struct", fault=0x1111)
        self.vmas.append(vma)
        self.mm["total_vm"] = self.mm["total_vm"] + pages
        return vma

    def page(self, va: int, content: bytes, flags: int = USER_PAGE) -> int:
        """A page of memory; the number of its frame."""
        pfn = self.kernel.memory.frame(content)
        self.tables.map(va, pfn, flags)
        return pfn

    def finish(self) -> None:
        super().finish()
        ranges = [(vma["vm_start"], vma["vm_end"] - 1, vma.address) for vma in self.vmas]
        addresses = [*(vma.address for vma in self.vmas), 0]
        for here, following in zip(self.vmas, addresses[1:], strict=True):
            here["vm_next"] = following
        self.mm["mmap"] = addresses[0]
        self.mm["map_count"] = len(self.vmas)
        tree = Object(self.kernel, "maple_tree", self.mm.at("mm_mt"))
        tree["ma_root"] = write_maple_tree(self.kernel, ranges)


class FakeMount:
    """A mounted file system: dentries by path, each made once.

    Args:
        parent, at: the mount and the path in it that this one is mounted on; none for the first one.
        device: its s_dev.
    """

    def __init__(
        self, kernel: FakeKernel, parent: FakeMount | None = None, at: str = "/", device: int = 8 << 20 | 1
    ) -> None:
        self.kernel = kernel
        self.super_block = kernel.new("super_block", s_dev=device)
        self.top = kernel.new("dentry")
        self.top["d_parent"] = self.top
        self.top["d_name.name"], self.top["d_name.len"] = kernel.store(b"/"), 1
        self.mount = kernel.new("mount")
        self.vfsmount = Object(kernel, "vfsmount", self.mount.at("mnt"))
        self.vfsmount["mnt_root"] = self.top
        self.mount["mnt_parent"] = parent.mount if parent else self.mount
        self.mount["mnt_mountpoint"] = parent.dentry(at) if parent else self.top
        self._dentries: dict[str, Object] = {"": self.top}

    def dentry(self, path: str) -> Object:
        """The dentry of a path below this mount's root."""
        path = path.strip("/")
        if path not in self._dentries:
            above, _, name = path.rpartition("/")
            self._dentries[path] = self.named(name, self.dentry(above))
        return self._dentries[path]

    def named(self, name: str | bytes, parent: Object | None = None) -> Object:
        """A new dentry; without a parent it is its own, as files in no directory have it."""
        made = self.kernel.new("dentry", d_hash__pprev=0x5555)
        raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
        made["d_parent"] = parent or made
        made["d_name.name"], made["d_name.len"] = self.kernel.store(raw), len(raw)
        return made

    def file(
        self,
        path: str,
        *,
        mode: int = 0o100644,
        links: int = 1,
        number: int = 7,
        flags: int = 0,
        deleted: bool = False,
    ) -> Object:
        """An open file by its path."""
        dentry = self.dentry(path)
        if deleted:
            dentry["d_hash.pprev"] = 0
        return self.opened(dentry, mode=mode, links=links, number=number, flags=flags)

    def opened(
        self, dentry: Object, *, mode: int = 0o100644, links: int = 1, number: int = 7, flags: int = 0
    ) -> Object:
        """An open file by its dentry."""
        inode = self.kernel.new("inode", i_ino=number, i_mode=mode, i_nlink=links, i_flags=flags)
        inode["i_sb"] = self.super_block
        dentry["d_inode"] = inode
        return self.kernel.new("file", f_path__mnt=self.vfsmount, f_path__dentry=dentry)


def spelled(name: str) -> int:
    """A register's value that spells its own name."""
    return int.from_bytes(name.encode().ljust(8, b".")[:8], "little")


def registers(values: Mapping[str, int] | None = None) -> dict[str, int]:
    """All registers of user_regs_struct, each with its own name in capitals unless told otherwise."""
    return {name: spelled(name.upper()) for name in x86_64.USER_REGS} | {"cs": USER_CS} | dict(values or {})


def prstatus_note(pid: int, values: Mapping[str, int]) -> Note:
    """A CPU's NT_PRSTATUS, as a crashing kernel and QEMU write it."""
    words = b"".join((values[name] & (1 << 64) - 1).to_bytes(8, "little") for name in x86_64.USER_REGS)
    return Note("CORE", 1, bytes(32) + pid.to_bytes(4, "little", signed=True) + bytes(76) + words + bytes(8))


def qemu_note(values: Mapping[str, int], kernel_gs_base: int) -> Note:
    """QEMU's own note of a CPU: selectors and bases of its segments, and what SWAPGS has put aside."""
    desc = bytearray(440)
    for name, at in x86_64.QEMU_SEGMENTS.items():
        desc[at : at + 4] = (values[name] & 0xFFFFFFFF).to_bytes(4, "little")
        base = values.get(f"{name}_base", 0).to_bytes(8, "little")
        desc[at + x86_64.QEMU_SEGMENT_BASE : at + x86_64.QEMU_SEGMENT_BASE + 8] = base
    desc[x86_64.QEMU_KERNEL_GS_BASE : x86_64.QEMU_KERNEL_GS_BASE + 8] = kernel_gs_base.to_bytes(8, "little")
    return Note("QEMU", 0, bytes(desc))


__all__ = ["PRESENT", "FakeKernel", "FakeMount", "FakeProcess", "FakeTask", "Object"]
