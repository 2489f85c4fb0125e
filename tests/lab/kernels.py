"""The kernels of the lab: one row each, and the only place that names them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kernel:
    """One kernel; packages are regular expressions, and the newest package that matches one whole is taken."""

    name: str
    suite: str
    packages: tuple[str, ...]  # together they hold vmlinuz and the modules
    debug: str  # holds the vmlinux with DWARF
    quick: bool  # in `make test`; the others only in `make matrix`
    arch: str = "amd64"


CLOUD = r"-cloud-amd64"

KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel("5.10", "bullseye", (rf"linux-image-5\.10\.0-\d+{CLOUD}-unsigned",), rf"linux-image-5\.10\.0-\d+{CLOUD}-dbg", False),
        Kernel("6.1", "bookworm", (rf"linux-image-6\.1\.0-\d+{CLOUD}-unsigned",), rf"linux-image-6\.1\.0-\d+{CLOUD}-dbg", True),
        Kernel("6.12", "trixie", (rf"linux-image-6\.12\.[\d.]+\+deb13{CLOUD}-unsigned",), rf"linux-image-6\.12\.[\d.]+\+deb13{CLOUD}-dbg", True),
        Kernel(
            "7.2",
            "sid",
            (rf"linux-binary-unsigned-7\.[\d.]+\+deb14{CLOUD}", rf"linux-modules-7\.[\d.]+\+deb14{CLOUD}"),
            rf"linux-image-7\.[\d.]+\+deb14{CLOUD}-dbg",
            False,
        ),
    )
}
