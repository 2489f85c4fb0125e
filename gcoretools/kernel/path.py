"""File names as the kernel prints them (fs/d_path.c: d_path, simple_dname; fs/namespace.c)."""

from __future__ import annotations

from dataclasses import dataclass, field

from gcoretools.errors import KernelDataError
from gcoretools.kernel.image import Image, Struct

# No name of a directory is longer, in bytes (PATH_MAX of include/uapi/linux/limits.h).
NAME_LIMIT = 4096

# No file lies deeper; a path as a whole may well be longer than PATH_MAX.
DEPTH_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Root:
    """A process's root directory: virtual addresses of its vfsmount and dentry; zeros for none."""

    mount: int = 0
    dentry: int = 0


def process_root(image: Image, task: Struct) -> Root:
    """The root directory that a task's paths are relative to."""
    if task.has("fs") and task["fs"] and image.has("fs_struct.root", "fs_struct.rootmnt"):
        fs = image.struct("fs_struct", task["fs"])
        return Root(fs["rootmnt"], fs["root"])
    if not (task.has("fs") and image.has("fs_struct.root", "path.mnt", "path.dentry")) or not task["fs"]:
        return Root()
    path = image.struct("path", image.struct("fs_struct", task["fs"]).at("root"))
    return Root(path["mnt"], path["dentry"])


@dataclass
class Paths:
    """Names of files as one process sees them; each is worked out once."""

    image: Image
    root: Root
    _known: dict[tuple[int, int], str] = field(default_factory=dict)

    def of(self, file: Struct) -> str:
        """The path of a struct file, with " (deleted)" where the kernel would say so."""
        where = file["f_path.mnt"], file["f_path.dentry"]
        if where not in self._known:
            self._known[where] = self._path(*where)
        return self._known[where]

    def _path(self, mount: int, dentry: int) -> str:
        last = self.image.struct("dentry", dentry)
        named = self._own_name(last, mount)
        if named is not None:
            return named
        path = self._climb(mount, dentry) or "/"
        unhashed = not last["d_hash.pprev"] and last["d_parent"] != dentry
        return path + " (deleted)" if unhashed else path

    def _own_name(self, dentry: Struct, mount: int) -> str | None:
        """What the file system's own d_dname says of files that are in no directory."""
        operations = dentry["d_op"]
        if not operations or not self.image.has("dentry_operations.d_dname"):
            return None
        function = self.image.struct("dentry_operations", operations)["d_dname"]
        if not function or dentry.address == self.image.struct("vfsmount", mount)["mnt_root"]:
            return None
        name = self._name(dentry)
        forms = {"simple_dname": f"/{name} (deleted)", "anon_inodefs_dname": f"anon_inode:{name}"}
        symbols = self.image.kernel.layout.symbols
        return next((form for symbol, form in forms.items() if symbols.get(symbol) == function), f"/{name}")

    def _climb(self, mount: int, dentry: int) -> str:
        """The names from the process's root down to a dentry, mount points crossed."""
        names: list[str] = []
        seen: set[tuple[int, int]] = set()
        while (mount, dentry) != (self.root.mount, self.root.dentry):
            if (mount, dentry) in seen or len(seen) > DEPTH_LIMIT:
                raise KernelDataError(f"dentry {dentry:#x}: its parents do not end")
            seen.add((mount, dentry))
            if dentry == self.image.struct("vfsmount", mount)["mnt_root"]:
                above = self._above(mount)
                if above is None:
                    break  # the top of this mount namespace
                mount, dentry = above
                continue
            here = self.image.struct("dentry", dentry)
            if here["d_parent"] == dentry:
                return ""  # escaped from its mount (cde93be45a8a, 4.3)
            names.append(self._name(here))
            dentry = here["d_parent"]
        return "".join(f"/{name}" for name in reversed(names))

    def _above(self, vfsmount: int) -> tuple[int, int] | None:
        """The mount above and the dentry that it is mounted on."""
        offset = self.image.member("mount.mnt").offset if self.image.has("mount.mnt") else 0
        mount = self.image.struct("mount", vfsmount - offset)
        if mount["mnt_parent"] == mount.address:
            return None
        return mount["mnt_parent"] + offset, mount["mnt_mountpoint"]

    def _name(self, dentry: Struct) -> str:
        length = min(dentry["d_name.len"], NAME_LIMIT)
        return self.image.memory.read(dentry["d_name.name"], length).decode("utf-8", "surrogateescape")
