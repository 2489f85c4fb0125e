"""Everything that we need to know of a kernel: one row a thing, newest spelling first.

Differences between kernels are decided here, once, against the dump's own types; never by a version number,
since distributions backport. Behind an older spelling stands the commit that replaced it. A row that is not
required may be missing; the code that uses it then knows another way, or the feature is not there.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Need:
    """A struct member, a size, an enumerator or a symbol.

    Attributes:
        name: what our code calls it.
        spellings: what kernels call it, newest first; dots lead into nested structs and anonymous unions.
        required: whether no kernel of our range can do without.
    """

    name: str
    spellings: tuple[str, ...]
    required: bool = True


def _need(name: str, *older: str) -> Need:
    return Need(name, (name, *older))


def _maybe(name: str, *older: str) -> Need:
    return Need(name, (name, *older), required=False)


MEMBERS = (
    # Tasks and thread groups (include/linux/sched.h, sched/signal.h)
    _need("task_struct.tasks"),
    _need("task_struct.pid"),
    _need("task_struct.tgid"),
    _need("task_struct.comm"),
    _need("task_struct.mm"),
    _need("task_struct.flags"),
    _need("task_struct.__state", "task_struct.state"),  # 2f064a59a11f (5.14)
    _need("task_struct.exit_state"),
    _need("task_struct.static_prio"),
    _need("task_struct.stack", "task_struct.thread_info"),  # f7e4217b007d (2.6.22)
    _need("task_struct.group_leader"),
    _need("task_struct.real_parent"),
    _need("task_struct.signal"),
    _need("task_struct.utime"),
    _need("task_struct.stime"),
    _need("task_struct.blocked"),
    _need("task_struct.pending.signal"),
    _maybe("task_struct.fs"),
    _maybe("task_struct.thread_node"),  # 0c740d0afc3b (3.14); with signal_struct.thread_head
    _maybe("task_struct.thread_group"),  # 8e1f385104ac (6.7) removed it
    _maybe("task_struct.real_cred"),  # 3b11a1decef0 (2.6.29); the ids were in the task before
    _maybe("task_struct.uid"),
    _maybe("task_struct.gid"),
    _maybe("task_struct.thread_pid"),  # 2c4704756cab (4.19): pids[PIDTYPE_PID].pid before
    _maybe("task_struct.pids"),
    _maybe("pid_link.pid"),
    _maybe("task_struct.cpu", "task_struct.thread_info.cpu"),  # bcf9033e5449 (5.16) moved it back
    # ... and what its thread_struct saves (arch/x86/include/asm/processor.h)
    _maybe("task_struct.thread.fsbase", "task_struct.thread.fs"),  # 296f781a4b77 (4.8)
    _maybe("task_struct.thread.gsbase", "task_struct.thread.gs"),
    _maybe("task_struct.thread.fsindex"),
    _maybe("task_struct.thread.gsindex"),
    _maybe("task_struct.thread.ds"),
    _maybe("task_struct.thread.es"),
    _maybe("task_struct.thread.tls_array"),
    _maybe("task_struct.thread.io_bitmap"),  # 577d5cd7e585 (5.5) joined pointer and size in a struct
    _maybe("io_bitmap.max"),
    _maybe("io_bitmap.bitmap"),
    _maybe("task_struct.thread.features"),  # 98cfa4630912 (6.6)
    _maybe("task_struct.thread.pkru"),  # 9782a712eb95 (5.14); in the XSAVE area alone before
    _maybe("task_struct.thread_info.flags"),  # 15f4eae70d36 (4.9); on the stack before
    # Floating-point state (arch/x86/include/asm/fpu/types.h)
    _maybe("task_struct.thread.fpu"),  # cb7ca40a3882 (6.16) put it behind task_struct
    _maybe("fpu.fpstate"),  # 87d0e5be0fac (5.16)
    _maybe("fpu.__task_fpstate"),
    _maybe("fpu.state"),
    _maybe("fpstate.size"),
    _maybe("fpstate.user_xfeatures"),
    _maybe("fpstate.regs"),
    _maybe("fpu_state_config.max_features"),
    # Which notes a core has of each thread (include/linux/regset.h)
    _maybe("user_regset_view.regsets"),
    _maybe("user_regset_view.n"),
    _maybe("user_regset.n"),
    _maybe("user_regset.size"),
    _maybe("user_regset.core_note_type"),
    _maybe("cpuinfo_x86.x86_capability"),
    _maybe("task_struct.thread.sp", "task_struct.thread.rsp"),  # faca62273b60 (2.6.25)
    # ... and what __switch_to_asm leaves where that points (arch/x86/include/asm/switch_to.h)
    _maybe("inactive_task_frame.ret_addr"),  # 7b32aeadbc95 (4.9)
    _maybe("inactive_task_frame.bp"),
    _maybe("inactive_task_frame.bx"),  # 0100301bfdf5 (4.9)
    _maybe("inactive_task_frame.r12"),
    _maybe("inactive_task_frame.r13"),
    _maybe("inactive_task_frame.r14"),
    _maybe("inactive_task_frame.r15"),
    # Where a CPU's entry code keeps the user's stack pointer, and where its entry stack begins
    _maybe("tss_struct.x86_tss.sp0"),
    _maybe("tss_struct.x86_tss.sp2"),  # 98f05b5138f0 (4.20)
    _maybe("task_struct.last_siginfo"),
    _maybe("signal_struct.flags"),
    _maybe("signal_struct.thread_head"),
    _need("signal_struct.group_exit_code"),
    _maybe("signal_struct.nr_threads"),
    _maybe("signal_struct.pids"),  # 2c4704756cab (4.19); the leader's task_struct.pids before
    _need("signal_struct.utime"),
    _need("signal_struct.stime"),
    _need("signal_struct.cutime"),
    _need("signal_struct.cstime"),
    _maybe("cred.uid"),
    _maybe("cred.gid"),
    _maybe("cred.user_ns"),  # 47a150edc2ae (2.6.39)
    _maybe("user_namespace.uid_map"),  # 22d917d80e84 (3.5)
    _maybe("user_namespace.gid_map"),
    _maybe("user_namespace.parent"),
    _maybe("uid_gid_map.nr_extents"),
    _maybe("uid_gid_map.extent"),
    _maybe("uid_gid_map.forward"),  # 6397fac4915a (4.15)
    _maybe("pid.level"),
    _maybe("pid.numbers"),
    _maybe("upid.nr"),
    _maybe("upid.ns"),
    _maybe("pid_namespace.level"),
    # Which task runs where (kernel/sched/sched.h)
    _need("rq.curr"),
    # The memory of a process (include/linux/mm_types.h)
    _need("mm_struct.pgd"),
    _need("mm_struct.map_count"),
    _need("mm_struct.total_vm"),
    _need("mm_struct.arg_start"),
    _need("mm_struct.arg_end"),
    _need("mm_struct.start_brk"),
    _need("mm_struct.brk"),
    _need("mm_struct.start_stack"),
    _need("mm_struct.saved_auxv"),
    _maybe("mm_struct.flags"),  # 6c5d523826dc (2.6.23)
    _maybe("mm_struct.binfmt"),  # 801460d0cf5c (2.6.32)
    _maybe("mm_struct.exe_file"),
    _maybe("mm_struct.mm_mt"),  # d4af56c5c7c6 (6.1)
    _maybe("mm_struct.mmap"),  # 763ecb035029 (6.1) removed it
    _maybe("mm_struct.context.flags"),  # ff170cd05953 (5.11)
    _maybe("mm_struct.context.ia32_compat"),
    _maybe("mm_struct.context.ldt"),
    _maybe("ldt_struct.entries"),
    _maybe("ldt_struct.nr_entries", "ldt_struct.size"),  # bbf79d21bd46 (4.13)
    _maybe("mm_struct.context.vdso"),
    _maybe("mm_struct.context.vdso_image"),  # 6f121e548f83 (3.16)
    _maybe("mm_struct.rss_stat"),  # f1a7941243c1 (6.2) made each counter a percpu_counter
    _maybe("mm_struct._file_rss"),
    _maybe("mm_struct._anon_rss"),
    _maybe("percpu_counter.count"),
    _maybe("percpu_counter.counters"),
    _need("vm_area_struct.vm_start"),
    _need("vm_area_struct.vm_end"),
    _need("vm_area_struct.vm_flags"),
    _need("vm_area_struct.vm_pgoff"),
    _need("vm_area_struct.vm_file"),
    _need("vm_area_struct.vm_ops"),
    _need("vm_area_struct.vm_private_data"),
    _need("vm_area_struct.anon_vma"),
    _maybe("vm_area_struct.vm_next"),
    _maybe("vm_area_struct.anon_name"),  # 9a10064f5625 (5.17)
    _maybe("anon_vma_name.name"),
    _maybe("vm_operations_struct.name"),  # 78d683e838a6 (3.16)
    _maybe("vm_operations_struct.fault", "vm_operations_struct.nopage"),  # 54cb8821de07 (2.6.23)
    _maybe("vm_special_mapping.name"),
    _maybe("vdso_image.data"),
    _maybe("vdso_image.size"),
    # The maple tree (include/linux/maple_tree.h)
    _maybe("maple_tree.ma_root"),
    _maybe("maple_range_64.pivot"),
    _maybe("maple_range_64.slot"),
    _maybe("maple_arange_64.pivot"),
    _maybe("maple_arange_64.slot"),
    # Files, names and mounts (include/linux/fs.h, dcache.h, fs/mount.h)
    _need("file.f_path.dentry", "file.f_dentry"),  # 0f7fc9e4d03987 (2.6.20)
    _need("file.f_path.mnt", "file.f_vfsmnt"),
    _need("dentry.d_parent"),
    _need("dentry.d_inode"),
    _need("dentry.d_op"),
    _need("dentry.d_name.name"),
    _need("dentry.d_name.len"),
    _need("dentry.d_hash.pprev"),
    _maybe("dentry_operations.d_dname"),  # c23fbb6bcb3e (2.6.23)
    _need("inode.i_ino"),
    _need("inode.i_mode"),
    _need("inode.i_nlink"),
    _need("inode.i_sb"),
    _maybe("inode.i_flags"),
    _need("super_block.s_dev"),
    _need("vfsmount.mnt_root"),
    _maybe("mount.mnt"),  # 7d6fec45a5131 (3.3) took the rest out of struct vfsmount
    _need("mount.mnt_parent", "vfsmount.mnt_parent"),
    _need("mount.mnt_mountpoint", "vfsmount.mnt_mountpoint"),
    _maybe("fs_struct.root"),
    _maybe("path.mnt"),
    _maybe("path.dentry"),
    # Modules, for the types that they bring (include/linux/module.h)
    _maybe("module.list"),
    _maybe("module.name"),
)

SIZES = (
    _need("task_struct"),
    _need("pt_regs"),
    _maybe("thread_union"),
    _maybe("pid_link"),
    _maybe("upid"),
    _maybe("uid_gid_extent"),
    _maybe("percpu_counter"),
    _maybe("user_regset"),
    _maybe("x86_xfeat_component"),  # ba386777a30b (6.12): describes the XSAVE area in a core
)

CONSTANTS = (
    _maybe("PIDTYPE_PID"),
    _maybe("PIDTYPE_PGID"),
    _maybe("PIDTYPE_SID"),
    _maybe("MM_FILEPAGES"),
    _maybe("MM_ANONPAGES"),
    _maybe("MM_SHMEMPAGES"),
    _maybe("XFEATURE_MAX"),
    _maybe("maple_dense"),
    _maybe("maple_leaf_64"),
    _maybe("maple_range_64"),
    _maybe("maple_arange_64"),
)

SYMBOLS = (
    _need("init_task"),
    _maybe("runqueues", "per_cpu__runqueues"),  # dd17c8f72993 (2.6.34)
    _maybe("__per_cpu_offset"),
    _maybe("nr_cpu_ids"),  # a constant where the kernel is built for one CPU count
    _maybe("crashing_cpu"),
    _maybe("panic_cpu"),
    _maybe("modules"),
    # Kernel stacks: their size is between these (arch/x86/kernel/vmlinux.lds.S), or that of thread_union
    _maybe("__start_init_stack", "__start_init_task"),  # 9e03e4af8b8b (6.10)
    _maybe("__end_init_stack", "__end_init_task"),
    _maybe("asm_fred_entrypoint_user"),  # FRED pads the stack top, 65c9cc9e2c14 (6.9)
    # Floating-point state and the register sets of a core
    _maybe("user_x86_64_view"),
    _maybe("user_x86_32_view"),
    _maybe("init_fpstate"),
    _maybe("xstate_offsets"),
    _maybe("xstate_sizes"),
    _maybe("xstate_flags"),  # 35a77d4503d9 (5.19); a table of offsets in the compacted format before
    _maybe("xstate_comp_offsets"),
    _maybe("xstate_fx_sw_bytes"),
    _maybe("fpu_user_cfg"),  # 578971f4e228 (5.16)
    _maybe("xfeatures_mask_all", "xfeatures_mask"),  # 524bb73bc15e (5.8)
    _maybe("fpu_kernel_xstate_size"),
    _maybe("copy_xstate_to_uabi_buf"),  # eb6f51723f03 (5.14): a core has zeros between components
    _maybe("switch_fpu_return"),  # 5f409e20b794 (5.2); its code tells TIF_NEED_FPU_LOAD
    # Segment bases
    _maybe("boot_cpu_data"),
    _maybe("x86_gsbase_read_cpu_inactive"),  # 58edfd2e0c93 (5.9): uses FSGSBASE where the CPU has it
    # The code between user mode and a whole pt_regs (arch/x86/entry/entry_64.S)
    _maybe("__entry_text_start"),
    _maybe("__entry_text_end"),
    _maybe("entry_SYSCALL_64"),
    _maybe("syscall_return_via_sysret"),
    _maybe("swapgs_restore_regs_and_return_to_usermode"),  # 8a055d7f411d (4.15)
    _maybe("cpu_tss_rw"),  # c482feefe1ae (4.15)
    # Which rules this kernel has
    _maybe("l1tf_mitigation"),  # inverts frames of entries that are not present: 6b28baca9b1f (4.19)
    _maybe("compat_elf_format"),  # its processes get 32-bit cores
    _maybe("dump_vma_snapshot"),  # a07279c9a8cd (5.10); its code tells the rule for ELF headers
    _maybe("cmp_vma_size"),  # sorts segments by size: 7d442a33bfe8 (6.12)
    _maybe("core_sort_vma"),  # ... and only when told to: 39ec9eaaa165 (6.14)
    _maybe("vsyscall_mode"),
    _maybe("gate_vma"),
    # d_path of names that are not in a directory tree
    _maybe("simple_dname"),
    _maybe("anon_inodefs_dname"),
)
