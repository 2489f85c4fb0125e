"""How far the data of each process has come, as a bar on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from gcoretools.records import Done, Extent, Pages, Process, Record, Unread


def shown(records: Iterable[Record]) -> Iterator[Record]:
    """The records, with a bar for each process on standard error when that is a terminal, else as they are."""
    return _with_bars(records) if sys.stderr.isatty() else iter(records)


def _with_bars(records: Iterable[Record]) -> Iterator[Record]:
    from tqdm import tqdm  # takes longer to import than many a core to write

    tqdm.monitor_interval = 0  # a thread, and this process forks

    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, leave=False, delay=0.5) as bar:
        for record in records:
            if isinstance(record, Process):
                bar.reset(0)
                bar.set_description(f"pid {record.pid}", refresh=False)
            elif isinstance(record, Extent) and record.what == "data":
                bar.total += record.size
            elif isinstance(record, Done):
                bar.clear()
            yield record
            if isinstance(record, Pages | Unread):
                bar.update(record.size)
