"""gc-core: core files out of a dump, in one go."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager

from gcoretools.commands import options, progress, run, show, streams
from gcoretools.commands.account import Account
from gcoretools.commands.options import Arguments
from gcoretools.commands.report import PAGE_FAULTS, PROGRESS, Report
from gcoretools.core.pattern import core_name
from gcoretools.core.writer import new_file
from gcoretools.errors import PageCorrupt
from gcoretools.kernel.image import Image
from gcoretools.kernel.swap.swap import Swap
from gcoretools.records import Process, Regs, Thread
from gcoretools.stages import source
from gcoretools.stages.elf import write_cores
from gcoretools.stages.maps import add_mappings
from gcoretools.stages.pages import add_pages
from gcoretools.stages.regs import Recovery
from gcoretools.stages.tasks import Tasks

USAGE = """gc-core: write the ELF cores of processes in a kernel crash dump, each to a file of its own.

Usage:
  gc-core [options] [--swap IMAGE]... VMCORE [SELECTOR...]
  gc-core -h | --help
  gc-core --version

Does in one process what `gc-maps VMCORE SELECTOR... | gc-pages | gc-elf -o core.%p` does, and writes the same
files: one for each SELECTOR in the order given, each told when it is whole. On a terminal: with a progress bar.

VMCORE is a dump; of a split one all its parts, with commas between them; or /proc/kcore, the running kernel.
SELECTOR is a decimal PID (of any thread) or the hexadecimal address of a task_struct; that thread comes first in
the core. None: the task that panicked, else the one that was running on CPU 0. The first one that fails ends
the command; what was saved before stays.

Options:
  -o TEMPLATE  name of each file, mode 0600, given when it is whole: %p is the PID (thread group),
               %i the selected thread's, %e the process's name, %% a percent sign [default: core.%p]
  -f FILTER    what to select: the sum of these numbers, or their names with commas
                   1 AP   anonymous private memory        32 HP   hugetlb private memory
                   2 AS   anonymous shared memory         64 HS   hugetlb shared memory
                   4 FP   file-backed private memory     256 DP   DAX private memory
                   8 FS   file-backed shared memory      512 DS   DAX shared memory
                  16 ELF  ELF header pages of file-backed private memory
                 128 DONTDUMP  memory marked MADV_DONTDUMP, when its kind is selected, too
               not given: the process's own /proc/PID/coredump_filter
  --swap IMAGE what a swap device or file held at that moment: pages that were swapped out to it come from there;
               AREA=IMAGE says which one (/dev/vdb2), where there are several; may be given for each
  --sysroot DIR
               take pages of executables and libraries that are not in memory from the files under DIR, which
               is laid out as the root of the dumped machine; only from a file with the build ID of the mapped
               one (where the dump does not hold that: of its size, and with the pages that the dump holds)
  --strict     exit 1 when something of what is selected is not there; the cores are written all the same
  --gaps KIND  what gaps become: absent, or zero (zeros in the file) [default: absent]
  -k FILE      take the kernel's types and symbols from this vmlinux or ISF file instead of the dump
  --unwind FILE  call-frame information (.debug_frame or .eh_frame) of the kernel, in any ELF file: kernels up to
               4.1 save only a part of the registers of a system call (not given: that of -k's vmlinux, if any)
  --no-cache   neither use nor fill the cache of kernel layouts ($XDG_CACHE_HOME/gcoretools)
  -v LEVEL     what to say on standard error: sum of 1 progress, 2 library errors, 4 page faults [default: 4]
  -h, --help   show this
  --version    show the version

Examples:
  gc-core vmcore 12345
  gc-core -f AP,AS,ELF -o /tmp/%e.%p vmcore 5217 ffff880136d72040 23299
"""


def main(argv: list[str] | None = None) -> int:
    """The entry point."""
    return run.main(USAGE, _core, argv)


def _core(arguments: Arguments, report: Report) -> None:
    cores, selectors = _Cores(arguments, report), arguments["SELECTOR"]
    try:
        cores.save(cores.image, selectors)
    except PageCorrupt as error:
        report.say(PAGE_FAULTS, f"{error}: once more, with every page tried before")
        cores.save(source.verified(cores.image), selectors[cores.saved :])
    if arguments["--strict"]:
        cores.account.demand_whole()


class _Cores:
    """The cores of one command line.

    Attributes:
        image: the kernel.
        account: of their memory.
        saved: how many there are.
    """

    def __init__(self, arguments: Arguments, report: Report) -> None:
        self._report, self._template = report, arguments["-o"]
        self._chosen, self._zero = options.chosen_filter(arguments), options.gaps_are_zero(arguments)
        self._sysroot = options.sysroot(arguments, report)
        self._header, self.image = streams.from_dump(arguments, report)
        self._swap_images = options.swap_images(arguments)
        cfi = source.call_frames(self.image, arguments["--unwind"], arguments["-k"])
        self._recovery = Recovery(self.image, cfi)
        self.account = Account(report, self.image.dump)
        self.saved = 0

    def save(self, image: Image, selectors: list[str]) -> None:
        """A core for each selector, out of this image of the kernel."""
        mapped, swap = add_mappings(Tasks(image).selected(selectors), image), Swap(image, self._swap_images)
        extracted = add_pages(mapped, image, self._header.rules, self._chosen, self._sysroot, swap)
        records = self.account.told(progress.shown(extracted))
        for process in write_cores(self._header, records, self._output, self._recover, self._zero):
            self.saved += 1
            self._report.say(PROGRESS, f"pid {process.pid}: {process.comm}: done")
            show.saved(core_name(self._template, process))

    def _output(self, process: Process) -> AbstractContextManager[int]:
        return new_file(core_name(self._template, process))

    def _recover(self, process: Process, thread: Thread) -> Regs:
        found = self._recovery.of(process, thread)
        self._report.registers(found)
        return found


if __name__ == "__main__":
    sys.exit(main())
