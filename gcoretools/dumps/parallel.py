"""Pages decompressed on every CPU: zlib and the other libraries let go of Python's lock meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")

THREADS_LIMIT = 8

SHARE = 32
"""Pages in a thread's share, at least: fewer are not worth to be handed over."""


def in_shares(work: Callable[[Sequence[T]], bytes], rows: Sequence[T], share: int = SHARE) -> bytes:
    """What `work` makes of all rows, in their order; each CPU gets a share of them. Raises what `work` raises."""
    threads = _cpus()
    size = max(share, -(-len(rows) // threads))
    if threads == 1 or size >= len(rows):
        return work(rows)
    return b"".join(_pool().map(work, [rows[at : at + size] for at in range(0, len(rows), size)]))


@cache
def _cpus() -> int:
    return min(len(os.sched_getaffinity(0)), THREADS_LIMIT)


@cache
def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # it takes time, and few commands read so much

    return ThreadPoolExecutor(_cpus())
