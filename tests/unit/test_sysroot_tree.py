"""sysroot/tree.py and file.py: a folder as a root, and files in it that must stay what they were."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gcoretools.errors import FileError
from gcoretools.sysroot.file import File
from gcoretools.sysroot.tree import Tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a program, and links of all kinds; another one of that name lies outside."""
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/program").write_bytes(b"inside")
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/program").write_bytes(b"outside")
    for link, target in {
        "bin": "usr/bin",
        "sbin": "/usr/bin",
        "usr/up": "../../../usr/bin",
        "usr/bin/alias": "./program",
        "usr/bin/far": str(tmp_path / "usr/bin/program"),
        "one": "two",
        "two": "one",
    }.items():
        (root / link).symlink_to(target)
    return root


NAMES = ("/usr/bin/program", "usr//bin/./program", "/bin/program", "/sbin/program", "/usr/up/program", "/bin/alias",
         "/../../usr/bin/program", "/sbin/../bin/program")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_leads_to_the_file_inside(root: Path, name: str) -> None:
    assert Tree(root).find(name) == root / "usr/bin/program"


def test_an_absolute_link_begins_at_the_root(root: Path) -> None:
    """What it names outside is not there inside."""
    found = Tree(root).find("/bin/far")
    assert found.is_relative_to(root)
    assert not found.exists()


def test_links_that_do_not_end(root: Path) -> None:
    with pytest.raises(OSError, match="symbolic links"):
        Tree(root).find("/one")


@pytest.mark.parametrize("name", ["nowhere", "root/usr/bin/program"])
def test_a_root_must_be_a_folder(root: Path, name: str) -> None:
    with pytest.raises(FileError, match=f"--sysroot .*{name}: no such folder"):
        Tree(root.parent / name)


def test_pieces_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(100)))
    file = File(tmp_path / "file")
    assert file.size == 100
    assert file.read(10, 5) == bytes(range(10, 15))
    assert file.read(90, 50) == bytes(range(90, 100))
    assert file.read(100, 50) == file.read(1 << 62, 50) == b""


CHANGES: dict[str, Callable[[Path], object]] = {
    "it changed while it was being read": lambda path: path.write_bytes(b"longer than it was"),
    "No such file or directory": lambda path: path.unlink(),
    "changed": lambda path: (path.rename(path.with_name("old")), path.write_bytes(b"what")),
    "symbolic links": lambda path: os.symlink(path.rename(path.with_name("old")), path),
}


@pytest.mark.parametrize("words", CHANGES)
def test_a_file_that_is_no_longer_the_same(tmp_path: Path, words: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"what")
    file = File(path)
    CHANGES[words](path)
    with pytest.raises(FileError, match=f"{path}: .*{words}"):
        file.read(0, 4)


def test_only_regular_files(tmp_path: Path) -> None:
    """A pipe that nobody writes to would hold the reader up for ever."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "link", "."):
        with pytest.raises(FileError, match="not a regular file"):
            File(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        File(tmp_path / "missing")
