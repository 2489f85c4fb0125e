"""gc-regs: the registers of each thread, and the notes that a core has for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gcoretools.core.notes import NT_PRSTATUS, prstatus
from gcoretools.kernel.image import Image
from gcoretools.kernel.registers import ThreadRegisters
from gcoretools.kernel.regsets import NT_PRFPREG, ThreadRegsets
from gcoretools.records import Record, Regs, Thread


class Recovery:
    """Recovers everything that a core shows of the registers of threads of one dump."""

    def __init__(self, image: Image) -> None:
        self._registers = ThreadRegisters(image)
        self._regsets = ThreadRegsets(image)

    def of(self, thread: Thread) -> Regs:
        """The `regs` record of one thread. Registers that could not be recovered stand as zeros in NT_PRSTATUS."""
        found, sets = self._registers.of(thread), self._regsets.of(thread)
        words = [found.values.get(name, 0) for name in self._registers.names]
        status = prstatus(thread, words, fpvalid=any(kind == NT_PRFPREG for kind, _ in sets.notes))
        rows: list[tuple[int, bytes]] = [(NT_PRSTATUS, status), *sets.notes]
        notes: list[dict[str, object]] = [
            {"owner": "CORE" if kind in (NT_PRSTATUS, NT_PRFPREG) else "LINUX", "type": kind, "data": data}
            for kind, data in rows
        ]
        return Regs(thread.pid, found.origin, found.values, notes, sets.fpu_origin)


def add_registers(records: Iterable[Record], image: Image) -> Iterator[Record]:
    """The records with a `regs` behind each `thread`; those that are there already are made anew."""
    recovery = Recovery(image)
    for record in records:
        if isinstance(record, Regs):
            continue
        yield record
        if isinstance(record, Thread):
            yield recovery.of(record)
