"""Which memory goes into a core for each bit of the filter, and pages that are in no page table."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import pipeline
from .corefile import CoreFile
from .facts import Facts
from .judge import judge
from .lab import Capture
from .regions import PAGE, expected_pages
from .variants import FILTERS

# What not every kernel can do.
OF_SOME_KERNELS = {"uffd-protected", "guarded"}


def core_of(dump: Path, process: Facts, folder: Path, *options: str) -> tuple[CoreFile, list[tuple[int, int]]]:
    """A process's core by the commands, and the gaps in it."""
    stream, core = folder / "pages.gc", folder / "core"
    pipeline.pipe(("gc-maps", dump, str(process["global_pid"])), ("gc-pages", *options), stdout=stream)
    pipeline.run("gc-elf", "--strict", stdin=stream, stdout=core)
    return CoreFile(core), pipeline.gaps(stream)


@pytest.mark.lab("pages")
@pytest.mark.parametrize("role", FILTERS)
def test_each_bit_of_the_filter(captured: Capture, role: str, tmp_path: Path) -> None:
    """The kernel has dumped each process with its own filter: that is the default, and -f says the same."""
    process = captured.process(role)
    for options in ((), ("-f", str(int(process["filter"], 16)))):
        core, gaps = core_of(captured.vmcore, process, tmp_path, *options)
        judged = judge(core, CoreFile(captured.core(role)), gaps, process["threads"])
        assert (judged.differences, gaps) == ([], [])
        # Some bits select nothing but whole regions; only special mappings and headers are always there.
        assert judged.pages >= {"filter-00": 2, "filter-10": 4, "dynamic": 4}.get(role, 30)


@pytest.mark.lab("pages")
def test_every_bit_selects_something(captured: Capture) -> None:
    """In the kernel's own cores: without any, special mappings are there, and each bit adds some."""
    dumped = {role: sum(load.filesz > 0 for load in CoreFile(captured.core(role)).loads) for role in FILTERS}
    assert 0 < dumped["filter-00"] < min(count for role, count in dumped.items() if role != "filter-00")


@pytest.mark.lab("pages")
def test_pages_that_are_only_in_the_caches_of_files(captured: Capture, tmp_path: Path) -> None:
    """The process did not touch them: what was written stands in its own words in the core, all else is zeros."""
    process = captured.process("cached")
    core, _ = core_of(captured.vmcore, process, tmp_path, "-f", "127")
    written = {address: (name, page) for name, address, page in expected_pages(process)}
    regions = {region["name"] for region in process["regions"]}
    assert regions - OF_SOME_KERNELS >= {"large-private", "hugetlb-file-private", "many-leaves", "aio-ring"}
    for region in process["regions"]:
        memory = core.read(region["start"], region["size"])
        assert memory is not None, region
        for at in range(0, region["size"], PAGE):
            name, page = written.get(region["start"] + at, (region["name"], bytes(PAGE)))
            assert name == "aio-ring" or memory[at : at + PAGE] == page, (name, at)


@pytest.mark.lab("huge1g")
@pytest.mark.parametrize(("filter_", "name"), [("HS", "huge1g"), ("HP", "huge1g-untouched")])
def test_a_page_of_one_gigabyte(captured: Capture, filter_: str, name: str, tmp_path: Path) -> None:
    """In the page table as one entry, and only in the cache of its file."""
    process = captured.process("huge1g")
    core, gaps = core_of(captured.vmcore, process, tmp_path, "-f", filter_)
    (spelled,) = (region for region in process["regions"] if region["name"] == "huge1g")
    (looked_at,) = (region for region in process["regions"] if region["name"] == name)
    assert gaps == []
    for _, address, page in expected_pages({**process, "regions": [spelled]}):
        where = address - spelled["start"] + looked_at["start"]
        assert core.read(where, PAGE) == page
        assert core.read(where + 2 * PAGE, PAGE) == bytes(PAGE) or page != b""
