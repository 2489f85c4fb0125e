"""A folder as the root of a file system (path_resolution(7), chroot(2))."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from gcoretools.errors import FileError

# More symbolic links than the kernel follows in one path (MAXSYMLINKS of include/linux/namei.h).
LINK_LIMIT = 40


class Tree:
    """The folder.

    Args:
        root: its path.
    Raises FileError when it is none.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise FileError(f"--sysroot {root}: no such folder")
        self._root = root

    def find(self, name: str) -> Path:
        """Where an absolute path of the dumped machine leads: neither symbolic links nor ".." lead out of the root.

        Raises OSError for too many links.
        """
        here, left, links = self._root, _parts(name), 0
        while left:
            part = left.pop()
            if part == "..":
                here = here if here == self._root else here.parent
                continue
            here /= part
            if here.is_symlink():
                links += 1
                if links > LINK_LIMIT:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                target = os.readlink(here)
                here = self._root if target.startswith("/") else here.parent
                left += _parts(target)
        return here


def _parts(path: str) -> list[str]:
    """The names in a path, the last one first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]
