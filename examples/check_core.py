"""Look into cores of the example's order desks, and see that they hold what they must.

usage: python -m examples.check_core CORE...     from the top of the checkout

The reader of cores is the tests' own, and addresses come from the symbols of examples/orderdesk: nothing that made
the core is asked.
"""

from __future__ import annotations

import sys
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tests.lab.corefile import CoreFile

PROGRAM = Path(__file__).parent / "orderdesk"
WORKERS = ("host", "waiter", "cook", "porter", "till")
BADGE = ("rbx", "r12", "r13", "r14", "r15")

# Variables of orderdesk.c: those that hold text, and those that point to it.
TEXTS = {"greeting": "Welcome to the order desk."}
POINTERS = {"kitchen": "kitchen: private", "counter": "counter: shared", "menu": "TODAY'S SPECIAL"}


def main(paths: list[str]) -> int:
    """Print what each core holds; 1 when something is not as it must be, and words on standard error."""
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    wrong = [f"{path}: {fault}" for path in paths for fault in check(CoreFile(Path(path)))]
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


def check(core: CoreFile) -> list[str]:
    """Print what a core holds, and return what is wrong with it."""
    faults = []
    for tid, registers in sorted(core.threads.items()):
        worker = WORKERS[tid % 100]
        badge = {name: registers[name].to_bytes(8, "little").decode("latin-1") for name in BADGE}
        print(f"thread {tid}:", *(f"{name}={text!r}" for name, text in badge.items()))
        if badge != {name: f"{worker[:4]}.{name}" for name in BADGE}:
            faults.append(f"the registers of thread {tid} are not those of the {worker}")
    for name, beginning in (TEXTS | POINTERS).items():
        text = text_at(core, address(core, name))
        print(f"{name}: {text!r}")
        if not text.startswith(beginning):
            faults.append(f"{name} does not begin with {beginning!r}")
    return faults


def address(core: CoreFile, name: str) -> int:
    """Where a variable's text stands: at its symbol, or where that points."""
    with PROGRAM.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection), f"{PROGRAM} is stripped"
        symbols = table.get_symbol_by_name(name)
    assert symbols, f"{PROGRAM} has no {name}"
    at: int = symbols[0]["st_value"]
    return at if name in TEXTS else int.from_bytes(core.read(at, 8) or b"", "little")


def text_at(core: CoreFile, va: int) -> str:
    """The text at a virtual address, up to its NUL; "" when the core does not hold that memory."""
    return (core.read(va, 96) or b"").partition(b"\0")[0].decode("latin-1")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
