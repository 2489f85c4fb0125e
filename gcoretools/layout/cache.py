"""The cache of resolved layouts, by the kernel's build ID: a file each, safe to delete at any time.

Addresses in it are those of the link, so that one entry serves every boot of that kernel.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import msgpack

from gcoretools.errors import LayoutError
from gcoretools.layout.layout import Layout, layout_from_plain, layout_to_plain
from gcoretools.layout.needs import Need

LOG = logging.getLogger(__name__)

FORMAT = 1
SIZE_LIMIT = 1 << 20
"""Larger files are none of ours: a layout takes some 10 KiB."""

ENTRIES_LIMIT = 256
"""When there are more entries, those that were not written for the longest are removed."""

_BUILD_ID = re.compile(r"[0-9a-f]{8,128}")
_SUFFIX = ".layout"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is remembered of a kernel.

    Attributes:
        layout: symbols at their link-time addresses.
        types_from, symbols_from: as in Kernel.
        modules: names of the modules whose types were looked through.
        modules_used: those of them that had something.
    """

    layout: Layout
    types_from: str
    symbols_from: str
    modules: tuple[str, ...] = ()
    modules_used: tuple[str, ...] = ()


def mapped(entry: Entry, address: Callable[[int], int]) -> Entry:
    """The entry with every symbol's address put through a function."""
    symbols = {name: address(at) for name, at in entry.layout.symbols.items()}
    return replace(entry, layout=replace(entry.layout, symbols=symbols))


def cache_folder() -> Path | None:
    """Where entries lie: $XDG_CACHE_HOME/gcoretools, else ~/.cache/gcoretools; None where there is no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "gcoretools"
    try:
        return Path.home() / ".cache" / "gcoretools"
    except RuntimeError:
        return None


def entry_path(folder: Path, build_id: str, needs: Iterable[Need], source: str) -> Path | None:
    """The file of a kernel.

    Args:
        folder: as cache_folder gives it.
        build_id: hex digits, of a file that has none those of its content; without any there is no entry (None).
        needs: every row that the layout answers: with other rows the entry is another one.
        source: a word for where types and symbols come from, "dump", "vmlinux" or "isf".
    """
    if not _BUILD_ID.fullmatch(build_id):
        return None
    rows = hashlib.blake2b(digest_size=8)
    for need in needs:
        rows.update(repr((FORMAT, need.name, need.spellings)).encode())
    return folder / f"{build_id}-{source}-{rows.hexdigest()}{_SUFFIX}"


def load(path: Path) -> Entry | None:
    """The entry in that file, or None when there is none, or what is there cannot be one."""
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
        if len(data) > SIZE_LIMIT:
            return None
        return _entry(msgpack.unpackb(data, strict_map_key=True))
    except (OSError, LayoutError, ValueError, TypeError, RecursionError, msgpack.UnpackException):
        return None


def save(path: Path, entry: Entry) -> None:
    """Writes the entry under a temporary name and renames it. What goes wrong is only logged: it is a cache."""
    plain = {
        "format": FORMAT,
        "layout": layout_to_plain(entry.layout),
        "types_from": entry.types_from,
        "symbols_from": entry.symbols_from,
        "modules": list(entry.modules),
        "modules_used": list(entry.modules_used),
    }
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".new")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgpack.packb(plain))
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        _trim(path.parent)
    except OSError as error:
        LOG.warning("the kernel's layout is not cached: %s", error)


def _entry(plain: object) -> Entry:
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise LayoutError("cache: an entry of another format")
    return Entry(
        layout=layout_from_plain(plain.get("layout")),
        types_from=_word(plain.get("types_from")),
        symbols_from=_word(plain.get("symbols_from")),
        modules=_words(plain.get("modules")),
        modules_used=_words(plain.get("modules_used")),
    )


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise LayoutError(f"cache: {value!r} is no text")
    return value


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise LayoutError(f"cache: {value!r} is no list")
    return tuple(_word(item) for item in value)


def _trim(folder: Path) -> None:
    entries = sorted(folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime)
    for path in entries[:-ENTRIES_LIMIT]:
        path.unlink(missing_ok=True)
