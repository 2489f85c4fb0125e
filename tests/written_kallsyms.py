"""kallsyms tables as scripts/kallsyms.c lays them out, in every order that there was."""

import struct
from collections import Counter
from dataclasses import dataclass, field

START = 0xFFFFFFFF81000000
START_32 = 0xC1000000
DIGITS = b"".join(b"%d\0" % digit for digit in range(10))

Rows = list[tuple[str, str, int]]
"""(name, letter of nm, address), in kallsyms' order."""


def compress(texts: list[bytes], rounds: int = 24) -> tuple[list[bytes], list[bytes]]:
    """The texts in codes, and what the 256 codes stand for: letters that occur nowhere become frequent pairs."""
    used = set(b"".join(texts)) | set(b"0123456789")
    free = [code for code in range(255, 0, -1) if code not in used]
    tokens = [bytes([code]) if code in used else b"" for code in range(256)]
    coded = list(texts)
    for code in free[:rounds]:
        pairs = Counter(text[i : i + 2] for text in coded for i in range(len(text) - 1))
        if not pairs:
            break
        pair = pairs.most_common(1)[0][0]
        tokens[code] = tokens[pair[0]] + tokens[pair[1]]
        coded = [text.replace(pair, bytes([code])) for text in coded]
    return coded, tokens


@dataclass
class KallsymsImage:
    """A kernel image that is mapped from START on, with the tables in it.

    Attributes:
        order: "old" (before 6.4), "seqs" (6.2 and 6.3: kallsyms_seqs_of_names too), "new" (since 6.4), or
            "place" (since 7.0: no relative base, all aligned to 4 bytes).
        absolute_percpu: addresses below START are absolute, as before 6.15.
        before: bytes of the image in front of the tables.
        word: size of a long in bytes: 4 for a kernel of i386, whose image is mapped from START_32 on.
    """

    rows: Rows
    order: str = "old"
    absolute_percpu: bool = True
    addresses: bool = False
    before: bytes = b""
    word: int = 8
    image: bytearray = field(init=False)
    symbols: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start, self.long = (START, "Q") if self.word == 8 else (START_32, "I")
        self.image = bytearray(self.before)
        coded, self.tokens = compress([(kind + name).encode() for name, kind, _ in self.rows])
        self.names, self.markers = b"", []
        for i, codes in enumerate(coded):
            if i % 256 == 0:
                self.markers.append(len(self.names))
            size = len(codes)
            self.names += (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + codes
        tables = {"old": "ORCNMTI", "seqs": "ORCNMSTI", "new": "CNMTIORS", "place": "CNMTIPS"}[self.order]
        for letter in tables.replace("OR", "A") if self.addresses else tables:
            self._table(letter)
        self.image += b"\xcc" * 4096

    def read(self, va: int, size: int) -> bytes:
        at = va - self.start
        if at < 0 or at + size > len(self.image):
            raise KeyError(hex(va))
        return bytes(self.image[at : at + size])

    def _table(self, letter: str) -> None:
        step = 4 if self.order == "place" else self.word
        self.image += bytes(-len(self.image) % step)
        name, data = getattr(self, f"_{letter.lower()}")()
        self.symbols[f"kallsyms_{name}"] = self.start + len(self.image)
        self.image += data

    def _o(self) -> tuple[str, bytes]:
        return "offsets", struct.pack(
            f"<{len(self.rows)}I", *(self._offset(at) & 0xFFFFFFFF for _, _, at in self.rows)
        )

    def _offset(self, address: int) -> int:
        if not self.absolute_percpu:
            return address - self.start
        return address if address < self.start else self.start - 1 - address

    def _p(self) -> tuple[str, bytes]:
        place = self.start + len(self.image)
        distances = [at - place - 4 * i for i, (_, _, at) in enumerate(self.rows)]
        return "offsets", struct.pack(f"<{len(self.rows)}i", *distances)

    def _a(self) -> tuple[str, bytes]:
        return "addresses", struct.pack(f"<{len(self.rows)}{self.long}", *(at for _, _, at in self.rows))

    def _r(self) -> tuple[str, bytes]:
        return "relative_base", struct.pack(f"<{self.long}", self.start)

    def _c(self) -> tuple[str, bytes]:
        return "num_syms", struct.pack("<I", len(self.rows))

    def _n(self) -> tuple[str, bytes]:
        return "names", self.names

    def _m(self) -> tuple[str, bytes]:
        return "markers", struct.pack(f"<{len(self.markers)}I", *self.markers)

    def _s(self) -> tuple[str, bytes]:
        return "seqs_of_names", bytes(range(1, 4)) * len(self.rows)

    def _t(self) -> tuple[str, bytes]:
        return "token_table", b"\0".join(self.tokens) + b"\0"

    def _i(self) -> tuple[str, bytes]:
        ends = [0]
        for token in self.tokens:
            ends.append(ends[-1] + len(token) + 1)
        return "token_index", struct.pack("<256H", *ends[:256])
