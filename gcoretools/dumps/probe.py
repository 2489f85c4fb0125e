"""Which format a dump file is: by its first bytes, never by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gcoretools.dumps.dump import Dump
from gcoretools.dumps.elf import ElfDump
from gcoretools.dumps.flattened import SIGNATURE, open_flattened
from gcoretools.dumps.kdump import KdumpDump
from gcoretools.dumps.kdump_headers import DISKDUMP, KDUMP
from gcoretools.dumps.mapping import map_file
from gcoretools.errors import DumpError

ELSEWHERE = "only ELF and kdump-compressed dumps are read"
COMPRESSED = "decompress it first"


@dataclass(frozen=True, slots=True)
class Signature:
    """A format: the bytes that stand at `offset` of the file, and its reader or, for want of one, advice."""

    magic: bytes
    offset: int
    name: str
    opener: Callable[[Path, memoryview], Dump] | None = None
    advice: str = ELSEWHERE


SIGNATURES = (
    Signature(b"\x7fELF", 0, "an ELF file", ElfDump),
    Signature(KDUMP, 0, "a kdump-compressed dump", KdumpDump),
    Signature(DISKDUMP, 0, "a diskdump dump", KdumpDump),
    Signature(SIGNATURE, 0, "a flattened dump", open_flattened),
    Signature(b"EMiL", 0, "a LiME memory image"),
    Signature(b"AVML", 0, "an AVML memory image"),
    Signature(b"sadump\0\0", 0, "a SADUMP dump", advice="`makedumpfile -c` converts it"),
    Signature(b"\xed\x23\x8f\x61\x73\x01\x19\xa8", 0, "an LKCD dump"),
    Signature(b"\xed\xeb\x0f\xf0", 0, "a Xen guest's core"),
    Signature(b"\xee\xeb\x0f\xf0", 0, "a Xen guest's core"),
    Signature(b"\xd0\xbe\xd0\xbe", 0, "a VMware snapshot"),
    Signature(b"\xd2\xbe\xd2\xbe", 0, "a VMware snapshot"),
    Signature(b"\xd3\xbe\xd3\xbe", 0, "a VMware snapshot"),
    Signature(b"QEVM", 0, "a saved QEMU machine", advice="take a dump of the machine with dump-guest-memory"),
    Signature(
        b"LibvirtQemudSave", 0, "a machine saved by libvirt", advice="take one with virsh dump --memory-only"
    ),
    Signature(b"QFI\xfb", 0, "a qcow2 disk image", advice="take a dump of the machine with dump-guest-memory"),
    Signature(b"PAGEDU", 0, "a Windows crash dump"),
    Signature(b"MDMP", 0, "a Windows minidump"),
    Signature(b"\x1f\x8b", 0, "a gzip file", advice=COMPRESSED),
    Signature(b"\xfd7zXZ\0", 0, "an xz file", advice=COMPRESSED),
    Signature(b"\x28\xb5\x2f\xfd", 0, "a zstd file", advice=COMPRESSED),
    Signature(b"BZh", 0, "a bzip2 file", advice=COMPRESSED),
)


def open_dump(path: Path | str) -> Dump:
    """Opens a dump of any format that we read.

    Raises DumpError, with what to do, when it is another format, damaged, or no dump.
    """
    path = Path(path)
    data = map_file(path)
    for signature in SIGNATURES:
        if data[signature.offset : signature.offset + len(signature.magic)] == signature.magic:
            if signature.opener is None:
                raise DumpError(f"{path}: {signature.name}, which is not read: {signature.advice}")
            return signature.opener(path, data)
    raise DumpError(f"{path}: not a dump: it begins like no format that is known here ({ELSEWHERE})")
