"""Folders that come and go whole, and locks against other test runs."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LAB = Path(os.environ.get("GC_LAB_DIR") or Path(__file__).parents[2] / ".lab").absolute()


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """A folder that is empty at first and gone in the end, unless it was renamed."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of the lab folder; another run waits."""
    LAB.mkdir(parents=True, exist_ok=True)
    with (LAB / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
