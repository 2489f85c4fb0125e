"""A stream made once more, out of what its header says of the stages that made it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from gcoretools.core.filter import ALL_BITS
from gcoretools.dumps import Dump
from gcoretools.errors import StreamError
from gcoretools.kernel.core_rules import core_rules
from gcoretools.kernel.image import Image
from gcoretools.kernel.swap.swap import Swap
from gcoretools.layout.layout import kernel_to_plain
from gcoretools.layout.resolve import resolve_kernel
from gcoretools.records import FORMAT, VERSION, Header, Pages, Record, Regs
from gcoretools.stages.ahead import read_here
from gcoretools.stages.maps import add_mappings
from gcoretools.stages.pages import add_pages
from gcoretools.stages.regs import add_registers
from gcoretools.stages.tasks import Tasks
from gcoretools.stream import to_wire
from gcoretools.sysroot.backing import Sysroot

# What a stage's arguments came to.
Settings = dict[str, Any]

Stage = Callable[[Iterable[Record], Image, Header, Settings], Iterable[Record]]

# What each stage adds to the records of those before it.
STAGES: dict[str, Stage] = {
    "gc-tasks": lambda records, image, header, settings: records,
    "gc-maps": lambda records, image, header, settings: add_mappings(records, image),
    "gc-regs": lambda records, image, header, settings: add_registers(records, image),
    "gc-pages": lambda records, image, header, settings: read_here(
        add_pages(records, image, header.rules, settings.get("filter"), _sysroot(settings), _swap(image, settings))
    ),
}


# What each setting can be: a stream is untrusted.
SETTINGS: dict[str, Callable[[object], bool]] = {
    "k": lambda value: value is None or isinstance(value, str),
    "sysroot": lambda value: value is None or isinstance(value, str),
    "swap": lambda value: (
        isinstance(value, dict) and all(isinstance(word, str) for pair in value.items() for word in pair)
    ),
    "selectors": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    "comm": lambda value: value is None or isinstance(value, str),
    "kernel_threads": lambda value: isinstance(value, bool),
    "filter": lambda value: value is None or (type(value) is int and 0 <= value <= ALL_BITS),
}


# What a header says of the kernel that need not come out of its dump.
FROM_CACHE = ("layout", "types_from", "symbols_from")


class Replay:
    """The stages of one stream.

    Args:
        header: of the stream. Raises StreamError when it names other stages than ours, or not what they did.
    """

    def __init__(self, header: Header) -> None:
        self._stages = [_checked(stage) for stage in header.history]
        if not (self._stages and "selectors" in self._stages[0][1]):
            raise StreamError("the stream does not say which tasks were chosen: make it anew")
        self._first = self._stages[0][1]
        names = [name for name, _ in self._stages]
        # A core needs them, and gc-elf recovers those that are not in the stream.
        self.adds_registers = "gc-maps" in names and "gc-regs" not in names

    def records(self, dump: Dump) -> Iterator[Record]:
        """All records, the header first, out of nothing but a dump, and the registers that a core needs.

        Raises StreamError when the settings cannot be, and what the stages raise.
        """
        vmlinux = self._first.get("k")
        image = Image(dump, resolve_kernel(dump, Path(vmlinux) if vmlinux else None, use_cache=False))
        header = Header(FORMAT, VERSION, [], {}, kernel_to_plain(image.kernel), core_rules(image))
        yield header
        records = self._chosen(image)
        for name, settings in self._stages:
            records = STAGES[name](records, image, header, settings)
        yield from add_registers(records, image) if self.adds_registers else records

    def _chosen(self, image: Image) -> Iterable[Record]:
        name, first = self._stages[0][0], self._first
        if name == "gc-tasks" and not first["selectors"]:
            return Tasks(image).everything(first.get("comm"), bool(first.get("kernel_threads")))
        return Tasks(image).selected(first["selectors"])

    def digests(self, records: Iterable[Record]) -> tuple[str, str]:
        """What records say, as a hash of what the stream must have and one of what it need not have.

        That is the registers, where gc-elf has to recover them, and the kernel's types: out of the cache they can
        be more than the dump has. Where the dump lies, its format and fingerprint, and the history never count.
        """
        said, beside = hashlib.blake2b(), hashlib.blake2b()
        for record in records:
            if isinstance(record, Header):
                kernel = {name: record.kernel[name] for name in FROM_CACHE}
                _add(beside, replace(record, history=[], dump={}, kernel=kernel))
                kernel = {name: value for name, value in record.kernel.items() if name not in FROM_CACHE}
                record = replace(record, history=[], dump={}, kernel=kernel)
            _add(beside if self.adds_registers and isinstance(record, Regs) else said, record)
        return said.hexdigest(), beside.hexdigest()


def _sysroot(settings: Settings) -> Sysroot | None:
    """The folder of --sysroot, of which everything was told before."""
    folder = settings.get("sysroot")
    return Sysroot(Path(folder), _say_nothing, _say_nothing) if folder else None


def _swap(image: Image, settings: Settings) -> Swap:
    """The swapped pages, with the images of --swap."""
    return Swap(image, {name: Path(path) for name, path in settings.get("swap", {}).items()})


def _say_nothing(_: str) -> None:
    pass


def _checked(stage: dict[str, object]) -> tuple[str, Settings]:
    """A stage's name and settings."""
    name, settings = str(stage.get("stage")), stage.get("settings")
    if name not in STAGES:
        raise StreamError(f"the stream went through {name}, which cannot be done once more")
    if not isinstance(settings, dict):
        raise StreamError(f"the stream does not say what {name} did: make it anew")
    for key, value in settings.items():
        if not (key in SETTINGS and SETTINGS[key](value)):
            raise StreamError(f"the stream's {name} had {key} {value!r}, which cannot be done once more")
    return name, settings


def _add(state: hashlib.blake2b, record: Record) -> None:
    """A record as bytes: its fields as text, and the data of pages as it is."""
    wire = to_wire(record)
    data = wire.pop("data") if isinstance(record, Pages) else b""
    assert isinstance(data, bytes | memoryview)
    for part in (json.dumps(wire, default=lambda value: bytes(value).hex()).encode(), data):
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
