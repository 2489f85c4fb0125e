"""Segment bases behind selectors (arch/x86/kernel/process_64.c: x86_fsbase_read_task, x86_gsbase_read_task)."""

from __future__ import annotations

from gcoretools.arch.tls import DESCRIPTOR_SIZE, segment_base
from gcoretools.arch.x86_64 import TLS_FIRST
from gcoretools.errors import KernelDataError
from gcoretools.kernel.cpu import has_feature
from gcoretools.kernel.image import Image, Struct

# A selector's bits: the table that its descriptor is in (else the GDT), and the descriptor's number.
LOCAL_TABLE = 1 << 2
NUMBER_SHIFT = 3

# LDT_ENTRIES of arch/x86/include/uapi/asm/ldt.h.
LOCAL_LIMIT = 8192

# The first descriptor of thread-local storage in the GDT of 2.6.9.
OLD_TLS_FIRST = 11

# Each base, and the selector that leads to it when it is not the null selector.
SELECTORS = {"fs_base": "fs", "gs_base": "gs"}

# X86_FEATURE_FSGSBASE.
FSGSBASE = 9 * 32 + 0


def selected_base(selector: int, thread_table: bytes, local_table: bytes, tls_first: int = TLS_FIRST) -> int:
    """The base of the segment that a selector names; 0 when there is no such segment of user mode.

    Args:
        thread_table: the thread's part of the GDT (thread_struct.tls_array), 8 bytes each.
        local_table: the process's LDT, likewise.
        tls_first: the place of the thread's part in the GDT.
    """
    number = selector >> NUMBER_SHIFT
    table = local_table if selector & LOCAL_TABLE else thread_table
    at = DESCRIPTOR_SIZE * (number if selector & LOCAL_TABLE else number - tls_first)
    return segment_base(table[at : at + DESCRIPTOR_SIZE]) if 0 <= at < len(table) else 0


def saves_bases(image: Image) -> bool:
    """Whether the kernel saves the bases themselves, whatever the selectors (FSGSBASE, 5.9)."""
    if not image.has("x86_gsbase_read_cpu_inactive", "boot_cpu_data", "cpuinfo_x86.x86_capability"):
        return False
    return has_feature(image, FSGSBASE) is not False


def bases(image: Image, task: Struct, selectors: dict[str, int]) -> dict[str, int]:
    """Those bases of a thread that stand in a descriptor, where the kernel does not save bases.

    Args:
        selectors: the thread's "fs" and "gs".
    Raises KernelDataError, PageAbsent.
    """
    selected = {base: selectors[name] for base, name in SELECTORS.items() if selectors[name]}
    if not selected:
        return {}
    thread_table = task.raw("thread.tls_array") if task.has("thread.tls_array") else b""
    local = any(selector & LOCAL_TABLE for selector in selected.values())
    local_table = _local_table(image, task) if local else b""
    first = OLD_TLS_FIRST if image.has("x8664_pda.level4_pgt") else TLS_FIRST
    return {base: selected_base(each, thread_table, local_table, first) for base, each in selected.items()}


def _local_table(image: Image, task: Struct) -> bytes:
    if not (image.has("mm_struct.context.ldt") and task["mm"]):
        return b""
    mm = image.struct("mm_struct", task["mm"])
    entries, count = mm["context.ldt"], mm["context.size"] if mm.has("context.size") else 0
    if entries and image.has("ldt_struct.entries", "ldt_struct.nr_entries"):
        table = image.struct("ldt_struct", entries)
        entries, count = table["entries"], table["nr_entries"]
    if not 0 <= count <= LOCAL_LIMIT:
        raise KernelDataError(
            f"the local descriptor table of mm {mm.address:#x} has {count} entries: it is damaged"
        )
    return image.memory.read(entries, DESCRIPTOR_SIZE * count) if entries else b""
