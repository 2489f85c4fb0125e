"""dumps/probe.py and dumps/mapping.py: every file that is no dump gets a sentence."""

import os
from pathlib import Path

import pytest

from gcoretools.dumps import open_dump
from gcoretools.dumps.signatures import SIGNATURES, NotRead, Signature
from gcoretools.errors import DumpError


@pytest.mark.parametrize(
    "signature", [s for s in SIGNATURES if isinstance(s.reader, NotRead)], ids=lambda s: s.name
)
def test_other_formats_are_named_with_advice(tmp_path: Path, signature: Signature) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(signature.offset) + signature.magic + bytes(5000))
    with pytest.raises(DumpError, match=f"file: {signature.name}, which is not read: .+"):
        open_dump(path)


@pytest.mark.parametrize(
    "signature", [s for s in SIGNATURES if not isinstance(s.reader, NotRead)], ids=lambda s: s.name
)
@pytest.mark.parametrize("size", [0, 20, 9000])
def test_a_signature_alone_is_no_dump(tmp_path: Path, signature: Signature, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(signature.magic + bytes(size))
    with pytest.raises(DumpError, match="file: "):
        open_dump(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="missing: No such file"):
        open_dump(tmp_path / "missing")
    with pytest.raises(DumpError, match="directory"):
        open_dump(tmp_path)
    with pytest.raises(DumpError, match="not a regular file"):
        open_dump("/dev/null")
    (tmp_path / "empty").touch()
    with pytest.raises(DumpError, match="empty: the file is empty"):
        open_dump(tmp_path / "empty")
    (tmp_path / "text").write_text("hello\n")
    with pytest.raises(DumpError, match="text: not a dump"):
        open_dump(str(tmp_path / "text"))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            b"makedumpfile\0\0\0\0" + bytes(16),
            "a flattened dump in a pipe: `makedumpfile -R FILE` writes it to a file",
        ),
        (b"\x7fELF", "not a regular file: a dump is read at random, so save it"),
        (b"", "not a regular file"),
    ],
)
def test_a_pipe_says_what_to_do(said: bytes, words: str) -> None:
    reading, writing = os.pipe()
    os.write(writing, said)
    os.close(writing)
    with os.fdopen(reading), pytest.raises(DumpError, match=words):
        open_dump(f"/dev/fd/{reading}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("x")
    path.chmod(0)
    with pytest.raises(DumpError, match="Permission denied"):
        open_dump(path)
