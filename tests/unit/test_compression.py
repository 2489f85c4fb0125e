"""compression/: every kind of block, read back; and blocks that are damaged."""

from __future__ import annotations

import contextlib
import random
import zlib
from collections.abc import Callable
from typing import Any

import cramjam
import lzallright
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gcoretools.compression import Decompressor, decompressor
from gcoretools.compression.deflate import zlib_head
from tests.compressed import END, LzoWriter, lzo

PAGE = 4096


def raw_deflate(plain: bytes) -> bytes:
    """As the kernel's crypto/deflate.c has it: a window of 2 KiB, and no header."""
    stream = zlib.compressobj(wbits=-11)
    return stream.compress(plain) + stream.flush()


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": lambda plain: zlib.compress(plain, 1),
    "zlib-deflate": zlib.compress,
    "deflate": raw_deflate,
    "lzo": lambda plain: lzallright.LZOCompressor().compress(plain),
    "lzo-rle": lambda plain: lzo(plain, rle=True),
    "lz4": lambda plain: bytes(cramjam.lz4.compress_block(plain, store_size=False)),
    "lz4hc": lambda plain: bytes(
        cramjam.lz4.compress_block(plain, store_size=False, mode="high_compression", compression=9)
    ),
    "snappy": lambda plain: bytes(cramjam.snappy.compress_raw(plain)),
    "zstd": lambda plain: bytes(cramjam.zstd.compress(plain, 1)),
}

seeded = random.Random(3)
PAGES = {
    "zero": bytes(PAGE),
    "random": seeded.randbytes(PAGE),
    "text": b"".join(b"register %d of cook; " % number for number in range(400))[:PAGE],
    "pointers": b"".join(
        0xFFFF888000000000.__add__(seeded.randrange(1 << 24)).to_bytes(8, "little") for _ in range(512)
    ),
    "sparse": b"".join(bytes(seeded.randrange(40)) + seeded.randbytes(4) for _ in range(400))[:PAGE],
}

blocks = st.binary(max_size=200) | st.lists(
    st.binary(min_size=1, max_size=6) | st.integers(1, 60).map(bytes), max_size=60
).map(b"".join)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", COMPRESSORS)
def test_a_page_compressed_is_the_page_read(name: str, page: str) -> None:
    block = COMPRESSORS[name](PAGES[page])
    for data in (block, bytearray(block), memoryview(block)):
        assert decompressor(name)(data, PAGE) == PAGES[page]


@pytest.mark.parametrize("name", COMPRESSORS)
@given(plain=blocks)
@settings(max_examples=60, deadline=None)
def test_a_block_compressed_is_the_block_read(name: str, plain: bytes) -> None:
    if plain or name not in ("lzo-rle", "lz4", "lz4hc"):
        assert decompressor(name)(COMPRESSORS[name](plain), len(plain)) == plain


@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE + 1, 2 * PAGE])
@pytest.mark.parametrize("page", ["text", "random"])
@pytest.mark.parametrize("name", COMPRESSORS)
def test_a_block_of_another_size_is_corrupt(name: str, page: str, size: int) -> None:
    block = COMPRESSORS[name](PAGES[page])
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        decompressor(name)(block, size)


@pytest.mark.parametrize("name", COMPRESSORS)
def test_a_block_that_is_cut_is_corrupt_wherever(name: str) -> None:
    block = COMPRESSORS[name](PAGES["text"])
    for end in range(len(block)):
        with pytest.raises(ValueError, match=r"\w+ \w+"):
            decompressor(name)(block[:end], PAGE)


@pytest.mark.parametrize("name", COMPRESSORS)
@given(damage=st.lists(st.tuples(st.integers(0, 1 << 12), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_a_damaged_block_is_words_or_a_page(name: str, damage: list[tuple[int, int]]) -> None:
    block = bytearray(COMPRESSORS[name](PAGES["sparse"]))
    for at, value in damage:
        block[at % len(block)] = value
    with contextlib.suppress(ValueError):
        assert len(decompressor(name)(bytes(block), PAGE)) == PAGE


@pytest.mark.parametrize("name", COMPRESSORS)
@given(block=st.binary(max_size=120))
@settings(max_examples=200, deadline=None)
def test_bytes_that_are_no_block_are_words_or_a_page(name: str, block: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert len(decompressor(name)(block, PAGE)) == PAGE


@pytest.mark.parametrize("name", ["zstd", "zlib", "deflate", "lzo", "lzo-rle"])
def test_a_block_that_swells_takes_no_memory(name: str) -> None:
    block = COMPRESSORS[name](bytes(64 << 20 if name[0] == "z" else 1 << 20))
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        decompressor(name)(block, PAGE)


@pytest.mark.parametrize("name", ["842", "", "bzip2"])
def test_what_is_not_read_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"compressed with {name}, which is not read"):
        decompressor(name)


def test_the_head_of_a_page() -> None:
    assert zlib_head(zlib.compress(PAGES["text"]), 20) == PAGES["text"][:20]
    with pytest.raises(ValueError, match="it holds 3 bytes instead of 20"):
        zlib_head(zlib.compress(b"abc"), 20)
    with pytest.raises(ValueError, match="incorrect header check"):
        zlib_head(b"xx" * 20, 20)


lengths = st.integers(2, 12) | st.integers(20, 50) | st.integers(250, 600) | st.integers(2, 3000)
distances = st.integers(1, 9) | st.integers(1000, 3100) | st.integers(16370, 16400) | st.integers(1, 0xC000)
behind = st.binary(max_size=3)
operations = st.one_of(
    st.tuples(st.just("run"), st.binary(min_size=1, max_size=30) | st.integers(200, 800).map(lambda n: b"x" * n)),
    st.tuples(st.just("match"), lengths, distances, behind),
    st.tuples(st.just("match"), lengths, distances, behind),
    st.tuples(st.just("zeros"), st.integers(4, 40) | st.integers(4, 2051), behind),
)


@given(operations=st.lists(operations, min_size=1, max_size=40), rle=st.booleans())
@settings(max_examples=400, deadline=None)
@example([("run", b"ab"), ("match", 2, 1, b"c"), ("match", 2, 3, b"")], False)
@example([("run", b"a" * 17000), ("match", 3, 0x4000, b""), ("match", 3, 0x4001, b"abc")], True)
@example([("run", b"abcd"), ("zeros", 2051, b"xyz"), ("match", 2, 1024, b""), ("zeros", 4, b"")], True)
@example([("run", b"ab" * 25000), ("match", 264, 0xBFFE, b"abc"), ("match", 3, 0xBFFF, b"xyz")], False)
@example([("run", b"ab" * 25000), ("match", 264, 0xBFFE, b"abc"), ("match", 3, 0xBFFE, b"xyz")], True)
def test_every_instruction_of_lzo(operations: list[Any], rle: bool) -> None:
    writer = LzoWriter(rle=rle)
    for name, *arguments in operations:
        getattr(writer, name)(*arguments)
    if not writer.plain:
        return
    block, plain = bytes(writer.block) + END, bytes(writer.plain)
    readers: list[Decompressor] = [decompressor("lzo-rle")] + ([] if rle else [decompressor("lzo")])
    for read in readers:
        assert read(block, len(plain)) == plain


@given(plain=blocks)
def test_both_readers_of_lzo_agree(plain: bytes) -> None:
    for block in (COMPRESSORS["lzo"](plain), lzo(plain) if plain else END):
        assert decompressor("lzo-rle")(block, len(plain)) == decompressor("lzo")(block, len(plain)) == plain


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (b"\x11\x01\x12a\x21\xfc\xff" + END, "refers to bytes before its beginning"),
        (b"\x11\x01\x16aaaaa\x12\x00\x00", "goes on behind its end"),
        (b"\x11\x01\x16aaaaa" + END + b"x", "goes on behind its end"),
        (b"\x11\x01\x12a\x40\x00" + b"\0" * 300, "it is cut"),
        (b"\x11\x01\x12a" + b"\x1f\xfc\xff\xff" * 3 + END, "it holds more than 4096 bytes"),
    ],
)
def test_damaged_lzo_rle_says_what(block: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decompressor("lzo-rle")(block, PAGE)
