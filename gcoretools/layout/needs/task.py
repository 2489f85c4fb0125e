"""Tasks, thread groups and their ids (include/linux/sched.h, sched/signal.h, pid.h, cred.h)."""

from gcoretools.layout.needs.need import Need, maybe, need

MEMBERS: tuple[Need, ...] = (
    need("task_struct.tasks"),
    need("task_struct.pid"),
    need("task_struct.tgid"),
    need("task_struct.comm"),
    need("task_struct.mm"),
    need("task_struct.flags"),
    need("task_struct.__state", "task_struct.state"),  # 2f064a59a11f (5.14)
    need("task_struct.exit_state", "task_struct.state"),  # one member until 2.6.11
    need("task_struct.static_prio"),
    need("task_struct.stack", "task_struct.thread_info"),  # f7e4217b007d (2.6.22)
    need("task_struct.group_leader"),
    need("task_struct.real_parent", "task_struct.parent"),  # utrace, which RHEL 5 has, left only the one
    need("task_struct.signal"),
    need("task_struct.utime"),
    need("task_struct.stime"),
    need("task_struct.blocked"),
    need("task_struct.pending.signal"),
    maybe("task_struct.fs"),
    maybe("task_struct.thread_node"),  # 0c740d0afc3b (3.14); with signal_struct.thread_head
    maybe("task_struct.thread_group"),  # 8e1f385104ac (6.7) removed it
    maybe("task_struct.real_cred"),  # 3b11a1decef0 (2.6.29); the ids were in the task before
    maybe("task_struct.uid"),
    maybe("task_struct.gid"),
    maybe("signal_struct.pgrp"),  # numbers until 2.6.24
    maybe("signal_struct.session"),
    maybe("pid.pid_list"),  # until 2.6.17, when struct pid lay in task_struct, for each kind
    maybe("task_struct.thread_pid"),  # 2c4704756cab (4.19): pids[PIDTYPE_PID].pid before
    maybe("task_struct.pids"),
    maybe("pid_link.pid"),
    maybe("task_struct.cpu", "task_struct.thread_info.cpu"),  # bcf9033e5449 (5.16) moved it back
    maybe("thread_info.cpu"),  # in task_struct since c65eacbe290b (4.9)
    maybe("task_struct.last_siginfo"),
    maybe("task_struct.used_math"),  # a flag of the task since 2.6.11
    maybe("signal_struct.flags"),
    maybe("signal_struct.thread_head"),
    need("signal_struct.group_exit_code"),
    maybe("signal_struct.nr_threads"),
    maybe("signal_struct.pids"),  # 2c4704756cab (4.19); the leader's task_struct.pids before
    need("signal_struct.utime"),
    need("signal_struct.stime"),
    need("signal_struct.cutime"),
    need("signal_struct.cstime"),
    maybe("cred.uid"),
    maybe("cred.gid"),
    maybe("cred.user_ns"),  # 47a150edc2ae (2.6.39)
    maybe("user_namespace.uid_map"),  # 22d917d80e84 (3.5)
    maybe("user_namespace.gid_map"),
    maybe("user_namespace.parent"),
    maybe("uid_gid_map.nr_extents"),
    maybe("uid_gid_map.extent"),
    maybe("uid_gid_map.forward"),  # 6397fac4915a (4.15)
    maybe("pid.level"),  # of pid namespaces, 2.6.24
    maybe("pid.numbers"),
    maybe("upid.nr"),
    maybe("upid.ns"),
    maybe("pid_namespace.level"),
)

SIZES: tuple[Need, ...] = (
    need("task_struct"),
    maybe("pid"),
    maybe("pid_link"),
    maybe("upid"),
    maybe("uid_gid_extent"),
)

CONSTANTS: tuple[Need, ...] = (
    maybe("PIDTYPE_PID"),
    maybe("PIDTYPE_PGID"),
    maybe("PIDTYPE_SID"),
    maybe("PIDTYPE_TGID"),
)

SYMBOLS: tuple[Need, ...] = (
    need("init_task"),
    maybe("tick_nsec"),
    maybe("compat_elf_format", "elf32_format"),  # its processes get 32-bit cores; the older one until 2.6.25
)
