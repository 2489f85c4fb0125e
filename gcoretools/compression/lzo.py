"""LZO1X, by a library: what makedumpfile -l writes, and the kernel's "lzo"."""

from __future__ import annotations

from gcoretools.compression.block import Buffer, whole


def lzo_block(data: Buffer, size: int) -> bytes:
    """`size` bytes out of an LZO1X block. Raises ValueError when it is damaged, or holds more or fewer.

    No byte of a block stands for more than 255 of the plain data, so that the length of a block bounds it.
    """
    import lzallright  # a dump that needs it is rare, and a command should start at once

    try:
        return whole(lzallright.LZOCompressor.decompress(data, size), size)
    except lzallright.LZOError as error:
        raise ValueError(f"lzo: {_WORDS.get(str(error.args[0]), 'it is damaged')}") from error


_WORDS = {
    "EResult.InputOverrun": "it is cut",
    "EResult.LookbehindOverrun": "it refers to bytes before its beginning",
    "EResult.InputNotConsumed": "it goes on behind its end",
}
