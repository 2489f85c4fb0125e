"""kallsyms: written tables in every order, found by name and by search, and damage."""

import random
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcoretools.errors import KernelDataError, LayoutError
from gcoretools.layout.kallsyms import Kallsyms, Symbol, named_tables
from gcoretools.layout.kallsyms_search import search_tables
from tests.written_kallsyms import DIGITS, START, START_32, KallsymsImage, Rows

WORDS = ("init", "task", "page", "kallsyms", "get", "put", "free", "alloc", "mm", "vma", "list", "lock", "42", "_x")
LONG = "".join(chr(random.Random(7).randrange(33, 127)) for _ in range(300))


def rows(count: int = 1500, percpu: int = 40) -> Rows:
    """Symbols in the order of their addresses: per-CPU ones from zero first, then those of the image."""
    random_ = random.Random(count)
    made = []
    for i in range(count):
        name = "_".join(random_.choices(WORDS, k=random_.randrange(1, 5))) + f"_{i}"
        at = 0x1000 + i * 16 if i < percpu else START + i * 32
        made.append((name, random_.choice("tTdDbBrRA"), at))
    made[count // 2] = (LONG, "T", made[count // 2][2])
    return made


@cache
def image(order: str, percpu: int = 40, addresses: bool = False) -> KallsymsImage:
    decoys = DIGITS + bytes(300) + b"\x7fdecoy" * 5000 + DIGITS * 3
    return KallsymsImage(rows(percpu=percpu), order, percpu > 0, addresses, before=decoys)


class Reader:
    """Reads an image; what lies outside is not mapped."""

    def __init__(self, image: KallsymsImage) -> None:
        self.image = image

    def __call__(self, va: int, size: int) -> bytes:
        try:
            return self.image.read(va, size)
        except KeyError as error:
            raise KernelDataError(str(error)) from error


def listed(table: Kallsyms) -> Rows:
    return [(symbol.name, symbol.kind, symbol.address) for symbol in table]


@pytest.mark.parametrize(("order", "percpu"), [("old", 40), ("seqs", 40), ("new", 40), ("new", 0), ("place", 0)])
def test_named_tables(order: str, percpu: int) -> None:
    made = image(order, percpu)
    assert listed(named_tables(made.read, made.symbols)) == made.rows


@pytest.mark.parametrize(
    ("order", "percpu", "addresses"),
    [("old", 40, False), ("old", 0, False), ("old", 40, True), ("seqs", 40, False), ("new", 40, False),
     ("new", 0, False), ("place", 0, False)],
)  # fmt: skip
def test_searched_tables(order: str, percpu: int, addresses: bool) -> None:
    made = image(order, percpu, addresses)
    assert listed(search_tables(Reader(made), START)) == made.rows


@pytest.mark.parametrize(("order", "addresses"), [("old", False), ("old", True), ("new", False), ("place", False)])
def test_tables_of_a_32_bit_kernel(order: str, addresses: bool) -> None:
    """Aligned to 4 bytes, with a base and addresses of 4 bytes and other numbers beside them."""
    moved = [(name, kind, at - START + START_32) for name, kind, at in rows(percpu=0)]
    made = KallsymsImage(moved, order, False, addresses, before=DIGITS + bytes(4) + b"\x7fdecoy" * 5000, word=4)
    assert listed(named_tables(made.read, made.symbols, 4)) == moved
    assert listed(search_tables(Reader(made), START_32, 4)) == moved


def test_search_over_holes() -> None:
    made = image("old")

    def holed(va: int, size: int) -> bytes:
        if va < START + 0x1000 <= va + size:
            raise KernelDataError("the first page is not mapped")
        return Reader(made)(va, size)

    assert len(search_tables(holed, START)) == len(made.rows)


def test_finding_some() -> None:
    made = image("old")
    wanted = {name: at for name, _, at in made.rows[::50]} | {LONG: made.rows[750][2]}
    assert named_tables(made.read, made.symbols).find({*wanted, "not_there", ""}) == wanted


def test_letters_in_another_order_are_another_name() -> None:
    made = KallsymsImage([("abc", "T", START), ("cab", "T", START + 8), ("bca", "T", START + 16)])
    assert named_tables(made.read, made.symbols).find(("cab", "acb")) == {"cab": START + 8}


def test_a_global_symbol_comes_before_local_ones_then_the_lowest_address() -> None:
    same = [("run", "t", START), ("run", "T", START + 8), ("walk", "d", START + 16), ("walk", "b", START + 24)]
    made = KallsymsImage(same)
    assert named_tables(made.read, made.symbols).find(("run", "walk")) == {"run": START + 8, "walk": START + 16}


def test_a_single_symbol() -> None:
    made = KallsymsImage([("only", "D", START + 64)])
    table = named_tables(made.read, made.symbols)
    assert [*table] == [Symbol("only", "D", START + 64)]
    assert table.find(()) == {}


def test_no_tables() -> None:
    blank = KallsymsImage(rows(8))
    blank.image = bytearray(DIGITS * 400 + bytes(1 << 16))
    with pytest.raises(LayoutError, match="no token table"):
        search_tables(Reader(blank), START)


@pytest.mark.parametrize("table", ["names", "num_syms", "token_index", "markers"])
def test_damaged_tables(table: str) -> None:
    made = KallsymsImage(rows(900))
    at = made.symbols[f"kallsyms_{table}"] - START
    made.image[at : at + 64] = b"\xff" * 64
    with pytest.raises(LayoutError, match="kallsyms"):
        named_tables(made.read, made.symbols)


def test_tables_out_of_order() -> None:
    made = image("old")
    swapped = made.symbols | {"kallsyms_names": made.symbols["kallsyms_token_table"] + 4096}
    with pytest.raises(LayoutError, match="not where they can be"):
        named_tables(made.read, swapped)


SMALL = KallsymsImage(rows(800))


@given(st.lists(st.tuples(st.integers(0, len(SMALL.image) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_damage_is_told_or_read(changes: list[tuple[int, int]]) -> None:
    kept = bytes(SMALL.image)
    try:
        for at, value in changes:
            SMALL.image[at] = value
        table = named_tables(Reader(SMALL), SMALL.symbols)
        table.find([name for name, _, _ in SMALL.rows[:20]])
        list(table)
    except (LayoutError, KernelDataError):
        pass
    finally:
        SMALL.image[:] = kept
