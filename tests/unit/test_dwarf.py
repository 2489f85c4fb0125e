"""DWARF of every version out of GCC, against what the compiled program itself says; and damage."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcoretools.errors import LayoutError
from gcoretools.layout.types import find_member
from gcoretools.layout.vmlinux import Vmlinux
from tests.compiled import CONSTANTS, build, told

VERSIONS = ("-gdwarf-2", "-gdwarf-3", "-gdwarf-4", "-gdwarf-5")
STRICT = ("-gno-strict-dwarf", "-gstrict-dwarf")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


def members(path: Path) -> dict[str, object]:
    types = Vmlinux(path).dwarf
    return {name: find_member(types, name) for name in told(path.parent)}


@pytest.mark.parametrize("strict", STRICT)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["-no-pie", "-c", "-fno-merge-debug-strings"])
def test_members(folder: Path, kind: str, version: str, strict: str) -> None:
    """A linked file, an object whose relocations must be applied, and names that stand in the DIEs."""
    path = build(folder, kind, version, strict)
    assert members(path) == told(folder)
    assert Vmlinux(path).dwarf.constants({*CONSTANTS, "PIDTYPE_SID"}) == CONSTANTS


@pytest.mark.parametrize("form", ["-gz=zlib", "-gz=zlib-gnu"])
def test_compressed_sections(folder: Path, form: str) -> None:
    path = build(folder, "-no-pie", "-gdwarf-4", form)
    assert members(path) == told(folder)


def test_64_bit_dwarf(folder: Path) -> None:
    path = build(folder, "-no-pie", "-gdwarf-5", "-gdwarf64")
    assert members(path) == told(folder)


def test_a_separate_debug_file(folder: Path) -> None:
    path = folder / "program.debug"
    subprocess.run(["objcopy", "--only-keep-debug", build(folder, "-no-pie", "-gdwarf-5"), path], check=True)
    assert members(path) == told(folder)
    assert "task" in Vmlinux(path).symbols(("task",))


def test_what_is_not_there(folder: Path) -> None:
    types = Vmlinux(build(folder, "-no-pie", "-gdwarf-5")).dwarf
    for name in (
        "task_struct.first",
        "task_struct.pointer.here",
        "mm_struct.pgd",
        "state_t.val",
        "main.x",
        ".",
        "",
    ):
        assert find_member(types, name) is None
    assert [struct.size for struct in types.structs("flags")] == [8]


def test_no_debug_information(folder: Path) -> None:
    vmlinux = Vmlinux(build(folder, "-no-pie"))
    with pytest.raises(LayoutError, match="no debug information"):
        vmlinux.types.constants(("PIDTYPE_PID",))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=12))
def test_damage_is_told_or_read(folder: Path, changes: list[tuple[int, int]]) -> None:
    whole = build(folder, "-no-pie", "-gdwarf-4").read_bytes()
    start, end = whole.index(b"later\0", 8192) - 8192, len(whole)
    damaged = bytearray(whole)
    for at, value in changes:
        damaged[start + at % (end - start)] = value
    path = folder / "damaged"
    path.unlink(missing_ok=True)
    path.write_bytes(damaged)
    try:
        types = Vmlinux(path).dwarf
        for name in told(folder):
            find_member(types, name)
        types.constants(CONSTANTS)
        Vmlinux(path).symbols(("task", "main"))
    except LayoutError:
        pass
