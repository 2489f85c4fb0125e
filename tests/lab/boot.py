"""The files of a kernel: fetched once per package version, kept below a folder."""

import lzma
import shutil
from dataclasses import dataclass
from pathlib import Path

from .folders import scratch
from .kernels import Kernel
from .packages import Apt, run

BUSYBOX = Path("/bin/busybox")  # of this machine

# Loading the list twice settles the order. What a kernel has built in has no file.
MODULES = (
    "virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk",
    "qemu_fw_cfg",
)  # fmt: skip


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
                # It stands near the beginning: what follows, up to 3 GB of modules, is not unpacked.
                extract = 'dpkg-deb --fsys-tarfile "$0" | tar -x -f - -C "$1" --occurrence=1 --wildcards "$2"'
                run(["sh", "-c", extract, deb, work, "*/boot/vmlinux-*"])
                next(work.rglob("vmlinux-*")).rename(path)
        return path


def _take_modules(tree: Path, target: Path) -> None:
    target.mkdir()
    for number, name in enumerate(MODULES):
        for found in tree.rglob(f"{name}.ko*"):
            data = found.read_bytes()
            plain = lzma.decompress(data) if found.suffix == ".xz" else data
            (target / f"{number}-{name}.ko").write_bytes(plain)


def fetch(kernel: Kernel, folder: Path, apt: Apt) -> Boot:
    """The files of a kernel in a folder: vmlinuz, modules, release and versions."""
    boot = Boot(kernel, folder)
    if (folder / "versions").exists():
        return boot
    apt.update()
    packages = [apt.resolve(pattern) for pattern in (*kernel.packages, *kernel.others)]
    with scratch(folder.with_suffix(".new")) as work, scratch(folder.with_suffix(".debs")) as debs:
        for package in packages:
            run(["dpkg", "-x", apt.download(package, debs), debs / "tree"])
        image = max((debs / "tree").rglob("vmlinuz*"), key=lambda path: path.stat().st_size)
        release = next(path.name for path in (debs / "tree").rglob("lib/modules/*") if (path / "kernel").is_dir())
        shutil.copy(image, work / "vmlinuz")
        _take_modules(debs / "tree", work / "modules")
        for busybox in (debs / "tree").glob("bin/busybox"):
            shutil.copy(busybox, work / "busybox")
        (work / "release").write_text(release)
        (work / "versions").write_text("".join(f"{package}\n" for package in packages))
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    return boot
