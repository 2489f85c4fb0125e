"""Cores of processes whose memory was swapped out are the kernel's own, to which it brought all of it back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from . import pipeline
from .corefile import CoreFile
from .facts import Facts
from .judge import judge
from .lab import Capture
from .test_cores import make_core
from .variants import VARIANTS

PAGE = 4096

# Pages in the regions of guest_swap/swap.c, the last a huge page; a child process has read some of the first back.
PRIVATE, SHARED, HUGE = 1536, 768, 512
ALL = PRIVATE + SHARED + HUGE


def swapped(process: Facts) -> int:
    """How many pages of the process were swapped out at the moment of the dump, as its smaps said."""
    return sum(int(size) for size in re.findall(r"(?m)^Swap: +(\d+) kB", process["proc"]["smaps"])) * 1024 // PAGE


def roles(captured: Capture) -> tuple[str, ...]:
    return VARIANTS[captured.variant].roles


def of_each(captured: Capture) -> list[Facts]:
    processes = [captured.process(role) for role in roles(captured)]
    assert all(swapped(process) > ALL * 9 // 10 for process in processes)
    return processes


@pytest.mark.lab("zram", "zram-own")
def test_no_page_of_a_compressed_store_is_missing(captured: Capture, tmp_path: Path) -> None:
    """With every compressor that the kernel has: same-filled pages and incompressible ones, over two pages of
    zsmalloc, in the swap cache, private and shared."""
    for process in of_each(captured):
        core, gaps = make_core(captured.vmcore, process, tmp_path)
        judged = judge(core, CoreFile(captured.core(process["role"])), gaps, process["threads"])
        assert judged.differences == [], process["role"]
        assert gaps == [], process["role"]
        assert judged.pages > ALL


@pytest.mark.lab("swapdisk", "zswap")
def test_what_is_on_a_disk_comes_from_its_image(captured: Capture, tmp_path: Path) -> None:
    (process,) = of_each(captured)
    core, gaps = make_core(captured.vmcore, process, tmp_path, "--swap", captured.swap_disk)
    judged = judge(core, CoreFile(captured.core(process["role"])), gaps, process["threads"])
    assert judged.differences == []
    assert gaps == []
    assert judged.pages > ALL


@pytest.mark.lab("swapdisk", "zswap")
def test_without_the_image_there_are_gaps_that_name_the_disk(captured: Capture, tmp_path: Path) -> None:
    (process,) = of_each(captured)
    core, gaps = make_core(captured.vmcore, process, tmp_path)
    judged = judge(core, CoreFile(captured.core(process["role"])), gaps, process["threads"])
    assert judged.differences == []
    extents = [r for r in pipeline.records(tmp_path / "pages.gc") if r["kind"] == "extent" and r["what"] == "gap"]
    assert {extent["reason"] for extent in extents} == {"swapped out to /dev/vdb"}
    missing = sum(size for _, size in gaps) // PAGE
    # zswap hands on to the disk what it cannot compress: one page in eight.
    most = ALL if captured.variant == "swapdisk" else ALL // 4
    assert most // 4 < missing <= most


@pytest.mark.lab("swapdisk")
def test_an_image_of_another_disk_is_refused(captured: Capture, tmp_path: Path) -> None:
    (process,) = captured.facts["processes"]
    pipeline.run("gc-maps", captured.vmcore, str(process["global_pid"]), stdout=tmp_path / "maps.gc")
    other = tmp_path / "other.img"
    header = bytearray(captured.swap_disk.read_bytes()[:PAGE])
    header[1028:1032] = (1234).to_bytes(4, "little")
    other.write_bytes(header)
    for words, message in (
        (f"/dev/vdc={captured.swap_disk}", "no swap area is called so; the areas on disk are /dev/vdb"),
        (str(captured.vmcore), "not the image of a swap area"),
        (str(other), "a swap area of 1235 pages, but /dev/vdb has 16384"),
    ):
        with pytest.raises(AssertionError, match=message):
            pipeline.run("gc-pages", "--swap", words, stdin=tmp_path / "maps.gc", stdout=tmp_path / "pages.gc")
