"""Rules of this kernel's own core dumper (fs/coredump.c)."""

from gcoretools.layout.needs.need import Need, maybe

MEMBERS: tuple[Need, ...] = (
    maybe("elf_note_info.files"),  # NT_FILE: 2aa362c49c31 (3.7)
    maybe("elf_note_info.csigdata"),  # NT_SIGINFO: 49ae4d4b113b (3.7)
)

SIZES: tuple[Need, ...] = (
    maybe("core_vma_metadata"),  # a07279c9a8cd (5.10), of the same series as the rule for executable files
)

CONSTANTS: tuple[Need, ...] = ()

SYMBOLS: tuple[Need, ...] = (
    # Whose code tells the rule for ELF headers: where it is inlined, its caller's (which 6.17 renamed)
    maybe("dump_vma_snapshot"),
    maybe("vfs_coredump", "do_coredump"),
    maybe("__x64_sys_cachestat", "__ia32_sys_cachestat"),  # of 6.5, as the alignment of notes
    maybe("cmp_vma_size"),  # sorts segments by size: 7d442a33bfe8 (6.12)
    maybe("core_sort_vma"),  # ... and only when told to: 39ec9eaaa165 (6.14)
)
