"""Made-up structs: what members a fake kernel's structs have, at offsets drawn out of a seed.

So nothing that is tested against them can have a real kernel's offsets wired in.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import replace

from gcoretools.layout import needs
from gcoretools.layout.layout import Layout, Member

# A line a struct; `member:size` in bytes, `-4` a signed one, `3*upid` room for three structs of that name. What
# a struct needs stands before it.
STRUCTS = """
upid                nr:-4 ns:8
pid                 level:4 numbers:4*upid
pid_link            pid:8
pid_namespace       level:4
uid_gid_map         nr_extents:4 extent:60 forward:8
user_namespace      uid_map:uid_gid_map gid_map:uid_gid_map parent:8
cred                uid:4 gid:4 user_ns:8
percpu_counter      count:-8 counters:8
maple_tree          ma_root:8
maple_range_64      pivot:120 slot:128
maple_arange_64     pivot:72 slot:80
path                mnt:8 dentry:8
fs_struct           root:path
vfsmount            mnt_root:8
mount               mnt:vfsmount mnt_parent:8 mnt_mountpoint:8
super_block         s_dev:4 s_magic:8 s_fs_info:8
xarray              xa_head:8
xa_node             shift:1 slots:512
radix_tree_root     rnode:8 height:4
radix_tree_node     shift:1 slots:512
address_space       host:8 i_pages:96 nrpages:8
page                flags:8 index:8 mapping:8 compound_head:8 private:8
mem_section         section_mem_map:8
pglist_data         lru_lock:4 node_mem_map:8 node_start_pfn:8 node_spanned_pages:8
hstate              order:4
hugetlbfs_sb_info   hstate:8
inode               i_ino:8 i_mode:2 i_nlink:4 i_sb:8 i_flags:4 i_size:-8
dentry              d_parent:8 d_inode:8 d_op:8 d_name.name:8 d_name.len:4 d_hash.pprev:8
dentry_operations   d_dname:8
file                f_path.mnt:8 f_path.dentry:8 f_mapping:8
vm_operations_struct name:8 fault:8
vm_special_mapping  name:8
vdso_image          data:8 size:8
anon_vma_name       name:32
vm_area_struct      vm_start:8 vm_end:8 vm_flags:8 vm_pgoff:8 vm_file:8 vm_ops:8 vm_private_data:8 anon_vma:8
                    vm_next:8 anon_name:8
cpuinfo_x86         x86_capability:96
ldt_struct          entries:8 nr_entries:4
mm_struct           pgd:8 map_count:-4 total_vm:8 arg_start:8 arg_end:8 start_brk:8 brk:8 start_stack:8
                    saved_auxv:416 flags:8 binfmt:8 exe_file:8 mm_mt:maple_tree mmap:8 context.vdso:8
                    context.vdso_image:8 context.flags:8 context.ia32_compat:2 context.ldt:8
                    rss_stat:4*percpu_counter nr_pmds:8
user_regset_view    regsets:8 n:4
user_regset         n:4 size:4 core_note_type:4
fpstate             size:4 user_xfeatures:8 regs:4096
fpu                 fpstate:8 __task_fpstate:8 state:4096
fpu_state_config    max_features:8
io_bitmap           max:4 bitmap:8192
signal_struct       flags:4 thread_head:16 group_exit_code:-4 nr_threads:-4 pids:32 utime:8 stime:8 cutime:8
                    cstime:8
task_struct         tasks:16 pid:-4 tgid:-4 comm:16 mm:8 flags:4 __state:4 exit_state:-4 static_prio:-4 stack:8
                    group_leader:8 real_parent:8 signal:8 utime:8 stime:8 blocked:8 pending.signal:8 fs:8
                    thread_node:16 thread_group:16 real_cred:8 uid:4 gid:4 thread_pid:8 pids:4*pid_link cpu:4
                    thread.fsbase:8 thread.gsbase:8 thread.fsindex:2 thread.gsindex:2 thread.ds:2 thread.es:2
                    thread.tls_array:24 thread.io_bitmap:8 thread.features:8 thread.pkru:4 thread_info.flags:8
                    thread.fpu:fpu
                    thread.sp:8 last_siginfo:8
rq                  curr:8
gendisk             disk_name:32 private_data:8
block_device        bd_disk:8
swap_cluster_info   table:8
swap_info_struct    flags:8 type:-1 max:4 pages:4 swap_file:8 bdev:8 cluster_info:8 zeromap:8
zram                table:8 disk:8 comp:8 comp_algs:32
zram_table_entry    handle:8 flags:4
zcomp               name:8
rb_root             rb_node:8
rb_node             rb_left:8 rb_right:8
zswap_tree          rbroot:rb_root
zpool_driver        type:8
zpool               driver:8 evictable:1
zswap_pool          tfm_name:128 zpool:8
zswap_entry         rbnode:rb_node offset:8 length:4 pool:8 handle:8
inactive_task_frame ret_addr:8 bp:8 bx:8 r12:8 r13:8 r14:8 r15:8
tss_struct          x86_tss.sp0:8 x86_tss.sp2:8
elf_note_info       csigdata:128 files:24
"""

# Structs of which only the size is known.
SIZES = {"thread_union": 8192, "pt_regs": 168, "uid_gid_extent": 12, "zswap_header": 8, "swap_table": 4096}

CONSTANTS = {
    "PIDTYPE_PID": 0, "PIDTYPE_PGID": 2, "PIDTYPE_SID": 3, "MM_FILEPAGES": 0, "MM_ANONPAGES": 1,
    "MM_SHMEMPAGES": 3, "PG_uptodate": 2, "PG_hwpoison": 21, "PG_owner_priv_1": 9, "ZRAM_FLAG_SHIFT": 13,
    "ZRAM_SAME": 14, "ZRAM_WB": 15, "ZRAM_COMP_PRIORITY_BIT1": 19,
    "maple_dense": 0, "maple_leaf_64": 1, "maple_range_64": 2, "maple_arange_64": 3,
}  # fmt: skip

# Arrays of any length: to the kernel's types their size is 0.
FLEXIBLE = ("pid.numbers", "anon_vma_name.name")

# The numbers of PIDTYPE_ where the kernel's types do not name them.
OLD_PIDTYPES = {"PIDTYPE_PID": 0, "PIDTYPE_PGID": 1, "PIDTYPE_SID": 2}

# What kernels before the maple tree, struct pid in the task, and so on did not have.
MODERN = (
    "mm_struct.mm_mt", "signal_struct.thread_head", "task_struct.thread_node", "task_struct.thread_pid",
    "signal_struct.pids", "vm_area_struct.anon_name", "mm_struct.context.vdso_image",
)  # fmt: skip


def draw(seed: int) -> Layout:
    """A layout with all members at random offsets: another seed gives other ones."""
    chance = random.Random(seed)
    members: dict[str, Member] = {}
    sizes = dict(SIZES)
    for name, fields in _structs().items():
        at = 0
        for field, size in sorted(fields.items(), key=lambda _: chance.random()):
            at += 8 * chance.randrange(4)
            members[f"{name}.{field}"] = Member(at, _bytes(size, sizes), size.startswith("-"))
            at += -(-_bytes(size, sizes) // 8) * 8
        sizes[name] = at + 8 * chance.randrange(4)
    return Layout(members, sizes, dict(CONSTANTS))


def resolved(whole: Layout, without: Collection[str] = ()) -> Layout:
    """What resolving such a kernel would give: no more than needs names.

    Args:
        whole: as drawn.
        without: members ("task_struct.fs"), structs or constants that this kernel does not have.
    """
    lacks = {*without}
    members = {need.name for need in needs.MEMBERS if not {need.name, need.name.partition(".")[0]} & lacks}
    sizes, constants = ({need.name for need in rows} - lacks for rows in (needs.SIZES, needs.CONSTANTS))
    found = {name: member for name, member in whole.members.items() if name in members}
    return Layout(
        found | {name: replace(found[name], size=0) for name in FLEXIBLE if name in found},
        {name: size for name, size in whole.sizes.items() if name in sizes},
        {name: value for name, value in whole.constants.items() if name in constants},
    )


def _structs() -> dict[str, dict[str, str]]:
    structs: dict[str, dict[str, str]] = {}
    name = ""
    for line in STRUCTS.strip().splitlines():
        words = line.split()
        if not line.startswith(" "):
            name = words.pop(0)
        for word in words:
            member, _, size = word.rpartition(":")
            structs.setdefault(name, {})[member] = size
    return structs


def _bytes(size: str, sizes: dict[str, int]) -> int:
    count, _, struct = size.rpartition("*")
    each = sizes[struct] if struct in sizes else abs(int(struct))
    return int(count or 1) * each
