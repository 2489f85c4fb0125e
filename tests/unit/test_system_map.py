"""System.map: symbols of a vmlinux that has none."""

import subprocess
from pathlib import Path

import pytest

from gcoretools.layout.kallsyms import Symbol
from gcoretools.layout.system_map import read_system_map, system_map_beside
from gcoretools.layout.vmlinux import Vmlinux
from tests.compiled import build

TEXT = b"ffffffff80100000 T _text\nno line\nffffffff8023d900 D init_task\n0000000000000000 D per_cpu__current\n"


def test_a_text() -> None:
    assert list(read_system_map(TEXT)) == [
        Symbol("_text", "T", 0xFFFFFFFF80100000),
        Symbol("init_task", "D", 0xFFFFFFFF8023D900),
        Symbol("per_cpu__current", "D", 0),
    ]


@pytest.mark.parametrize(
    ("vmlinux", "name"),
    [
        ("vmlinux", "System.map"),
        ("vmlinux-2.6.9", "System.map-2.6.9"),
        ("vmlinux-2.6.9.debug", "System.map-2.6.9"),
        ("vmlinux-2.6.9", "System.map"),
        ("vmlinux-2.6.9", "System.map-2.6.18"),
    ],
)
def test_where_it_lies(tmp_path: Path, vmlinux: str, name: str) -> None:
    (tmp_path / name).write_bytes(TEXT)
    found = [symbol.name for symbol in system_map_beside(tmp_path / vmlinux)]
    assert found == ([] if name.endswith("18") else ["_text", "init_task", "per_cpu__current"])


def test_a_vmlinux_without_symbols_takes_it(tmp_path: Path) -> None:
    whole = build(tmp_path, "-no-pie", "-gdwarf-5")
    stripped = tmp_path / "vmlinux"
    # Debug information without symbols, as it is when the two were kept apart.
    subprocess.run(["objcopy", "--strip-all", "--keep-section=.debug_*", whole, stripped], check=True)
    assert Vmlinux(stripped).symbols(("task", "later")) == {}
    lines = subprocess.run(["nm", whole], stdout=subprocess.PIPE, check=True).stdout
    (tmp_path / "System.map").write_bytes(lines)
    assert Vmlinux(stripped).symbols(("task", "later")) == Vmlinux(whole).symbols(("task", "later")) != {}
