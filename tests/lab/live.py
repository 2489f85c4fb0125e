"""A guest that runs our commands itself: Python and all that they import are put into its file system."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from .archive import unpack
from .capture import BOOT_SECONDS, DUMP_SECONDS, arguments, fresh_disk, put_capture_kernel
from .facts import Facts
from .folders import scratch
from .initramfs import build, libraries, write_cpio
from .lab import Capture
from .machine import Machine
from .packages import run
from .variants import Variant

ROOT = Path(__file__).resolve().parents[2]
# Where the guest has what lies in ROOT: on folders such as /tmp it mounts others.
GUEST_ROOT = Path("/checkout")
GUEST = Path(__file__).with_name("guestlive")

# The last process lives on until the machine panics; the kernel writes a core of the others before.
LIVE = Variant(
    "live",
    roles=("threads", "zleader", "memory-default"),
    ending="live",
    cpu="Nehalem",  # numpy wants CMPXCHG16B
    memory=1024,
    append="crashkernel=320M printk.console_no_auto_verbose=1",
)

# What the commands have imported, and the libraries below them, when they have done their work.
CLOSURE = """
import importlib, pathlib, resource, sys
from gcoretools.commands import cat, core, elf, maps, pages, regs, tasks
assert core.main(["--no-cache", "-o", sys.argv[3], sys.argv[1], sys.argv[2]]) == 0
for module in list(sys.modules.values()):
    print(getattr(module, "__file__", None), getattr(module, "__cached__", None), sep="\\n")
print(*{line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}, sep="\\n")
"""


@dataclass(frozen=True)
class Lived:
    """What the guest left.

    Attributes:
        live, captured: what the commands made of /proc/kcore, and of /proc/vmcore in the capture kernel: core.PID,
            and of each command NAME, NAME.words and NAME.peak.
        cores: those that the kernel wrote itself.
        vmcore: what the capture kernel saved.
    """

    live: Path
    captured: Path
    cores: Path
    facts: list[Facts]
    vmcore: Path


def peak(out: Path, name: str) -> int:
    """The most memory that a command had, in KiB (getrusage)."""
    return int((out / f"{name}.peak").read_text())


def live(captured: Capture, work: Path) -> Lived:
    """Boot the kernel of a capture with our commands in its file system, and have it run them."""
    with scratch(work / "scratch") as rough:
        _build(captured, rough)
        put_capture_kernel(captured.boot, rough)
        disks = [fresh_disk(rough / name) for name in ("vda", "vdb", "vdc")]
        with Machine(arguments(LIVE, captured.boot.vmlinuz, rough / "initrd", disks), work) as machine:
            machine.expect("GC LIVED", BOOT_SECONDS, "GC FAILED")
            size = int(machine.expect(r"GC VMCORE (\d+)\n", DUMP_SECONDS, "GC FAILED")[1])
            machine.expect("GC SAVED", DUMP_SECONDS, "GC FAILED")
            machine.process.wait(60)
        unpack(disks[0], work / "live")
        unpack(disks[2], work / "captured")
        with disks[1].open("r+b") as file:
            file.truncate(size)
        disks[1].rename(work / "vmcore")
    facts = [json.loads(path.read_text()) for path in sorted((work / "live/facts").glob("*.json"))]
    return Lived(work / "live/out", work / "captured/out", work / "live/cores", facts, work / "vmcore")


def _build(captured: Capture, rough: Path) -> None:
    """The guest of every capture, with another first process, and Python."""
    build(captured.boot, LIVE.programs, LIVE.modules, rough / "root", rough / "initrd")
    for path in GUEST.iterdir():
        shutil.copy(path, rough / "root")
    (rough / "root/init").chmod(0o755)
    _put_python(captured, rough)
    write_cpio(rough / "root", rough / "initrd")


def _put_python(captured: Capture, rough: Path) -> None:
    """Every file at its own path, but the checkout below GUEST_ROOT, and in /python what a shell has to know."""
    python = Path(sys.executable).resolve()
    pid = str(captured.process("threads")["global_pid"])
    told = run([sys.executable, "-c", CLOSURE, captured.vmcore, pid, rough / "core"], cwd=ROOT)
    files = {Path(line) for line in told.splitlines() if line.startswith("/")} | {python}
    binaries = [path for path in files if ".so" in path.name or path == python]
    files |= {library for binary in binaries for library in libraries(binary)}
    for path in sorted(path for path in files if path.is_file()):
        target = rough / "root" / _in_guest(path).relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    packages = (Path(path).resolve() for path in sys.path if path.endswith("site-packages"))
    found = ":".join(str(_in_guest(path)) for path in (ROOT, *packages))
    words = f"PYTHON={python}\nexport PYTHONPATH={found} PYTHONDONTWRITEBYTECODE=1 PYTHONNOUSERSITE=1\n"
    (rough / "root/python").write_text(words)


def _in_guest(path: Path) -> Path:
    """Where the guest has a file of this machine."""
    return GUEST_ROOT / path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
