"""The cycle: boot, stop, dump, go on, take the kernel's own cores of the same processes."""

import hashlib
import json
import re
import shutil
import time
from pathlib import Path

from .archive import unpack
from .boot import MORE_MODULES, Boot
from .disk import MOUNTED, build_disk, contents
from .errors import LabError
from .facts import collect
from .folders import scratch
from .initramfs import GUEST, PROGRAMS, PROGRAMS_OF, SOURCES_OF, build, write_cpio
from .machine import Machine
from .packages import run
from .variants import Variant

FORMAT = 2  # of the result folder: another number makes every capture anew
# With a host thread per CPU, QEMU 7.2 lets one CPU run instructions that another has just patched: 6.12 then dies
# of its own static keys ("Oops: int3") once in a dozen boots.
ACCELERATOR = "tcg,thread=single"
DISK = 16 << 30  # bytes, sparse
NOT_KEPT = ("busybox", "initrd", "kernel", "modules")  # of the guest's files
BOOT_SECONDS, DUMP_SECONDS = 240, 600


def arguments(variant: Variant, kernel: Path, initrd: Path, disks: list[Path]) -> tuple[str, ...]:
    """QEMU's command line."""
    append = f"console=ttyS0 rootfstype=ramfs panic=-1 hugepages=12 {variant.append}"
    words = f"roles={','.join(variant.roles)} ending={variant.ending}"
    drives = [f"file={disk},if=virtio,format=raw,cache=unsafe" for disk in disks]
    return (
        "-accel", ACCELERATOR, "-cpu", variant.cpu, "-smp", "2", "-m", f"{variant.memory}M",
        "-nodefaults", "-display", "none", "-no-reboot", *variant.devices,
        "-kernel", str(kernel), "-initrd", str(initrd), "-append", f"{append} {words}",
        *(word for drive in drives for word in ("-drive", drive)),
    )  # fmt: skip


def recipe(boot: Boot, variant: Variant) -> str:
    """A hash over all that decides what a capture holds."""
    words = [str(FORMAT), boot.versions, *variant.formats, repr(PROGRAMS)]
    words += run([variant.qemu, "--version"]), run(["gcc", "-dumpfullversion"])
    words += arguments(variant, Path("kernel"), Path("initrd"), [])
    words += [path.read_text() for path in sorted(GUEST.iterdir())]
    if PROGRAMS_OF[variant.programs] is not PROGRAMS:
        words.append(repr(PROGRAMS_OF[variant.programs]))
    for folder in SOURCES_OF.get(variant.programs, ()):
        words += [path.read_text() for path in sorted(folder.iterdir())]
    words += MORE_MODULES.get(variant.modules, ())
    words += [str(variant.kept_disk)] if variant.kept_disk else []
    if variant.disk:
        words.append(contents())
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]


def fresh_disk(path: Path) -> Path:
    """An empty disk."""
    with path.open("wb") as disk:
        disk.truncate(DISK)
    return path


# What the spinner's marks look like in `info registers`: t01.r15 of a 64-bit one, 1ebp of a 32-bit one.
SPINNERS = (f"R15={int.from_bytes(b't01.r15 ', 'little'):016x}", f"EBP={int.from_bytes(b'1ebp', 'little'):08x}")


def spins(registers: str) -> bool:
    """Whether CPU 1, the spinner's, stands in user mode with the spinner's marks."""
    cpu = registers.partition("CPU#1")[2]
    return "CPL=3" in cpu and any(marks in cpu for marks in SPINNERS)


def _stop(machine: Machine, want_spinner: bool) -> str:
    """Stop the machine, with the spinner on its CPU, and return the registers."""
    for _ in range(50):
        machine.qmp("stop")
        registers = machine.registers()
        if not want_spinner or spins(registers):
            return registers
        machine.qmp("cont")
        time.sleep(0.1)
    raise LabError(f"the spinning thread was never seen on CPU 1:\n{registers}")


def _dump_stopped(machine: Machine, variant: Variant, disk: Path, out: Path) -> None:
    machine.expect("GC READY", BOOT_SECONDS)
    time.sleep(0.3)
    registers = _stop(machine, "spin" in variant.roles)
    (out / "registers.txt").write_text(registers)
    for kind in variant.formats:
        machine.dump(out / ("vmcore." + kind.partition("-")[0]), kind)
    if variant.kept_disk:
        with disk.open("rb") as file:
            (out / "vdb.img").write_bytes(file.read(variant.kept_disk))
    machine.qmp("cont")
    machine.answer("go")
    machine.expect("GC PACKED", DUMP_SECONDS)


def _dump_panicked(machine: Machine, disk: Path, out: Path) -> None:
    machine.expect("GC READY", BOOT_SECONDS)
    size = int(machine.expect(r"GC VMCORE (\d+)\n", DUMP_SECONDS, "GC FAILED")[1])
    machine.expect("GC SAVED", DUMP_SECONDS, "GC FAILED")
    machine.process.wait(60)
    with disk.open("r+b") as file:
        file.truncate(size)
    disk.rename(out / "vmcore.elf")
    for level in (0, 1, 31):
        run(["makedumpfile", "-c", "-d", str(level), out / "vmcore.elf", out / f"vmcore.d{level}"])


def make(boot: Boot, variant: Variant, work: Path) -> None:
    """Make a capture in an empty folder: the dumps, cores/, facts.json, registers.txt, serial.log, sysroot/."""
    with scratch(work / "scratch") as rough:
        build(boot, variant.programs, variant.modules, rough / "root", rough / "initrd")
        if variant.ending == "panic":
            put_capture_kernel(boot, rough)
        disks = [fresh_disk(rough / "vda"), fresh_disk(rough / "vdb")]
        if variant.disk:
            build_disk(rough / "root" / MOUNTED, disks[1])
        with Machine(arguments(variant, boot.vmlinuz, rough / "initrd", disks), work, variant.qemu) as machine:
            if variant.ending == "panic":
                _dump_panicked(machine, disks[1], work)
            else:
                _dump_stopped(machine, variant, disks[1], work)
        unpack(disks[0], rough / "packed")
        shutil.copytree(rough / "root", work / "sysroot", ignore=shutil.ignore_patterns(*NOT_KEPT))
        facts = collect(rough / "packed/facts")
        (work / "cores").mkdir()
        for core in (rough / "packed").glob("cores/core.*"):
            core.rename(work / "cores" / core.name)
    release = re.search(r"Linux version (\S+)", (work / "serial.log").read_text())
    facts["release"] = release[1] if release else None
    (work / "facts.json").write_text(json.dumps(facts, indent=1))
    (work / "versions").write_text(boot.versions)


def put_capture_kernel(boot: Boot, rough: Path) -> None:
    """The kernel and the archive go into the archive, for kexec_file_load(2)."""
    shutil.copy(rough / "initrd", rough / "root/initrd")
    shutil.copy(boot.vmlinuz, rough / "root/kernel")
    write_cpio(rough / "root", rough / "initrd")
