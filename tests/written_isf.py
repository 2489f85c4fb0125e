"""A Volatility 3 ISF file that says what a layout says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gcoretools.layout.layout import Layout, Member

BASES = {
    f"{'' if signed else 'u'}int{size}": {"size": size, "signed": signed, "kind": "int", "endian": "little"}
    for size in (1, 2, 4, 8)
    for signed in (True, False)
}
POINTER = {"size": 8, "signed": False, "kind": "int", "endian": "little"}


def write_isf(path: Path, layout: Layout) -> Path:
    """Writes the file; a member of a member is one of a struct that has the names of both."""
    types: dict[str, Any] = {name: _struct(size) for name, size in layout.sizes.items()}
    for full, member in layout.members.items():
        outer, *inner, last = full.split(".")
        for name in inner:
            whole = types.setdefault(outer, _struct())["fields"]
            outer = f"{outer}_{name}"
            whole[name] = {"offset": 0, "type": {"kind": "struct", "name": outer}}
            types.setdefault(outer, _struct())
        types.setdefault(outer, _struct())["fields"].setdefault(last, _field(member))
    content = {
        "metadata": {"format": "6.2.0"},
        "base_types": BASES | {"pointer": POINTER},
        "user_types": types,
        "enums": {"constants": {"size": 4, "base": "int4", "constants": layout.constants}},
        "symbols": {name: {"address": address} for name, address in layout.symbols.items()},
    }
    path.write_text(json.dumps(content))
    return path


def _struct(size: int = 1 << 16) -> dict[str, Any]:
    return {"kind": "struct", "size": size, "fields": {}}


def _field(member: Member) -> dict[str, Any]:
    whole = {"kind": "base", "name": f"{'' if member.signed else 'u'}int{member.size}"}
    array = {"kind": "array", "count": member.size, "subtype": {"kind": "base", "name": "uint1"}}
    return {"offset": member.offset, "type": whole if member.size in (1, 2, 4, 8) else array}
