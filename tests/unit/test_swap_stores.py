"""Swapped pages in zswap, and in images of swap devices; which store is asked first."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gcoretools.dumps import PAGE_SIZE
from gcoretools.errors import FileError
from gcoretools.kernel.page_state import STORED
from gcoretools.kernel.swap.swap import Swap
from tests.fake_kernel import FakeKernel, Object
from tests.fake_swap import FakeSwap, deflated, swap_entries, swap_image
from tests.processes import Runner

RANDOM = random.Random(8)
LACKS = ("swap_cluster_info", "swap_info_struct.zeromap")
SIZE = 512


@pytest.fixture
def fake() -> FakeSwap:
    return FakeSwap(FakeKernel(cpus=1, without=LACKS), "6.1")


@pytest.fixture
def area(fake: FakeSwap) -> Object:
    return fake.area("/dev/vdb2", SIZE)


def reason(swap: Swap, offset: int) -> str:
    (state,) = swap.locate(swap_entries(0, offset))[0].tolist()
    return swap.reasons[state]


@pytest.mark.parametrize("allocator", ["zsmalloc", "zbud"])
def test_pages_in_zswap(fake: FakeSwap, area: Object, allocator: str, tmp_path: Path) -> None:
    pages = {offset: (RANDOM.randbytes(offset * 9) + b"gcore" * 999)[:PAGE_SIZE] for offset in range(1, 400, 7)}
    held: dict[int, bytes | int] = {offset: deflated(page) for offset, page in pages.items()}
    fake.zswap(area, held | {450: 0x0102030405060708}, allocator=allocator, compressor="deflate")
    swap = Swap(fake.kernel.image(tmp_path))
    states, places = swap.locate(swap_entries(0, *pages, 450))
    assert states.tolist() == [STORED] * (len(pages) + 1)
    assert bytes(swap.read(places)) == b"".join(pages.values()) + bytes(range(8, 0, -1)) * 512
    assert reason(swap, 2) == "swapped out to /dev/vdb2"


def test_what_zswap_has_is_newer_than_the_image(fake: FakeSwap, area: Object, tmp_path: Path) -> None:
    new, old, other = (letter * PAGE_SIZE for letter in (b"n", b"o", b"x"))
    fake.zswap(area, {1: deflated(new)}, allocator="zsmalloc", compressor="deflate")
    image = swap_image(tmp_path / "vdb2.img", {1: old, 2: other}, SIZE)
    swap = Swap(fake.kernel.image(tmp_path), {"/dev/vdb2": image})
    states, places = swap.locate(swap_entries(0, 2, 1, 2))
    assert states.tolist() == [STORED] * 3
    assert bytes(swap.read(places)) == other + new + other


def test_what_zswap_cannot_give(fake: FakeSwap, area: Object, tmp_path: Path) -> None:
    fake.zswap(area, {1: b"?"}, allocator="z3fold", compressor="deflate")
    fake.zswap(fake.area("/dev/vdc", 64), {1: b"?"}, allocator="zsmalloc", compressor="842")
    swap = Swap(fake.kernel.image(tmp_path))
    assert reason(swap, 1) == "in zswap's z3fold, which is not read"
    (state,) = swap.locate(swap_entries(1, 1))[0].tolist()
    assert "842" in swap.reasons[state]


def test_a_tree_of_zswap_with_a_cycle(fake: FakeSwap, area: Object, tmp_path: Path) -> None:
    fake.zswap(area, {1: b"?", 2: b"?", 3: b"?"}, allocator="zsmalloc", compressor="deflate")
    nodes = [Object(fake.kernel, "rb_node", e.at("rbnode")) for e in fake.kernel.objects if e.name == "zswap_entry"]
    for node in nodes:
        node["rb_left"] = nodes[0]
    assert reason(Swap(fake.kernel.image(tmp_path)), 1) == "swapped out to /dev/vdb2"


def test_an_image_that_is_too_short(fake: FakeSwap, area: Object, tmp_path: Path) -> None:
    image = swap_image(tmp_path / "short.img", {3: b"three"}, SIZE)
    swap = Swap(fake.kernel.image(tmp_path), {"": image})
    _, places = swap.locate(swap_entries(0, 3))
    assert bytes(swap.read(places)) == b"three".ljust(PAGE_SIZE, b"\0")
    assert reason(swap, 4) == f"swapped out to /dev/vdb2, beyond the end of {image}"


HEADERS = {
    "a swap area of 100 pages, but /dev/vdb2 has 512": bytes(1024) + bytes([1, 0, 0, 0, 99, 0, 0, 0]),
    "a swap area of version 16777216": bytes(1024) + bytes([0, 0, 0, 1, 0, 0, 1, 255]),
    "a qcow2 image: convert it with qemu-img": b"QFI\xfb",
}


@pytest.mark.parametrize("words", HEADERS)
def test_images_that_are_refused(fake: FakeSwap, area: Object, tmp_path: Path, words: str) -> None:
    image = swap_image(tmp_path / "other.img", {}, SIZE, header=HEADERS[words])
    with pytest.raises(FileError, match=words):
        Swap(fake.kernel.image(tmp_path), {"": image})


@pytest.mark.parametrize(("data", "words"), [(b"", "not the image of a swap area"), (None, "No such file")])
def test_files_that_are_none(fake: FakeSwap, area: Object, tmp_path: Path, data: bytes | None, words: str) -> None:
    path = tmp_path / "image"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(FileError, match=words):
        Swap(fake.kernel.image(tmp_path), {"": path})


def test_which_area_an_image_is_of(fake: FakeSwap, area: Object, tmp_path: Path) -> None:
    image = swap_image(tmp_path / "vdb2.img", {}, SIZE)
    fake.zram("/dev/zram0", 64, ("deflate",))
    kernel = fake.kernel.image(tmp_path)
    Swap(kernel, {"": image})  # zram is not asked for
    with pytest.raises(FileError, match=r"/dev/vdz=.*: no swap area is called so; the areas on disk are /dev/vdb2"):
        Swap(kernel, {"/dev/vdz": image})
    fake.area("/swap/file", 64)
    with pytest.raises(FileError, match=r"of which swap area is it. the areas on disk are /dev/vdb2, /swap/file"):
        Swap(fake.kernel.image(tmp_path), {"": image})


COMMAND_LINES: dict[str, tuple[int, list[str]]] = {
    "--swap x=z: there is an image of x already": (2, ["x=y", "x=z"]),
    "--swap q: there is an image of the swap area already": (2, ["p", "q"]),
    "x=y: no swap area is called so; the kernel had no swap area on disk": (1, ["x=y"]),
    "a=b: of which swap area is it? the kernel had no swap area on disk": (1, ["a=b"]),  # a file of that name
}


@pytest.mark.parametrize("sentence", COMMAND_LINES)
def test_the_command_line(runner: Runner, sentence: str) -> None:
    (runner.folder / "a=b").write_bytes(b"")
    status, words = COMMAND_LINES[sentence]
    options = [each for word in words for each in ("--swap", word)]
    ended = runner.run("gc-pages", *options, stdin=runner.machine.stream("101"))
    assert (ended.status, ended.out) == (status, b"")
    assert sentence in ended.err
