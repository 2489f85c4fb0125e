"""Whether a file of this machine is the one that a process of the dump has mapped."""

from __future__ import annotations

from gcoretools.dumps.dump import PAGE_SIZE
from gcoretools.sysroot.build_id import build_id, is_elf
from gcoretools.sysroot.file import File
from gcoretools.sysroot.held import Held


def refusal(file: File, held: Held) -> str:
    """Why a file is not the mapped one, in words; "" when it is.

    It is when neither what is known of the mapped one's size nor any of its pages in the dump speaks against that,
    and its build ID is the same. Where the dump does not hold the build ID, or the file has none, its size and at
    least one page must be there to compare.
    """
    if not is_elf(file.read):
        return "it is no executable or library"
    size, known = held.size(), build_id(held.read)
    if known and known != build_id(file.read):
        return f"its build ID is {build_id(file.read) or 'missing'}, that of the mapped file {known}"
    if size is not None and size != file.size:
        return f"its size is {file.size} bytes, that of the mapped file {size}"
    compared, differs = _compare(file, held)
    if differs is not None:
        return f"its page at offset {differs:#x} differs from the mapped file's"
    if known or (size is not None and compared):
        return ""
    return "nothing in the dump tells whether it is the mapped file: neither a build ID nor size and pages"


def _compare(file: File, held: Held) -> tuple[int, int | None]:
    """How many bytes of the file are held that are not all zeros; and the offset of the first page that differs.

    What the mapped file has beyond its end is nobody's.
    """
    compared = 0
    for offset, data in held.data():
        theirs = file.read(offset, len(data))
        mine = data[: len(theirs)]
        if mine != theirs:
            pages = ((at, slice(at, at + PAGE_SIZE)) for at in range(0, len(mine), PAGE_SIZE))
            return compared, offset + next(at for at, page in pages if mine[page] != theirs[page])
        compared += len(theirs) if any(theirs) else 0
    return compared, None
