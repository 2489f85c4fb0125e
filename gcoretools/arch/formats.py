"""What a core of one kind of process consists of, as data: class, machine, registers, structs of its notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CoreFormat:
    """One kind of core. Struct formats are those of the module struct.

    Attributes:
        bits: the ELF class, and the size of a long: 64 or 32.
        machine: e_machine.
        registers: those of elf_gregset_t by name, in its order, each as long as a long.
        sources: the kernel's own register that each of them is the low part of, where the name is another.
        prstatus: struct elf_prstatus up to pr_reg: siginfo (signo, code, errno), cursig, sigpend, sighold, pid,
            ppid, pgrp, sid, then four timevals.
        prstatus_end: what stands behind pr_reg: pr_fpvalid.
        prpsinfo: struct elf_prpsinfo: state, sname, zomb, nice, flag, uid, gid, pid, ppid, pgrp, sid, fname,
            psargs.
        id_limit: the largest uid and gid that it has room for.
    """

    bits: int
    machine: int
    registers: tuple[str, ...]
    sources: Mapping[str, str]
    prstatus: str
    prstatus_end: str
    prpsinfo: str
    id_limit: int

    @property
    def compat(self) -> bool:
        """Whether the kernel of such a process has others as its own: then it keeps things in another form."""
        return bool(self.sources)

    @property
    def mask(self) -> int:
        """The largest unsigned long."""
        return (1 << self.bits) - 1

    @property
    def word(self) -> str:
        """An unsigned long as the module struct writes it."""
        return "Q" if self.bits == 64 else "I"

    def shown(self, values: Mapping[str, int]) -> dict[str, int]:
        """Registers of the kernel's as such a core names and cuts them; none where there are none."""
        pairs = ((name, self.sources.get(name, name)) for name in self.registers)
        return {name: values[source] & self.mask for name, source in pairs if source in values}
