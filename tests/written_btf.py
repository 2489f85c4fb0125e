"""BTF blobs from a few lines: each method adds a type and gives its ID."""

import struct

KINDS = {
    "int": 1, "ptr": 2, "array": 3, "struct": 4, "union": 5, "enum": 6, "fwd": 7, "typedef": 8, "volatile": 9,
    "const": 10, "restrict": 11, "func": 12, "func_proto": 13, "var": 14, "datasec": 15, "float": 16,
    "decl_tag": 17, "type_tag": 18, "enum64": 19,
}  # fmt: skip
SIGNED = 1


class BtfWriter:
    """Types in the order of the calls. A module's writer goes on from `base`."""

    def __init__(self, base: "BtfWriter | None" = None) -> None:
        self.first: int = base.first + base.count if base else 1
        self.first_string: int = base.first_string + len(base.strings) if base else 0
        self.count: int = 0
        self.words: list[int] = []
        self.strings: bytes = b"\0"

    def add(self, kind: str | int, name: str = "", size: int = 0, more: tuple[int, ...] = (), **info: int) -> int:
        """Any type: `more` are the words behind struct btf_type; info has vlen and flag."""
        number = KINDS[kind] if isinstance(kind, str) else kind
        word = info.get("vlen", 0) | number << 24 | info.get("flag", 0) << 31
        self.words += [self.string(name), word, size & 0xFFFFFFFF, *(value & 0xFFFFFFFF for value in more)]
        self.count += 1
        return self.first + self.count - 1

    def string(self, name: str) -> int:
        """The offset of a name in the strings."""
        if not name:
            return 0
        at = self.strings.find(b"\0" + name.encode() + b"\0")
        if at < 0:
            at = len(self.strings) - 1
            self.strings += name.encode() + b"\0"
        return self.first_string + at + 1

    def integer(self, name: str, size: int, encoding: int = 0) -> int:
        return self.add("int", name, size, (encoding << 24 | size * 8,))

    def array(self, element: int, count: int) -> int:
        return self.add("array", "", 0, (element, element, count))

    def struct(self, name: str, size: int, *members: tuple[str, int, int], kind: str = "struct") -> int:
        """Members are (name, type, offset in bytes)."""
        more = [word for member in members for word in (self.string(member[0]), member[1], member[2] * 8)]
        return self.add(kind, name, size, tuple(more), vlen=len(members))

    def union(self, name: str, size: int, *members: tuple[str, int, int]) -> int:
        return self.struct(name, size, *members, kind="union")

    def enum(self, name: str, *values: tuple[str, int], kind: str = "enum", signed: bool = False) -> int:
        more: list[int] = []
        for word, value in values:
            more += [self.string(word), value] + ([value >> 32] if kind == "enum64" else [])
        return self.add(kind, name, 8 if kind == "enum64" else 4, tuple(more), vlen=len(values), flag=signed)

    def blob(self, layouts: bytes = b"") -> bytes:
        """The whole; with `layouts`, the newer header that tells the sizes of kinds."""
        types = struct.pack(f"<{len(self.words)}I", *self.words)
        header = [32 if layouts else 24, 0, len(types), len(types), len(self.strings)]
        extra = struct.pack("<II", len(types) + len(self.strings), len(layouts)) if layouts else b""
        return struct.pack("<HBB5I", 0xEB9F, 1, 0, *header) + extra + types + self.strings + layouts
