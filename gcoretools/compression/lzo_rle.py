"""LZO-RLE: LZO1X with an instruction for runs of zeros, which only the kernel has (5ee4014af99f, 5.1).

A block begins with literals: bytes to copy as they are, behind their number. Then instructions follow: to copy more
of them, or bytes that were written before, or to write zeros; most have up to 3 literals behind them. What an
instruction below 16 means depends on how many literals came just before it, where 4 stands for a whole run of them
(Documentation/staging/lzo.rst; lib/lzo/lzo1x_decompress_safe.c).
"""

from __future__ import annotations

from gcoretools.compression.block import Buffer, whole

VERSIONED, SHORTEST_VERSIONED = 17, 5
"""First byte of a block whose second is its version; in shorter blocks it is nothing but the end."""

RUN = 4
SHORTEST_RUN, SHORTEST_MATCH, SHORTEST_ZEROS = 3, 2, 4

NEAR, FAR = 2048, 16384
"""What a distance has beyond its bits: that of an instruction below 16 behind a run, and that of one below 32."""


def lzo_rle_block(data: Buffer, size: int) -> bytes:
    """`size` bytes out of an LZO1X block with or without runs of zeros.

    Raises ValueError when it is damaged, or holds more or fewer.
    """
    try:
        return whole(_decompressed(bytes(data), size), size)
    except IndexError:
        raise ValueError("lzo-rle: it is cut") from None


def _decompressed(data: bytes, size: int) -> bytes:
    """The plain data; a slice of `data` beyond its end is short, and what is read next raises IndexError."""
    versioned = len(data) >= SHORTEST_VERSIONED and data[0] == VERSIONED
    zeros = versioned and data[1] > 0
    at, literals = _first(data, 2 if versioned else 0)
    plain = bytearray(data[at - literals : at])
    literals = min(literals, RUN)
    while len(plain) <= size:
        code = data[at]
        if code < 16 and not literals:
            length, at = _length(data, at, 15, SHORTEST_RUN)
            plain += data[at : at + length]
            at, literals = at + length, RUN
            continue
        if zeros and code & 0xF8 == 0x18 and data[at + 1] >= 0xFC and data[at + 2] == 0xFF:
            plain += bytes((data[at + 3] << 3 | code & 7) + SHORTEST_ZEROS)
            at, literals = at + 4, data[at + 1] & 3
        else:
            at, length, distance, literals = _match(data, at, literals)
            if distance == FAR and code < 32:
                return _ended(data, at, length, plain)
            _copy(plain, length, distance)
        plain += data[at : at + literals]
        at += literals
    raise ValueError(f"lzo-rle: it holds more than {size} bytes")


def _first(data: bytes, at: int) -> tuple[int, int]:
    """The place of the first instruction, and how many bytes before it are copied as they are."""
    literals = max(data[at] - 17, 0)
    return (at + 1 + literals, literals) if literals else (at, 0)


def _match(data: bytes, at: int, literals: int) -> tuple[int, int, int, int]:
    """An instruction that copies written bytes: the place behind it, length, distance, how many literals follow."""
    code = data[at]
    if code >= 64:
        return at + 2, (code >> 5) + 1, (data[at + 1] << 3) + (code >> 2 & 7) + 1, code & 3
    if code >= 32:
        length, at = _length(data, at, 31, SHORTEST_MATCH)
        return at + 2, length, (data[at + 1] << 6) + (data[at] >> 2) + 1, data[at] & 3
    if code >= 16:
        length, at = _length(data, at, 7, SHORTEST_MATCH)
        distance = FAR + ((code & 8) << 11) + (data[at + 1] << 6) + (data[at] >> 2)
        return at + 2, length, distance, data[at] & 3
    distance = (data[at + 1] << 2) + (code >> 2) + 1
    return (at + 2, 3, distance + NEAR, code & 3) if literals == RUN else (at + 2, 2, distance, code & 3)


def _length(data: bytes, at: int, mask: int, shortest: int) -> tuple[int, int]:
    """The length in the bits `mask` of an instruction, or in the bytes behind it, and the place behind those."""
    length = data[at] & mask
    at += 1
    if length:
        return length + shortest, at
    length = mask + shortest
    while not data[at]:
        length += 255
        at += 1
    return length + data[at], at + 1


def _copy(plain: bytearray, length: int, distance: int) -> None:
    """Appends bytes that begin `distance` before the end; they go on into what is being written."""
    start = len(plain) - distance
    if start < 0:
        raise ValueError("lzo-rle: it refers to bytes before its beginning")
    if length > distance:
        plain += (plain[start:] * (length // distance + 1))[:length]
    else:
        plain += plain[start : start + length]


def _ended(data: bytes, at: int, length: int, plain: bytearray) -> bytes:
    """The plain data, at an instruction that ends the block."""
    if length != 3 or at != len(data):
        raise ValueError("lzo-rle: it goes on behind its end")
    return bytes(plain)
