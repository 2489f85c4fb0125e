"""Swap: what its entries mean, and where the pages are (include/linux/swap.h, mm/, drivers/block/zram)."""

from gcoretools.layout.needs.need import Need, maybe

MEMBERS: tuple[Need, ...] = (
    # Signs of how an entry stands in the page table: gcoretools/arch/swap_format.py
    maybe("pglist_data.lru_lock"),
    maybe("mm_struct.nr_pmds"),
    # Areas (include/linux/swap.h), and their devices
    maybe("swap_info_struct.flags"),
    maybe("swap_info_struct.type"),  # efa90a981bbc (2.6.33)
    maybe("swap_info_struct.max"),
    maybe("swap_info_struct.pages"),
    maybe("swap_info_struct.swap_file"),
    maybe("swap_info_struct.bdev"),
    maybe("swap_info_struct.cluster_info"),
    maybe("swap_info_struct.zeromap"),  # 0ca0c24e3211 (6.12), until the swap table had it
    maybe("block_device.bd_disk"),
    maybe("gendisk.disk_name"),
    maybe("gendisk.private_data"),
    # The swap cache (mm/swap_table.h); trees of pages before
    maybe("swap_cluster_info.table"),
    maybe("swap_cluster_info.zero_bitmap"),
    # zsmalloc's use of struct page (mm/zpdesc.h)
    maybe("page.private"),
    # zram, whose types are those of a module
    maybe("zram.table"),
    maybe("zram.disk"),
    maybe("zram.comp"),  # 7ac07a26dea7 (6.2) has several
    maybe("zram.comp_algs"),
    maybe("zram_table_entry.handle"),
    maybe("zram_table_entry.flags", "zram_table_entry.attr.flags"),
    maybe("zcomp.name"),
    # zswap (mm/zswap.c), and what keeps its objects
    maybe("zswap_tree.rbroot"),  # 796c2c23e14e (6.10) has xarrays
    maybe("rb_root.rb_node"),
    maybe("rb_node.rb_left"),
    maybe("rb_node.rb_right"),
    maybe("zswap_entry.rbnode"),
    maybe("zswap_entry.offset"),
    maybe("zswap_entry.length"),
    maybe("zswap_entry.pool"),
    maybe("zswap_entry.handle"),
    maybe("zswap_pool.tfm_name"),
    maybe("zswap_pool.zpool", "zswap_pool.zpools"),  # several of one kind from 6.4 to 6.9
    maybe("zpool.driver"),
    maybe("zpool.evictable"),
    maybe("zpool_driver.type"),
)

SIZES: tuple[Need, ...] = (
    maybe("swap_info_struct"),
    maybe("swap_cluster_info"),
    maybe("swap_table"),
    maybe("address_space"),
    maybe("zram_table_entry"),
    maybe("xarray"),
    maybe("zswap_tree"),
    maybe("zswap_header"),  # until 6.5
)

CONSTANTS: tuple[Need, ...] = (
    maybe("PG_anon_exclusive"),  # 6c287605fd56 (5.19)
    maybe("PG_owner_priv_1"),
    maybe("ZRAM_FLAG_SHIFT", "ZRAM_LOCK", "ZRAM_SAME"),  # the first of its flags
    maybe("ZRAM_SAME"),
    maybe("ZRAM_WB"),
    maybe("ZRAM_COMP_PRIORITY_BIT1"),
)

SYMBOLS: tuple[Need, ...] = (
    maybe("swap_info"),
    maybe("nr_swapfiles"),
    maybe("swapper_spaces"),  # since 3.9
    maybe("zswap_trees"),
    maybe("nr_zswap_trees"),  # 44c7c734a513 (6.9)
    maybe("nr_swapper_spaces"),  # 4b3ef9daa4fc (4.11)
    # Which special entries this kernel has
    maybe("task_numa_fault"),
    maybe("memory_failure"),
    maybe("migrate_pages"),
    maybe("make_device_exclusive_range"),  # c25465eb7630 (6.15) renamed it, when it dropped a kind of entry
    maybe("make_device_exclusive", "make_device_exclusive_range"),
    maybe("migrate_vma_setup", "migrate_vma"),  # since 5.4
)
