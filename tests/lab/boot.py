"""The files of a kernel: fetched once per package version, kept below a folder."""

import lzma
import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .folders import scratch
from .kernels import Kernel
from .packages import Apt, run

BUSYBOX = Path("/bin/busybox")  # of this machine

# Loading the list twice settles the order. What a kernel has built in has no file.
MODULES = (
    "virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk",
    "qemu_fw_cfg",
)  # fmt: skip
# What some guests load besides, in this order: compressors, and the devices that use them.
MORE_MODULES = {
    "swap": (
        "zsmalloc", "lzo_compress", "lzo_decompress", "lz4_compress", "lz4hc_compress", "lz4_decompress",
        "zstd_compress", "zstd_decompress", "lzo", "lzo-rle", "lz4", "lz4hc", "zstd", "deflate", "zram",
    ),
}  # fmt: skip

# What a -dbg package calls it: boot/vmlinux-RELEASE, or lib/modules/RELEASE/vmlinux.
VMLINUX = re.compile(r"/vmlinux(-\d[^/]*)?$")


@dataclass(frozen=True)
class Boot:
    """Where the files of one kernel lie."""

    kernel: Kernel
    folder: Path

    @property
    def vmlinuz(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def modules(self) -> Path:
        return self.folder / "modules"

    def more_modules(self, key: str) -> Path:
        """Those of MORE_MODULES."""
        return self.folder / f"modules-{key}"

    @property
    def busybox(self) -> Path:
        """The guest's busybox."""
        return self.folder / "busybox" if self.kernel.others else BUSYBOX

    @property
    def versions(self) -> str:
        """The packages, a name=version per line."""
        return (self.folder / "versions").read_text()

    def vmlinux(self, apt: Apt) -> Path:
        """The vmlinux with DWARF, out of the -dbg package of the very same version; fetched on demand."""
        path = self.folder / "vmlinux"
        if not path.exists():
            release = (self.folder / "release").read_text()
            version = self.versions.split()[0].rpartition("=")[2]
            with scratch(self.folder / "debug") as work:
                deb = apt.download(f"linux-image-{release}-dbg={version}", work)
                _take_vmlinux(deb, work / "vmlinux")
                (work / "vmlinux").rename(path)
        return path


def _take_vmlinux(deb: Path, target: Path) -> None:
    """The first file of a package that is a vmlinux; links to it and the gigabytes of modules are passed over."""
    unpacking = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
    assert unpacking.stdout
    with unpacking, tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive, target.open("wb") as out:
        member = next((each for each in archive if each.isreg() and VMLINUX.search(each.name)), None)
        source = archive.extractfile(member) if member else None
        if source is None:
            raise LabError(f"{deb.name} has no vmlinux")
        shutil.copyfileobj(source, out, 1 << 20)
        unpacking.kill()


def _take_modules(tree: Path, names: Sequence[str], letter: str, target: Path) -> None:
    """Files that the guest's shell finds in this order, behind those of an earlier letter."""
    with scratch(target.with_suffix(".new")) as work:
        for number, name in enumerate(names):
            for found in tree.rglob(f"{name}.ko*"):
                data = found.read_bytes()
                plain = lzma.decompress(data) if found.suffix == ".xz" else data
                (work / f"{letter}{number:x}-{name}.ko").write_bytes(plain)
        work.rename(target)


def _take_more_modules(tree: Path, boot: Boot) -> None:
    for key in _lacking(boot):
        _take_modules(tree, MORE_MODULES[key], key, boot.more_modules(key))


def _lacking(boot: Boot) -> list[str]:
    return [key for key in MORE_MODULES if not boot.more_modules(key).exists()]


def fetch(kernel: Kernel, folder: Path, apt: Apt) -> Boot:
    """The files of a kernel in a folder: vmlinuz, modules, release and versions."""
    boot = Boot(kernel, folder)
    there = (folder / "versions").exists()
    if there and not _lacking(boot):
        return boot
    apt.update()
    wanted = (*kernel.packages, *kernel.others)
    packages = boot.versions.split() if there else [apt.resolve(pattern) for pattern in wanted]
    with scratch(folder.with_suffix(".debs")) as debs:
        for package in packages:
            run(["dpkg", "-x", apt.download(package, debs), debs / "tree"])
        if not there:
            _take(debs / "tree", packages, folder)
        _take_more_modules(debs / "tree", boot)
    return boot


def _take(tree: Path, packages: list[str], folder: Path) -> None:
    """What every guest needs of the packages."""
    with scratch(folder.with_suffix(".new")) as work:
        image = max(tree.rglob("vmlinuz*"), key=lambda path: path.stat().st_size)
        release = next(path.name for path in tree.rglob("lib/modules/*") if (path / "kernel").is_dir())
        shutil.copy(image, work / "vmlinuz")
        _take_modules(tree, MODULES, "", work / "modules")
        for busybox in tree.glob("bin/busybox"):
            shutil.copy(busybox, work / "busybox")
        (work / "release").write_text(release)
        (work / "versions").write_text("".join(f"{package}\n" for package in packages))
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
