"""What a page of a mapping can be: the states that all of its finders share, and the words for gaps."""

from __future__ import annotations

# DATA has its bytes in a page frame of the dump, STORED elsewhere in the dump, or beside it. They and ZERO, which
# was never touched, go into the core; all others are gaps.
DATA, STORED, ZERO, EXCLUDED, SWAPPED, NOT_MAPPED, NO_TABLE = range(7)

WITH_BYTES = (DATA, STORED)

GAP_REASONS = {
    SWAPPED: "swapped out or being migrated",
    NOT_MAPPED: "a page of a file, not in the page table",
    NO_TABLE: "its page table is not in the dump",
}
