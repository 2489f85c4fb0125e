"""What of the registers of a thread is saved where, and the notes that a core has of them."""

from gcoretools.layout.needs.need import Need, maybe, need

MEMBERS: tuple[Need, ...] = (
    # What thread_struct saves (arch/x86/include/asm/processor.h)
    maybe("task_struct.thread.fsbase", "task_struct.thread.fs"),  # 296f781a4b78 (4.8)
    maybe("task_struct.thread.gsbase", "task_struct.thread.gs"),
    maybe("task_struct.thread.fs"),  # of i386, selectors
    maybe("task_struct.thread.gs"),
    maybe("task_struct.thread.fsindex"),
    maybe("task_struct.thread.gsindex"),
    maybe("task_struct.thread.ds"),
    maybe("task_struct.thread.es"),
    maybe("task_struct.thread.tls_array"),
    maybe("task_struct.thread.io_bitmap"),  # 577d5cd7e585 (5.5) joined pointer and size in a struct
    maybe("io_bitmap.max"),
    maybe("io_bitmap.bitmap"),
    maybe("task_struct.thread.features"),  # 98cfa4630912 (6.6)
    maybe("task_struct.thread.pkru"),  # 9782a712eb97 (5.14); in the XSAVE area alone before
    maybe("task_struct.thread_info.flags"),  # 15f4eae70d36 (4.9); on the stack before
    # Floating-point state (arch/x86/include/asm/fpu/types.h)
    maybe("task_struct.thread.i387"),  # the state itself; 61c4628b538608 (2.6.26) put it apart, behind
    maybe("task_struct.thread.xstate"),  # ... this pointer; 86603283326c9e (2.6.35) made struct fpu of it
    maybe("task_struct.thread.fpu"),  # cb7ca40a3882 (6.16) put it behind task_struct
    maybe("fpu.fpstate"),  # 87d0e5be0fac (5.16)
    maybe("fpu.__task_fpstate"),
    maybe("fpu.state"),
    maybe("fpstate.size"),
    maybe("fpstate.user_xfeatures"),
    maybe("fpstate.regs"),
    maybe("fpu_state_config.max_features"),
    # Which notes a core has of each thread (include/linux/regset.h)
    maybe("user_regset_view.regsets"),
    maybe("user_regset_view.n"),
    maybe("user_regset.n"),
    maybe("user_regset.size"),
    maybe("user_regset.core_note_type"),
    maybe("cpuinfo_x86.x86_capability"),
    maybe("pt_regs.fs", "pt_regs.xfs"),  # of i386: 464d1a78fbf8 (2.6.21), in thread_struct alone before
    maybe("pt_regs.gs", "pt_regs.xgs"),  # ccbeed3a0590 (2.6.30), and in 2.6.20
    maybe("task_struct.thread.sp0", "task_struct.thread.esp0"),  # faca62273b60 (2.6.25)
    maybe("task_struct.thread.usersp", "task_struct.thread.userrsp"),  # faca62273b60 (2.6.25), as the next
    maybe("task_struct.thread.sp", "task_struct.thread.rsp"),  # faca62273b60 (2.6.25)
    # ... and what __switch_to_asm leaves where that points (arch/x86/include/asm/switch_to.h)
    maybe("inactive_task_frame.ret_addr"),  # 7b32aeadbc95 (4.9)
    maybe("inactive_task_frame.bp"),
    maybe("inactive_task_frame.bx"),  # 0100301bfdf5 (4.9)
    maybe("inactive_task_frame.r12"),
    maybe("inactive_task_frame.r13"),
    maybe("inactive_task_frame.r14"),
    maybe("inactive_task_frame.r15"),
    # Where a CPU's entry code keeps the user's stack pointer, and where its entry stack begins
    maybe("tss_struct.x86_tss.sp0"),
    maybe("tss_struct.x86_tss.sp2"),  # since 4.20
    maybe("mm_struct.context.ldt"),  # the table itself, with its size beside it, until 37868fe113ff (4.2)
    maybe("mm_struct.context.size"),
    maybe("ldt_struct.entries"),
    maybe("ldt_struct.nr_entries", "ldt_struct.size"),  # renamed in 4.13
)

SIZES: tuple[Need, ...] = (
    need("pt_regs"),
    maybe("thread_union"),
    maybe("user_regset"),
    maybe("x86_xfeat_component"),  # ba386777a30b (6.12): describes the XSAVE area in a core
)

CONSTANTS: tuple[Need, ...] = (maybe("XFEATURE_MAX"),)

SYMBOLS: tuple[Need, ...] = (
    # Entries that save a part of pt_regs, until 4.1, and where a thread leaves the CPU
    maybe("system_call"),
    maybe("stub_clone"),
    maybe("divide_error"),
    maybe("ret_from_intr"),
    maybe("retint_careful"),
    maybe("retint_signal"),
    maybe("ia32_sysenter_target"),
    maybe("ia32_ptregs_common"),
    maybe("old_rsp", "per_cpu__old_rsp"),  # dd17c8f72993 (2.6.34)
    maybe("thread_return"),
    maybe("__schedule", "schedule"),  # since 3.1
    # Kernel stacks: their size is between these (arch/x86/kernel/vmlinux.lds.S), or that of thread_union
    maybe("__start_init_stack", "__start_init_task"),  # 8f69cba096b5 (6.10)
    maybe("__end_init_stack", "__end_init_task"),
    maybe("asm_fred_entrypoint_user"),  # FRED pads the stack top, 65c9cc9e2c14 (6.9)
    # Floating-point state and the register sets of a core
    maybe("user_x86_64_view"),
    maybe("user_x86_32_view"),
    maybe("init_fpstate"),
    maybe("xstate_offsets"),
    maybe("xstate_sizes"),
    maybe("xstate_flags"),  # 6afbb58cc225 (5.18); a table of offsets in the compacted format before
    maybe("xstate_comp_offsets"),
    maybe("xstate_fx_sw_bytes"),
    maybe("fpu_user_cfg"),  # 578971f4e228 (5.16)
    maybe("xfeatures_mask_all", "xfeatures_mask"),  # 524bb73bc15c (5.8)
    maybe("fpu_kernel_xstate_size", "xstate_size"),  # renamed in 4.8
    maybe("copy_xstate_to_uabi_buf"),  # eb6f51723f03 (5.14): a core has zeros between components
    maybe("switch_fpu_return"),  # 5f409e20b794 (5.2); its code tells TIF_NEED_FPU_LOAD
    maybe("stack_canary", "per_cpu__stack_canary"),  # of i386: 3fb0fdb3bbe7 (5.13) ended it
    # Segment bases
    maybe("boot_cpu_data"),
    maybe("x86_gsbase_read_cpu_inactive"),  # 58edfd2e0a93 (5.9): uses FSGSBASE where the CPU has it
    # The code between user mode and a whole pt_regs (arch/x86/entry/entry_64.S)
    maybe("__entry_text_start"),
    maybe("__entry_text_end"),
    maybe("entry_SYSCALL_64"),
    maybe("syscall_return_via_sysret"),
    maybe("swapgs_restore_regs_and_return_to_usermode"),  # since 4.15
    # ... and that of i386 (arch/x86/entry/entry_32.S)
    maybe("system_call", "entry_INT80_32"),  # this and the next were renamed by 4.2
    maybe("sysenter_entry", "ia32_sysenter_target", "entry_SYSENTER_32"),
    maybe("cpu_tss_rw"),  # c482feefe1ae (4.15)
)
