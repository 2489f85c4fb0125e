"""Rules of this kernel's own core dumper (fs/coredump.c)."""

from gcoretools.layout.needs.need import Need, maybe

MEMBERS: tuple[Need, ...] = (
    maybe("elf_note_info.files"),  # NT_FILE: 2aa362c49c31 (3.7)
    maybe("elf_note_info.csigdata"),  # NT_SIGINFO: 49ae4d4b113b (3.7)
)

SIZES: tuple[Need, ...] = ()

CONSTANTS: tuple[Need, ...] = ()

SYMBOLS: tuple[Need, ...] = (
    maybe("dump_vma_snapshot"),  # a07279c9a8cd (5.10); its code tells the rule for ELF headers
    maybe("cmp_vma_size"),  # sorts segments by size: 7d442a33bfe8 (6.12)
    maybe("core_sort_vma"),  # ... and only when told to: 39ec9eaaa165 (6.14)
)
