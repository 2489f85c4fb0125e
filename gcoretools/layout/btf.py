"""BTF: the types that a kernel carries in itself since 5.2, and its modules since 5.11.

Source: include/uapi/linux/btf.h and Documentation/bpf/btf.rst. The kind has 5 bits and the vlen 16 up to
6.x and 7 and 24 later; the bits between were zero, so the wide masks read both.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gcoretools.errors import LayoutError
from gcoretools.layout.types import Field, Ref, Struct

MAGIC = b"\x9f\xeb"

INT, PTR, ARRAY, STRUCT, UNION, ENUM, TYPEDEF, ENUM64 = 1, 2, 3, 4, 5, 6, 8, 19

# Types that only stand before another one: typedef, volatile, const, restrict, type tag.
_WRAPPERS = frozenset((TYPEDEF, 9, 10, 11, 18))

# 32-bit words behind the three of struct btf_type: a fixed number, and a number for each of its vlen entries.
_FIXED = {INT: 1, ARRAY: 3, 14: 1, 17: 1}
_EACH = {STRUCT: 3, UNION: 3, ENUM: 2, 13: 2, 15: 3, ENUM64: 3}
_KINDS = 20
_ALL_KINDS = 128

_HEADER = struct.Struct("<2sBBIIIII")
_SIGNED = 1 << 24
_CHAIN = 64


def _layouts(data: bytes, header: int) -> bytes:
    """The section of struct btf_layout, which newer headers name, or nothing."""
    if header < _HEADER.size + 8:
        return b""
    at, size = struct.unpack_from("<II", data, _HEADER.size)
    return data[header + at : header + at + min(size, 4 * _ALL_KINDS)]


def _kind_sizes(layouts: bytes, unknown: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Words behind struct btf_type by kind: a number once, and one for each of the vlen entries.

    Kinds that are not known here are as long as `layouts` says (struct btf_layout: bytes once, bytes for each
    entry, 2 bytes of flags), or `unknown` words.
    """
    fixed, each = np.zeros((2, _ALL_KINDS), np.int64)
    fixed[0] = fixed[_KINDS:] = unknown
    told = np.frombuffer(layouts[: len(layouts) & ~3], np.uint8).reshape(-1, 4)[_KINDS:]
    fixed[_KINDS : _KINDS + len(told)] = told[:, 0] // 4
    each[_KINDS : _KINDS + len(told)] = told[:, 1] // 4
    fixed[list(_FIXED)] = list(_FIXED.values())
    each[list(_EACH)] = list(_EACH.values())
    return fixed, each


class Btf:
    """A BTF blob, of which only the wanted structs are decoded.

    Args:
        data: the blob, as in section .BTF.
        base: the kernel's own BTF when this is a module's, whose IDs and strings continue it.
        where: what an error calls the blob.

    Raises LayoutError when the blob is damaged, or not little-endian.
    """

    def __init__(self, data: bytes, base: Btf | None = None, where: str = "BTF") -> None:
        self.where = where
        self._base = base
        self._first: int = base.end if base else 1
        self._first_string: int = base.strings_end if base else 0
        types, self._strings, kinds = self._sections(data)
        self._words = memoryview(types).cast("I")
        self._at = self._index(np.frombuffer(types, "<u4"), kinds)
        self.end: int = self._first + len(self._at)
        self.strings_end: int = self._first_string + len(self._strings)
        self._decoded: dict[int, Struct] = {}

    def expect(self, names: Collection[str]) -> None:
        """Nothing needs to be searched."""

    def structs(self, name: str) -> Iterator[Struct]:
        """Every struct or union of that tag, in the order of their IDs, or else the one that a typedef names."""
        for ref in self._tags.get(name.encode()) or self._typedefs.get(name.encode(), []):
            _, _, nested = self._shape(ref)
            if nested is not None:
                yield self.nested(nested)

    def nested(self, ref: Ref) -> Struct:
        """The struct or union of that type ID."""
        assert isinstance(ref, int)
        if ref < self._first and self._base:
            return self._base.nested(ref)
        if ref not in self._decoded:
            self._decoded[ref] = self._struct(ref)
        return self._decoded[ref]

    def constants(self, names: Collection[str]) -> dict[str, int]:
        """The values of those of these enumerators that exist; of several, the one with the lowest type ID."""
        wanted = {name.encode(): name for name in names}
        found: dict[str, int] = {}
        for offset, value in self._enumerators():
            name = wanted.get(self._string(offset))
            if name is not None:
                found.setdefault(name, value)
        return found

    @cached_property
    def pointer_size(self) -> int:
        """In bytes: BTF does not say it, but every kernel has an unsigned long, of the same size."""
        if self._base:
            return self._base.pointer_size
        for at in self._of_kind(INT):
            if self._string(self._words[at]) in (b"unsigned long", b"long unsigned int"):
                return self._words[at + 2]
        return 8

    def _sections(self, data: bytes) -> tuple[bytes, bytes, bytes]:
        """The types, the strings, and the sizes of every kind where the blob tells them."""
        if data[:2] == MAGIC[::-1]:
            raise LayoutError(f"{self.where}: big-endian types; only little-endian machines are known here")
        if len(data) < _HEADER.size or data[:2] != MAGIC:
            raise LayoutError(f"{self.where}: not BTF: it does not begin with a BTF header")
        _, version, _, header, type_at, type_size, string_at, string_size = _HEADER.unpack_from(data)
        types = data[header + type_at : header + type_at + type_size]
        strings = data[header + string_at : header + string_at + string_size]
        if version != 1:
            raise LayoutError(f"{self.where}: BTF version {version}; only version 1 is known")
        if len(types) != type_size or len(strings) != string_size or type_size % 4:
            raise LayoutError(f"{self.where}: the BTF is cut: its header names more than there is")
        if strings[-1:] != b"\0":
            raise LayoutError(f"{self.where}: the strings of the BTF have no end: it is damaged")
        return types, strings, _layouts(data, header)

    def _index(self, words: NDArray[np.uint32], kinds: bytes) -> list[int]:
        """For each type, at which word it begins.

        Every word is taken for the start of a type, all at once, to say where the next one would begin; then
        only the chain from the first one on is followed.
        """
        if not len(words):
            return []
        info = np.append(words[1:], np.uint32(0)).astype(np.int64)
        kind, vlen = info >> 24 & 0x7F, info & 0xFFFFFF
        fixed, each = _kind_sizes(kinds, len(words))
        follow = memoryview(np.arange(3, len(words) + 3) + fixed[kind] + each[kind] * vlen)
        starts, at, end = [], 0, len(words)
        while at < end:
            starts.append(at)
            at = follow[at]
        if at != end:
            raise LayoutError(f"{self.where}: the BTF type at word {starts[-1]} is damaged, or of an unknown kind")
        return starts

    @cached_property
    def _kinds(self) -> NDArray[np.int64]:
        """The kind of each type."""
        words = np.frombuffer(self._words, "<u4")
        kinds: NDArray[np.int64] = words[np.array(self._at, np.int64) + 1].astype(np.int64) >> 24 & 0x7F
        return kinds

    def _of_kind(self, *kinds: int) -> list[int]:
        """At which words the types of these kinds begin."""
        return [self._at[i] for i in np.flatnonzero(np.isin(self._kinds, kinds)).tolist()]

    @cached_property
    def _tags(self) -> dict[bytes, list[int]]:
        return self._named(STRUCT, UNION)

    @cached_property
    def _typedefs(self) -> dict[bytes, list[int]]:
        return self._named(TYPEDEF)

    def _named(self, *kinds: int) -> dict[bytes, list[int]]:
        """Type IDs by name."""
        named: dict[bytes, list[int]] = {}
        for i in np.flatnonzero(np.isin(self._kinds, kinds)).tolist():
            named.setdefault(self._string(self._words[self._at[i]]), []).append(self._first + i)
        return named

    def _string(self, offset: int) -> bytes:
        at = offset - self._first_string
        if at < 0 and self._base:
            return self._base._string(offset)
        if not 0 <= at < len(self._strings):
            raise LayoutError(f"{self.where}: a name at {offset:#x} lies outside of the strings: it is damaged")
        return self._strings[at : self._strings.index(b"\0", at)]

    def _shape(self, ref: int) -> tuple[int, bool, int | None]:
        """Size in bytes, whether signed, and the struct's type ID, of a member of this type."""
        count = 1
        for _ in range(_CHAIN):
            if ref == 0:
                return 0, False, None
            words, at = self._type(ref)
            kind = words[at + 1] >> 24 & 0x7F
            if kind in _WRAPPERS:
                ref = words[at + 2]
            elif kind == ARRAY:
                ref, count = words[at + 3], count * words[at + 5]
            else:
                break
        else:
            raise LayoutError(f"{self.where}: type {ref} refers to itself: it is damaged")
        size = words[at + 2]
        if kind in (STRUCT, UNION):
            return size * count, False, ref
        if kind == PTR:
            return self.pointer_size * count, False, None
        if kind == INT:
            return size * count, count == 1 and size > 1 and bool(words[at + 3] & _SIGNED), None
        return (size * count, False, None) if kind in (ENUM, 16, ENUM64) else (0, False, None)

    def _type(self, ref: int) -> tuple[memoryview, int]:
        """The words that hold type `ref`, and where in them it begins."""
        if ref < self._first and self._base:
            return self._base._type(ref)
        if not self._first <= ref < self.end:
            raise LayoutError(f"{self.where}: type {ref} does not exist: it is damaged")
        return self._words, self._at[ref - self._first]

    def _struct(self, ref: int) -> Struct:
        words, at = self._type(ref)
        info = words[at + 1]
        if info >> 24 & 0x7F not in (STRUCT, UNION):
            raise LayoutError(f"{self.where}: type {ref} is no struct: it is damaged")
        return Struct(words[at + 2], tuple(self._fields(at, info & 0xFFFFFF, bool(info >> 31))))

    def _fields(self, at: int, count: int, wide: bool) -> Iterator[Field]:
        """The members; `wide` is the kind flag: the upper 8 bits of an offset are the width of a bit-field."""
        for entry in range(at + 3, at + 3 + 3 * count, 3):
            offset = self._words[entry + 2]
            width, bits = (offset >> 24, offset & 0xFFFFFF) if wide else (0, offset)
            if width or bits % 8:
                continue
            size, signed, nested = self._shape(self._words[entry + 1])
            name = self._string(self._words[entry]).decode("latin-1")
            yield Field(name or None, bits // 8, size, signed, nested)

    def _enumerators(self) -> Iterator[tuple[int, int]]:
        """(offset of the name, value) of every enumerator."""
        words = self._words
        for at in self._of_kind(ENUM, ENUM64):
            info = words[at + 1]
            each = _EACH[info >> 24 & 0x7F]
            for entry in range(at + 3, at + 3 + each * (info & 0xFFFFFF), each):
                value = words[entry + 1] | (words[entry + 2] << 32 if each == 3 else 0)
                if info >> 31 and value >> (31 if each == 2 else 63):
                    value -= 1 << (32 if each == 2 else 64)
                yield words[entry], value
