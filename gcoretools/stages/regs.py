"""gc-regs: the registers of each thread, and the notes that a core has for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gcoretools.core.notes import NT_PRSTATUS, prstatus
from gcoretools.kernel.image import Image
from gcoretools.kernel.registers import ThreadRegisters
from gcoretools.records import Record, Regs, Thread


def add_registers(records: Iterable[Record], image: Image) -> Iterator[Record]:
    """The records with a `regs` behind each `thread`; those that are there already are made anew."""
    registers = ThreadRegisters(image)
    for record in records:
        if isinstance(record, Regs):
            continue
        yield record
        if isinstance(record, Thread):
            yield thread_registers(record, registers)


def thread_registers(thread: Thread, registers: ThreadRegisters) -> Regs:
    """The `regs` record of one thread. Registers that could not be recovered stand as zeros in the note."""
    found = registers.of(thread)
    words = [found.values.get(name, 0) for name in registers.names]
    status = prstatus(thread, words, fpvalid=False)
    notes: list[dict[str, object]] = [{"owner": "CORE", "type": NT_PRSTATUS, "data": status}]
    return Regs(thread.pid, found.origin, found.values, notes)
