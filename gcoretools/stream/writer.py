"""Writing a stream: small records collected, page data as it lies in memory, and the count at the end."""

from __future__ import annotations

import fcntl
from contextlib import suppress

import msgpack

from gcoretools.errors import KernelDataError
from gcoretools.records import DATA_LIMIT, End, Pages, Record
from gcoretools.stream.wire import to_wire
from gcoretools.transfer import write_all

# Small records are collected up to this many bytes before they are written.
COLLECTED = 1 << 16


class Writer:
    """Writes records to a file descriptor and counts them.

    Args:
        fd: where to; written in whole, whatever its kind.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        _widen(fd)
        self._pack = msgpack.Packer(autoreset=True, unicode_errors="surrogateescape").pack
        self._pending = bytearray()
        self._count = 0

    def write(self, record: Record) -> None:
        """One record.

        Raises OSError when the descriptor takes no more, KernelDataError when a number is too large for the wire.
        """
        self._count += 1
        if isinstance(record, Pages):
            self._write_pages(record)
            return
        try:
            self._pending += self._pack(to_wire(record))
        except OverflowError as error:
            raise KernelDataError(f"a {record.kind} record has a number of more than 64 bits") from error
        if len(self._pending) >= COLLECTED:
            self.flush()

    def end(self) -> None:
        """The `end` record; the stream is whole now."""
        self.write(End(self._count))
        self.flush()

    def flush(self) -> None:
        """Write what is collected."""
        write_all(self._fd, [self._pending])
        self._pending = bytearray()

    def _write_pages(self, record: Pages) -> None:
        """A `pages` record without copying its data: the map, then the bytes themselves."""
        wire = to_wire(record)
        data = memoryview(record.data)
        wire["data"] = b""
        # "data" is the last field, so the empty bin's two bytes are the last ones; put the real length there.
        head = self._pack(wire)[:-2] + b"\xc6" + data.nbytes.to_bytes(4, "big")
        write_all(self._fd, [self._pending, head, data])
        self._pending = bytearray()


def _widen(fd: int) -> None:
    """Let a pipe hold a whole data record, as far as the system allows: both ends then work at once."""
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, DATA_LIMIT)
