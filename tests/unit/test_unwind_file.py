"""The file of --unwind, and which file serves for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gcoretools.errors import LayoutError
from gcoretools.layout.unwind_file import UnwindFile
from gcoretools.layout.vmlinux import Vmlinux
from gcoretools.stages.source import call_frames
from tests.compiled import build
from tests.fake_kernel import FakeKernel
from tests.fixtures.call_frames import debug_frame, elf_file

START = 0xFFFFFFFF81000000
FUNCTION = (START, 0x100, [(0, 7, 8, {"16": -8}), (1, 7, 16, {"16": -8, "6": -16}), (4, 6, 16, {"16": -8})])


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    path = tmp_path / "unwind"
    path.write_bytes(elf_file(debug_frame([FUNCTION])))
    return path


def test_rows(frames: Path) -> None:
    found = UnwindFile(frames)
    assert [found.row(START + at).cfa for at in (0, 1, 3, 4, 0xFF)] == [(7, 8), (7, 16), (7, 16), (6, 16), (6, 16)]
    assert found.row(START + 2).saved == {16: -8, 6: -16}
    assert 6 not in found.row(START + 4).saved
    assert found.body(START + 0x80) == START + 1
    with pytest.raises(LayoutError, match="no call-frame information describes"):
        found.row(START + 0x100)


def test_a_part_of_a_vmlinux(tmp_path: Path) -> None:
    """It needs neither symbols nor types, and serves as the whole does."""
    whole, part = build(tmp_path, "-no-pie", "-g"), tmp_path / "part"
    subprocess.run(["objcopy", "-j", ".eh_frame", whole, part], check=True)
    main = Vmlinux(whole).symbols(("main",))["main"]
    assert UnwindFile(part).row(main) == Vmlinux(whole).call_frames.row(main)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b"no ELF file at all", "not an ELF file"), (None, "No such file")]
)
def test_what_is_none(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "none"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LayoutError, match=reason):
        UnwindFile(path)


def test_which_file_serves(tmp_path: Path, frames: Path) -> None:
    old, new = FakeKernel(cpus=1), FakeKernel(cpus=1).image(tmp_path)
    old.symbols |= {"system_call": START, "stub_clone": START + 0x100}
    image = old.image(tmp_path)
    bare = tmp_path / "bare"
    bare.write_bytes(b"{}")
    for unwind, given, wanted in ((frames, bare, frames), (None, frames, frames), (None, bare, None)):
        found = call_frames(image, str(unwind) if unwind else None, str(given))
        assert (found.path if isinstance(found, UnwindFile) else None) == wanted
    assert call_frames(image, None, None) is None
    # Kernels that save everything need none, but what is named is looked at.
    assert call_frames(new, None, str(frames)) is None
    assert call_frames(new, str(frames), None)
    with pytest.raises(LayoutError, match="not an ELF file"):
        call_frames(new, str(bare), None)
