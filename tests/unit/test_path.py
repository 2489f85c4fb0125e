"""File names as d_path prints them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcoretools.errors import KernelDataError
from gcoretools.kernel.path import Paths, Root, process_root
from tests.fake_kernel import FakeKernel, FakeMount, Object


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel(cpus=1)


def name(kernel: FakeKernel, file: Object, folder: Path, root: Root | None = None) -> str:
    """The file's name as a process with that root sees it; with the first mount's root by default."""
    image = kernel.image(folder)
    usual = Root(kernel.root.vfsmount.address, kernel.root.top.address)
    return Paths(image, root or usual).of(image.struct("file", file.address))


@pytest.mark.parametrize(
    "path", ["/bin/cat", "/a", "/usr/lib/x86_64-linux-gnu/libc.so.6", "/sp ace/\u00e9", "/x\ny"]
)
def test_a_file_in_the_first_mount(kernel: FakeKernel, tmp_path: Path, path: str) -> None:
    assert name(kernel, kernel.file(path), tmp_path) == path


def test_a_name_that_is_not_utf8(kernel: FakeKernel, tmp_path: Path) -> None:
    file = kernel.root.opened(kernel.root.named(b"\xff\xfe", kernel.root.dentry("/tmp")))
    assert name(kernel, file, tmp_path) == "/tmp/\udcff\udcfe"


def test_mount_points_are_crossed(kernel: FakeKernel, tmp_path: Path) -> None:
    var = FakeMount(kernel, kernel.root, "/mnt/var")
    log = FakeMount(kernel, var, "log")
    assert name(kernel, log.file("app/x.log"), tmp_path) == "/mnt/var/log/app/x.log"


def test_a_mount_on_a_mount(kernel: FakeKernel, tmp_path: Path) -> None:
    """The second one is mounted on the root of the first."""
    lower = FakeMount(kernel, kernel.root, "/mnt")
    upper = FakeMount(kernel, lower, "")
    assert name(kernel, upper.file("x"), tmp_path) == "/mnt/x"


def test_the_roots_themselves(kernel: FakeKernel, tmp_path: Path) -> None:
    home = FakeMount(kernel, kernel.root, "/home")
    root, mounted = kernel.root.opened(kernel.root.top), home.opened(home.top)
    assert name(kernel, root, tmp_path) == "/"
    assert name(kernel, mounted, tmp_path) == "/home"


def test_a_deleted_file(kernel: FakeKernel, tmp_path: Path) -> None:
    assert name(kernel, kernel.file("/tmp/gone", deleted=True), tmp_path) == "/tmp/gone (deleted)"


def test_a_file_beside_a_deleted_one_is_there(kernel: FakeKernel, tmp_path: Path) -> None:
    kernel.file("/tmp/gone", deleted=True)
    assert name(kernel, kernel.file("/tmp/here"), tmp_path) == "/tmp/here"


def test_in_a_chroot(kernel: FakeKernel, tmp_path: Path) -> None:
    file = kernel.file("/srv/jail/bin/sh")
    jail = Root(kernel.root.vfsmount.address, kernel.root.dentry("/srv/jail").address)
    assert name(kernel, file, tmp_path, jail) == "/bin/sh"


def test_a_mount_inside_a_chroot_and_a_file_outside(kernel: FakeKernel, tmp_path: Path) -> None:
    proc = FakeMount(kernel, kernel.root, "/srv/jail/proc")
    inside, outside = proc.file("self"), kernel.file("/etc/passwd")
    jail = Root(kernel.root.vfsmount.address, kernel.root.dentry("/srv/jail").address)
    assert name(kernel, inside, tmp_path, jail) == "/proc/self"
    assert name(kernel, outside, tmp_path, jail) == "/etc/passwd"


def test_the_root_of_a_process(kernel: FakeKernel, tmp_path: Path) -> None:
    cat = kernel.process(100, "cat")
    cat.root["dentry"] = jail = kernel.root.dentry("/srv/jail")
    worker = kernel.kernel_thread(2, "kthreadd")
    image = kernel.image(tmp_path)
    root = process_root(image, image.struct("task_struct", cat.address))
    assert root == Root(kernel.root.vfsmount.address, jail.address)
    assert process_root(image, image.struct("task_struct", worker.address)) == Root()


def test_without_a_root_the_path_begins_at_the_top(kernel: FakeKernel, tmp_path: Path) -> None:
    assert name(kernel, kernel.file("/bin/cat"), tmp_path, Root()) == "/bin/cat"


# What is in no directory: the function behind d_dname, the dentry's own name, and what the kernel prints.
OWN_NAMES = [
    ("simple_dname", "memfd:secret", "/memfd:secret (deleted)"),
    ("simple_dname", "SYSV00000000", "/SYSV00000000 (deleted)"),
    ("simple_dname", "dev/zero", "/dev/zero (deleted)"),
    ("simple_dname", "anon_hugepage", "/anon_hugepage (deleted)"),
    ("anon_inodefs_dname", "[perf_event]", "anon_inode:[perf_event]"),
    ("", "[aio]", "/[aio]"),
]


@pytest.mark.parametrize(("function", "own", "printed"), OWN_NAMES)
def test_files_in_no_directory(kernel: FakeKernel, tmp_path: Path, function: str, own: str, printed: str) -> None:
    symbols = [kernel.symbol(symbol) for symbol in ("simple_dname", "anon_inodefs_dname")]
    address = kernel.symbols[function] if function else symbols[0] + 0x1000
    mount = FakeMount(kernel)
    dentry = mount.named(own)
    dentry["d_hash.pprev"] = 0
    dentry["d_op"] = kernel.new("dentry_operations", d_dname=address)
    assert name(kernel, mount.opened(dentry), tmp_path) == printed


def test_operations_without_a_name_of_their_own(kernel: FakeKernel, tmp_path: Path) -> None:
    kernel.symbol("simple_dname")
    file = kernel.file("/mnt/x")
    kernel.root.dentry("/mnt/x")["d_op"] = kernel.new("dentry_operations", d_dname=0)
    assert name(kernel, file, tmp_path) == "/mnt/x"


def test_a_name_is_worked_out_once(kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = kernel.file("/bin/cat")
    image = kernel.image(tmp_path)
    paths = Paths(image, Root())
    first = paths.of(image.struct("file", file.address))
    monkeypatch.setattr(Paths, "_path", lambda *_: pytest.fail("once more"))
    assert paths.of(image.struct("file", file.address)) == first == "/bin/cat"


def test_parents_that_lead_back(kernel: FakeKernel, tmp_path: Path) -> None:
    file = kernel.file("/a/b")
    empty = kernel.root.dentry("/a")
    empty["d_parent"] = kernel.root.named("", empty)
    with pytest.raises(KernelDataError, match="do not end"):
        name(kernel, file, tmp_path)


def test_a_file_that_has_left_its_mount(kernel: FakeKernel, tmp_path: Path) -> None:
    """Its directory was moved out of what a bind mount shows: the kernel then prints no name at all."""
    outside = kernel.root.named("outside")
    file = kernel.root.opened(kernel.root.named("x", outside))
    assert name(kernel, file, tmp_path) == "/"


def test_paths_longer_than_path_max(kernel: FakeKernel, tmp_path: Path) -> None:
    """openat(2) reaches them, and NT_FILE has them whole."""
    path = "".join(f"/{i:0200}" for i in range(100))
    assert name(kernel, kernel.file(path), tmp_path) == path


def test_mounts_that_lead_back(kernel: FakeKernel, tmp_path: Path) -> None:
    one = FakeMount(kernel)
    two = FakeMount(kernel, one, "")
    one.mount["mnt_parent"], one.mount["mnt_mountpoint"] = two.mount, two.top
    with pytest.raises(KernelDataError, match="do not end"):
        name(kernel, one.opened(one.top), tmp_path)


def test_a_name_of_absurd_length(kernel: FakeKernel, tmp_path: Path) -> None:
    file = kernel.file("/etc/x")
    kernel.alloc(1 << 16)
    kernel.root.dentry("/etc/x")["d_name.len"] = 0xFFFFFFFF
    assert len(name(kernel, file, tmp_path)) <= 4096 + 5


def test_kernels_whose_mounts_are_vfsmounts(tmp_path: Path) -> None:
    """Before 3.3 the parent stood in struct vfsmount: the same address, another offset."""
    kernel = FakeKernel(cpus=1, without=("mount.mnt",))
    kernel.layout.members["vfsmount.mnt_root"] = kernel.all_members["mount.mnt"]
    home = FakeMount(kernel, kernel.root, "/home")
    for mount in (kernel.root, home):
        mount.vfsmount = mount.mount
        mount.mount["mnt"] = mount.top
    root = Root(kernel.root.mount.address, kernel.root.top.address)
    assert name(kernel, home.file("user/x"), tmp_path, root) == "/home/user/x"


def test_a_root_before_it_was_a_path(tmp_path: Path) -> None:
    """Until 2.6.25: its mount and its dentry each for itself."""
    kernel = FakeKernel(cpus=1, without=("fs_struct.root",))
    cat = kernel.process(100, "cat")
    kernel.extend(fs_struct__root=8, fs_struct__rootmnt=8)
    cat["fs"] = kernel.new("fs_struct", root=0x1000, rootmnt=0x2000)
    image = kernel.image(tmp_path)
    assert process_root(image, image.struct("task_struct", cat.address)) == Root(0x2000, 0x1000)
