"""Descriptors of thread-local storage as a core shows them: struct user_desc (arch/x86/kernel/tls.c)."""

from __future__ import annotations

import struct

DESCRIPTOR_SIZE = 8
USER_DESC = struct.Struct("<IIII")


def user_desc(descriptor: bytes, number: int) -> bytes:
    """A segment descriptor as struct user_desc (fill_user_desc).

    Args:
        descriptor: the 8 bytes of struct desc_struct.
        number: its place in the GDT.
    """
    raw = int.from_bytes(descriptor, "little")
    limit = raw & 0xFFFF | (raw >> 48 & 0xF) << 16
    return USER_DESC.pack(number, segment_base(descriptor), limit, _flags(raw))


def segment_base(descriptor: bytes) -> int:
    """The base address in a segment descriptor (get_desc_base)."""
    raw = int.from_bytes(descriptor, "little")
    return raw >> 16 & 0xFFFFFF | (raw >> 56 & 0xFF) << 24


def _flags(raw: int) -> int:
    """seg_32bit, contents (2 bits), read_exec_only, limit_in_pages, seg_not_present, useable, lm; lowest first."""
    kind = raw >> 40 & 0xF
    available, long, big, granular = (raw >> bit & 1 for bit in (52, 53, 54, 55))
    present = raw >> 47 & 1
    bits = (big, kind >> 2 & 1, kind >> 3 & 1, not kind & 2, granular, not present, available, long)
    return sum(bool(bit) << place for place, bit in enumerate(bits))
