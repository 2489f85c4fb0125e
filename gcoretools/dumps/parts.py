"""The files of a dump: one, or the parts of a split dump with commas between them."""

from __future__ import annotations

from pathlib import Path


def parts(path: Path | str) -> list[Path]:
    """The files that a path names: it is taken whole when there is such a file, else cut where files come of it."""
    found: list[str] = []
    name = ""
    for piece in str(path).split(","):
        name = f"{name},{piece}" if name else piece
        if _exists(name):
            found.append(name)
            name = ""
    if name or not found or _exists(str(path)):
        return [Path(path)]
    return [Path(each) for each in found]


def absolute(path: Path | str) -> str:
    """The same path, good from any folder."""
    return ",".join(str(part.resolve()) for part in parts(path))


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # a name out of a stream may be too long, or have a NUL in it
        return False
