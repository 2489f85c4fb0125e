"""The memory of a process: mm_struct, its mappings and their tree (include/linux/mm_types.h)."""

from gcoretools.layout.needs.need import Need, maybe, need

MEMBERS: tuple[Need, ...] = (
    need("mm_struct.pgd"),
    need("mm_struct.map_count"),
    need("mm_struct.total_vm"),
    need("mm_struct.arg_start"),
    need("mm_struct.arg_end"),
    need("mm_struct.start_brk"),
    need("mm_struct.brk"),
    need("mm_struct.start_stack"),
    need("mm_struct.saved_auxv"),
    maybe("mm_struct.flags"),  # 6c5d523826dc (2.6.23)
    maybe("mm_flags.mm", "mm_flags.addr"),  # RHEL 5 keeps the filters of processes in a hash table
    maybe("mm_flags.flags"),
    maybe("mm_flags.hlist"),
    maybe("mm_struct.binfmt"),  # 801460d0cf5c (2.6.32)
    maybe("task_struct.binfmt"),
    maybe("mm_struct.exe_file"),
    maybe("mm_struct.mm_mt"),  # d4af56c5c7c6 (6.1)
    maybe("mm_struct.mmap"),  # 763ecb035029 (6.1) removed it
    maybe("mm_struct.context.flags"),  # ff170cd05953 (5.11)
    maybe("mm_struct.context.ia32_compat"),
    maybe("mm_struct.context.vdso"),
    maybe("mm_struct.context.vdso_image"),  # 6f121e548f83 (3.16)
    maybe("mm_struct.rss_stat"),  # f1a7941243c1 (6.2) made each counter a percpu_counter
    maybe("mm_struct._file_rss", "mm_struct.rss"),  # one count until 2.6.11
    maybe("mm_struct._anon_rss"),
    maybe("percpu_counter.count"),
    maybe("percpu_counter.counters"),
    need("vm_area_struct.vm_start"),
    need("vm_area_struct.vm_end"),
    need("vm_area_struct.vm_flags"),
    need("vm_area_struct.vm_pgoff"),
    need("vm_area_struct.vm_file"),
    need("vm_area_struct.vm_ops"),
    need("vm_area_struct.vm_private_data"),
    need("vm_area_struct.anon_vma"),
    maybe("vm_area_struct.vm_next"),
    maybe("vm_area_struct.anon_name"),  # 9a10064f5625 (5.17)
    maybe("anon_vma_name.name"),
    maybe("vm_operations_struct.name"),  # 78d683e838a6 (3.16)
    maybe("vm_operations_struct.fault", "vm_operations_struct.nopage"),  # 54cb8821de07 (2.6.23)
    maybe("vm_special_mapping.name"),
    maybe("vdso_image.data"),
    maybe("vdso_image.size"),
    # The maple tree (include/linux/maple_tree.h)
    maybe("maple_tree.ma_root"),
    maybe("maple_range_64.pivot"),
    maybe("maple_range_64.slot"),
    maybe("maple_arange_64.pivot"),
    maybe("maple_arange_64.slot"),
)

SIZES: tuple[Need, ...] = (maybe("percpu_counter"),)

CONSTANTS: tuple[Need, ...] = (
    maybe("MM_FILEPAGES"),
    maybe("MM_ANONPAGES"),
    maybe("MM_SHMEMPAGES"),
    maybe("maple_dense"),
    maybe("maple_leaf_64"),
    maybe("maple_range_64"),
    maybe("maple_arange_64"),
)

SYMBOLS: tuple[Need, ...] = (
    maybe("mm_flags_hash"),
    # Which rules this kernel has
    maybe("l1tf_mitigation"),  # inverts frames of entries that are not present: 6b28baca9b1f (4.19)
    maybe("vsyscall_mode"),
    maybe("gate_vma"),
    # The vdso, until it was a struct vdso_image: its pages, and of 2.6.9 the one of 32-bit processes
    maybe("special_mapping_vmops"),
    maybe("vdso_pages"),
    maybe("vdso32_pages", "syscall32_pages", "syscall_pages"),
    maybe("syscall32_page"),
)
