"""The kernels of the lab: one row each, and the only place that names them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kernel:
    """One kernel; packages are regular expressions, and the newest package that matches one whole is taken."""

    name: str
    suite: str
    packages: tuple[
        str, ...
    ]  # together they hold vmlinuz and the modules; linux-image-RELEASE-dbg holds the vmlinux
    arch: str = "amd64"
    has_zswap: bool = False  # Debian's kernels for clouds have not

    @property
    def others(self) -> tuple[str, ...]:
        """What of the packages that this machine has installed the guest needs from its own architecture."""
        return () if self.arch == "amd64" else ("busybox-static",)


_ROWS = (
    Kernel("5.10", "bullseye", (r"linux-image-5\.10\.0-\d+-cloud-amd64-unsigned",)),
    Kernel("6.1", "bookworm", (r"linux-image-6\.1\.0-\d+-cloud-amd64-unsigned",)),
    Kernel("6.12", "trixie", (r"linux-image-6\.12\.[\d.]+\+deb13-cloud-amd64-unsigned",)),
    Kernel(
        "7.2",
        "sid",
        (r"linux-binary-unsigned-7\.[\d.]+\+deb\d+-cloud-amd64", r"linux-modules-7\.[\d.]+\+deb\d+-cloud-amd64"),
    ),
    Kernel("5.10-686-pae", "bullseye", (r"linux-image-5\.10\.0-\d+-686-pae-unsigned",), "i386"),
    Kernel("6.1-686", "bookworm", (r"linux-image-6\.1\.0-\d+-686-unsigned",), "i386"),
    Kernel("6.1-686-pae", "bookworm", (r"linux-image-6\.1\.0-\d+-686-pae-unsigned",), "i386"),
    Kernel("6.1-zswap", "bookworm", (r"linux-image-6\.1\.0-\d+-amd64-unsigned",), has_zswap=True),
    Kernel("6.12-zswap", "trixie", (r"linux-image-6\.12\.[\d.]+\+deb13-amd64-unsigned",), has_zswap=True),
)
KERNELS = {kernel.name: kernel for kernel in _ROWS}
# Those that most machines of the lab are made for.
AMD64 = tuple(name for name, kernel in KERNELS.items() if kernel.arch == "amd64" and not kernel.has_zswap)
ZSWAP = tuple(name for name, kernel in KERNELS.items() if kernel.has_zswap)
