"""Pages of a running kernel: a plan stays what it was, and bytes come from where the pages are when read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gcoretools.dumps import PAGE_SHIFT, PAGE_SIZE, Buffer, Dump, Pfns
from gcoretools.kernel.image import Image
from gcoretools.kernel.page_state import DATA, ZERO
from gcoretools.kernel.path import Paths, Root
from gcoretools.kernel.steady import TRIES, SteadyResidence
from gcoretools.kernel.vma import Mappings
from gcoretools.records import Vma
from tests.fake_kernel import FakeKernel, FakeProcess
from tests.fake_memory import FakeMemory
from tests.written_streams import process as process_record

START, RW = 0x400000, 0x73


class Living(Dump):
    """The memory of a fake kernel as it is at each moment.

    Attributes:
        meanwhile: what happens each time after page frames were read.
    """

    path, format, notes, reasons, fingerprint, moving = Path("living"), "living", (), ("absent",), "", True

    def __init__(self, memory: FakeMemory) -> None:
        self.memory = memory
        self.meanwhile: Callable[[Pfns], object] = lambda pfns: None

    def present(self, pfns: Pfns) -> NDArray[np.bool_]:
        return np.array([pfn in self.memory.frames for pfn in pfns.tolist()], np.bool_)

    def pages(self, pfns: Pfns) -> Buffer:
        data = b"".join(self.memory.read(pfn << PAGE_SHIFT, PAGE_SIZE) for pfn in pfns.tolist())
        self.meanwhile(pfns)
        return data

    def ranges(self) -> Iterator[tuple[int, int]]:
        yield from ((pfn << PAGE_SHIFT, PAGE_SIZE) for pfn in sorted(self.memory.frames))


@pytest.fixture
def cat() -> FakeProcess:
    found = FakeKernel(cpus=1).process(100, "cat")
    found.map(START, 4, RW)
    found.page(START, b"first")
    found.page(START + PAGE_SIZE, b"second")
    return found


@pytest.fixture
def living(cat: FakeProcess) -> Living:
    cat.kernel.finish()
    return Living(cat.kernel.memory)


def seen(cat: FakeProcess, living: Living) -> tuple[SteadyResidence, Vma]:
    image = Image(living, cat.kernel.kernel())
    record = process_record(mm=cat.mm.address, page_table=cat.tables.root)
    (vma,) = Mappings(image, cat.mm.address, Paths(image, Root()), 64)
    return SteadyResidence(image, record), vma


def states(residence: SteadyResidence, vma: Vma, size: int = 4 * PAGE_SIZE) -> list[tuple[int, int]]:
    return [(piece.state, piece.size >> PAGE_SHIFT) for piece in residence.pieces(vma, size)]


def test_what_was_found_first_stays(cat: FakeProcess, living: Living) -> None:
    residence, vma = seen(cat, living)
    assert states(residence, vma, PAGE_SIZE)[0][0] == DATA
    assert states(residence, vma) == [(DATA, 2), (ZERO, 2)]
    cat.page(START + 2 * PAGE_SIZE, b"third")
    assert states(residence, vma) == [(DATA, 2), (ZERO, 2)]


def test_a_page_that_moved_is_read_where_it_is(cat: FakeProcess, living: Living) -> None:
    residence, vma = seen(cat, living)
    piece = next(residence.pieces(vma, vma.size))
    cat.page(START + PAGE_SIZE, b"second, elsewhere")
    assert bytes(residence.read(piece, 0, 2))[PAGE_SIZE:].startswith(b"second, elsewhere")
    assert bytes(residence.read(piece, 1, 1)).startswith(b"second, elsewhere")


def test_a_page_that_moves_while_it_is_read_is_read_again(cat: FakeProcess, living: Living) -> None:
    residence, vma = seen(cat, living)
    piece = next(residence.pieces(vma, vma.size))
    moves = iter(range(3))

    def move(pfns: Pfns) -> None:
        if pfns[0] in piece.places.tolist() and (number := next(moves, None)) is not None:
            piece.places[0] = cat.page(START, b"first, moved %d times" % (number + 1))

    living.meanwhile = move
    assert bytes(residence.read(piece, 0, 1)).startswith(b"first, moved 3 times")


def test_a_page_that_never_rests_is_read_all_the_same(cat: FakeProcess, living: Living) -> None:
    residence, vma = seen(cat, living)
    piece = next(residence.pieces(vma, vma.size))
    read: list[int] = []

    def move(pfns: Pfns) -> None:
        read.append(int(pfns[0]))
        if len(pfns) == 1:
            cat.page(START, b"first, again")

    living.meanwhile = move
    assert bytes(residence.read(piece, 0, 1)).startswith(b"first")
    assert len(read) < 20 * TRIES
