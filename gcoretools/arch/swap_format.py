"""How a swap entry stands in a page-table entry that is not present, as data: one row for each way that x86 had.

Source: arch/x86/include/asm/pgtable_64.h, pgtable-2level.h and pgtable-3level.h (__swp_type, __swp_offset). No type
or symbol speaks of the encoding itself; where there is none, the sign is a thing that came with the same release.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SwapFormat:
    """Where type and offset of a swap entry lie in a page-table entry, in bits.

    Attributes:
        type_shift, type_bits: the number of the swap area, or what else the entry says.
        offset_shift, offset_bits: the page of the area, or a page frame.
        inverted: the offset is stored inverted.
    """

    type_shift: int
    type_bits: int
    offset_shift: int
    offset_bits: int
    inverted: bool = False


# 2f22b4cd45b6 (4.19), and every kernel that has it backported.
_INVERTED = SwapFormat(59, 5, 9, 50, inverted=True)

# Newest first: the members and symbols that tell a kernel with this format, by the name of the architecture and
# the size of a page-table entry in bytes.
SWAP_FORMATS: dict[tuple[str, int], tuple[tuple[tuple[str, ...], SwapFormat], ...]] = {
    ("x86_64", 8): (
        (("l1tf_mitigation",), _INVERTED),
        (("pglist_data.lru_lock",), SwapFormat(9, 5, 14, 50)),  # 00839ee3b299 (4.8)
        (("mm_struct.nr_pmds",), SwapFormat(1, 5, 9, 55)),  # 21d9ee3eda77 (4.0)
        (("vm_operations_struct.name", "task_numa_fault"), SwapFormat(1, 5, 10, 54)),  # c46a7c817e66 (3.16)
        (("task_struct.real_cred",), SwapFormat(1, 5, 9, 55)),  # 1796316a8b02 (2.6.29)
        ((), SwapFormat(1, 6, 8, 56)),
    ),
    ("i386", 8): (
        (("l1tf_mitigation",), _INVERTED),
        ((), SwapFormat(32, 5, 37, 27)),
    ),
    ("i386", 4): (
        (("task_struct.real_cred",), SwapFormat(1, 5, 9, 23)),  # 1796316a8b02 (2.6.29)
        ((), SwapFormat(1, 5, 8, 24)),
    ),
}
