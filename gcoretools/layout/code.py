"""Where the kernel's code lies."""

from __future__ import annotations

import numpy as np

from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE, Pfns
from gcoretools.layout.sources import kallsyms
from gcoretools.layout.vmcoreinfo import VmcoreInfo
from gcoretools.memory import AddressSpace

# Its initial code is gone after the boot.
CODE = ("_stext", "_etext")


def code_pages(space: AddressSpace, info: VmcoreInfo) -> Pfns:
    """The page frames of the kernel's own code (not of its modules), ascending.

    Raises LayoutError and what AddressSpace.read raises.
    """
    start, end = map(kallsyms(space, info).find(CODE).__getitem__, CODE)
    first = space.translate(start)[0] >> PAGE_SHIFT  # the image lies in one piece (arch/x86/kernel/head_64.S)
    return np.arange(first, first + -(-(end - start) // PAGE_SIZE), dtype=np.uint64)
