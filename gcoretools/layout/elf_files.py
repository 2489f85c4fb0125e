"""ELF files of a kernel, as they are opened."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import IO, cast

from gcoretools.errors import LayoutError


def mapped(path: Path) -> IO[bytes]:
    """The file in memory. Raises LayoutError when it cannot be read, or is empty."""
    try:
        with path.open("rb") as file:
            return cast(IO[bytes], mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
    except OSError as error:
        raise LayoutError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise LayoutError(f"{path}: the file is empty") from error
