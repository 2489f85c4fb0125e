"""The guest's disk: programs, the libraries of theirs and data in an ext4 file system, made without root."""

import shutil
from pathlib import Path

from .initramfs import compile_program, libraries
from .packages import run

# Where the guest mounts it.
MOUNTED = Path("mnt")
SIZE = "64M"

DISK_SOURCES = ("../guest_disk/disk.c", "facts.c", "marks.c", "threads.c", "memory.c", "identity.c", "crowd.c")
# The dynamic one takes the loader and its libraries from the disk, too.
LOADER = "ld-linux-x86-64.so.2"
DYNAMIC = ("-fPIE", "-pie", f"-Wl,-dynamic-linker,/{MOUNTED}/lib/{LOADER}", f"-Wl,-rpath,/{MOUNTED}/lib")
STATIC = ("-static", "-no-pie")
ON_DISK: dict[str, tuple[str, ...]] = {
    "disk-static": STATIC,
    "disk-dynamic": DYNAMIC,
    "disk-unnamed": (*STATIC, "-Wl,--build-id=none"),
}
DATA_PAGES = 64


def build_disk(tree: Path, image: Path) -> None:
    """Lay the files out in a folder, and the file system in an image."""
    (tree / "bin").mkdir(parents=True)
    (tree / "lib").mkdir()
    for name, flags in ON_DISK.items():
        compile_program(DISK_SOURCES, flags, tree / "bin" / name)
    for library in libraries(tree / "bin/disk-dynamic"):
        shutil.copy(library, tree / "lib")
    (tree / "data").write_bytes(b"".join(b"data on a disk %16d\n" % line for line in range(DATA_PAGES * 128)))
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, image, SIZE])


def contents() -> str:
    """All that decides what is on the disk, but for the sources."""
    return repr((ON_DISK, DISK_SOURCES, SIZE, DATA_PAGES))
