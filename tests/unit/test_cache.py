"""The cache of layouts: what goes in comes out, and nothing else does."""

import os
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcoretools.layout import cache
from gcoretools.layout.cache import Entry, cache_folder, entry_path, load, save
from gcoretools.layout.layout import Layout, Member
from gcoretools.layout.needs import Need

BUILD = "bb603a9147d3efe4744bf83c83eee397c591cc20"
NEEDS = (Need("task_struct.pid", ("task_struct.pid",)),)
LAYOUT = Layout(
    members={"task_struct.pid": Member(1256, 4, True)},
    sizes={"task_struct": 9728},
    constants={"EFAULT": -14},
    symbols={"init_task": 0xFFFFFFFF82A1AA40, "runqueues": 0x31980},
)
ENTRY = Entry(LAYOUT, "BTF in the dump", "kallsyms in the dump", ("zram", "virtio"), ("zram",))


def path_in(folder: Path, needs: tuple[Need, ...] = NEEDS, source: str = "dump") -> Path:
    path = entry_path(folder, BUILD, needs, source)
    assert path
    return path


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = path_in(tmp_path / "new" / "folder")
    save(path, ENTRY)
    assert load(path) == ENTRY
    assert path.stat().st_mode & 0o777 == 0o600
    assert [*path.parent.iterdir()] == [path]


def test_other_needs_and_other_sources_are_other_entries(tmp_path: Path) -> None:
    more = (*NEEDS, Need("rq.curr", ("rq.curr",)))
    respelled = (Need("task_struct.pid", ("task_struct.__pid", "task_struct.pid")),)
    paths = {
        path_in(tmp_path, needs, source) for needs in (NEEDS, more, respelled) for source in ("dump", "vmlinux")
    }
    assert len(paths) == 6


@pytest.mark.parametrize("build_id", ["", "abc", "../../../etc/passwd", "BB603A9147D3"])
def test_only_a_build_id_makes_a_path(tmp_path: Path, build_id: str) -> None:
    assert entry_path(tmp_path, build_id, NEEDS, "dump") is None


def test_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gcoretools"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/gcoretools")


def test_what_cannot_be_written_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    save(path_in(tmp_path / "file"), ENTRY)
    (tmp_path / "taken" / path_in(tmp_path).name).mkdir(parents=True)
    save(path_in(tmp_path / "taken"), ENTRY)
    assert load(path_in(tmp_path / "file")) is None
    assert load(path_in(tmp_path / "taken")) is None
    assert [path.suffix for path in (tmp_path / "taken").iterdir()] == [".layout"]


def test_the_oldest_entries_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "ENTRIES_LIMIT", 3)
    paths = [path_in(tmp_path, source=source) for source in "abcde"]
    for age, path in enumerate(paths):
        save(path, ENTRY)
        if path.exists():
            os.utime(path, (age, age))
    assert sorted(tmp_path.iterdir()) == sorted(paths[2:])


def packed(**changes: object) -> bytes:
    plain = {
        "format": cache.FORMAT,
        "layout": {"members": {"a.b": [8, 4, True]}, "sizes": {}, "constants": {}, "symbols": {}},
        "types_from": "x",
        "symbols_from": "y",
        "modules": [],
        "modules_used": [],
    }
    data: bytes = msgpack.packb(plain | changes)
    return data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"text",
        packed()[:-1],
        packed() + b"\0",
        packed(format=0),
        packed(types_from=1),
        packed(modules="zram"),
        packed(modules=[1]),
        packed(layout={"members": {"a.b": [1, 2]}, "sizes": {}, "constants": {}, "symbols": {}}),
        packed(layout={"members": {"a.b": [1 << 40, 2, False]}, "sizes": {}, "constants": {}, "symbols": {}}),
        packed(layout={"members": {}, "sizes": {"a": "b"}, "constants": {}, "symbols": {}}),
        packed(layout=[]),
        msgpack.packb({1: 2}),
        b"\x91" * 5000,
        b"\xc0" * (cache.SIZE_LIMIT + 1),
    ],
)
def test_what_is_no_entry_is_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "entry"
    path.write_bytes(data)
    assert load(path) is None
    path.write_bytes(packed())
    assert load(path) is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6))
def test_damage_gives_none_or_an_entry(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    path = path_in(tmp_path)
    save(path, replace(ENTRY, types_from="other"))
    data = bytearray(path.read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    path.write_bytes(data)
    assert isinstance(load(path), Entry | None)
