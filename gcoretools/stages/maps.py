"""gc-maps: the mappings of each process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gcoretools.errors import GcoreError, SelectorError
from gcoretools.kernel.image import Image
from gcoretools.kernel.path import Paths, process_root
from gcoretools.kernel.vma import Mappings
from gcoretools.records import Done, Process, Record, Vma


def add_mappings(records: Iterable[Record], image: Image) -> Iterator[Record]:
    """The records with every `vma` of a process before its `done`; those that are there already are made anew.

    Raises SelectorError for a process without memory of its own.
    """
    process = None
    for record in records:
        if isinstance(record, Process):
            _check_has_memory(record)
            process = record
        if isinstance(record, Done) and process:
            yield from _mappings(process, image)
        if not isinstance(record, Vma):
            yield record


def _mappings(process: Process, image: Image) -> Iterator[Vma]:
    root = process_root(image, image.struct("task_struct", process.task))
    try:
        yield from Mappings(image, process.mm, Paths(image, root), process.bits)
    except GcoreError as error:
        raise type(error)(f"pid {process.pid}: {error}") from error


def _check_has_memory(process: Process) -> None:
    """Raises SelectorError for a process that has no memory of its own."""
    if process.mm:
        return
    why = "has exited: its memory is gone" if process.state == "Z" else "is a kernel thread: it has no user memory"
    raise SelectorError(f"pid {process.pid}: {process.comm} {why}")
