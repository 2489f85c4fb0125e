"""The lab's door: capture(kernel, variant) makes a capture once and finds it again."""

import json
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from .boot import Boot, fetch
from .capture import make, recipe
from .errors import LabError
from .facts import Facts
from .folders import LAB, locked, scratch
from .kernels import KERNELS, Kernel
from .packages import Apt
from .variants import VARIANTS

NEEDED = Path(__file__).with_name("packages.txt")
TOOLS = ("qemu-system-x86_64", "busybox", "cpio", "dpkg", "mke2fs", "gdb", "makedumpfile", "gcc", "readelf")


@dataclass(frozen=True)
class Capture:
    """One dumped machine and the kernel's own cores of its processes."""

    folder: Path
    boot: Boot
    variant: str

    @cached_property
    def dumps(self) -> dict[str, Path]:
        """Every dump of the moment by its kind: elf and kdump out of QEMU; elf, d0, d1, d31 of a real kdump."""
        return {path.suffix[1:]: path for path in sorted(self.folder.glob("vmcore.*"))}

    @property
    def vmcore(self) -> Path:
        """The dump as ELF: QEMU's, or the capture kernel's /proc/vmcore."""
        return self.dumps["elf"]

    @property
    def kdump(self) -> Path:
        """The same moment, whole and kdump-compressed: QEMU's kdump-zlib, or makedumpfile -c -d 0."""
        return self.dumps.get("kdump") or self.dumps["d0"]

    @cached_property
    def cores(self) -> dict[int, Path]:
        """The kernel's cores by thread group (as the first pid namespace counts); none of a variant that panics."""
        return {int(path.suffix[1:]): path for path in sorted(self.folder.glob("cores/core.*"))}

    @cached_property
    def facts(self) -> Facts:
        """What the processes said of themselves: facts.json."""
        facts: Facts = json.loads((self.folder / "facts.json").read_text())
        return facts

    @property
    def swap_disk(self) -> Path:
        """What is kept of /dev/vdb, as it was at the moment of the dump."""
        return self.folder / "vdb.img"

    @property
    def registers(self) -> str:
        """`info registers -a` of the stopped moment."""
        return (self.folder / "registers.txt").read_text()

    @property
    def sysroot(self) -> Path:
        """The guest's programs and libraries, as gdb's `set sysroot` wants them."""
        return self.folder / "sysroot"

    def process(self, role: str) -> Facts:
        """The facts of the process that plays a role."""
        found: Facts = next(each for each in self.facts["processes"] if each["role"] == role)
        return found

    def core(self, role: str) -> Path:
        """The kernel's core of the process that plays a role."""
        return self.cores[self.process(role)["global_pid"]]

    @property
    def options(self) -> tuple[str | Path, ...]:
        """What commands need beside the dump: Debian's 686 kernels have neither types nor variables in it."""
        return () if self.boot.kernel.arch == "amd64" else ("-k", self.vmlinux())

    def vmlinux(self) -> Path:
        """The kernel's own vmlinux with DWARF; fetched on demand (about 280 MB)."""
        with _lock(self.boot.kernel):
            return self.boot.vmlinux(_apt(self.boot.kernel))


def _apt(kernel: Kernel) -> Apt:
    return Apt(LAB / "apt", kernel.suite, kernel.arch)


def _lock(kernel: Kernel) -> AbstractContextManager[None]:
    """Held by the one that uses apt's folder of a suite."""
    return locked(f"{kernel.suite}-{kernel.arch}")


def _boot(kernel: Kernel) -> Boot:
    with _lock(kernel):
        return fetch(kernel, LAB / "kernels" / kernel.name, _apt(kernel))


def require_tools() -> None:
    """LabError with the line that installs them when programs are missing."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        packages = " ".join(NEEDED.read_text().split())
        raise LabError(f"the lab needs {', '.join(missing)}: apt-get install --no-install-recommends {packages}")


def capture(kernel: str, variant: str = "max") -> Capture:
    """The capture of a kernel (a name in KERNELS) and a variant (in VARIANTS); made when it is not there.

    LabError when it cannot be made, and at once when this process has tried before.
    """
    made = _captured(kernel, variant)
    if isinstance(made, LabError):
        raise made
    return made


@cache
def _captured(kernel: str, variant: str) -> Capture | LabError:
    try:
        return _capture(kernel, variant)
    except LabError as error:
        return error


def _capture(kernel: str, variant: str) -> Capture:
    require_tools()
    boot = _boot(KERNELS[kernel])
    name = f"{kernel}-{variant}"
    folder = LAB / f"{name}-{recipe(boot, VARIANTS[variant])}"
    with locked(name):
        if not folder.exists():
            with scratch(LAB / f".{name}.new") as work:
                make(boot, VARIANTS[variant], work)
                work.rename(folder)
    return Capture(folder, boot, variant)


def found(kernel: str, variant: str) -> list[Path]:
    """The folders of the captures that there are, the newest recipe last."""
    return sorted(LAB.glob(f"{kernel}-{variant}-*"), key=lambda path: path.stat().st_mtime)
