"""What a process's mm_struct says of it as a whole (include/linux/mm_types.h, fs/binfmt_elf.c)."""

from __future__ import annotations

import logging

from gcoretools.dumps.dump import PAGE_SIZE
from gcoretools.errors import KernelDataError, PageAbsent
from gcoretools.kernel.cpu import cpu_count, per_cpu
from gcoretools.kernel.image import LIST_LIMIT, Image, Struct

LOG = logging.getLogger(__name__)

# ELF_PRARGSZ of include/uapi/linux/elfcore.h, less the closing NUL.
ARGUMENTS_LIMIT = 79

# include/linux/sched/coredump.h: MMF_DUMPABLE_BITS below, MMF_DUMP_FILTER_BITS wide.
FILTER_SHIFT, FILTER_MASK = 2, 0x1FF

# Before 2.6.23 (3cb4a0bb1e77) there is no filter: every kind is written.
NO_FILTER = 0x7F

# RHEL 5: how many lists its table of filters has, and what counts for a process that is not in it.
HASHED_FILTERS_BITS = 10
USUAL_FILTER = 0x3

# arch/x86/include/asm/mmu.h, and what ia32_compat held before ff170cd05953 (5.11).
MM_CONTEXT_UPROBE_IA32 = 1 << 0
TIF_X32 = 30

RSS_COUNTERS = {"MM_FILEPAGES": 0, "MM_ANONPAGES": 1, "MM_SHMEMPAGES": 3}


def page_table(image: Image, mm: Struct) -> int:
    """Physical address of the process's top page table, in bytes."""
    return image.memory.translate(mm["pgd"])[0]


def mapped(mm: Struct) -> int:
    """The size of all mappings in bytes."""
    return mm["total_vm"] * PAGE_SIZE % (1 << 64)


def arguments(image: Image, mm: Struct) -> str:
    """The start of the command line, as much as NT_PRPSINFO takes; "" where its page is not in the dump."""
    size = min(max(mm["arg_end"] - mm["arg_start"], 0), ARGUMENTS_LIMIT)
    memory = image.user_memory(page_table(image, mm))
    try:
        return memory.read(mm["arg_start"], size).decode("utf-8", "surrogateescape")
    except (KernelDataError, PageAbsent) as error:
        LOG.warning("mm_struct at %#x: its arguments are not in the dump: %s", mm.address, error)
        return ""


def auxv(mm: Struct, bits: int) -> bytes:
    """The auxiliary vector up to and with AT_NULL, in the process's own words of 4 or 8 bytes."""
    whole = mm.raw("saved_auxv")
    pair = bits // 4
    for at in range(0, len(whole) - pair + 1, pair):
        if not int.from_bytes(whole[at : at + pair // 2], "little"):
            return whole[: at + pair]
    return whole


def bits(image: Image, mm: Struct, task: Struct) -> int:
    """The class of the process's core: the kernel's own, or 32 where the compat ELF loader made it.

    Args:
        task: one that has that memory; it names the loader where mm_struct does not.
    """
    if image.arch.CORE.bits == 32:
        return 32
    holder = next((each for each in (mm, task) if each.has("binfmt")), None)
    if holder is None or not image.has("compat_elf_format"):
        return 64
    return 32 if holder["binfmt"] == image.symbol("compat_elf_format") else 64


def abi(image: Image, mm: Struct, bits: int) -> str:
    """What kind of process it is: the kernel's own, ia32, or x32, which is 32 bits wide with 64-bit registers."""
    if bits == image.arch.CORE.bits:
        return image.kernel.arch
    if mm.has("context.flags"):
        return "ia32" if mm["context.flags"] & MM_CONTEXT_UPROBE_IA32 else "x32"
    compat = mm["context.ia32_compat"] if mm.has("context.ia32_compat") else 0
    return "x32" if compat == TIF_X32 else "ia32"


def coredump_filter(image: Image, mm: Struct) -> int:
    """The bits of /proc/PID/coredump_filter."""
    if mm.has("flags"):
        return mm["flags"] >> FILTER_SHIFT & FILTER_MASK
    if image.has("mm_flags_hash", "mm_flags.mm", "mm_flags.flags", "mm_flags.hlist"):
        return _hashed_filter(image, mm.address)
    return NO_FILTER


def _hashed_filter(image: Image, mm: int) -> int:
    """The filter of a process of RHEL 5: it stands in a hash table as soon as it is another one than usual."""
    size = image.pointer_size
    heads = image.memory.read(image.symbol("mm_flags_hash"), size << HASHED_FILTERS_BITS)
    for at in range(0, len(heads), size):
        node = int.from_bytes(heads[at : at + size], "little")
        for _ in range(LIST_LIMIT):
            if not node:
                break
            entry = image.struct("mm_flags", node - image.member("mm_flags.hlist").offset)
            if entry["mm"] == mm:
                return entry["flags"] & FILTER_MASK
            node = entry.pointer("hlist")
    return USUAL_FILTER


def resident(image: Image, mm: Struct) -> int:
    """Resident memory in bytes, as ps shows it."""
    counters = {image.constant(n) if image.has(n) else v for n, v in RSS_COUNTERS.items()}
    if not mm.has("rss_stat"):
        pages = sum(mm[name] for name in ("_file_rss", "_anon_rss") if mm.has(name))
    elif image.has("percpu_counter.counters", "percpu_counter") and _is_per_cpu(image):
        pages = sum(_per_cpu_sums(image, mm, counters))
    else:
        size = image.pointer_size
        words = image.memory.read(mm.at("rss_stat"), size * (max(counters) + 1))
        pages = sum(int.from_bytes(words[size * i :][:size], "little", signed=True) for i in counters)
    return max(pages, 0) * PAGE_SIZE % (1 << 64)


def _is_per_cpu(image: Image) -> bool:
    """Whether each counter is a percpu_counter (f1a7941243c1, 6.2): the array of them is larger then."""
    return image.member("mm_struct.rss_stat").size >= 3 * image.size("percpu_counter")


def _per_cpu_sums(image: Image, mm: Struct, counters: set[int]) -> list[int]:
    size = image.size("percpu_counter")
    views = [image.struct("percpu_counter", mm.at("rss_stat") + i * size) for i in counters]
    return [
        view["count"] + sum(_share(image, view["counters"], cpu) for cpu in range(cpu_count(image)))
        for view in views
    ]


def _share(image: Image, address: int, cpu: int) -> int:
    """What one CPU has not yet added to the common count (s32)."""
    try:
        data = image.memory.read(per_cpu(image, address, cpu), 4)
    except (KernelDataError, PageAbsent):
        return 0
    return int.from_bytes(data, "little", signed=True)
