"""Page caches: the pages of files, in memory (include/linux/fs.h, pagemap.h, mm_types.h, xarray.h)."""

from gcoretools.layout.needs.need import Need, maybe

MEMBERS: tuple[Need, ...] = (
    maybe("file.f_mapping"),
    maybe("inode.i_size"),
    maybe("super_block.s_magic"),
    maybe("super_block.s_fs_info"),
    maybe("address_space.host"),
    maybe("address_space.nrpages"),
    maybe("address_space.i_pages", "address_space.page_tree"),  # b93b016313b3 (4.17)
    # The tree of a page cache
    maybe("xarray.xa_head"),  # f8d5d0cc145c (4.20); radix trees before
    maybe("xa_node.shift"),
    maybe("xa_node.slots"),
    maybe("radix_tree_root.rnode"),
    maybe("radix_tree_root.height"),  # d0891265bbc9 (4.7) removed it
    maybe("radix_tree_node.shift"),  # since 4.7
    maybe("radix_tree_node.slots"),
    # Pages
    maybe("page.flags"),
    Need("page.index", ("folio.index", "page.index"), required=False),  # acc53a0b4c15 (6.16) renamed the page's
    Need("page.mapping", ("folio.mapping", "page.mapping"), required=False),
    maybe("page.compound_head"),  # 1d798ca3f164 (4.4)
    maybe("mem_section.section_mem_map"),
    maybe("pglist_data.node_mem_map"),
    maybe("pglist_data.node_start_pfn"),
    maybe("pglist_data.node_spanned_pages"),
    # tmpfs, which until 3.1 (285b2c4fdd69) kept its swap entries here, and not in the page cache
    maybe("shmem_inode_info.vfs_inode"),
    maybe("shmem_inode_info.swapped"),
    maybe("shmem_inode_info.i_direct"),
    # Huge pages of hugetlbfs
    maybe("hugetlbfs_sb_info.hstate"),  # a137e1cc6d6e (2.6.27); one size for all before
    maybe("hstate.order"),
)

SIZES: tuple[Need, ...] = (maybe("page"), maybe("mem_section"))

CONSTANTS: tuple[Need, ...] = (maybe("PG_uptodate"), maybe("PG_hwpoison"))

SYMBOLS: tuple[Need, ...] = (
    maybe("hugetlb_basepage_index", "__basepage_index"),  # fe19bd3dae3d (5.13); a08c7193e4f1 (6.7) removed it
    # Where struct pages are
    maybe("vmemmap_base"),
    maybe("mem_section"),
    maybe("node_data"),
    maybe("mem_map"),
    maybe("max_mapnr"),
)
