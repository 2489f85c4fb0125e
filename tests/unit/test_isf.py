"""ISF files: the types of a compiled program, written down as dwarf2json would; and files that are none."""

import gzip
import json
import lzma
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcoretools.errors import GcoreError, LayoutError
from gcoretools.layout import isf
from gcoretools.layout.isf import Isf, is_isf
from gcoretools.layout.layout import Member
from gcoretools.layout.symbol_file import open_symbol_file
from gcoretools.layout.types import find_member

INT, LONG, CHAR = ({"kind": "base", "name": name} for name in ("int", "long int", "char"))
NEXT = {"kind": "pointer", "subtype": {"kind": "struct", "name": "task"}}
FEW = {"kind": "bitfield", "bit_length": 3, "bit_position": 0, "type": INT}
UNION = {"kind": "union", "name": "unnamed_1"}
BANNER = b"Linux version 2.6.9-written (root@nowhere) #1\n"

FILE: dict[str, Any] = {
    "metadata": {"format": "6.2.0"},
    "base_types": {
        "int": {"size": 4, "signed": True, "kind": "int", "endian": "little"},
        "long int": {"size": 8, "signed": True, "kind": "int", "endian": "little"},
        "char": {"size": 1, "signed": True, "kind": "char", "endian": "little"},
        "pointer": {"size": 8, "signed": False, "kind": "int", "endian": "little"},
    },
    "enums": {"pid_type": {"size": 4, "base": "int", "constants": {"PIDTYPE_PID": 0, "PIDTYPE_SID": 2}}},
    "symbols": {
        "init_task": {"address": 0xFFFFFFFF8023D900, "type": {"kind": "struct", "name": "task"}},
        "linux_banner": {"address": 0xFFFFFFFF8023F3C0, "constant_data": b64encode(BANNER + b"\0").decode()},
    },
    "user_types": {
        "task": {
            "kind": "struct",
            "size": 96,
            "fields": {
                "state": {"offset": 0, "type": LONG},
                "comm": {"offset": 8, "type": {"kind": "array", "count": 16, "subtype": CHAR}},
                "next": {"offset": 24, "type": NEXT},
                "kind": {"offset": 32, "type": {"kind": "enum", "name": "pid_type"}},
                "few": {"offset": 36, "type": FEW},
                "unnamed_field_28": {"offset": 40, "anonymous": True, "type": UNION},
                "rows": {
                    "offset": 48,
                    "type": {
                        "kind": "array",
                        "count": 2,
                        "subtype": {"kind": "array", "count": 3, "subtype": {"kind": "struct", "name": "row"}},
                    },
                },
            },
        },
        "unnamed_1": {"kind": "union", "size": 8, "fields": {"pid": {"offset": 0, "type": INT}}},
        "row": {"kind": "struct", "size": 8, "fields": {"deep": {"offset": 4, "type": INT}}},
    },
}  # fmt: skip

MEMBERS = {
    "task.state": Member(0, 8, True),
    "task.comm": Member(8, 16),
    "task.next": Member(24, 8),
    "task.kind": Member(32, 4),
    "task.pid": Member(40, 4, True),
    "task.rows": Member(48, 48),
    "task.rows.deep": Member(52, 4, True),
    "task.few": None,
    "task.state.none": None,
    "no.such": None,
}

WAYS: dict[str, Callable[[bytes], bytes]] = {"json": bytes, "gz": gzip.compress, "xz": lzma.compress}


def write(folder: Path, content: object, way: str = "json") -> Path:
    path = folder / f"types.{way}"
    path.write_bytes(WAYS[way](json.dumps(content).encode()))
    return path


@pytest.mark.parametrize("way", WAYS)
def test_a_file(tmp_path: Path, way: str) -> None:
    found = open_symbol_file(write(tmp_path, FILE, way))
    assert isinstance(found, Isf)
    assert {name: find_member(found, name) for name in MEMBERS} == MEMBERS
    assert found.constants({"PIDTYPE_SID", "PIDTYPE_PGID"}) == {"PIDTYPE_SID": 2}
    assert found.symbols({"init_task", "none"}) == {"init_task": 0xFFFFFFFF8023D900}
    assert found.banner() == BANNER
    assert [struct.size for struct in found.structs("row")] == [8]


def test_files_are_told_apart_by_content(tmp_path: Path) -> None:
    assert is_isf(write(tmp_path, FILE).rename(tmp_path / "vmlinux"))
    for content in (b"\x7fELF", b"", b"text"):
        (tmp_path / "other").write_bytes(content)
        assert not is_isf(tmp_path / "other")
    assert not is_isf(tmp_path / "none")


def test_every_content_has_a_key_of_its_own(tmp_path: Path) -> None:
    first, again = Isf(write(tmp_path, FILE)).cache_key, Isf(write(tmp_path, FILE)).cache_key
    assert first == again != Isf(write(tmp_path, FILE | {"more": 1})).cache_key


def changed(*path: str, value: object) -> dict[str, Any]:
    whole = deepcopy(FILE)
    at = whole
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return whole


TASK = ("user_types", "task")


@pytest.mark.parametrize(
    "content",
    [
        changed(*TASK, "size", value=-1),
        changed(*TASK, "size", value=1.5),
        changed(*TASK, value=None),
        changed(*TASK, "fields", value=[]),
        changed(*TASK, "fields", "state", "offset", value=1 << 40),
        changed(*TASK, "fields", "state", "type", value={"kind": "base", "name": "none"}),
        changed(*TASK, "fields", "rows", "type", "count", value="3"),
        changed("base_types", value=[]),
        changed("base_types", "pointer", "size", value=True),
    ],
)
def test_damaged_types_are_told(tmp_path: Path, content: dict[str, Any]) -> None:
    with pytest.raises(LayoutError, match="the ISF file is damaged"):
        find_member(Isf(write(tmp_path, content)), "task.state")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "is damaged"),
        (b"{}", "not an ISF file"),
        (b'{"a":' * 100_000, "is damaged"),
        (lzma.compress(b"{}" + b" " * 4096), "not an ISF file"),
        (lzma.compress(b"{" * 4096)[:-20], "is damaged"),
        (b"\x1f\x8bnothing", "is damaged"),
        (gzip.compress(b"\xff\xfe{", mtime=0), "is damaged"),
    ],
)
def test_what_is_no_isf_file(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "types"
    path.write_bytes(content)
    with pytest.raises(LayoutError, match=reason):
        Isf(path).symbols({"init_task"})


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="No such file"):
        Isf(tmp_path / "none")


def test_a_text_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isf, "TEXT_LIMIT", 1 << 12)
    path = tmp_path / "types.xz"
    path.write_bytes(lzma.compress(b"{" + b" " * 100_000))
    with pytest.raises(LayoutError, match="of JSON: no ISF file is so large"):
        Isf(path).symbols({"init_task"})
    monkeypatch.setattr(isf, "FILE_LIMIT", 16)
    with pytest.raises(LayoutError, match="no ISF file is so large"):
        Isf(path)


def test_a_damaged_banner_is_told(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="damaged"):
        Isf(write(tmp_path, changed("symbols", "linux_banner", "constant_data", value="!"))).banner()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1 << 12), st.integers(32, 126)), min_size=1, max_size=6))
def test_damaged_text_is_told_or_read(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    text = bytearray(json.dumps(FILE).encode())
    for at, value in changes:
        text[at % len(text)] = value
    path = tmp_path / "damaged"
    path.write_bytes(text)
    with suppress(GcoreError):
        found = Isf(path)
        assert all(0 <= at < 1 << 64 for at in found.symbols({"init_task"}).values())
        assert isinstance(found.banner(), bytes)
        assert found.constants({"PIDTYPE_SID"}).keys() <= {"PIDTYPE_SID"}
        members = [find_member(found, name) for name in MEMBERS]
        assert all(member is None or member.size < 1 << 24 for member in members)
