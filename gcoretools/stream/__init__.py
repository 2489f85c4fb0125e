"""The wire: records as msgpack maps, counted at the end, so that a cut stream is never taken for a whole one."""

from gcoretools.stream.reader import RECORD_LIMIT, read_stream
from gcoretools.stream.wire import to_wire
from gcoretools.stream.writer import Writer

__all__ = ["RECORD_LIMIT", "Writer", "read_stream", "to_wire"]
