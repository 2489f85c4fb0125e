"""One fake kernel with a bit of everything, as a dump and as a stream: what commands and stages are run on."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from gcoretools.dumps import open_dump
from gcoretools.kernel.core_rules import core_rules
from gcoretools.kernel.image import Image
from gcoretools.layout.layout import kernel_to_plain
from gcoretools.records import FORMAT, VERSION, Header, Record
from gcoretools.stages.ahead import read_here
from gcoretools.stages.maps import add_mappings
from gcoretools.stages.pages import add_pages
from gcoretools.stages.regs import add_registers
from gcoretools.stages.tasks import Tasks
from tests.fake_kernel import FakeKernel, FakeProcess, FakeTask, prstatus_note, qemu_note, registers
from tests.fake_memory import PROTNONE
from tests.written_streams import written

RX, RW, SHARED_RW = 0x75, 0x73, 0x7B
PAGE = 4096


@dataclass
class FakeMachine:
    """A dump of a fake kernel.

    Attributes:
        dump: the file.
        cache: a folder to be XDG_CACHE_HOME, which has the kernel's layout.
        image: the kernel in it.
        cat: its process 100 of three threads, the second of which is running.
    """

    dump: Path
    cache: Path
    image: Image
    cat: FakeProcess

    def header(self) -> Header:
        """The header that a stage at the head of a pipe writes."""
        where = {"path": str(self.dump), "format": "elf", "fingerprint": self.image.dump.fingerprint}
        return Header(FORMAT, VERSION, [], where, kernel_to_plain(self.image.kernel), core_rules(self.image))  # type: ignore[arg-type]

    def records(self, *selectors: str, filter_: int | None = 127) -> list[Record]:
        """All records behind the header, by every stage that adds some."""
        tasks = Tasks(self.image).selected([*selectors])
        mapped = add_mappings(add_registers(tasks, self.image), self.image)
        return list(read_here(add_pages(mapped, self.image, self.header().rules, filter_)))

    def stream(self, *selectors: str) -> bytes:
        """The bytes of a whole stream, ready for gc-elf."""
        return written([self.header(), *self.records(*selectors)])


def make_machine(folder: Path) -> FakeMachine:
    """The fake machine, its dump in a folder."""
    kernel = FakeKernel(cpus=2)
    cat = describe(kernel)
    dump = kernel.dump(folder / "vmcore")
    kernel.remember(folder / "cache")
    return FakeMachine(dump, folder / "cache", Image(open_dump(dump), kernel.kernel()), cat)


def save_fpu(kernel: FakeKernel, task: FakeTask) -> None:
    """Say that the floating-point state of a running task is in memory: TIF_NEED_FPU_LOAD is set, bit 14 here.

    The kernel's code tells the bit: lock and byte [rax + flags of thread_info + 1], with bit 6 clear.
    """
    at = kernel.all_members["task_struct.thread_info.flags"].offset + 1
    kernel.symbol("switch_fpu_return", 256, b"\x90" * 50 + struct.pack("<3sIB", b"\xf0\x80\xa0", at, 0xBF))
    task["thread_info.flags"] = 1 << 14


def describe(kernel: FakeKernel) -> FakeProcess:
    """The fake machine's tasks; gives back process 100."""
    kernel.kernel_thread(2, "kthreadd")
    cat = kernel.process(100, "cat", arguments=b"cat\0/etc/motd\0")
    running = cat.thread(101, "running")
    cat.thread(102, "sleeping")
    kernel.run(1, running)
    save_fpu(kernel, running)
    _map(cat)
    shell = kernel.process(200, "sh \x1b[31m\udcff", arguments=b"-sh\0")
    shell.map(0x400000, 1, RX, file=kernel.file("/bin/sh", mode=0o100755))
    shell.page(0x400000, b"\x7fELF sh")
    gone = kernel.process(300, "zombie")
    gone["exit_state"], gone["mm"] = 0x20, 0
    user = registers({"rip": 0x401234})
    kernel.notes += [prstatus_note(1, registers({"cs": 0x10})), prstatus_note(2, user)]
    kernel.notes += [qemu_note(user, kernel_gs_base=5)] * 2
    return cat


def _map(cat: FakeProcess) -> None:
    """Mappings of several kinds, with pages of every state."""
    kernel = cat.kernel
    cat.map(0x400000, 2, RX, file=kernel.file("/bin/cat", mode=0o100755))
    cat.page(0x400000, b"\x7fELF cat")
    cat.map(0x600000, 6, RW, written=True)
    for i, content in enumerate((b"heap", b"more", b"left out", b"inaccessible")):
        pfn = cat.page(0x600000 + i * PAGE, content * 100, PROTNONE if i == 3 else 0x67)
        if i == 2:
            kernel.memory.excluded.add(pfn)
    cat.tables.put(0x604000, 0x00FF_FFFF_FFFF_FC02)
    cat.map(0x800000, 3, SHARED_RW, file=kernel.file("/tmp/shared", deleted=True, links=0))
    cat.page(0x801000, b"shared")
    cat.map(0x7FFE00000000, 2, RW, written=True)
    cat.page(0x7FFE00001000, b"stack")
