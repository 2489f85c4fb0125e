"""sysroot/: which pages come from a file, and which file is not the mapped one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gcoretools.dumps import PAGE_SIZE
from gcoretools.errors import FileError
from gcoretools.kernel import page_state, residence
from gcoretools.kernel.page_state import IN_FILE
from gcoretools.kernel.path import Paths, Root
from gcoretools.kernel.residence import Residence
from gcoretools.kernel.vma import Mappings
from gcoretools.records import Vma
from gcoretools.sysroot import backing
from gcoretools.sysroot.backing import Backed, Sysroot
from tests.fake_kernel import FakeKernel
from tests.fake_page_cache import FakeCache, FakePages
from tests.written_programs import elf, note
from tests.written_streams import process as process_record

TEXT, DATA = 0x400000, 0x600000
RX, RW = 0x75, 0x73
PAGES = 8  # of the file; its last one is half

NAMED = elf(note(b"GNU\0", 3, b"the build ID"))
UNNAMED = elf(note(b"GNU\0", 1, b"another note"))


def program(head: bytes = NAMED) -> bytes:
    """A file whose pages say where they are."""
    pages = (b"page %d of the file" % i for i in range(1, PAGES))
    return (head + b"".join(page.ljust(PAGE_SIZE, b".") for page in pages))[: -PAGE_SIZE // 2]


class Machine:
    """A process that maps /bin/cat twice, text (its first 8 pages) and data (from page 4 on, written), on a disk.

    Args:
        cached: the pages that are in memory.
        content: of the mapped file.
    """

    def __init__(self, folder: Path, cached: tuple[int, ...] = (0, 2), content: bytes | None = None) -> None:
        self.folder = folder
        self.content = program() if content is None else content
        self.kernel = FakeKernel(cpus=1)
        self.cat = self.kernel.process(100, "cat")
        self.file = self.kernel.file("/bin/cat")
        self.cache = FakeCache(FakePages(self.kernel), self.file, "ext4", size=len(self.content))
        self.frames = {i: self.cache.page(i, self.content[i * PAGE_SIZE :][:PAGE_SIZE]) for i in cached}
        self.cat.map(TEXT, PAGES + 1, RX, file=self.file)
        self.cat.map(DATA, PAGES - 4, RW, file=self.file, offset=4, written=True)
        self.taken: list[str] = []
        self.refused: list[str] = []
        self.root = folder / "root"
        (self.root / "bin").mkdir(parents=True)
        self.on_disk = self.root / "bin/cat"
        self.on_disk.write_bytes(self.content)

    def backed(self) -> Backed:
        self.cache.finish()
        image = self.kernel.image(self.folder)
        mm = self.cat.mm.address
        self.vmas = list(Mappings(image, mm, Paths(image, Root()), 64))
        found = Residence(image, process_record(mm=mm, page_table=self.cat.tables.root))
        return Backed(image, found, self.vmas, Sysroot(self.root, self.taken.append, self.refused.append))

    def seen(self) -> dict[int, bytes | int]:
        """By address the bytes of each page, or its state."""
        backed, found = self.backed(), dict[int, bytes | int]()
        for vma in self.vmas:
            end = vma.start
            for piece in backed.pieces(vma, vma.size):
                assert piece.start == end
                end += piece.size
                for i, va in enumerate(range(piece.start, end, PAGE_SIZE)):
                    held = piece.state in page_state.WITH_BYTES
                    found[va] = bytes(backed.read(piece, i, 1)) if held else piece.state
            assert end == vma.start + vma.size
        return found

    def page(self, number: int) -> bytes:
        return self.content[number * PAGE_SIZE :][:PAGE_SIZE].ljust(PAGE_SIZE, b"\0")


def test_pages_that_are_not_in_memory_come_from_the_file(tmp_path: Path) -> None:
    """Of both mappings; what the process wrote stays its own, and beyond the file's end there are zeros."""
    machine = Machine(tmp_path)
    own = b"written by the process".ljust(PAGE_SIZE, b"\0")
    machine.cat.page(DATA + PAGE_SIZE, own)
    wanted: dict[int, bytes | int] = {TEXT + i * PAGE_SIZE: machine.page(i) for i in range(PAGES)}
    wanted |= {TEXT + PAGES * PAGE_SIZE: page_state.ZERO}
    wanted |= {DATA + i * PAGE_SIZE: machine.page(4 + i) for i in range(PAGES - 4)}
    assert machine.seen() == wanted | {DATA + PAGE_SIZE: own}
    assert machine.taken == [f"/bin/cat: what is not in memory is taken from {machine.on_disk}"]
    assert machine.refused == []


@pytest.mark.parametrize("at_once", [1, 3, 1 << 16])
def test_pieces_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(backing, "PAGES_AT_ONCE", at_once)
    monkeypatch.setattr(residence, "PAGES_AT_ONCE", at_once)
    machine = Machine(tmp_path)
    seen = machine.seen()
    assert [seen[TEXT + i * PAGE_SIZE] for i in range(PAGES)] == [machine.page(i) for i in range(PAGES)]


def test_pages_that_the_dump_leaves_out(tmp_path: Path) -> None:
    """Where nobody has written to a private mapping, they are the file's; the others may be the process's own."""
    machine = Machine(tmp_path, cached=(0, 2, 5))
    machine.kernel.memory.excluded |= {machine.frames[2], machine.frames[5]}
    machine.kernel.memory.excluded.add(machine.cat.page(DATA, b"not in the dump"))
    seen = machine.seen()
    assert [seen[TEXT + i * PAGE_SIZE] for i in (2, 5)] == [machine.page(2), machine.page(5)]
    assert seen[DATA] == seen[DATA + PAGE_SIZE] == page_state.EXCLUDED
    assert seen[DATA + 2 * PAGE_SIZE] == machine.page(6)


def test_without_a_build_id_size_and_pages_must_agree(tmp_path: Path) -> None:
    machine = Machine(tmp_path, content=program(UNNAMED))
    assert machine.seen()[TEXT + PAGE_SIZE] == machine.page(1)
    assert machine.refused == []


def test_the_build_id_is_not_in_the_dump(tmp_path: Path) -> None:
    """Then size and pages tell, as if there was none."""
    machine = Machine(tmp_path, cached=(2,))
    assert machine.seen()[TEXT + PAGE_SIZE] == machine.page(1)


def test_zeros_are_nothing_to_compare(tmp_path: Path) -> None:
    content = bytearray(program())
    content[2 * PAGE_SIZE : 3 * PAGE_SIZE] = bytes(PAGE_SIZE)
    machine = Machine(tmp_path, cached=(2,), content=bytes(content))
    assert machine.seen()[TEXT + PAGE_SIZE] == page_state.NOT_CACHED
    (words,) = machine.refused
    assert "nothing in the dump tells whether it is the mapped file" in words


def test_pages_of_a_written_mapping_are_not_compared(tmp_path: Path) -> None:
    """They may be the process's own."""
    machine = Machine(tmp_path, content=program(UNNAMED), cached=(0,))
    machine.cat.page(DATA, b"the process's own")
    assert machine.seen()[TEXT + PAGE_SIZE] == machine.page(1)


def rewritten(change: Callable[[bytearray], object]) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        content = bytearray(path.read_bytes())
        change(content)
        path.write_bytes(content)

    return write


def put(content: bytearray, at: int, data: bytes) -> None:
    content[at : at + len(data)] = data


REFUSED: dict[str, Callable[[Path], object]] = {
    "its build ID is 746865206275696c64206964, that of the mapped file 746865206275696c64204944": rewritten(
        lambda content: put(content, content.index(b"the build ID"), b"the build id")
    ),
    "its build ID is missing, that of the mapped file 746865206275696c64204944": rewritten(
        lambda content: put(content, 0, UNNAMED)
    ),
    "its size is 30719 bytes, that of the mapped file 30720": rewritten(lambda content: content.pop()),
    "its page at offset 0x2000 differs from the mapped file's": rewritten(
        lambda content: put(content, 2 * PAGE_SIZE + 4000, b"!")
    ),
    "it is no executable or library": rewritten(lambda content: put(content, 0, b"#!")),
    "no such file or directory": lambda path: path.unlink(),
    "not a regular file": lambda path: (path.unlink(), path.mkdir()),  # type: ignore[func-returns-value]
}


@pytest.mark.parametrize("words", REFUSED)
def test_another_file_is_refused_by_name(tmp_path: Path, words: str) -> None:
    machine = Machine(tmp_path)
    REFUSED[words](machine.on_disk)
    seen = machine.seen()
    assert machine.refused == [f"/bin/cat: not taken from {machine.root}: {words}"]
    assert machine.taken == []
    assert seen[TEXT + PAGE_SIZE] == seen[DATA] == page_state.NOT_CACHED
    assert seen[TEXT] == machine.page(0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/bin/cat (deleted)", "it was deleted"),
        ("/bin/cat\0", "embedded null byte"),
        ("/" + "x" * 300, "file name too long"),
    ],
)
def test_names_that_no_file_has(tmp_path: Path, name: str, words: str) -> None:
    machine = Machine(tmp_path)
    backed = machine.backed()
    for vma in machine.vmas:
        vma.name = name
    states = {piece.state for vma in machine.vmas for piece in backed.pieces(vma, vma.size)}
    assert IN_FILE not in states
    (told,) = machine.refused
    assert told == f"{name}: not taken from {machine.root}: {words}"


def test_a_file_is_looked_at_once_for_all_processes(tmp_path: Path) -> None:
    """One that was taken stays so; what was refused is told once."""
    machine = Machine(tmp_path)
    backed = machine.backed()
    for _ in range(2):
        other = Backed(backed._image, backed._residence, machine.vmas, backed._sysroot)
        assert any(piece.state == IN_FILE for piece in other.pieces(machine.vmas[0], PAGES * PAGE_SIZE))
    assert len(machine.taken) == len(backed._sysroot.files) == 1
    other.read(next(p for p in other.pieces(machine.vmas[0], PAGES * PAGE_SIZE) if p.state == IN_FILE), 0, 1)


def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    backed = machine.backed()
    piece = next(p for p in backed.pieces(machine.vmas[0], PAGES * PAGE_SIZE) if p.state == IN_FILE)
    machine.on_disk.write_bytes(program(UNNAMED) + b"!")
    with pytest.raises(FileError, match=f"{machine.on_disk}: it changed while it was being read"):
        backed.read(piece, 0, 1)


def test_files_of_other_kinds_of_memory_are_left_alone(tmp_path: Path) -> None:
    """Of tmpfs a hole is zeros, whatever the folder has."""
    machine = Machine(tmp_path)
    machine.cache = FakeCache(machine.cache.pages, machine.file, "tmpfs", size=len(machine.content))
    assert set(machine.seen().values()) == {page_state.ZERO}
    assert machine.refused == machine.taken == []


class Counted(list[Vma]):
    """Mappings that count how often all of them were looked through."""

    looks = 0

    def __iter__(self) -> Iterator[Vma]:
        self.looks += 1
        return super().__iter__()


def test_many_files_are_not_looked_for_in_all_mappings(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    backed = machine.backed()
    many = Counted(replace(machine.vmas[0], name=f"/lib/{i}") for i in range(500))
    other = Backed(backed._image, backed._residence, many, backed._sysroot)
    for i in range(500):
        assert IN_FILE not in {piece.state for piece in other.pieces(many[i], PAGE_SIZE * 2)}
    assert many.looks == 1
    assert len(machine.refused) == 500
