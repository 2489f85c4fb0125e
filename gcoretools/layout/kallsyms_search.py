"""Finding the kallsyms tables of a kernel whose VMCOREINFO does not name them (before 6.0).

The token table gives itself away: every digit is a token of its own, and behind the table stands the index of its
256 strings. The other tables stand around it in one of the two orders of scripts/kallsyms.c:

    up to 6.3   offsets, relative_base, num_syms, names, markers, [seqs_of_names,] token_table, token_index
    since 6.4   num_syms, names, markers, token_table, token_index, offsets, relative_base, seqs_of_names
                (404bad70fcf7; without relative_base since 7.0)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SIZE
from gcoretools.errors import GcoreError, LayoutError
from gcoretools.layout.kallsyms import (
    BLOCK,
    COUNT_LIMIT,
    TOKENS_LIMIT,
    Kallsyms,
    Read,
    base_relative,
    place_relative,
    split_tokens,
    symbol_starts,
    walk_names,
)

_DIGITS = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00"
_CHUNK = 1 << 21
_HOLES_LIMIT = 8
_IMAGE_LIMIT = 1 << 30
_BEFORE = ord("0")
_INDEX_SIZE = 512
_FEWEST = 1024

Addresses = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class _Image:
    """The part of the kernel image that was read, up to the token table and a bit further."""

    start: int
    data: bytes
    token_table: int
    token_index: int


def search_tables(read: Read, start: int, word: int = 8) -> Kallsyms:
    """The tables in the kernel image that is mapped from `start` on (its _stext).

    Args:
        word: size of a long in bytes, to which the tables are aligned.
    Raises LayoutError when they are not found.
    """
    image = _find_tokens(read, start)
    index = image.data[image.token_index : image.token_index + _INDEX_SIZE]
    tokens = split_tokens(image.data[image.token_table : image.token_index], index)
    for count_at, names_at in _counts(image, word):
        count = int.from_bytes(image.data[count_at : count_at + 4], "little")
        try:
            walk_names(image.data, names_at, BLOCK)
            names = image.data[names_at : image.token_table]
            symbol_starts(names, count)
        except LayoutError:
            continue
        addresses = _addresses(read, image, count_at, count, word)
        if addresses is not None:
            return Kallsyms(count, names, tokens, addresses)
    raise LayoutError("kallsyms: the names that belong to the token table were not found")


def _find_tokens(read: Read, start: int) -> _Image:
    data = bytearray()
    searched = holes = 0
    while len(data) < _IMAGE_LIMIT and holes < _HOLES_LIMIT:
        chunk = _chunk(read, start + len(data))
        holes = 0 if any(chunk) else holes + 1
        data += chunk
        while (at := data.find(_DIGITS, searched)) >= 0:
            found = _tokens_around(data, at)
            if found:
                return _Image(start, bytes(data), *found)
            searched = at + 1
        searched = max(searched, len(data) - TOKENS_LIMIT)
    raise LayoutError(f"kallsyms: no token table in the kernel image from {start:#x} to {start + len(data):#x}")


def _chunk(read: Read, va: int) -> bytes:
    """A piece of the image, with zeros for pages that are not there: the kernel gives back what lies unused
    between its sections."""
    try:
        return read(va, _CHUNK)
    except GcoreError:
        return b"".join(_page(read, at) for at in range(va, va + _CHUNK, PAGE_SIZE))


def _page(read: Read, va: int) -> bytes:
    try:
        return read(va, PAGE_SIZE)
    except GcoreError:
        return bytes(PAGE_SIZE)


def _tokens_around(data: bytearray, digits: int) -> tuple[int, int] | None:
    """Where the token table and its index begin, if the digits at `digits` belong to one."""
    table = digits
    for _ in range(_BEFORE + 1):
        table = data.rfind(b"\0", 0, table)
        if table < 0 or digits - table > TOKENS_LIMIT:
            return None
    for first in range(table + 1, table + 9):
        # Zeros of padding stand before the first token, which may be empty itself.
        tokens = bytes(data[first : first + TOKENS_LIMIT]).split(b"\0", 256)[:256]
        lengths = np.array([len(token) + 1 for token in tokens])
        index = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype("<u2").tobytes()
        end = first + int(lengths.sum())
        at = data.find(index, end, end + 8 + _INDEX_SIZE)
        if at >= 0 and len(tokens) == 256:
            return first, at
    return None


def _counts(image: _Image, word: int) -> Iterator[tuple[int, int]]:
    """Places that could be kallsyms_num_syms, with that of the names behind each; nearest first.

    The count is a number of 4 bytes, padded to 8 on 64-bit kernels before 7.0.
    """
    for step in (8, 4) if word == 8 else (4,):
        begin = (-image.start) % step
        usable = (image.token_table - begin) // 4
        words = np.frombuffer(image.data, "<u4", usable, begin)
        stride = step // 4
        counts, after = words[: usable - 1 : stride], words[1::stride]
        plausible = (counts >= _FEWEST) & (counts < COUNT_LIMIT)
        if step == 8:
            plausible = plausible[: len(after)] & (after[: len(plausible)] == 0)
        for i in np.flatnonzero(plausible)[::-1].tolist():
            at = begin + i * step
            if int(words[i * stride]) * 2 < image.token_table - at:
                yield at, at + step


def _addresses(read: Read, image: _Image, count_at: int, count: int, word: int) -> Addresses | None:
    """The addresses, of whichever of the possible tables ascends as kallsyms does; else None."""
    behind = image.start + image.token_index + _INDEX_SIZE
    base_at = image.start + count_at - word
    offsets_at = _padded(behind, word)
    size = _padded(4 * count, word)

    def based(offsets: int, base: int) -> Addresses:
        return base_relative(read(offsets, 4 * count), int.from_bytes(read(base, word), "little"))

    candidates: tuple[Callable[[], Addresses], ...] = (
        lambda: based(base_at - size, base_at),
        lambda: np.frombuffer(read(base_at + word * (1 - count), word * count), f"<u{word}").astype(np.uint64),
        lambda: based(offsets_at, _padded(offsets_at + 4 * count, word)),
        lambda: place_relative(read(behind, 4 * count), behind),
    )
    for candidate in candidates:
        with suppress(GcoreError):
            addresses = candidate()
            if (addresses[1:] >= addresses[:-1]).all() and addresses[-1] >= image.start:
                return addresses
    return None


def _padded(size: int, word: int) -> int:
    return size + word - 1 & -word
