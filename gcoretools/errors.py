"""What can go wrong, as sentences: the object, the place, the reason, the next step."""


class GcoreError(Exception):
    """A sentence for the user. Commands print it after their name and exit 1; nothing else is caught."""


class DumpError(GcoreError):
    """The file is not a dump that we read, or it is damaged."""


class PageAbsent(DumpError):
    """The dump is sound, but it does not hold the page; the sentence says why."""


class PageCorrupt(PageAbsent):
    """The dump holds the page, but its data is damaged; `pfn` is its page frame number."""

    def __init__(self, sentence: str, pfn: int = -1) -> None:
        super().__init__(sentence)
        self.pfn = pfn


class LayoutError(GcoreError):
    """The kernel's types or symbols could not be found, or do not fit the dump."""


class KernelDataError(GcoreError):
    """What stands in the dumped kernel's own structures cannot be: a cycle, a wild pointer, an absurd count."""


class SelectorError(GcoreError):
    """The user named a task that is not there, or that has no memory of its own."""


class StreamError(GcoreError):
    """The stream is cut, is not ours, or says what cannot be."""


class FileError(GcoreError):
    """A file or folder of this machine that the user named is not there, or not what it should be."""


class OutputError(GcoreError):
    """What we had to write could not be written."""


class UsageError(GcoreError):
    """The command line asks for what cannot be: exit 2."""
