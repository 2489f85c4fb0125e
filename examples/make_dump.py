"""Make the dump of the examples anew: boot the guest, dump it, and have gc-trim cut it to what the commands read.

usage: python -m examples.make_dump [CAPTURE]     from the top of the checkout, with the lab's packages installed

Writes examples/orderdesk (the guest's program, with debug information) and examples/vmcore; README.md beside
this file tells how. With CAPTURE, the name of a file, the whole dump is kept there. When it exists already no
machine is booted and the program stays as it is; the same capture always makes the same examples/vmcore.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.lab.boot import Boot, fetch
from tests.lab.capture import ACCELERATOR
from tests.lab.errors import LabError
from tests.lab.folders import LAB, locked
from tests.lab.initramfs import write_cpio
from tests.lab.kernels import KERNELS
from tests.lab.lab import require_tools
from tests.lab.machine import Machine
from tests.lab.packages import Apt, run

HERE = Path(__file__).resolve().parent
GUEST = HERE / "guest"
KERNEL = KERNELS["6.1"]
BOOT_SECONDS = 240

# -O0: backtraces show every function with its arguments.
COMPILE = (
    "gcc", "-O0", "-g", "-ffreestanding", "-nostdlib", "-static", "-no-pie", "-fno-pic", "-fno-stack-protector",
    "-fcf-protection=none", "-Wall", "-Wextra", "-Werror", "-Wl,--build-id=sha1", "-Wl,-z,noexecstack",
    f"-ffile-prefix-map={GUEST}=.",
)  # fmt: skip

# No vdso and no vsyscall page, so that no code of the kernel is in any process. Memory is cleared when it is
# allocated and when it is freed, so that pages hold nothing but what is in use. Processes have the same addresses
# at each boot.
APPEND = (
    "console=ttyS0 quiet panic=-1 rootfstype=ramfs vdso=0 vsyscall=none init_on_alloc=1 init_on_free=1 norandmaps"
)

# The till counts, in user mode, with its badge on.
SPINNING = ("CPL=3", f"R15={int.from_bytes(b'till.r15', 'little'):016x}")


def compile_program(name: str, target: Path) -> None:
    """One of the guest's programs; nothing but its own source is in it."""
    run([*COMPILE, "-o", target, f"{name}.c"], cwd=GUEST)


def build(boot: Boot, root: Path, archive: Path) -> None:
    """The guest's file system: two programs, one module, one menu."""
    for folder in ("bin", "dev", "srv"):
        (root / folder).mkdir(parents=True)
    compile_program("init", root / "init")
    compile_program("orderdesk", root / "bin/orderdesk")
    shutil.copy(GUEST / "menu.txt", root / "srv/menu.txt")
    (module,) = boot.modules.glob("*-qemu_fw_cfg.ko")
    shutil.copy(module, root / "qemu_fw_cfg.ko")
    write_cpio(root, archive)


def arguments(kernel: Path, initrd: Path) -> tuple[str, ...]:
    """QEMU's command line."""
    return (
        "-accel", ACCELERATOR, "-cpu", "max,-cx16,-la57", "-smp", "1", "-m", "128M", "-device", "vmcoreinfo",
        "-nodefaults", "-display", "none", "-no-reboot",
        "-kernel", str(kernel), "-initrd", str(initrd), "-append", APPEND,
    )  # fmt: skip


def stop(machine: Machine) -> None:
    """Stop the machine while the till counts. Raises LabError when it is never seen to."""
    for _ in range(100):
        machine.qmp("stop")
        registers = machine.registers()
        if all(word in registers for word in SPINNING):
            return
        machine.qmp("cont")
        time.sleep(0.05)
    raise LabError(f"the till was never seen counting in user mode:\n{registers}")


def capture(target: Path, work: Path) -> None:
    """Boot the guest and dump it whole."""
    require_tools()
    with locked("kernels"):
        boot = fetch(KERNEL, LAB / "kernels" / KERNEL.name, Apt(LAB / "apt", KERNEL.suite, KERNEL.arch))
    build(boot, work / "root", work / "initrd")
    with Machine(arguments(boot.vmlinuz, work / "initrd"), work) as machine:
        machine.expect("EXAMPLE READY", BOOT_SECONDS, "FAILED|Kernel panic")
        time.sleep(0.5)
        stop(machine)
        machine.dump(target, "kdump-zlib")
    shutil.copy(work / "root/bin/orderdesk", HERE / "orderdesk")


# What must work on the dump: every task, the current one, and everything of every process.
STREAMS = (
    "gc-tasks -a {dump}",
    "gc-maps {dump}",
    "gc-tasks {dump} | gc-maps | gc-regs | gc-pages -f 1023",
)


def trim(whole: Path, work: Path) -> None:
    """Write examples/vmcore: what the streams take of a dump, without the kernel's code, which is not ours."""
    files = [work / f"{number}.gc" for number in range(len(STREAMS))]
    lines = [f"{line.format(dump=whole)} > {file}" for line, file in zip(STREAMS, files, strict=True)]
    lines.append(f"gc-trim --no-code {HERE / 'vmcore'} {' '.join(map(str, files))}")
    environment = {**os.environ, "PATH": f"{HERE.parent / 'bin'}:{os.environ['PATH']}"}
    for line in lines:
        command = ["bash", "-o", "pipefail", "-c", line]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{line}: {done.stderr}")
    (HERE / "vmcore").chmod(0o644)


def main(words: list[str]) -> int:
    """Do it; 2 when the words are wrong."""
    if len(words) > 1 or any(word.startswith("-") for word in words):
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(words[0] if words else f"{folder}/vmcore")
        if not whole.exists():
            capture(whole, Path(folder))
        trim(whole.resolve(), Path(folder))
    print(f"examples/vmcore: {(HERE / 'vmcore').stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        sys.exit(f"make_dump: {error}")
