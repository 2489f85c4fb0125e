"""A Volatility 3 ISF file: types and symbols of a kernel as JSON, plain or compressed with gzip or xz.

Public collections have one for most kernels of most distributions. Source: the schema 6.2.0 of volatility3
(framework/symbols/generic) and what dwarf2json writes.
"""

from __future__ import annotations

import binascii
import gzip
import json
import lzma
import zlib
from base64 import b64decode
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import IO, Any, cast

from gcoretools.errors import LayoutError
from gcoretools.layout.types import Field, Ref, Struct

FILE_LIMIT = 1 << 26
TEXT_LIMIT = 1 << 28
"""Bytes of the file, and of the JSON text in it: that of a whole distribution kernel has some 40 MiB."""

_OPENERS: dict[bytes, Callable[[BytesIO], Any]] = {b"\x1f\x8b": gzip.open, b"\xfd7": lzma.open}
_STRUCTS = ("struct", "union", "class")
_CHAIN = 64

# What reading a file can raise that is no ISF, or is damaged.
_DAMAGE = (ValueError, TypeError, LookupError, AttributeError, RecursionError, EOFError, OSError, lzma.LZMAError,
           zlib.error, binascii.Error)  # fmt: skip


def is_isf(path: Path) -> bool:
    """Whether a file is compressed or begins as JSON does: an ELF file is neither."""
    try:
        with path.open("rb") as file:
            return file.read(2) in _OPENERS or _first_letter(file) == b"{"
    except OSError:
        return False


class Isf:
    """The file.

    Args:
        path: of the JSON text, plain or compressed.

    Attributes:
        path: the file.
        cache_key: hex digits that tell its content from that of every other one.

    Raises LayoutError when it is no such file.
    """

    kind = "isf"
    types_kind = "ISF"
    build_id = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if path.stat().st_size > FILE_LIMIT:
                raise LayoutError(f"{path}: more than {FILE_LIMIT >> 20} MiB: no ISF file is so large")
            self._raw = path.read_bytes()
        except OSError as error:
            raise LayoutError(f"{path}: {error.strerror}") from error
        self.cache_key = blake2b(self._raw, digest_size=16).hexdigest()

    @property
    def types(self) -> Isf:
        """The types: the file itself is their source."""
        return self

    def symbols(self, wanted: Collection[str]) -> dict[str, int]:
        """Link-time addresses of those of these symbols that exist."""
        table = self._table("symbols")
        found = {name: table[name] for name in wanted if name in table}
        return {name: self._number(_field(row, "address"), 1 << 64) for name, row in found.items()}

    def check_build(self, build_id: str) -> None:
        """Nothing: an ISF file does not say what build it is of."""

    def banner(self) -> bytes:
        """linux_banner, "Linux version ..."; b"" where the file does not have it."""
        row = self._table("symbols").get("linux_banner")
        data = row.get("constant_data") if isinstance(row, dict) else None
        try:
            return b64decode(data, validate=True).rstrip(b"\0") if data else b""
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def expect(self, names: Collection[str]) -> None:
        """Nothing to prepare: every name is a key."""

    def structs(self, name: str) -> Iterator[Struct]:
        """The struct or union of that tag."""
        if name in self._table("user_types"):
            yield self.nested(name)

    def nested(self, ref: Ref) -> Struct:
        """The struct or union of that name."""
        try:
            row = self._table("user_types")[cast(str, ref)]
            fields = tuple(self._fields(row["fields"]))
            return Struct(self._number(row["size"]), fields)
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def constants(self, names: Collection[str]) -> dict[str, int]:
        """The values of those of these enumerators that exist."""
        found = dict[str, int]()
        for row in self._table("enums").values():
            for name, value in _map(_field(row, "constants")).items():
                if name in names and type(value) is int and -1 << 63 <= value < 1 << 64:
                    found.setdefault(name, value)
        return found

    def _fields(self, rows: dict[str, Any]) -> Iterator[Field]:
        for name, row in rows.items():
            kind = row["type"]["kind"]
            if kind != "bitfield":
                size, signed, nested = self._shape(row["type"])
                shown = None if row.get("anonymous") else name
                yield Field(shown, self._number(row["offset"]), size, signed, nested)

    def _shape(self, row: dict[str, Any]) -> tuple[int, bool, str | None]:
        """Size in bytes, whether signed, and the struct's name, of a member of this type."""
        count = 1
        for _ in range(_CHAIN):
            if row["kind"] != "array":
                break
            count *= self._number(row["count"])
            row = row["subtype"]
        kind, name = row["kind"], str(row.get("name"))
        if kind in _STRUCTS:
            return self._number(self._table("user_types")[name]["size"]) * count, False, name
        if kind == "enum":
            return self._number(self._table("enums")[name]["size"]) * count, False, None
        if kind == "function":
            return 0, False, None
        base = self._table("base_types")["pointer" if kind == "pointer" else name]
        size = self._number(base["size"])
        signed = bool(base["signed"]) and base["kind"] == "int" and kind != "pointer"
        return size * count, signed and count == 1 and size > 1, None

    @cached_property
    def _tables(self) -> dict[str, Any]:
        try:
            tables = json.loads(self._text())
            if not (isinstance(tables, dict) and {"base_types", "user_types", "symbols"} <= tables.keys()):
                raise LayoutError(f"{self.path}: JSON, but not an ISF file of Volatility 3")
            return tables
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def _text(self) -> bytes:
        """The JSON text. Raises LayoutError when it is longer than any is, and what decompression raises."""
        opener = _OPENERS.get(self._raw[:2])
        if opener is None:
            return self._raw
        with opener(BytesIO(self._raw)) as unpacked:
            text: bytes = unpacked.read(TEXT_LIMIT + 1)
        if len(text) > TEXT_LIMIT:
            raise LayoutError(f"{self.path}: more than {TEXT_LIMIT >> 20} MiB of JSON: no ISF file is so large")
        return text

    def _table(self, name: str) -> dict[str, Any]:
        return _map(self._tables.get(name, {}))

    def _number(self, value: object, limit: int = 1 << 32) -> int:
        if type(value) is not int or not 0 <= value < limit:
            raise self._damaged(ValueError(f"{value!r} is no size, offset or address"))
        return value

    def _damaged(self, error: Exception) -> LayoutError:
        return LayoutError(f"{self.path}: the ISF file is damaged: {error or type(error).__name__}")


def _first_letter(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(64).lstrip()[:1]


def _field(row: object, name: str) -> object:
    return row.get(name) if isinstance(row, dict) else None


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
