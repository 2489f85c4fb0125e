"""gc-pages: the memory of processes in a dump."""

from __future__ import annotations

import sys

from gcoretools.commands import options, run, streams
from gcoretools.commands.account import Account
from gcoretools.commands.options import Arguments
from gcoretools.commands.report import Report
from gcoretools.errors import PageCorrupt
from gcoretools.kernel.swap.swap import Swap
from gcoretools.stages.ahead import read_ahead
from gcoretools.stages.pages import add_pages
from gcoretools.stages.source import verified

USAGE = """gc-pages: extract the memory of processes from a kernel crash dump, as much as the filter selects.

Usage:
  gc-pages [options] [--swap IMAGE]...
  gc-pages -h | --help
  gc-pages --version

Reads a stream from gc-maps on standard input and the dump that it names. Adds to each `vma` how much of it is
selected, then one `extent` for each run of memory (data, zero, or a gap with its reason), then the data.
On a terminal: the extents as a table. Standard error tells what is missing, with -v 1 the account of each mapping.

Options:
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
  --verify     try every page of the dump before its data is promised: what is damaged becomes a gap. It takes
               about twice as long; without it a damaged page ends the command
  --strict     exit 1 when something of what is selected is not there; what is there is written all the same
  --dump PATH  the dump, when it is no longer where the stream says
  -v LEVEL     what to say on standard error: sum of 1 progress, 2 library errors, 4 page faults [default: 4]
  -h, --help   show this
  --version    show the version

Examples:
  gc-maps vmcore 12345 | gc-pages -f 21 | gc-elf > core.12340
  gc-pages -f AP,AS,ELF < maps.gc > pages.gc
  gc-pages --swap /dev/vdb2=vdb2.img < maps.gc > pages.gc
  gc-pages < maps.gc | gc-cat
  gc-pages --strict -v 1 < maps.gc > pages.gc
  gc-pages --sysroot /srv/images/web7 < maps.gc > pages.gc
"""


def main(argv: list[str] | None = None) -> int:
    """The entry point."""
    return run.main(USAGE, _pages, argv)


def _pages(arguments: Arguments, report: Report) -> None:
    chosen = options.chosen_filter(arguments)
    sysroot = options.sysroot(arguments, report)
    header, image, records = streams.from_stream(arguments)
    if arguments["--verify"]:
        image = verified(image)
    images = options.swap_images(arguments)
    swap = Swap(image, images)
    account = Account(report, image.dump)
    extracted = read_ahead(add_pages(records, image, header.rules, chosen, sysroot, swap))
    kept = {name: str(path.resolve()) for name, path in images.items()}
    settings = options.settings(arguments, "--sysroot", filter=chosen, swap=kept)
    try:
        streams.emit(header, account.told(extracted), report, settings)
    except PageCorrupt as error:
        raise PageCorrupt(f"{error} (with --verify such pages become gaps)") from error
    if arguments["--strict"]:
        account.demand_whole()


if __name__ == "__main__":
    sys.exit(main())
