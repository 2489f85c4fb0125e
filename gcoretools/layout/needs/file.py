"""Files, names and mounts (include/linux/fs.h, dcache.h, fs/mount.h)."""

from gcoretools.layout.needs.need import Need, maybe, need

MEMBERS: tuple[Need, ...] = (
    need("file.f_path.dentry", "file.f_dentry"),  # 0f7fc9e4d03987 (2.6.20)
    need("file.f_path.mnt", "file.f_vfsmnt"),
    maybe("file.f_path"),  # 0f7fc9e4d03987 (2.6.20)
    need("dentry.d_parent"),
    need("dentry.d_inode"),
    need("dentry.d_op"),
    need("dentry.d_name.name"),
    need("dentry.d_name.len"),
    need("dentry.d_hash.pprev"),
    maybe("dentry_operations.d_dname"),  # c23fbb6bcb3e (2.6.22)
    need("inode.i_ino"),
    need("inode.i_mode"),
    need("inode.i_nlink"),
    need("inode.i_sb"),
    maybe("inode.i_flags"),
    need("super_block.s_dev"),
    need("vfsmount.mnt_root"),
    maybe("mount.mnt"),  # 7d6fec45a5131 (3.3) took the rest out of struct vfsmount
    need("mount.mnt_parent", "vfsmount.mnt_parent"),
    need("mount.mnt_mountpoint", "vfsmount.mnt_mountpoint"),
    maybe("fs_struct.root"),  # a struct path since 6ac08c39a16f (2.6.25); a dentry before, with
    maybe("fs_struct.rootmnt"),
    maybe("path.mnt"),
    maybe("path.dentry"),
)

SIZES: tuple[Need, ...] = ()

CONSTANTS: tuple[Need, ...] = ()

SYMBOLS: tuple[Need, ...] = (
    # d_path of names that are not in a directory tree
    maybe("simple_dname"),
    maybe("anon_inodefs_dname"),
)
