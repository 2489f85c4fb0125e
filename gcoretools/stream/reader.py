"""Reading a stream, which is untrusted and may have been cut.

msgpack's Unpacker says nothing when the last object is cut; only the `end` record with its count proves a
stream whole. Page data does not go through it: nearly all of a stream is that, and each copy of it would show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BufferedReader, BytesIO

import msgpack
import numpy as np

from gcoretools.errors import StreamError
from gcoretools.records import DATA_LIMIT, End, Header, Pages, Record
from gcoretools.stream.wire import check_range, from_wire

# The longest list or map in a record, and the longest string: the header's layout is the largest of all.
ITEMS_LIMIT = 1 << 16
TEXT_LIMIT = 1 << 20

# The longest record in bytes: one of this size that is all empty maps already takes half a GiB.
RECORD_LIMIT = 1 << 23

# How much is read at a time where records are small.
CHUNK = 1 << 16

# A `pages` record as Writer begins it, up to its data: a map of three, "kind", "start" (a number in any of its
# five forms), and the data's length in four bytes.
PAGES_HEAD = re.compile(
    rb"\x83\xa4kind\xa5pages\xa5start"
    rb"(?:(?P<u7>[\x00-\x7f])|\xcc(?P<u8>.)|\xcd(?P<u16>..)|\xce(?P<u32>.{4})|\xcf(?P<u64>.{8}))"
    rb"\xa4data\xc6(?P<size>.{4})",
    re.DOTALL,
)
START_FORMS = ("u7", "u8", "u16", "u32", "u64")
PAGES_HEAD_LIMIT = 40
PAGES_HEAD_START = b"\x83\xa4kind\xa5pages"

File = BufferedReader | BytesIO


def read_stream(file: File) -> Iterator[Record]:
    """Every record but the last, in order; the header first.

    Raises StreamError when the input is no stream of ours, is of another version, or was cut: so whoever
    gets through all of it has seen a whole stream.
    """
    reader, count = _Reader(file), 0
    for record in reader.records():
        if count == 0:
            _check_header(record)
        elif isinstance(record, Header):
            raise StreamError("the stream has a second header: two streams were joined")
        if isinstance(record, End):
            if record.records != count:
                raise StreamError(f"the stream lost records: {count} of {record.records} are here")
            if reader.goes_on():
                raise StreamError("the stream goes on after its end")
            return
        count += 1
        yield record
    if count == 0 and not reader.goes_on():
        raise StreamError("the input is empty: the command before wrote nothing")
    raise StreamError(f"the stream was cut after {count} records: the command before did not finish")


def _check_header(record: Record) -> None:
    if not isinstance(record, Header):
        raise StreamError("the input is not a stream of gcoretools: it does not begin with a header")


class _Reader:
    """Records out of a file: `pages` records by hand, all others by msgpack."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._chunk = b""
        self._at = 0  # in the chunk: what lies before it has been read
        self._cut = False
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=RECORD_LIMIT,
            max_bin_len=DATA_LIMIT,
            max_str_len=TEXT_LIMIT,
            max_array_len=ITEMS_LIMIT,
            max_map_len=ITEMS_LIMIT,
            max_ext_len=0,
            unicode_errors="surrogateescape",
        )
        self._fed = False  # whether the unpacker has the rest of the chunk, too
        self._base = 0  # what the unpacker had consumed where the chunk begins

    def records(self) -> Iterator[Record]:
        """Every whole record. Raises StreamError for what is none."""
        try:
            while self._has_bytes():
                record = self._pages() or self._other()
                if record is None:
                    return
                yield record
        except OSError as error:
            raise StreamError(f"the input cannot be read: {error.strerror or error}") from error
        except (msgpack.UnpackException, ValueError, TypeError) as error:
            raise StreamError(
                f"the input is not a stream of gcoretools, or it is damaged ({error or type(error).__name__})"
            ) from error

    def goes_on(self) -> bool:
        """Whether there are bytes behind the last whole record."""
        return self._cut or self._has_bytes()

    def _has_bytes(self) -> bool:
        """Whether there is anything to read; the next chunk is fetched when this one is done."""
        if self._at == len(self._chunk):
            self._chunk, self._at, self._fed = self._file.read1(CHUNK), 0, False
        return self._at < len(self._chunk)

    def _pages(self) -> Pages | None:
        """A `pages` record, its data read to where it stays; None when what comes is none of Writer's."""
        if not PAGES_HEAD_START.startswith(self._chunk[self._at : self._at + len(PAGES_HEAD_START)]):
            return None
        self._look_ahead()
        head = PAGES_HEAD.match(self._chunk, self._at)
        size = int.from_bytes(head["size"], "big") if head else 0
        if head is None or size > DATA_LIMIT or self._cut:
            return None
        data = np.empty(size, np.uint8).data
        here = self._chunk[head.end() : head.end() + size]
        data[: len(here)] = here
        self._at = head.end() + len(here)
        if self._file.readinto(data[len(here) :]) != size - len(here):
            self._cut = True
            return None
        start = next(head[form] for form in START_FORMS if head[form] is not None)
        record = Pages(int.from_bytes(start, "big"), data)
        check_range(record)
        return record

    def _look_ahead(self) -> None:
        """Have the longest head of a `pages` record in the chunk, unless the file ends before."""
        if self._fed:
            self._unpacker.read_bytes(len(self._chunk) - self._at)
        self._chunk, self._at, self._fed = self._chunk[self._at :], 0, False
        while len(self._chunk) < PAGES_HEAD_LIMIT:
            more = self._file.read1(CHUNK)
            if not more:
                return
            self._chunk += more

    def _other(self) -> Record | None:
        """A record by msgpack; None when the file ends before the record does."""
        if not self._fed:
            self._base = self._unpacker.tell() - self._at
            self._feed(memoryview(self._chunk)[self._at :])
        while not self._cut:
            try:
                wire = self._unpacker.unpack()
            except msgpack.OutOfData:
                self._base += len(self._chunk)
                self._chunk = self._file.read1(CHUNK)
                self._feed(self._chunk)
                self._cut = not self._chunk
                continue
            self._at = self._unpacker.tell() - self._base
            return from_wire(wire)
        return None

    def _feed(self, data: bytes | memoryview) -> None:
        self._unpacker.feed(data)
        self._fed = True
