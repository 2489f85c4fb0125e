"""The guest's file system: busybox, the test programs, the modules, in one cpio archive."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .boot import Boot
from .errors import LabError
from .packages import run

GUEST = Path(__file__).parent / "guest"
GCTEST = ("main.c", "facts.c", "marks.c", "threads.c", "memory.c", "identity.c", "crowd.c")
STATIC = ("-static", "-no-pie")
PROGRAMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "gctest": (GCTEST, STATIC),
    "gctest-dynamic": (GCTEST, ("-fPIE", "-pie")),
    "pack": (("pack.c",), STATIC),
    "kexec_load": (("kexec_load.c",), STATIC),
}

# Variants whose gctest is another program: the first definition of a function is the one that counts.
GUEST32 = GUEST.with_name("guest32")
FIRST_COUNTS = "-Wl,-z,muldefs"
IA32 = ("-m32", "-w", "-include", "../guest32/ia32.h", FIRST_COUNTS)
GCTEST_IA32 = ("../guest32/marks32.c", "../guest32/threads32.c", *(s for s in GCTEST if s != "marks.c"))
GCTEST_SEGMENTS = ("../guest32/segments.c", *GCTEST)
PROGRAMS_OF = {
    "x86_64": PROGRAMS,
    "ia32": PROGRAMS
    | {"gctest": (GCTEST_IA32, (*STATIC, *IA32)), "gctest-dynamic": (GCTEST_IA32, ("-fPIE", "-pie", *IA32))},
    "segments": PROGRAMS | {"gctest": (GCTEST_SEGMENTS, (*STATIC, FIRST_COUNTS))},
}
# Guests whose processes swap their memory out.
GUEST_SWAP = GUEST.with_name("guest_swap")
GCTEST_SWAP = ("../guest_swap/swap.c", *(s for s in GCTEST if s != "main.c"))
PROGRAMS_OF["swap"] = {"gctest": (GCTEST_SWAP, STATIC), "pack": PROGRAMS["pack"]}
GUEST_SWAPBENCH = GUEST.with_name("guest_swapbench")
GCTEST_SWAPBENCH = ("../guest_swapbench/big.c", *GCTEST_SWAP[1:])
PROGRAMS_OF["swapbench"] = {"gctest": (GCTEST_SWAPBENCH, STATIC), "pack": PROGRAMS["pack"]}
# 32-bit programs on a machine that one of them panics.
GUEST_PANIC32 = GUEST.with_name("guest_panic32")
GCTEST_PANIC32 = ("../guest_panic32/panic32.c", *GCTEST_IA32)
PROGRAMS_OF["ia32-panic"] = PROGRAMS_OF["ia32"] | {"gctest": (GCTEST_PANIC32, (*STATIC, *IA32))}
# Guests that run nothing but 32-bit programs; 4 MiB are a large page of a kernel without PAE.
GUEST_I386 = GUEST.with_name("guest_i386")
I386 = ("-D_FILE_OFFSET_BITS=64", *IA32)
GCTEST_I386 = ("../guest_i386/memory4m.c", *GCTEST_IA32)
PROGRAMS_OF["i386"] = {
    "gctest": (GCTEST_I386, (*STATIC, *I386)),
    "gctest-dynamic": (GCTEST_I386, ("-fPIE", "-pie", *I386)),
    "pack": (("pack.c",), (*STATIC, "-m32", "-D_FILE_OFFSET_BITS=64")),
}
# Guests whose processes run programs of a disk (see disk.py): what is not on it mounts it and starts them.
GUEST_DISK = GUEST.with_name("guest_disk")
GCTEST_DISK = ("../guest_disk/launch.c", *(s for s in GCTEST if s != "main.c"))
PROGRAMS_OF["disk"] = {"gctest": (GCTEST_DISK, STATIC), "pack": PROGRAMS["pack"]}
# Roles about pages that are not in the page table, and about each bit of the filter.
GUEST_PAGES = GUEST.with_name("guest_pages")
GCTEST_PAGES = (
    "../guest_pages/pages.c", "../guest_pages/many.c", *(s for s in GCTEST if s not in ("main.c", "memory.c")),
)  # fmt: skip
PROGRAMS_OF["pages"] = PROGRAMS | {
    "gctest": (GCTEST_PAGES, STATIC),
    "gctest-dynamic": (GCTEST_PAGES, ("-fPIE", "-pie")),
}
# The folders beside GUEST that each of them takes sources from.
SOURCES_OF = {
    "ia32": (GUEST32,),
    "ia32-panic": (GUEST32, GUEST_PANIC32),
    "segments": (GUEST32,),
    "i386": (GUEST32, GUEST_I386),
    "disk": (GUEST_DISK,),
    "pages": (GUEST_PAGES,),
    "swap": (GUEST_SWAP,),
    "swapbench": (GUEST_SWAP, GUEST_SWAPBENCH),
}
FOLDERS = ("bin", "dev", "proc", "sys", "tmp", "cores", "facts", "files", "modules", "lib64")


def compile_programs(programs: str, target: Path) -> None:
    """Every program of the guest, with symbols, into a folder; `programs` is a key of PROGRAMS_OF."""
    for name, (sources, flags) in PROGRAMS_OF[programs].items():
        compile_program(sources, flags, target / name)


def compile_program(sources: tuple[str, ...], flags: tuple[str, ...], target: Path) -> None:
    """One program out of sources by their paths from GUEST."""
    paths = [GUEST / source for source in sources]
    run(["gcc", "-g", "-O1", "-pthread", *flags, "-o", target, *paths, "-lm"], cwd=GUEST)


def libraries(program: Path) -> Iterator[Path]:
    """The shared libraries and the loader that a program needs, as ldd names them."""
    for path in re.findall(r"(/\S+) \(0x", run(["ldd", program])):
        yield Path(path)


def build(boot: Boot, programs: str, modules: str, root: Path, archive: Path) -> None:
    """Lay out the tree below root and write it as a cpio archive (newc, not compressed)."""
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(boot.busybox, root / "bin/busybox")
    shutil.copy(GUEST / "init", root / "init")
    (root / "init").chmod(0o755)
    compile_programs(programs, root / "bin")
    for library in libraries(root / "bin/gctest-dynamic") if "gctest-dynamic" in PROGRAMS_OF[programs] else ():
        target = root / library.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    for folder in (boot.modules, *([boot.more_modules(modules)] if modules else [])):
        shutil.copytree(folder, root / "modules", dirs_exist_ok=True)
    write_cpio(root, archive)


def write_cpio(root: Path, archive: Path) -> None:
    """All that lies below root, owned by root:root, in the order of the names."""
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    with archive.open("wb") as out:
        done = subprocess.run(
            ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"],
            input="".join(f"{name}\n" for name in names).encode(), stdout=out, cwd=root, check=False,
        )  # fmt: skip
    if done.returncode:
        raise LabError(f"cpio: exit {done.returncode} for {archive}")
