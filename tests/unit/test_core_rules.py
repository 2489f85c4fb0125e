"""Which rules a kernel's own core dumper has: by what it holds, never by its version."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcoretools.kernel.core_rules import core_rules
from tests.fake_kernel import FakeKernel

CODE = b"\x48\x81\x3a" + b"\x7fELF" + b"\x90" * 100


def modern() -> FakeKernel:
    """A kernel that takes a snapshot of the mappings."""
    kernel = FakeKernel(cpus=1)
    kernel.layout.sizes["core_vma_metadata"] = 40
    return kernel


def test_a_kernel_whose_code_is_not_known(tmp_path: Path) -> None:
    rules = core_rules(modern().image(tmp_path))
    assert (rules["elf_header_by_mode"], rules["elf_header_by_magic"]) == (True, True)


def test_an_old_kernel(tmp_path: Path) -> None:
    assert core_rules(FakeKernel(cpus=1).image(tmp_path)) == {
        "sorted": False, "elf_header_by_mode": False, "elf_header_by_magic": True, "note_align": False,
        "last_notes": [], "siginfo_note": True, "file_note": True, "never": 0x4000, "writable_only": False,
    }  # fmt: skip


def test_kernels_before_nt_file(tmp_path: Path) -> None:
    """They have VM_RESERVED, too."""
    rules = core_rules(FakeKernel(cpus=1, without=("elf_note_info",)).image(tmp_path))
    assert (rules["siginfo_note"], rules["file_note"], rules["never"]) == (False, False, 0x84000)


def test_kernels_before_lists_of_threads_look_at_flags_alone(tmp_path: Path) -> None:
    without = ("task_struct.thread_group", "task_struct.thread_node")
    assert core_rules(FakeKernel(cpus=1, without=without).image(tmp_path))["writable_only"]


@pytest.mark.parametrize(("code", "by_magic"), [(CODE, True), (b"\x90" * 100, False)])
@pytest.mark.parametrize("function", ["dump_vma_snapshot", "vfs_coredump"])
def test_the_code_of_the_snapshot_tells_the_rule_for_headers(
    tmp_path: Path, function: str, code: bytes, by_magic: bool
) -> None:
    """That of the function itself, or of its caller where the compiler put it there."""
    kernel = modern()
    kernel.symbol(function, 16384, code.ljust(16384, b"\xcc"))
    rules = core_rules(kernel.image(tmp_path))
    assert (rules["elf_header_by_mode"], rules["elf_header_by_magic"]) == (True, by_magic)


def test_code_that_is_not_in_the_dump(tmp_path: Path) -> None:
    """Then today's rule is taken."""
    kernel = modern()
    at = kernel.alloc(3 * 4096, 4096) + 4096
    kernel.symbols["dump_vma_snapshot"] = at
    kernel.exclude(at)
    rules = core_rules(kernel.image(tmp_path))
    assert (rules["elf_header_by_mode"], rules["elf_header_by_magic"]) == (True, True)


@pytest.mark.parametrize(
    ("compares", "told", "wanted"),
    [(False, None, False), (True, None, True), (True, 0, False), (True, 1, True), (False, 1, False)],
)
def test_whether_segments_are_sorted(tmp_path: Path, compares: bool, told: int | None, wanted: bool) -> None:
    kernel = FakeKernel(cpus=1)
    if compares:
        kernel.symbol("cmp_vma_size")
    if told is not None:
        kernel.symbol("core_sort_vma", 4, told)
    assert core_rules(kernel.image(tmp_path))["sorted"] is wanted


@pytest.mark.parametrize("came", ["x86_xfeat_component", "__x64_sys_cachestat", None])
def test_the_alignment_of_notes_came_with_a_system_call_or_before_a_struct(
    came: str | None, tmp_path: Path
) -> None:
    kernel = FakeKernel(cpus=1)
    if came == "x86_xfeat_component":
        kernel.layout.sizes[came] = 16
    elif came:
        kernel.symbol(came)
    assert core_rules(kernel.image(tmp_path))["note_align"] is (came is not None)
