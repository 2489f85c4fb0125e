"""Which format a dump file is: by its first bytes, never by its name."""

from __future__ import annotations

from pathlib import Path

from gcoretools.dumps.dump import Dump
from gcoretools.dumps.kdump import KdumpDump
from gcoretools.dumps.mapping import map_file
from gcoretools.dumps.parts import parts
from gcoretools.dumps.raw import RawDump, can_be_raw
from gcoretools.dumps.signatures import SIGNATURES, NotRead
from gcoretools.dumps.split import SplitDump
from gcoretools.errors import DumpError


def open_dump(path: Path | str) -> Dump:
    """Opens a dump of any format that we read; the parts of a split one with commas between them.

    Raises DumpError, with what to do, when it is another format, damaged, or no dump.
    """
    dumps = [_open_file(file) for file in parts(path)]
    split = [dump for dump in dumps if isinstance(dump, KdumpDump) and dump.split]
    if len(dumps) == 1 and not split:
        return dumps[0]
    if len(dumps) == 1:
        pfns = f"page frames {split[0].first:#x} to {split[0].end:#x}"
        raise DumpError(f"{path}: one part of a split dump ({pfns}): name all its parts, with commas between them")
    return SplitDump(Path(path), dumps)


def _open_file(path: Path) -> Dump:
    data = map_file(path)
    for signature in SIGNATURES:
        if data[signature.offset : signature.offset + len(signature.magic)] == signature.magic:
            if isinstance(signature.reader, NotRead):
                raise DumpError(f"{path}: {signature.name}, which is not read: {signature.reader.advice}")
            return signature.reader(path, data)
    if can_be_raw(data):
        return RawDump(path, data)
    raise DumpError(f"{path}: not a dump: it begins like no format that is known here, nor is it raw memory")
