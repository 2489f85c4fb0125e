"""kallsyms: the kernel's own symbol table, which every dump holds.

A symbol is its type letter and its name, cut into at most 256 tokens; its address stands in another table at the
same index. Source: scripts/kallsyms.c and kernel/kallsyms.c.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gcoretools.errors import LayoutError

Read = Callable[[int, int], bytes]
"""read(virtual address, size in bytes), as AddressSpace.read."""

COUNT_LIMIT = 1 << 22
NAMES_LIMIT = 1 << 26
TOKENS_LIMIT = 1 << 14
BLOCK = 256
"""The kernel notes where every 256th symbol begins (kallsyms_markers)."""

ALIGNMENT = 8
"""In bytes, of each table, at most."""

_WEAK_OR_GLOBAL = frozenset("ABCDGRSTVWu")


@dataclass(frozen=True, slots=True)
class Symbol:
    """One symbol: `kind` is the letter of nm(1), `address` the runtime one."""

    name: str
    kind: str
    address: int


class Kallsyms:
    """The decoder of the tables.

    Args:
        count: number of symbols.
        names: kallsyms_names, and behind it kallsyms_markers and whatever else.
        tokens: the 256 tokens.
        addresses: of each symbol, in their order.

    Raises LayoutError when the names do not fit the count.
    """

    def __init__(self, count: int, names: bytes, tokens: list[bytes], addresses: NDArray[np.uint64]) -> None:
        self._tokens = tokens
        self._codes = np.frombuffer(names, np.uint8)
        self._names = names
        self._starts, self._end = symbol_starts(names, count)
        self._addresses = addresses

    def __len__(self) -> int:
        return len(self._starts)

    def find(self, wanted: Collection[str]) -> dict[str, int]:
        """Addresses of those of these symbols that exist.

        Names of static variables and functions can occur often: a global symbol counts before local ones, then
        the lowest address. Only symbols whose letters add up to those of a wanted name are decoded.
        """
        targets = np.sort(np.array([_sum(name.encode()) for name in wanted], np.uint64))
        sums = self._sums()
        at = np.minimum(np.searchsorted(targets, sums), max(len(targets) - 1, 0))
        hits = np.flatnonzero(targets[at] == sums).tolist() if len(targets) else []
        return choose((self._symbol(i) for i in hits), frozenset(wanted))

    def __iter__(self) -> Iterator[Symbol]:
        return (self._symbol(i) for i in range(len(self)))

    def _symbol(self, i: int) -> Symbol:
        start = int(self._starts[i])
        length, skip = _length(self._names, start)
        codes = self._names[start + skip : start + skip + length]
        text = b"".join([self._tokens[code] for code in codes]).decode("latin-1")
        return Symbol(text[1:], text[:1], int(self._addresses[i]))

    def _sums(self) -> NDArray[np.uint64]:
        """For each symbol the sum of a number for each letter of its name."""
        of_token = np.array([_sum(token) for token in self._tokens], np.uint64)
        of_kind = np.array([_sum(token[:1]) for token in self._tokens], np.uint64)
        values = of_token[self._codes[: self._end]]
        values[self._starts] = 0
        first = self._starts + 1
        large = self._codes[self._starts] >= 0x80
        values[first[large]] = 0
        kinds = self._codes[np.minimum(first + large, self._end - 1)]
        total: NDArray[np.uint64] = np.add.reduceat(values, self._starts) - of_kind[kinds]
        return total


def choose(symbols: Iterator[Symbol], wanted: Collection[str]) -> dict[str, int]:
    """One address for each wanted name: of a global symbol before a local one, then the lowest address."""
    best: dict[str, tuple[bool, int]] = {}
    for symbol in symbols:
        if symbol.name in wanted:
            rank = symbol.kind not in _WEAK_OR_GLOBAL, symbol.address
            best[symbol.name] = min(best.get(symbol.name, rank), rank)
    return {name: address for name, (_, address) in best.items()}


def named_tables(read: Read, symbols: dict[str, int], word: int = 8) -> Kallsyms:
    """The tables that VMCOREINFO names, since 5fd8fea935a1 (6.0).

    Args:
        word: size of a long in bytes.
    Raises LayoutError when it does not name them all, or they are damaged.
    """
    names, table, index, count_at = (
        symbols.get(f"kallsyms_{name}", 0) for name in ("names", "token_table", "token_index", "num_syms")
    )
    if not (0 < table - names < NAMES_LIMIT and 0 < index - table < TOKENS_LIMIT):
        raise LayoutError("kallsyms: the tables that VMCOREINFO names are not where they can be: it is damaged")
    count = int.from_bytes(read(count_at, 4), "little")
    if not 0 < count < COUNT_LIMIT:
        raise LayoutError(f"kallsyms: {count} symbols cannot be: the table is damaged")
    tokens = split_tokens(read(table, index - table), read(index, 512))
    return Kallsyms(count, read(names, table - names), tokens, _named_addresses(read, symbols, count, word))


def _named_addresses(read: Read, symbols: dict[str, int], count: int, word: int) -> NDArray[np.uint64]:
    """The addresses, from whichever table VMCOREINFO names: it depends on the configuration and the release."""
    offsets, base = symbols.get("kallsyms_offsets"), symbols.get("kallsyms_relative_base")
    if offsets is None:
        if "kallsyms_addresses" not in symbols:
            raise LayoutError("kallsyms: VMCOREINFO names no table of addresses: it is damaged")
        return np.frombuffer(read(symbols["kallsyms_addresses"], word * count), f"<u{word}").astype(np.uint64)
    if base is None:
        return place_relative(read(offsets, 4 * count), offsets)
    return base_relative(read(offsets, 4 * count), int.from_bytes(read(base, word), "little"))


def split_tokens(table: bytes, index: bytes) -> list[bytes]:
    """The 256 tokens, by kallsyms_token_index. Raises LayoutError when one lies outside of the table."""
    tokens = []
    for at in np.frombuffer(index, "<u2").tolist():
        end = table.find(b"\0", at)
        if end < 0:
            raise LayoutError("kallsyms: a token lies outside of its table: the table is damaged")
        tokens.append(table[at:end])
    return tokens


def base_relative(offsets: bytes, base: int) -> NDArray[np.uint64]:
    """Addresses from kallsyms_offsets and kallsyms_relative_base (2213e9a66bb8, 4.6).

    Where per-CPU symbols are offsets from zero (x86_64 up to 6.14), values from zero up are absolute, and those
    below count down from base - 1. Elsewhere they count up from base, and no image is so large that the sign
    is ever set.
    """
    values = np.frombuffer(offsets, "<i4").astype(np.int64)
    if (values < 0).any():
        values = np.where(values < 0, _signed(base) - 1 - values, values)
    else:
        values = values + _signed(base)
    return values.astype(np.uint64)


def place_relative(offsets: bytes, place: int) -> NDArray[np.uint64]:
    """Addresses from kallsyms_offsets at `place`, each counted from where it stands itself (7.0)."""
    values = np.frombuffer(offsets, "<i4").astype(np.int64)
    return (values + _signed(place) + 4 * np.arange(len(values))).astype(np.uint64)


def symbol_starts(names: bytes, count: int) -> tuple[NDArray[np.int64], int]:
    """Where in kallsyms_names each symbol begins, and where the last one ends, in bytes.

    All blocks of 256 symbols are walked in step, from the markers that stand behind the names. These are
    recognised by their first three values; a table too short to have three is walked one by one.
    """
    blocks = (count + BLOCK - 1) // BLOCK
    if blocks < 3:
        return walk_names(names, 0, count)
    markers, behind = _markers(names, blocks)
    codes = np.frombuffer(names, np.uint8)
    starts = np.empty((BLOCK, len(markers)), np.int64)
    at = markers.copy()
    last = len(codes) - 2
    for i in range(BLOCK):
        starts[i] = at
        length = codes[at].astype(np.int64)
        large = length >= 0x80
        if large.any():
            length += large * (codes[at + 1].astype(np.int64) * 128 - 127)
        at = np.minimum(at + length + 1, last)
    ordered = starts.T.reshape(-1)[:count]
    _, end = walk_names(names, int(ordered[-1]), 1)
    if not ((at[:-1] == markers[1:]).all() and 0 <= behind - end < ALIGNMENT):
        raise LayoutError("kallsyms: the names do not fit their markers: the table is damaged")
    return ordered, end


def _markers(names: bytes, blocks: int) -> tuple[NDArray[np.int64], int]:
    """kallsyms_markers, at least three, and where in `names` they begin."""
    _, second = walk_names(names, 0, BLOCK)
    _, third = walk_names(names, second, BLOCK)
    at = names.find(np.array([0, second, third], "<u4").tobytes(), third)
    if 0 <= at <= len(names) - 4 * blocks:
        markers = np.frombuffer(names, "<u4", blocks, at).astype(np.int64)
        if (np.diff(markers) > 0).all() and markers[-1] < at:
            return markers, at
    raise LayoutError("kallsyms: no markers stand behind the names: the table is damaged")


def walk_names(names: bytes, at: int, count: int) -> tuple[NDArray[np.int64], int]:
    """As symbol_starts, one by one, from the symbol that begins at `at`."""
    starts = []
    for _ in range(count):
        if at + 1 >= len(names) or not names[at]:
            raise LayoutError("kallsyms: the names end before the last symbol: the table is damaged")
        starts.append(at)
        length, skip = _length(names, at)
        at += skip + length
    if at > len(names):
        raise LayoutError("kallsyms: the last name is cut: the table is damaged")
    return np.array(starts, np.int64), at


def _length(names: bytes, at: int) -> tuple[int, int]:
    """Tokens of the symbol, and the bytes that say so: two from 128 on (73bbb94466fd, 6.1)."""
    first = names[at]
    return (first, 1) if first < 0x80 else (first & 0x7F | names[at + 1] << 7, 2)


def _numbers() -> list[int]:
    """A number of 64 bits for each byte, by splitmix64: sums of them tell names from each other."""
    numbers = []
    for i in range(1, BLOCK + 1):
        z = i * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        numbers.append(z ^ z >> 27)
    return numbers


_NUMBERS = _numbers()


def _sum(text: bytes) -> int:
    return sum([_NUMBERS[letter] for letter in text]) & 0xFFFFFFFFFFFFFFFF


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
