"""The lab's door: capture(kernel, variant) makes a capture once and finds it again."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .boot import Boot, fetch, scratch
from .capture import make, recipe
from .errors import LabError
from .facts import Facts
from .kernels import KERNELS, Kernel
from .packages import Apt
from .variants import VARIANTS

LAB = Path(os.environ.get("GC_LAB_DIR") or Path(__file__).parents[2] / ".lab")
NEEDED = Path(__file__).with_name("packages.txt")
TOOLS = (
    "qemu-system-x86_64", "busybox", "cpio", "dpkg", "gdb", "makedumpfile", "gcc", "readelf", "crash",
)  # fmt: skip


@dataclass(frozen=True)
class Capture:
    """One dumped machine and the kernel's own cores of its processes."""

    folder: Path
    boot: Boot

    @property
    def vmcore(self) -> Path:
        """The dump as ELF: QEMU's, or the capture kernel's /proc/vmcore."""
        return self.folder / "vmcore.elf"

    @property
    def kdump(self) -> Path:
        """The same moment kdump-compressed: QEMU's kdump-zlib, or makedumpfile -c -d 0."""
        return next(path for name in ("kdump", "d0") if (path := self.folder / f"vmcore.{name}").exists())

    @cached_property
    def cores(self) -> dict[int, Path]:
        """The kernel's cores by thread group (as the first pid namespace counts)."""
        return {int(path.suffix[1:]): path for path in sorted(self.folder.glob("cores/core.*"))}

    @cached_property
    def facts(self) -> Facts:
        """What the processes said of themselves: facts.json."""
        facts: Facts = json.loads((self.folder / "facts.json").read_text())
        return facts

    @property
    def registers(self) -> str:
        """`info registers -a` of the stopped moment."""
        return (self.folder / "registers.txt").read_text()

    def process(self, role: str) -> Facts:
        """The facts of the process that plays a role."""
        found: Facts = next(each for each in self.facts["processes"] if each["role"] == role)
        return found

    def core(self, role: str) -> Path:
        """The kernel's core of the process that plays a role."""
        return self.cores[self.process(role)["global_pid"]]

    def vmlinux(self) -> Path:
        """The kernel's own vmlinux with DWARF; fetched when first asked for (about 280 MB)."""
        with locked("kernels"):
            return self.boot.vmlinux(_apt(self.boot.kernel))


def _apt(kernel: Kernel) -> Apt:
    return Apt(LAB / "apt", kernel.suite, kernel.arch)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of the lab folder against other test runs."""
    LAB.mkdir(parents=True, exist_ok=True)
    with (LAB / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def require_tools() -> None:
    """LabError with the line that installs them when programs are missing."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        packages = " ".join(NEEDED.read_text().split())
        raise LabError(f"the lab needs {', '.join(missing)}: apt-get install --no-install-recommends {packages}")


def capture(kernel: str, variant: str = "max") -> Capture:
    """The capture of a kernel (a name in KERNELS) and a variant (in VARIANTS); made when it is not there."""
    require_tools()
    with locked("kernels"):
        boot = fetch(KERNELS[kernel], LAB / "kernels" / kernel, _apt(KERNELS[kernel]))
    name = f"{kernel}-{variant}"
    folder = LAB / f"{name}-{recipe(boot, VARIANTS[variant])}"
    with locked(name):
        if not folder.exists():
            with scratch(LAB / f".{name}.new") as work:
                make(boot, VARIANTS[variant], work)
                work.rename(folder)
    return Capture(folder, boot)
