"""What the pages of the program `memory` say: each spells its region and its number."""

from __future__ import annotations

from collections.abc import Iterator

from .facts import Facts

PAGE = 4096
TOUCHED = {"all": (0, 1), "even": (0, 2), "none": (0, 0), "read": (0, 0)}

# core(5): what filter 0x33 leaves out are shared mappings of files that have a name, and shared huge pages.
NOT_BY_DEFAULT = {
    "hugetlb-shared", "file-shared", "file-shared-offset", "file-shared-beyond", "tmpfs-shared", "posix-shm",
}  # fmt: skip


def expected_pages(process: Facts) -> Iterator[tuple[str, int, bytes | None]]:
    """Region, address and content of each page that the process wrote; None where its filter leaves it out."""
    absent = {"dontdump", *(NOT_BY_DEFAULT if process["role"] == "memory-default" else ())}
    for region in process["regions"]:
        for page in touched_pages(region):
            content = None if region["name"] in absent else spelled(region["name"], page)
            yield region["name"], region["start"] + page * PAGE, content


def touched_pages(region: Facts) -> list[int]:
    """The numbers of the pages that the process wrote."""
    if region["touched"] not in TOUCHED:
        return [int(number) for number in region["touched"].split(",")]
    start, step = TOUCHED[region["touched"]]
    return list(range(start, region["size"] // PAGE, step)) if step else []


def spelled(region: str, page: int) -> bytes:
    """A page that says where it is."""
    return f"{region:22} {page:08x}\n".encode() * 128
