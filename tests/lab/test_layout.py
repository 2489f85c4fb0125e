"""Layouts of real kernels: what the dump says of itself, against its vmlinux; and ways to less."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gcoretools.dumps import open_dump
from gcoretools.errors import LayoutError
from gcoretools.layout import needs, sources
from gcoretools.layout.kallsyms_search import search_tables
from gcoretools.layout.layout import Kernel
from gcoretools.layout.machine import Machine, describe, locate
from gcoretools.layout.modules import kernel_btf, module_btf, module_types
from gcoretools.layout.resolve import resolve_kernel
from gcoretools.layout.types import find_layout, find_member
from gcoretools.layout.vmcoreinfo import VmcoreInfo
from gcoretools.layout.vmlinux import Vmlinux
from gcoretools.memory import AddressSpace
from tests.compiled import build

from .lab import Capture


def opened(path: Path) -> tuple[AddressSpace, VmcoreInfo, Machine]:
    dump = open_dump(path)
    info = describe(dump)
    machine = locate(dump, info)
    return machine.space(dump), info, machine


@pytest.fixture(autouse=True)
def _no_cache_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_dump_alone_is_enough(captured: Capture) -> None:
    kernel = resolve_kernel(open_dump(captured.vmcore), use_cache=False)
    assert (kernel.types_from, kernel.symbols_from) == ("BTF in the dump", "kallsyms in the dump")
    assert kernel.release == captured.facts["release"]
    assert kernel.page_levels == (4 if kernel.release.startswith("5.10") else 5)


def test_kallsyms_is_the_symbol_table_of_the_vmlinux(captured: Capture) -> None:
    """Every symbol is there at the same address; and of several of one name both choose the same one."""
    space, info, machine = opened(captured.vmcore)
    kallsyms, vmlinux = sources.kallsyms(space, info), Vmlinux(captured.vmlinux())
    linked = {(symbol.name, machine.linked(symbol.address)) for symbol in kallsyms}
    assert len(linked) > 80_000
    assert linked <= {(symbol.name, symbol.address) for symbol in vmlinux.all_symbols()}
    wanted = {name for name, _ in linked if hash(name) % 97 == 0} | {"init_task", "runqueues", "__per_cpu_offset"}
    found = {name: machine.linked(at) for name, at in kallsyms.find(wanted).items()}
    assert found.keys() == wanted
    assert found == vmlinux.symbols(wanted)


def test_the_tables_are_found_without_their_names(captured: Capture) -> None:
    space, info, _ = opened(captured.vmcore)
    found = search_tables(space.read, info.symbols["_stext"])
    assert list(found) == list(sources.kallsyms(space, info))


def test_dump_and_vmlinux_give_the_same(captured: Capture) -> None:
    dump = open_dump(captured.vmcore)
    vmlinux = captured.vmlinux()
    given = resolve_kernel(dump, vmlinux, use_cache=False)
    assert given.layout == resolve_kernel(dump, use_cache=False).layout
    assert given.types_from == f"BTF of {vmlinux}"
    assert given.symbols_from == f"symbols of {vmlinux}"


def test_btf_and_dwarf_give_the_same(captured: Capture) -> None:
    """Two writers of the compiler's types, pahole and GCC, and two readers of ours."""
    space, info, _ = opened(captured.vmcore)
    layout = sources.from_dump(space, info).layout
    dwarf = find_layout(Vmlinux(captured.vmlinux()).dwarf, sources.MEMBERS, needs.SIZES, needs.CONSTANTS)
    assert dwarf.members == layout.members
    assert dwarf.sizes == layout.sizes
    assert dwarf.constants == layout.constants


@pytest.mark.lab("plain")
def test_without_a_note(captured: Capture) -> None:
    dump = open_dump(captured.vmcore)
    assert not [note for note in dump.notes if note.owner == "VMCOREINFO"]
    assert resolve_kernel(dump, use_cache=False).types_from == "BTF in the dump"


@pytest.mark.lab("kdump")
def test_what_makedumpfile_leaves_is_enough(captured: Capture) -> None:
    whole = resolve_kernel(open_dump(captured.vmcore), use_cache=False)
    assert resolve_kernel(open_dump(captured.folder / "vmcore.d31"), use_cache=False) == whole


@pytest.mark.lab("max", "nehalem")
def test_modules_bring_their_types(captured: Capture) -> None:
    space, info, _ = opened(captured.vmcore)
    layout = sources.from_dump(space, info).layout
    modules = {module.name: module for module in module_types(space, layout)}
    if info.release.startswith("5.10"):
        assert not modules
        return
    types = module_btf(space, modules["virtio_blk"], kernel_btf(space, layout))
    vdev = find_member(types, "virtio_blk.vdev")
    assert vdev
    assert vdev.size == 8
    assert find_member(types, "virtio_blk.tag_set.queue_depth") is not None


def entries(tmp_path: Path) -> Iterator[Path]:
    return (tmp_path / "cache/gcoretools").iterdir()


def test_the_cache_serves_every_boot(captured: Capture, tmp_path: Path) -> None:
    dump = open_dump(captured.vmcore)
    fresh = resolve_kernel(dump, use_cache=False)
    assert not (tmp_path / "cache").exists()
    assert resolve_kernel(dump) == fresh
    (entry,) = entries(tmp_path)
    written = entry.read_bytes()
    assert resolve_kernel(dump) == fresh
    assert entry.read_bytes() == written
    entry.write_bytes(written[: len(written) // 2])
    assert resolve_kernel(dump) == fresh
    assert entry.read_bytes() == written


@pytest.mark.lab("max", "nehalem")
def test_kaslr_is_not_in_the_cache(captured: Capture, tmp_path: Path) -> None:
    """Another boot has another offset: link-time addresses are the same."""
    kernel = resolve_kernel(open_dump(captured.vmcore))
    machine = opened(captured.vmcore)[2]
    assert kernel.kaslr_offset
    linked = {name: machine.linked(at) for name, at in kernel.layout.symbols.items()}
    vmlinux = Vmlinux(captured.vmlinux()).symbols(linked)
    assert {name: at for name, at in linked.items() if name in vmlinux} == vmlinux


def test_the_vmlinux_of_another_build(captured: Capture, tmp_path: Path) -> None:
    other = build(tmp_path, "-g", "-Wl,--build-id=0xbb603a9147d3efe4744bf83c83eee397c591cc2f")
    kernel: Kernel = resolve_kernel(open_dump(captured.vmcore), use_cache=False)
    with pytest.raises(LayoutError, match=f"bb603a9147d3efe4744bf83c83eee397c591cc2f.*{kernel.build_id}"):
        resolve_kernel(open_dump(captured.vmcore), other)
