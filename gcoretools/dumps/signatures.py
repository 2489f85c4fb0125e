"""Every format by its first bytes: its reader or, for want of one, which tool makes a dump of it that we read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gcoretools.dumps.avml import AVML, AvmlDump
from gcoretools.dumps.dump import Dump
from gcoretools.dumps.elf import ElfDump
from gcoretools.dumps.flattened import open_flattened
from gcoretools.dumps.kdump import KdumpDump
from gcoretools.dumps.kdump_headers import DISKDUMP, KDUMP
from gcoretools.dumps.lime import LIME, LimeDump
from gcoretools.dumps.mapping import FLATTENED, FileBytes


@dataclass(frozen=True, slots=True)
class NotRead:
    """Why there is no reader: what to do instead."""

    advice: str


@dataclass(frozen=True, slots=True)
class Signature:
    """A format: the bytes that stand at `offset` of the file."""

    magic: bytes
    name: str
    reader: Callable[[Path, FileBytes], Dump] | NotRead
    offset: int = 0


CRASH = NotRead("crash reads it, or `makedumpfile` on the machine itself writes one that is read")
COMPRESSED = NotRead("decompress it first")
QEMU = NotRead("take a dump of the running machine with dump-guest-memory (virsh dump --memory-only)")
VMWARE = NotRead("`vmss2core -N6` makes an ELF dump of it; the .vmem beside it is read where it is all the memory")
VIRTUALBOX = NotRead("take a dump of the running machine with `VBoxManage debugvm NAME dumpvmcore`")
HYPER_V = NotRead("Microsoft's `vm2core` makes an ELF dump of it")
OTHER_SYSTEM = NotRead("there are no Linux processes in it")
IMAGE = NotRead("extract the raw memory from it with the tool that made it")

SIGNATURES = (
    Signature(b"\x7fELF", "an ELF file", ElfDump),
    Signature(KDUMP, "a kdump-compressed dump", KdumpDump),
    Signature(DISKDUMP, "a diskdump dump", KdumpDump),
    Signature(FLATTENED, "a flattened dump", open_flattened),
    Signature(LIME, "a LiME memory image", LimeDump),
    Signature(AVML, "an AVML memory image", AvmlDump),
    Signature(b"sadump\0\0", "a SADUMP dump", NotRead("`makedumpfile -c` converts it")),
    Signature(b"diskdump", "a partition of diskdump", CRASH),
    Signature(b"\xed\x23\x8f\x61\x73\x01\x19\xa8", "an LKCD dump", CRASH),
    Signature(b"\xa8\x19\x01\x73\x61\x8f\x23\xed", "an LKCD dump of a big-endian machine", CRASH),
    Signature(b"\xa8\x19\x01\x73\x61\x8f\x23\xfd", "a stand-alone dump of an s390 machine", CRASH),
    Signature(b"\xed\xeb\x0f\xf0", "a Xen guest's core", CRASH),
    Signature(b"\xee\xeb\x0f\xf0", "a Xen guest's core", CRASH),
    Signature(
        b"LinuxGuestRecord", "a saved Xen guest", NotRead("take a dump of the running guest (`xl dump-core`)")
    ),
    Signature(b"\xd0\xbe\xd0\xbe", "a VMware snapshot", VMWARE),
    Signature(b"\xd1\xba\xd1\xba", "a VMware snapshot", VMWARE),
    Signature(b"\xd2\xbe\xd2\xbe", "a VMware snapshot", VMWARE),
    Signature(b"\xd3\xbe\xd3\xbe", "a VMware snapshot", VMWARE),
    Signature(b"\x7fVirtualBox SavedState", "a machine saved by VirtualBox", VIRTUALBOX),
    Signature(b"vhdxfile", "a disk image of Hyper-V", HYPER_V),
    Signature(b"QEVM", "a saved QEMU machine", QEMU),
    Signature(b"LibvirtQemudSave", "a machine saved by libvirt", QEMU),
    Signature(b"QFI\xfb", "a qcow2 disk image", QEMU),
    Signature(b"PAGEDU", "a Windows crash dump", OTHER_SYSTEM),
    Signature(b"MDMP", "a Windows minidump", OTHER_SYSTEM),
    Signature(b"hibr", "a Windows hibernation file", OTHER_SYSTEM),
    Signature(b"HIBR", "a Windows hibernation file", OTHER_SYSTEM),
    Signature(b"\xcf\xfa\xed\xfe", "a Mach-O file", OTHER_SYSTEM),
    Signature(b"EVF\t\r\n\xff\0", "an EnCase image", IMAGE),
    Signature(b"HPAK", "an HPAK image", IMAGE),
    Signature(b"\x1f\x8b", "a gzip file", COMPRESSED),
    Signature(b"\xfd7zXZ\0", "an xz file", COMPRESSED),
    Signature(b"\x28\xb5\x2f\xfd", "a zstd file", COMPRESSED),
    Signature(b"\x04\x22\x4d\x18", "an lz4 file", COMPRESSED),
    Signature(b"\xff\x06\0\0sNaPpY", "a snappy file", COMPRESSED),
    Signature(b"\x89LZO\0\r\n\x1a\n", "an lzop file", COMPRESSED),
    Signature(b"BZh", "a bzip2 file", COMPRESSED),
    Signature(b"PK\3\4", "a zip file", COMPRESSED),
    Signature(b"7z\xbc\xaf\x27\x1c", "a 7z file", COMPRESSED),
    Signature(b"ustar", "a tar file", NotRead("extract the dump from it first"), offset=257),
)
