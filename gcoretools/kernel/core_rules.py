"""The rules of this kernel's own core dumper that differ between kernels (fs/coredump.c, fs/binfmt_elf.c)."""

from __future__ import annotations

from gcoretools.errors import GcoreError
from gcoretools.kernel.image import Image
from gcoretools.kernel.regsets import last_notes
from gcoretools.kernel.task import without_thread_groups

# include/linux/mm.h; the second is another flag since 3.7.
VM_IO, VM_RESERVED = 0x4000, 0x80000

# ELFMAG as the compiler writes it into a comparison, and how much code of the first of these is looked at.
ELF_MAGIC = b"\x7fELF"
COMPARING = {"dump_vma_snapshot": 2048, "vfs_coredump": 16384}


def core_rules(image: Image) -> dict[str, object]:
    """The rules as the header carries them.

    Returns:
        sorted: segments are written in the order of their size (7d442a33bfe8, 6.12), unless a sysctl that came
            later says otherwise (39ec9eaaa165, 6.14).
        elf_header_by_mode: the first page of a private file mapping is an ELF header when the file is
            executable (429a22e776a2, 5.10).
        elf_header_by_magic: ... when it begins with the ELF magic (before 5.10, and again since
            84158b7f6a06, 5.18).
        note_align: whether p_align of PT_NOTE is 4 instead of 0 (60592fb6b67c, 6.5).
        last_notes: owner, type and data of the notes behind those of all threads.
        siginfo_note, file_note: whether it has NT_SIGINFO (49ae4d4b113b, 3.7) and NT_FILE (2aa362c49c31, 3.7).
        never: VM_ flags of mappings that are left out whatever the filter: VM_RESERVED went in the same release
            (314e51b9851b, 3.7).
        writable_only: mappings count by their flags alone, whatever was done with them (maydump of 2.6.9).
    """
    snapshot = image.has("core_vma_metadata")
    return {
        "sorted": _sorts(image),
        "elf_header_by_mode": snapshot,
        "elf_header_by_magic": not snapshot or _compares_magic(image),
        # Nothing in types or symbols names that change; this system call came in the same release, and this
        # struct is there later (6.12) where the kernel was built without the call.
        "note_align": image.has("__x64_sys_cachestat") or image.has("x86_xfeat_component"),
        "last_notes": last_notes(image),
        "siginfo_note": image.has("elf_note_info.csigdata"),
        "file_note": image.has("elf_note_info.files"),
        "never": VM_IO if image.has("elf_note_info.files") else VM_IO | VM_RESERVED,
        "writable_only": without_thread_groups(image),
    }


def _sorts(image: Image) -> bool:
    if not image.has("cmp_vma_size"):
        return False
    if not image.has("core_sort_vma"):
        return True
    return image.memory.integer(image.symbol("core_sort_vma"), 4) != 0


def _compares_magic(image: Image) -> bool:
    """Whether the kernel looks for the ELF magic when it takes its snapshot of mappings: only its code can tell."""
    name = next((name for name in COMPARING if image.has(name)), None)
    try:
        return name is None or ELF_MAGIC in image.memory.read(image.symbol(name), COMPARING[name])
    except GcoreError:
        return True  # the code is not in the dump: take today's rule
