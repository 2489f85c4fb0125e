"""Which memory goes into a core: the filter's bits and the kernel's rules (fs/coredump.c: vma_dump_size)."""

from __future__ import annotations

from collections.abc import Callable

from gcoretools.dumps.dump import PAGE_SIZE
from gcoretools.errors import StreamError, UsageError
from gcoretools.kernel.vma import VM_DONTDUMP, VM_GROWSDOWN, VM_READ, VM_WRITE
from gcoretools.records import Vma

# The bits of -f: the first seven are those of /proc/PID/coredump_filter.
CATEGORIES = {
    "AP": (1, "anonymous private memory"),
    "AS": (2, "anonymous shared memory"),
    "FP": (4, "file-backed private memory"),
    "FS": (8, "file-backed shared memory"),
    "ELF": (16, "ELF header pages of file-backed private memory"),
    "HP": (32, "hugetlb private memory"),
    "HS": (64, "hugetlb shared memory"),
    "DONTDUMP": (128, "memory marked MADV_DONTDUMP, when its kind is chosen, too"),
    "DP": (256, "DAX private memory"),
    "DS": (512, "DAX shared memory"),
}

ALL_BITS = sum(bit for bit, _ in CATEGORIES.values())

# Where the kernel's own filter has other bits than -f: DAX private and shared.
KERNEL_DAX_SHIFT = 1
KERNEL_DAX_MASK = 0x180

# A file mode with any execute permission.
EXECUTABLE = 0o111


def parse_filter(text: str) -> int:
    """The bits that -f names: a number (decimal, octal, hex), or names as in "AP,AS,ELF". Raises UsageError."""
    try:
        bits = int(text, 0)
    except ValueError:
        names = text.upper().split(",")
        unknown = [name for name in names if name not in CATEGORIES]
        if unknown:
            raise UsageError(
                f"-f {text}: {unknown[0] or 'nothing'!r} is no kind of memory; they are {', '.join(CATEGORIES)}"
            ) from None
        return sum({CATEGORIES[name][0] for name in names})
    if not 0 <= bits <= ALL_BITS:
        raise UsageError(f"-f {text}: the sum of all kinds is {ALL_BITS}")
    return bits


def from_kernel(coredump_filter: int) -> int:
    """The bits of -f for those of /proc/PID/coredump_filter."""
    dax = coredump_filter & KERNEL_DAX_MASK
    return coredump_filter & ~KERNEL_DAX_MASK | dax << KERNEL_DAX_SHIFT


def dump_size(vma: Vma, chosen: int, rules: dict[str, object], begins_elf: Callable[[Vma], bool]) -> int:
    """How many bytes of a mapping, from its start on, go into the core.

    Args:
        chosen: bits of -f.
        rules: gcoretools.kernel.core_rules of the kernel.
        begins_elf: whether the mapping's first bytes are the ELF magic; asked only where that decides.
    Raises StreamError for a category that is none.
    """
    if vma.category == "special":
        return vma.size
    if vma.category == "IO" or (vma.flags & VM_DONTDUMP and not chosen & CATEGORIES["DONTDUMP"][0]):
        return 0
    if vma.category not in CATEGORIES:
        raise StreamError(f"the mapping at {vma.start:#x} is of a kind that is not known, {vma.category!r}")
    if rules.get("writable_only"):
        return vma.size if chosen & CATEGORIES[vma.category][0] and _may_dump(vma) else 0
    if vma.flags & _flags(rules.get("never")) and vma.category not in ("HP", "HS"):
        return 0
    private = vma.category in ("AP", "FP")
    if private and vma.written and chosen & CATEGORIES["AP"][0]:
        return vma.size
    if vma.category != "AP" and chosen & CATEGORIES[vma.category][0]:
        return vma.size
    header = vma.category == "FP" and chosen & CATEGORIES["ELF"][0] and _may_be_header(vma)
    return PAGE_SIZE if header and _is_header(vma, rules, begins_elf) else 0


def _may_dump(vma: Vma) -> bool:
    """maydump of 2.6.9: what can be read and can have been changed."""
    return bool(vma.flags & VM_READ) and bool(vma.flags & (VM_WRITE | VM_GROWSDOWN))


def _flags(value: object) -> int:
    return value if isinstance(value, int) else 0


def _may_be_header(vma: Vma) -> bool:
    return vma.offset == 0 and bool(vma.flags & VM_READ)


def _is_header(vma: Vma, rules: dict[str, object], begins_elf: Callable[[Vma], bool]) -> bool:
    if rules.get("elf_header_by_mode") and vma.mode & EXECUTABLE:
        return True
    return bool(rules.get("elf_header_by_magic")) and begins_elf(vma)
