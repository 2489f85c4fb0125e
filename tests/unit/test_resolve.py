"""Written kernels: each source, each way without it, and what is said when there is none left."""

from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcoretools.dumps import open_dump
from gcoretools.errors import GcoreError, LayoutError
from gcoretools.layout import modules, needs, vmlinux
from gcoretools.layout.layout import Kernel, Member
from gcoretools.layout.needs import Need
from gcoretools.layout.resolve import resolve_kernel
from tests.written_kallsyms import START
from tests.written_kernel import BUILD_ID, KASLR, MODULES, WrittenKernel, types_of

ZRAM = Need("zram.table.size", ("zram.table.size", "zram.size"), required=False)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cache but an empty one, and no vmlinux of this machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(vmlinux, "find_vmlinux", lambda *_: None)


def resolve(written: WrittenKernel, folder: Path, given: Path | None = None, use_cache: bool = False) -> Kernel:
    return resolve_kernel(open_dump(written.dump(folder / "vmcore")), given, use_cache)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("levels", [4, 5])
def test_a_kernel(tmp_path: Path, levels: int, numbered: bool, named: bool) -> None:
    written = WrittenKernel(levels=levels, numbered=numbered, named=named)
    kernel = resolve(written, tmp_path)
    assert replace(kernel, layout=kernel.layout) == Kernel(
        release="6.1.0-written",
        build_id=BUILD_ID,
        arch="x86_64",
        page_levels=levels,
        page_root=START - 0xFFFFFFFF80000000 + written.phys_base,
        phys_base=written.phys_base,
        kaslr_offset=KASLR,
        types_from="BTF in the dump",
        symbols_from="kallsyms in the dump",
        layout=kernel.layout,
    )
    symbols = {name: at for name, _, at in written.rows()}
    assert {name: symbols[name] for name in kernel.layout.symbols} == kernel.layout.symbols
    assert {need.name for need in needs.MEMBERS if need.required} <= kernel.layout.members.keys()
    assert kernel.layout.members["task_struct.tasks"] == Member(0, 8)


def test_a_negative_phys_base(tmp_path: Path) -> None:
    assert resolve(WrittenKernel(phys_base=-0x400000), tmp_path).phys_base == -0x400000


@pytest.mark.parametrize(
    ("lacking", "reason"),
    [
        (
            {"task_struct.pid", "mm_struct.pgd"},
            r"BTF in the dump: task_struct.pid, mm_struct.pgd not found; give .* -k",
        ),
        ({need.name for need in needs.MEMBERS}, r"and \d+ more not found"),
        ({"pt_regs"}, "pt_regs not found"),
        ({"init_task"}, "kallsyms in the dump: init_task not found"),
        (
            {"__start_BTF"},
            rf"no BTF types .*; give the vmlinux of kernel 6.1.0-written, build ID {BUILD_ID} with -k",
        ),
    ],
)
def test_what_is_lacking(tmp_path: Path, lacking: set[str], reason: str) -> None:
    with pytest.raises(LayoutError, match=reason):
        resolve(WrittenKernel(lacking=frozenset(lacking)), tmp_path)


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ("SYMBOL(swapper_pg_dir)=ffffffff81009000", "maps itself|cannot be read"),
        ("NUMBER(phys_base)=4194304", "cannot be read"),
        ("SYMBOL(swapper_pg_dir)=c1000000", "is not in the dump or does not map itself"),
        ("SYMBOL(swapper_pg_dir)=ffff800000081000", "not for x86; others"),
        ("SYMBOL(swapper_pg_dir)=0", "does not name"),
        ("NUMBER(phys_base)=-1844674407370955161", "cannot be at"),
        ("SYMBOL(kallsyms_names)=1", "not where they can be"),
        ("SYMBOL(kallsyms_num_syms)=ffffffff81000000", "symbols cannot be"),
        ("SYMBOL(kallsyms_num_syms)=1", "no page"),
        ("SYMBOL(kallsyms_token_index)=ffffffffffffffff", "not where they can be"),
    ],
)
def test_vmcoreinfo_that_does_not_fit(tmp_path: Path, info: str, reason: str) -> None:
    with pytest.raises(LayoutError, match=reason):
        resolve(WrittenKernel(info=info), tmp_path)


def test_a_given_vmlinux_is_used(tmp_path: Path) -> None:
    written = WrittenKernel()
    given = written.vmlinux(tmp_path)
    alone = resolve(replace(written, lacking=frozenset({"__start_BTF"})), tmp_path, given, use_cache=True)
    assert alone.layout == resolve(written, tmp_path).layout
    assert (alone.types_from, alone.symbols_from) == (f"BTF of {given}", f"symbols of {given}")
    moved = given.rename(tmp_path / "moved")
    assert resolve(written, tmp_path, moved, use_cache=True).types_from == f"BTF of {moved}"
    assert resolve(written, tmp_path, use_cache=True).types_from == "BTF in the dump"


def test_a_vmlinux_in_its_place_helps_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = WrittenKernel()
    place = written.vmlinux(tmp_path)
    monkeypatch.setattr(vmlinux, "find_vmlinux", lambda build_id, release: place if build_id == BUILD_ID else None)
    kernel = resolve(replace(written, lacking=frozenset({"__start_BTF"})), tmp_path)
    assert (kernel.types_from, kernel.layout) == (f"BTF of {place}", resolve(written, tmp_path).layout)


def test_a_vmlinux_that_is_linked_elsewhere(tmp_path: Path) -> None:
    given = WrittenKernel(symbols={"_stext": START}).vmlinux(tmp_path)
    path = WrittenKernel().dump(tmp_path / "vmcore")
    path.write_bytes(
        path.read_bytes().replace(b"SYMBOL(_stext)=ffffffff81000000", b"SYMBOL(_stext)=ffffffff81000040")
    )
    with pytest.raises(LayoutError, match="another build"):
        resolve_kernel(open_dump(path), given, use_cache=False)


@pytest.fixture
def zram(monkeypatch: pytest.MonkeyPatch) -> Need:
    monkeypatch.setattr(needs, "MEMBERS", (*needs.MEMBERS, ZRAM))
    return ZRAM


def with_modules(**others: bytes) -> WrittenKernel:
    written = WrittenKernel()
    types = types_of((ZRAM,), ("zram.limit",), written.types).blob()
    return replace(
        written, modules={"virtio": types_of((), ("vring.num",), written.types).blob(), "zram": types, **others}
    )


def test_modules_bring_what_the_kernel_lacks(tmp_path: Path, zram: Need) -> None:
    kernel = resolve(with_modules(), tmp_path)
    assert kernel.layout.members[zram.name] == Member(0, 8)
    assert kernel.types_from == "BTF in the dump, and BTF of zram in the dump"


def test_a_cached_kernel_learns_of_modules_that_were_not_loaded_before(tmp_path: Path, zram: Need) -> None:
    without, loaded = WrittenKernel(), with_modules()
    for _ in range(2):
        assert zram.name not in resolve(without, tmp_path, use_cache=True).layout.members
    for _ in range(2):
        assert resolve(loaded, tmp_path, use_cache=True).types_from.endswith("zram in the dump")
    assert zram.name in resolve(without, tmp_path, use_cache=True).layout.members


def test_damaged_modules_are_passed_over(tmp_path: Path, zram: Need) -> None:
    bad = with_modules(broken=b"\x9f\xeb\x01\0zram\0" * 30, more=b"\0zram\0")
    assert zram.name in resolve(bad, tmp_path).layout.members


def test_an_endless_list_of_modules_ends(tmp_path: Path, zram: Need, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "MODULES_LIMIT", 20)
    written = replace(with_modules(), symbols={"btf_modules": MODULES + 8})
    assert resolve(written, tmp_path).release


@cache
def written_file() -> bytes:
    with TemporaryDirectory() as folder:
        return with_modules().dump(Path(folder) / "vmcore").read_bytes()


# Where damage can matter: headers and notes, page tables, modules and types.
TABLES, ALL = 2000 + 0x8000, 2000 + 0x8000 + (1 << 18)
PLACES = st.one_of(st.integers(0, 2000), st.integers(2000, TABLES), st.integers(0, ALL))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(PLACES, st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_dumps_are_told_or_read(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(written_file())
    for at, value in changes:
        data[at % len(data)] = value
    path = tmp_path / "damaged"
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    with suppress(GcoreError):
        resolve_kernel(open_dump(path), use_cache=False)
