"""BTF: written blobs, one of GCC's own, and damage."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcoretools.errors import LayoutError
from gcoretools.layout.btf import Btf
from gcoretools.layout.layout import Member
from gcoretools.layout.types import find_member
from tests.written_btf import SIGNED, BtfWriter


def kernel() -> BtfWriter:
    """A kernel's types: task_struct, with everything that a member can be."""
    w = BtfWriter()
    w.add("int", "long unsigned int", 8, (64,))
    integer = w.integer("int", 4, SIGNED)
    char = w.integer("char", 1, SIGNED)
    pointer = w.add("ptr", "", integer)
    const = w.add("const", "", integer)
    tagged = w.add("type_tag", "rcu", const)
    state = w.add("typedef", "state_t", tagged)
    inner = w.struct("", 8, ("x", integer, 0), ("y", integer, 4))
    either = w.union("", 8, ("whole", pointer, 0), ("", inner, 0))
    names = w.array(w.array(char, 4), 4)
    rows = w.array(inner, 3)
    w.add("func_proto", "", 0, (0, integer, 0, integer), vlen=2)
    w.add("var", "some", integer, (1,))
    w.add("datasec", ".data", 16, (1, 0, 8, 2, 8, 8), vlen=2)
    w.add("decl_tag", "tag", integer, (0,))
    w.add("fwd", "task_struct")
    fields = [("state", state, 0), ("", either, 8), ("comm", names, 16), ("rows", rows, 32), ("next", pointer, 56)]
    w.struct("task_struct", 64, *fields)
    w.add("typedef", "swp_entry_t", w.struct("", 8, ("val", 1, 0)))
    w.enum("pid_type", ("PIDTYPE_PID", 0), ("PIDTYPE_TGID", 1))
    w.enum("error", ("EFAULT", -14), signed=True)
    w.enum("wide", ("HIGH", 1 << 40), ("LOW", -3), kind="enum64", signed=True)
    w.enum("mask", ("TOP", 0x8000_0000))
    return w


@pytest.mark.parametrize(
    ("spelling", "member"),
    [
        ("task_struct.state", Member(0, 4, True)),
        ("task_struct.whole", Member(8, 8, False)),
        ("task_struct.y", Member(12, 4, True)),
        ("task_struct.comm", Member(16, 16, False)),
        ("task_struct.rows", Member(32, 24, False)),
        ("task_struct.rows.y", Member(36, 4, True)),
        ("task_struct.next", Member(56, 8, False)),
        ("swp_entry_t.val", Member(0, 8, False)),
        ("task_struct.z", None),
        ("task_struct.next.x", None),
        ("mm_struct.pgd", None),
    ],
)
def test_members(spelling: str, member: Member | None) -> None:
    assert find_member(Btf(kernel().blob()), spelling) == member


def test_enumerators() -> None:
    wanted = {"PIDTYPE_TGID": 1, "EFAULT": -14, "HIGH": 1 << 40, "LOW": -3, "TOP": 0x8000_0000}
    assert Btf(kernel().blob()).constants({*wanted, "PIDTYPE_MAX"}) == wanted


def test_bit_fields_are_left_out() -> None:
    w = BtfWriter()
    integer = w.integer("unsigned int", 4)
    more = (w.string("a"), integer, 3 << 24 | 0, w.string("b"), integer, 32)
    w.add("struct", "flags", 8, more, vlen=2, flag=1)
    (found,) = Btf(w.blob()).structs("flags")
    assert [(field.name, field.offset) for field in found.fields] == [("b", 4)]


def test_pointers_of_a_32_bit_kernel() -> None:
    w = BtfWriter()
    w.integer("long unsigned int", 4)
    w.struct("list_head", 8, ("next", w.add("ptr"), 0), ("prev", w.add("ptr"), 4))
    assert find_member(Btf(w.blob()), "list_head.prev") == Member(4, 4)


def test_a_struct_of_the_same_name_that_has_the_member_is_taken() -> None:
    w = BtfWriter()
    integer = w.integer("unsigned int", 4)
    w.struct("entry", 4, ("a", integer, 0))
    w.struct("entry", 12, ("b", integer, 8))
    assert find_member(Btf(w.blob()), "entry.b") == Member(8, 4)


def test_a_module_goes_on_from_the_kernel() -> None:
    base = kernel()
    w = BtfWriter(base)
    pages = w.integer("module_int", 4)
    w.struct("zram", 80, ("task", base.first + base.count - 7, 0), ("limit", pages, 64), ("comm", pages, 68))
    module = Btf(w.blob(), Btf(base.blob()), "zram")
    assert find_member(module, "zram.limit") == Member(64, 4)
    assert find_member(module, "zram.comm") == Member(68, 4)
    assert find_member(module, "zram.task.y") == Member(12, 4, True)
    assert list(module.structs("task_struct")) == []


def test_kinds_that_the_blob_itself_explains() -> None:
    w = BtfWriter()
    integer = w.integer("unsigned int", 4)
    w.add(21, "new", 0, (7, 8, 9, 10, 11), vlen=2)
    w.struct("behind", 4, ("a", integer, 0))
    layouts = bytearray(4 * 22)
    layouts[84:88] = struct.pack("<BBH", 4, 8, 0)
    assert find_member(Btf(w.blob(bytes(layouts))), "behind.a") == Member(0, 4)
    with pytest.raises(LayoutError, match="unknown kind"):
        Btf(w.blob())


def with_header(**changes: int) -> bytes:
    names = ("magic", "version", "flags", "header", "type_at", "type_size", "string_at", "string_size")
    blob = kernel().blob()
    values = dict(zip(names, struct.unpack_from("<HBB5I", blob), strict=True)) | changes
    return struct.pack("<HBB5I", *values.values()) + blob[24:]


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (b"", "not BTF"),
        (with_header(magic=0x9FEB), "big-endian"),
        (with_header(magic=0x1234), "not BTF"),
        (with_header(version=2), "version 2"),
        (with_header(type_size=1 << 30), "cut"),
        (with_header(type_size=6), "cut"),
        (with_header(string_size=5), "no end"),
        (kernel().blob()[:-1], "cut"),
    ],
)
def test_damaged_headers(blob: bytes, reason: str) -> None:
    with pytest.raises(LayoutError, match=reason):
        Btf(blob)


def a_loop(w: BtfWriter) -> int:
    return w.add("typedef", "loop", 1)


def an_endless_array(w: BtfWriter) -> int:
    return w.array(1, 1 << 31)


def a_missing_type(w: BtfWriter) -> int:
    return w.add("typedef", "gone", 999)


@pytest.mark.parametrize("make", [a_loop, an_endless_array, a_missing_type])
def test_types_that_lead_nowhere(make: Callable[[BtfWriter], int]) -> None:
    w = BtfWriter()
    w.struct("broken", 4, ("a", make(w), 0))
    with pytest.raises(LayoutError):
        find_member(Btf(w.blob()), "broken.a")


def test_a_struct_within_itself_ends() -> None:
    w = BtfWriter()
    w.struct("self", 4, ("", 1, 0), ("", 1, 0), ("a", 1, 0))
    found = Btf(w.blob())
    assert find_member(found, "self.b") is None
    assert find_member(found, "self.a.a.a") is not None


BLOB = kernel().blob()


@given(
    st.lists(st.tuples(st.integers(0, len(BLOB) - 1), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 64),
)
def test_damaged_blobs_are_told_or_read(changes: list[tuple[int, int]], cut: int) -> None:
    blob = bytearray(BLOB)
    for at, value in changes:
        blob[at] = value
    try:
        types = Btf(bytes(blob[: len(blob) - cut]))
        find_member(types, "task_struct.rows.y")
        find_member(types, "swp_entry_t.val")
        types.constants(("PIDTYPE_PID", "LOW"))
    except LayoutError:
        pass
