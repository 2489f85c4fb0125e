"""Physical memory out of a dump file, whatever its format: `open_dump(path)`."""

from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE, Buffer, Dump, Note, Pfns
from gcoretools.dumps.notes import vmcoreinfo_note
from gcoretools.dumps.parts import absolute
from gcoretools.dumps.probe import open_dump

__all__ = ["PAGE_SHIFT", "PAGE_SIZE", "Buffer", "Dump", "Note", "Pfns", "absolute", "open_dump", "vmcoreinfo_note"]
