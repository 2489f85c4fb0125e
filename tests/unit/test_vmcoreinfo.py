"""VMCOREINFO: lines to values, and lines that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcoretools.errors import LayoutError
from gcoretools.layout.vmcoreinfo import LIMIT, VmcoreInfo, parse_vmcoreinfo

TEXT = b"""\
OSRELEASE=6.1.0-50-cloud-amd64
BUILD-ID=bb603a9147d3efe4744bf83c83eee397c591cc20
PAGESIZE=4096
SYMBOL(_stext)=ffffffff85400000
SIZE(list_head)=16
OFFSET(list_head.prev)=8
LENGTH(zone.free_area)=11
NUMBER(phys_base)=-37748736
NUMBER(VMALLOC_START)=0xffa0000000000000
KERNELOFFSET=4400000
CRASHTIME=1732400000
"""


def test_every_kind_of_line() -> None:
    assert parse_vmcoreinfo(TEXT) == VmcoreInfo(
        release="6.1.0-50-cloud-amd64",
        build_id="bb603a9147d3efe4744bf83c83eee397c591cc20",
        page_size=4096,
        kaslr_offset=0x4400000,
        symbols={"_stext": 0xFFFFFFFF85400000},
        numbers={"phys_base": -37748736, "VMALLOC_START": 0xFFA0000000000000},
        sizes={"list_head": 16},
        offsets={"list_head.prev": 8},
        lengths={"zone.free_area": 11},
    )


@pytest.mark.parametrize(
    "tail", [b"", b"\0" * 1000, b"\0garbage\xff=", b"no equals\n=\n\n", b"SYMBOL(x=12\n", b"SIZE(a)=x\n"]
)
def test_what_follows_does_no_harm(tail: bytes) -> None:
    assert parse_vmcoreinfo(TEXT + tail) == parse_vmcoreinfo(TEXT)


@pytest.mark.parametrize("line", [b"BUILD-ID=../../etc", b"BUILD-ID=", b"BUILD-ID=XYZ"])
def test_build_ids_are_hex(line: bytes) -> None:
    assert parse_vmcoreinfo(b"OSRELEASE=5\n" + line).build_id == ""


@pytest.mark.parametrize("value", [b"1" * 30, b"-ffffffffffffffffff", b"0x", b"--1", b""])
def test_numbers_that_fit_no_long_are_left_out(value: bytes) -> None:
    assert parse_vmcoreinfo(b"OSRELEASE=5\nSYMBOL(a)=" + value).symbols == {}


def test_the_first_line_of_a_name_counts() -> None:
    assert parse_vmcoreinfo(b"OSRELEASE=5\nOSRELEASE=6\nSIZE(a)=1\nSIZE(a)=2\n").sizes == {"a": 1}


def test_without_a_release_it_is_none() -> None:
    with pytest.raises(LayoutError, match="OSRELEASE"):
        parse_vmcoreinfo(TEXT.partition(b"\n")[2])


def test_only_so_much_is_read() -> None:
    assert "late" not in parse_vmcoreinfo(TEXT + b"A=1\n" * LIMIT + b"SYMBOL(late)=1\n").symbols


@given(st.binary(max_size=400))
def test_garbage_is_told_or_read(garbage: bytes) -> None:
    parse_vmcoreinfo(TEXT + garbage)
