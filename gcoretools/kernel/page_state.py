"""What a page of a mapping can be: the states that all of its finders share, and the words for gaps."""

from __future__ import annotations

# DATA has its bytes in a page frame of the dump, STORED elsewhere in the dump, or beside it, IN_FILE in the mapped
# file. They and ZERO, which was never touched, go into the core. EMPTY is asked for elsewhere. All others are gaps;
# EXCLUDED and all numbers above it are pages that the dump does not hold, one for each of its reasons (Dump.why).
(
    DATA,
    STORED,
    IN_FILE,
    ZERO,
    SWAPPED,
    NOT_MAPPED,
    NO_TABLE,
    NOT_CACHED,
    NOT_READ,
    NO_CACHE,
    POISONED,
    PRIVATE,
    EMPTY,
    EXCLUDED,
) = range(14)

WITH_BYTES = (DATA, STORED, IN_FILE)

GAP_REASONS = {
    SWAPPED: "swapped out",
    NOT_MAPPED: "not in the page table",
    NO_TABLE: "its page table is not in the dump",
    NOT_CACHED: "a page of a file, not in memory",
    NOT_READ: "a page of a file, not yet read from it",
    NO_CACHE: "a page of a file whose page cache is damaged or not in the dump",
    POISONED: "in broken memory (hwpoison)",
    PRIVATE: "in a device's own memory",
}
