"""gc-regs: the registers of each thread, and the notes that a core has for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gcoretools.core.formats import core_format
from gcoretools.core.notes import NT_PRSTATUS, prstatus
from gcoretools.errors import StreamError
from gcoretools.kernel.image import Image
from gcoretools.kernel.registers import ThreadRegisters
from gcoretools.kernel.regsets import NT_PRFPREG, ThreadRegsets
from gcoretools.kernel.unwind import Rules
from gcoretools.records import Process, Record, Regs, Thread


class Recovery:
    """Recovers everything that a core shows of the registers of threads of one dump.

    Args:
        cfi: the kernel's call-frame information, where it is known.
    """

    def __init__(self, image: Image, cfi: Rules | None = None) -> None:
        self._registers = ThreadRegisters(image, cfi)
        self._regsets = ThreadRegsets(image)

    def of(self, process: Process, thread: Thread) -> Regs:
        """The `regs` record of one thread. Registers that could not be recovered stand as zeros in NT_PRSTATUS.

        Raises GcoreError for a process of a kind of which no cores are written.
        """
        form = core_format(process)
        found = self._registers.of(thread)
        values = form.shown(found.values)
        cs, ds = (found.values.get(name, 0) for name in ("cs", "ds"))
        sets = self._regsets.of(thread, form.bits, cs, ds, thread.pid == process.pid)
        words = [values.get(name, 0) for name in form.registers]
        status = prstatus(thread, words, any(kind == NT_PRFPREG for kind, _ in sets.notes), form)
        rows: list[tuple[int, bytes]] = [(NT_PRSTATUS, status), *sets.notes]
        notes: list[dict[str, object]] = [
            {"owner": "CORE" if kind in (NT_PRSTATUS, NT_PRFPREG) else "LINUX", "type": kind, "data": data}
            for kind, data in rows
        ]
        return Regs(thread.pid, found.origin, values, notes, sets.fpu_origin)


def add_registers(records: Iterable[Record], image: Image, cfi: Rules | None = None) -> Iterator[Record]:
    """The records with a `regs` behind each `thread`; those that are there already are made anew."""
    recovery, process = Recovery(image, cfi), None
    for record in records:
        if isinstance(record, Regs):
            continue
        yield record
        if isinstance(record, Process):
            process = record
        if isinstance(record, Thread):
            if process is None:
                raise StreamError(f"the stream has thread {record.pid} before any process")
            yield recovery.of(process, record)
