"""A vmlinux: symbols, build ID, where it is looked for, and files that are none. Compiled programs stand in."""

import os
import subprocess
from pathlib import Path

import pytest

from gcoretools.errors import LayoutError
from gcoretools.layout.types import find_member
from gcoretools.layout.vmlinux import PLACES, Vmlinux, find_vmlinux
from tests.compiled import build

RELEASE = "6.1.0-50-cloud-amd64"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def program(folder: Path) -> Path:
    return build(folder, "-no-pie", "-gdwarf-5", "-Wl,--build-id=0xbb603a9147d3efe4744bf83c83eee397c591cc20")


def nm(path: Path) -> dict[str, int]:
    lines = subprocess.run(["nm", path], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return {line.split()[2]: int(line.split()[0], 16) for line in lines if len(line.split()) == 3}


def test_symbols_are_those_of_nm(program: Path) -> None:
    expected = nm(program)
    wanted = ("task", "later", "main", "_end", "ask", "not_there")
    found = Vmlinux(program).symbols(wanted)
    assert found == {name: expected[name] for name in wanted if name in expected}
    assert {symbol.name for symbol in Vmlinux(program).all_symbols()} >= expected.keys()


def test_build_id(program: Path, folder: Path) -> None:
    vmlinux = Vmlinux(program)
    assert vmlinux.build_id == "bb603a9147d3efe4744bf83c83eee397c591cc20"
    vmlinux.check_build("bb603a9147d3efe4744bf83c83eee397c591cc20")
    vmlinux.check_build("")
    with pytest.raises(LayoutError, match=r"build ID is bb603a91.*kernel is 1234"):
        vmlinux.check_build("1234")
    assert Vmlinux(build(folder, "-g", "-Wl,--build-id=none")).build_id == ""


def test_btf_goes_before_dwarf(folder: Path) -> None:
    """GCC writes BTF itself, another writer than pahole and us."""
    path = build(folder, "-c", "-gbtf")
    assert Vmlinux(path).types_kind == "BTF"
    found = find_member(Vmlinux(path).types, "task_struct.flags.whole")
    assert found == find_member(Vmlinux(build(folder, "-c", "-gdwarf-5")).types, "task_struct.flags.whole")
    assert found is not None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"MZ" + bytes(4096), "not a vmlinux"),
        (b"\x7fELF", "not a vmlinux"),
        (b"\x7fELF\x02\x01\x01" + bytes(57), "not a"),
        (b"\x7fELF\x02\x02\x01" + bytes(57), "not a"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(content)
    with pytest.raises(LayoutError, match=reason):
        Vmlinux(path)


def test_a_stripped_file(program: Path, tmp_path: Path) -> None:
    subprocess.run(["strip", "-o", tmp_path / "stripped", program], check=True)
    with pytest.raises(LayoutError, match="stripped"):
        Vmlinux(tmp_path / "stripped")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="No such file"):
        Vmlinux(tmp_path / "none")
    with pytest.raises(LayoutError, match="directory"):
        Vmlinux(tmp_path)


@pytest.mark.parametrize("place", PLACES)
def test_the_usual_places(program: Path, tmp_path: Path, place: str) -> None:
    build_id = Vmlinux(program).build_id
    path = tmp_path / place.format(head=build_id[:2], tail=build_id[2:], release=RELEASE).lstrip("/")
    path.parent.mkdir(parents=True)
    os.link(program, path)
    assert find_vmlinux(build_id, RELEASE, tmp_path) == path
    assert find_vmlinux("ab" * 20, RELEASE, tmp_path) is None
    assert find_vmlinux(build_id, "../" + RELEASE, tmp_path) is None


def test_another_build_is_passed_over(program: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    (tmp_path / "usr/lib/debug").mkdir(parents=True)
    os.link(build(folder, "-g", "-Wl,--build-id=0x1234"), tmp_path / f"usr/lib/debug/vmlinux-{RELEASE}")
    os.link(program, tmp_path / f"boot/vmlinux-{RELEASE}")
    assert find_vmlinux(Vmlinux(program).build_id, RELEASE, tmp_path) == tmp_path / f"boot/vmlinux-{RELEASE}"
    assert find_vmlinux("", RELEASE, tmp_path) == tmp_path / f"usr/lib/debug/vmlinux-{RELEASE}"
