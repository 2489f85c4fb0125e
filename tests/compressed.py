"""LZO1X and LZO-RLE, written: the instructions one at a time, and a small compressor."""

from __future__ import annotations

from collections.abc import Iterator

END = b"\x11\0\0"
RUN = 4


class LzoWriter:
    """Writes the instructions of a block, and knows what they stand for.

    Attributes:
        block, plain: so far.
        literals: how many bytes were copied out of the block last, as the format counts: 0 to 3, or 4 for a run.
    """

    def __init__(self, *, rle: bool) -> None:
        self.rle = rle
        self.block = bytearray(b"\x11\x01" if rle else b"")
        self.plain = bytearray()
        self.literals = 0

    def run(self, literals: bytes) -> bool:
        """Literals; False where no instruction can have so many: 4 or more but at the beginning, never two runs."""
        if not self.plain and 0 < len(literals) <= 238:
            self.block.append(17 + len(literals))
        elif len(literals) > 3 and not self.literals:
            self._instruction(0, 15, len(literals) - 3)
        else:
            return False
        self._follow(literals)
        self.literals = min(len(literals), RUN)
        return True

    def match(self, length: int, distance: int, literals: bytes = b"") -> bool:
        """Bytes written before, and up to 3 literals; False when no instruction can tell it."""
        if not 0 < distance <= len(self.plain) or not self._match(length, distance, len(literals)):
            return False
        for _ in range(length):
            self.plain.append(self.plain[-distance])
        self._follow(literals)
        return True

    def zeros(self, length: int, literals: bytes = b"") -> bool:
        """4 to 2,051 zeros behind other bytes, and up to 3 literals; False when no instruction can tell it."""
        if not self.rle or not self.plain or not 4 <= length <= 2051:
            return False
        self.block += bytes([0x18 | length - 4 & 7, 0xFC | len(literals), 0xFF, length - 4 >> 3])
        self.plain += bytes(length)
        self._follow(literals)
        return True

    def _match(self, length: int, distance: int, literals: int) -> bool:
        ambiguous = self.rle and (distance == 0xBFFF or (distance & 0x803F == 0x803F and 261 <= length <= 264))
        if 3 <= length <= 8 and distance <= 2048:
            self.block += bytes([length - 1 << 5 | (distance - 1 & 7) << 2 | literals, distance - 1 >> 3])
        elif length == 2 and distance <= 1024 and 0 < self.literals < RUN:
            self.block += bytes([(distance - 1 & 3) << 2 | literals, distance - 1 >> 2])
        elif length == 3 and 2048 < distance <= 3072 and self.literals == RUN:
            self.block += bytes([(distance - 2049 & 3) << 2 | literals, distance - 2049 >> 2])
        elif length >= 3 and distance <= 16384:
            self._instruction(32, 31, length - 2)
            self.block += (distance - 1 << 2 | literals).to_bytes(2, "little")
        elif length >= 3 and distance <= 0xBFFF and not ambiguous:
            self._instruction(16 | (distance - 16384 >> 14) << 3, 7, length - 2)
            self.block += ((distance & 0x3FFF) << 2 | literals).to_bytes(2, "little")
        else:
            return False
        return True

    def _follow(self, literals: bytes) -> None:
        self.block += literals
        self.plain += literals
        self.literals = len(literals)

    def _instruction(self, code: int, mask: int, value: int) -> None:
        """A code with a length in its low bits, or in the bytes behind it."""
        if value <= mask:
            self.block.append(code | value)
        else:
            more, last = divmod(value - mask - 1, 255)
            self.block += bytes([code, *bytes(more), last + 1])


def lzo(plain: bytes, *, rle: bool = False) -> bytes:
    """A block of LZO1X, or of LZO-RLE, that stands for `plain`."""
    writer = LzoWriter(rle=rle)
    for literals, length, distance, behind in _parsed(plain, rle):
        assert not literals or writer.run(literals)
        assert not length or (writer.match(length, distance, behind) if distance else writer.zeros(length, behind))
    assert writer.plain == plain
    return bytes(writer.block) + END


def _parsed(plain: bytes, rle: bool) -> Iterator[tuple[bytes, int, int, bytes]]:
    """(literals before, length, distance or 0 for zeros, up to 3 literals behind) of each piece."""
    pieces = list(_matches(plain, rle))
    ends = [0, *(at + length for at, length, _ in pieces)]
    starts = [*(at for at, _, _ in pieces), len(plain)]
    gaps = [plain[end:start] for end, start in zip(ends, starts, strict=True)]
    yield gaps[0], 0, 0, b""
    for (_, length, distance), gap in zip(pieces, gaps[1:], strict=True):
        short = len(gap) <= 3
        yield b"", length, distance, gap if short else b""
        yield b"" if short else gap, 0, 0, b""


def _matches(plain: bytes, rle: bool) -> Iterator[tuple[int, int, int]]:
    """(where, length, distance or 0 for zeros) of what need not be written as it is."""
    seen = {plain[:4]: 0}
    at = 1
    while at < len(plain):
        zeros = len(plain[at : at + 2051]) - len(plain[at : at + 2051].lstrip(b"\0"))
        before = seen.get(plain[at : at + 4], -1)
        length = 1
        if rle and zeros >= 4:
            length = zeros
            yield at, zeros, 0
        elif before >= 0 and at - before <= 16384:
            length = 4
            while (
                length < 300
                and plain[at + length : at + length + 1] == plain[before + length : before + length + 1] != b""
            ):
                length += 1
            yield at, length, at - before
        seen[plain[at : at + 4]] = at
        at += length
