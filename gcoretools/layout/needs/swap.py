"""Swap: what its entries mean (include/linux/swap.h, swapops.h)."""

from gcoretools.layout.needs.need import Need, maybe

MEMBERS: tuple[Need, ...] = (
    # Signs of how an entry stands in the page table: gcoretools/arch/swap_format.py
    maybe("pglist_data.lru_lock"),
    maybe("mm_struct.nr_pmds"),
)

SIZES: tuple[Need, ...] = ()

CONSTANTS: tuple[Need, ...] = (
    maybe("PG_anon_exclusive"),  # 6c287605fd56 (5.19)
)

SYMBOLS: tuple[Need, ...] = (
    # Which special entries this kernel has
    maybe("task_numa_fault"),
    maybe("memory_failure"),
    maybe("migrate_pages"),
    maybe("make_device_exclusive_range"),  # c25465eb7630 (6.15) renamed it, when it dropped a kind of entry
    maybe("make_device_exclusive", "make_device_exclusive_range"),
    maybe("migrate_vma_setup", "migrate_vma"),  # a7d1f22bb74f (5.4)
)
