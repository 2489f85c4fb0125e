"""A stream of snappy frames (github.com/google/snappy, framing_format.txt): its index, and each frame."""

from __future__ import annotations

from gcoretools.compression.block import Buffer, whole

IDENTIFIER = b"\xff\x06\x00\x00sNaPpY"

FRAME_SIZE = 1 << 16
"""Plain bytes in a frame, at most; writers fill all but the last."""

COMPRESSED, PLAIN = 0x00, 0x01
_SKIPPABLE = range(0x80, 0x100)

SKIPPED_LIMIT = 64
"""Chunks without data (identifiers, padding) in a stream; writers put one identifier at its head."""


def frames(stream: Buffer, count: int) -> list[tuple[int, int]]:
    """Offset and size of each of the `count` frames of a stream. Raises ValueError when there are not so many."""
    found: list[tuple[int, int]] = []
    at = skipped = 0
    while at + 4 <= len(stream):
        kind, size = stream[at], 4 + int.from_bytes(stream[at + 1 : at + 4], "little")
        if kind in (COMPRESSED, PLAIN):
            found.append((at, size))
        elif kind in _SKIPPABLE:
            skipped += 1
        else:
            raise ValueError(f"snappy: a chunk of kind {kind:#x} at {at:#x}")
        at += size
        if len(found) > count or skipped > SKIPPED_LIMIT:
            break
    if len(found) != count or at != len(stream):
        raise ValueError(f"snappy: not the {count} frames that it should hold")
    return found


def frame_block(frame: Buffer, size: int) -> bytes:
    """`size` bytes out of a frame, whose checksum is looked at. Raises ValueError when it is damaged."""
    import cramjam  # a dump that needs it is rare, and a command should start at once

    try:
        return whole(bytes(cramjam.snappy.decompress(IDENTIFIER + bytes(frame), output_len=size)), size)
    except cramjam.DecompressionError as error:
        raise ValueError(f"snappy: {error}") from error
