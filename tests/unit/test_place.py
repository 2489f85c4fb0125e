"""Kernels that do not say where they lie: found by their own name, with their page table and without."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from gcoretools.arch import x86_64
from gcoretools.dumps import PAGE_SIZE, Dump, open_dump
from gcoretools.errors import LayoutError
from gcoretools.layout.isf import Isf
from gcoretools.layout.layout import Layout, Member
from gcoretools.layout.place import find_kernel
from gcoretools.layout.resolve import resolve_kernel
from gcoretools.layout.symbol_file import SymbolFile
from gcoretools.layout.vmlinux import Vmlinux
from tests.written_dumps import write_elf
from tests.written_isf import write_isf
from tests.written_kernel import KASLR, RELEASE, WrittenKernel

BASE = 0x1000000
IMAGE = x86_64.START_KERNEL_MAP + 0x400000
UTSNAME, TASK, TABLE = IMAGE + 0x1020, IMAGE + 0x2000, IMAGE + 0x3000
SECOND, ROOT = 0x40000, 0x41000

LAYOUT = Layout(
    members={
        "list_head.next": Member(0, 8),
        "uts_namespace.name": Member(4, 390),
        "task_struct.tasks": Member(0x100, 16),
        "task_struct.mm": Member(0x110, 8),
        "mm_struct.pgd": Member(0x8, 8),
    },
    symbols={"init_uts_ns": UTSNAME, "init_task": TASK, "init_top_pgt": TABLE},
)


@pytest.fixture
def given(tmp_path: Path) -> SymbolFile:
    return Vmlinux(WrittenKernel().vmlinux(tmp_path))


@pytest.mark.parametrize("levels", [4, 5])
@pytest.mark.parametrize("phys_base", [0x200000, 0x4600000, -0x400000])
def test_a_kernel_with_its_page_table(tmp_path: Path, levels: int, phys_base: int) -> None:
    """Where it is loaded and how far KASLR moved it: all as VMCOREINFO would have said."""
    written = WrittenKernel(levels=levels, phys_base=phys_base)
    vmlinux = written.vmlinux(tmp_path)
    told = resolve_kernel(open_dump(written.dump(tmp_path / "told")), vmlinux, use_cache=False)
    dump = open_dump(replace(written, described=False).dump(tmp_path / "silent"))
    assert resolve_kernel(dump, vmlinux, use_cache=False) == replace(told, build_id="")
    with pytest.raises(LayoutError, match=r"no VMCOREINFO.*give the vmlinux or an ISF file of its kernel with -k"):
        resolve_kernel(dump, use_cache=False)


def test_a_file_of_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = WrittenKernel(described=False)
    dump, vmlinux = open_dump(written.dump(tmp_path / "vmcore")), written.vmlinux(tmp_path)
    monkeypatch.setattr(Vmlinux, "banner", lambda _: f"Linux version {RELEASE}\n".encode())
    assert resolve_kernel(dump, vmlinux, use_cache=False).release == RELEASE
    monkeypatch.setattr(Vmlinux, "banner", lambda _: b"Linux version 6.1.0-other\n")
    with pytest.raises(LayoutError, match=r"another kernel: 'Linux version 6.1.0-other', and not .*-written'"):
        resolve_kernel(dump, vmlinux, use_cache=False)


def test_a_file_of_another_kernel(tmp_path: Path) -> None:
    dump = open_dump(WrittenKernel(described=False).dump(tmp_path / "vmcore"))
    other = WrittenKernel(symbols={"system_utsname": UTSNAME + 0x340}).vmlinux(tmp_path)
    with pytest.raises(LayoutError, match=r"not of the kernel in .*nowhere in the dump"):
        resolve_kernel(dump, other, use_cache=False)


def without_table(path: Path, direct_map: int, back: int = TASK + 0x100) -> Dump:
    """A kernel at BASE whose page table was left out, and whose second task lies in memory that is mapped there."""
    image = bytearray(3 * PAGE_SIZE)
    struct.pack_into("<I65s65s65s", image, UTSNAME - IMAGE, 1, b"Linux", b"node", b"2.6.9")
    struct.pack_into("<QQ", image, TASK - IMAGE + 0x100, direct_map + SECOND, 0)
    task = struct.pack("<QQQ", TASK + 0x100, back, direct_map + SECOND + 0x200).ljust(0x208, b"\0")
    task = (task + struct.pack("<Q", direct_map + ROOT)).ljust(PAGE_SIZE, b"\0")
    first = BASE + IMAGE - x86_64.START_KERNEL_MAP >> 12
    pages = {first + i: bytes(image[i * PAGE_SIZE :][:PAGE_SIZE]) for i in range(3)}
    return open_dump(write_elf(path, pages | {SECOND >> 12: task}, []))


@pytest.mark.parametrize("direct_map", x86_64.DIRECT_MAPS)
def test_a_kernel_without_its_page_table(tmp_path: Path, given: SymbolFile, direct_map: int) -> None:
    dump = without_table(tmp_path / "vmcore", direct_map)
    release, machine = find_kernel(dump, LAYOUT, given)
    assert (release, machine.phys_base, machine.direct_map) == ("2.6.9", BASE, direct_map)
    assert machine.page_root == ROOT
    short = replace(LAYOUT, members=LAYOUT.members | {"x8664_pda.level4_pgt": Member(0, 8)})
    assert find_kernel(dump, short, given)[1].page_root == TABLE - x86_64.START_KERNEL_MAP + BASE
    space = machine.space(dump)
    assert space.translate(UTSNAME)[0] == UTSNAME - x86_64.START_KERNEL_MAP + BASE
    assert space.integer(direct_map + SECOND + 8, 8) == TASK + 0x100


def test_a_list_of_tasks_that_does_not_lead_back(tmp_path: Path, given: SymbolFile) -> None:
    with pytest.raises(LayoutError, match="nowhere in the dump"):
        find_kernel(without_table(tmp_path / "vmcore", x86_64.DIRECT_MAPS[0], back=0), LAYOUT, given)


@pytest.mark.parametrize("lacking", ["init_uts_ns", "init_top_pgt"])
def test_a_file_that_is_no_kernels(tmp_path: Path, given: SymbolFile, lacking: str) -> None:
    symbols = {name: at for name, at in LAYOUT.symbols.items() if name != lacking}
    with pytest.raises(LayoutError, match="no kernel's file"):
        find_kernel(without_table(tmp_path / "vmcore", 1 << 40), replace(LAYOUT, symbols=symbols), given)


def test_an_architecture_that_is_not_read(tmp_path: Path, given: SymbolFile) -> None:
    layout = replace(LAYOUT, members=LAYOUT.members | {"list_head.next": Member(0, 2)})
    with pytest.raises(LayoutError, match="pointers of 2 bytes"):
        find_kernel(without_table(tmp_path / "vmcore", 1 << 40), layout, given)


def test_an_isf_file_is_remembered_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a dump without VMCOREINFO says comes out of the cache as it came out of the file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    written = WrittenKernel(described=False)
    dump = open_dump(written.dump(tmp_path / "vmcore"))
    found = resolve_kernel(dump, written.vmlinux(tmp_path), use_cache=False)
    symbols = found.layout.symbols
    linked = {name: at - KASLR if at >= x86_64.START_KERNEL_MAP else at for name, at in symbols.items()}
    path = write_isf(tmp_path / "types.json", replace(found.layout, symbols=linked))
    first = resolve_kernel(dump, path)
    assert (first.layout.symbols, first.types_from) == (symbols, f"ISF of {path}")
    same = {name for name, member in found.layout.members.items() if first.layout.members.get(name) == member}
    assert found.layout.members.keys() - same <= {"file.f_path"}  # a struct here, of another size
    kept = [entry.name for entry in (tmp_path / "cache/gcoretools").iterdir() if "-isf-" in entry.name]
    assert len(kept) == 1
    monkeypatch.setattr(Isf, "structs", lambda *_: pytest.fail("the file was read again"))
    assert resolve_kernel(dump, path) == first
    path.write_text(path.read_text() + " ")
    with pytest.raises(pytest.fail.Exception, match="read again"):
        resolve_kernel(dump, path)
