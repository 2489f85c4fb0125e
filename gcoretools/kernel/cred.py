"""User and group ids as the task's own user namespace numbers them (kernel/user_namespace.c: map_id_up)."""

from __future__ import annotations

from gcoretools.kernel.image import Image, Struct

# kernel/sys.c: what an id without a mapping is shown as.
OVERFLOW_ID = 65534

# UID_GID_MAP_MAX_BASE_EXTENTS and UID_GID_MAP_MAX_EXTENTS of include/linux/user_namespace.h.
BASE_EXTENTS = 5
EXTENTS_LIMIT = 340


def real_ids(image: Image, task: Struct) -> tuple[int, int]:
    """Real user id and group id of a task."""
    if not task.has("real_cred"):
        return task["uid"], task["gid"]
    cred = image.struct("cred", task["real_cred"])
    if not (cred.has("user_ns") and image.has("user_namespace.uid_map")):
        return cred["uid"], cred["gid"]
    namespace = image.struct("user_namespace", cred["user_ns"])
    return (
        _mapped(image, namespace.at("uid_map"), cred["uid"] & 0xFFFFFFFF),
        _mapped(image, namespace.at("gid_map"), cred["gid"] & 0xFFFFFFFF),
    )


def _mapped(image: Image, address: int, number: int) -> int:
    """A kernel-wide id through the uid_gid_map at `address`."""
    table = image.struct("uid_gid_map", address)
    count = min(table["nr_extents"], EXTENTS_LIMIT)
    extents = table.at("extent") if count <= BASE_EXTENTS else table["forward"]
    data = image.memory.read(extents, count * 12)
    # struct uid_gid_extent: first, lower_first, count; u32 each.
    for at in range(0, len(data), 12):
        first, lower, length = (int.from_bytes(data[i : i + 4], "little") for i in range(at, at + 12, 4))
        if lower <= number < lower + length:
            return first + number - lower
    return OVERFLOW_ID
