"""What stands where no page is present, in page tables and in page caches of tmpfs: which page it names, if any.

Source: mm/memory.c: do_swap_page; include/linux/swapops.h.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gcoretools.kernel import page_state
from gcoretools.kernel.page_state import DATA, SWAPPED
from gcoretools.kernel.swap import entry
from gcoretools.paging import Words

# Pages under migration and pages that only a device may use now are still where they were.
_STATES = {
    entry.SWAPPED: SWAPPED,
    entry.MIGRATION: DATA,
    entry.EXCLUSIVE: DATA,
    entry.POISONED: page_state.POISONED,
    entry.PRIVATE: page_state.PRIVATE,
    entry.MARKER: page_state.ZERO,
}

# Of markers, the bit that says more than others first; a guard (7c53dfbdb024, 6.13) is never anything but zeros.
_MARKERS = (
    (entry.MARKER_POISONED, page_state.POISONED),
    (entry.MARKER_GUARD, page_state.ZERO),
    (entry.MARKER_UFFD_WP, page_state.EMPTY),
)

_TABLE = np.array([_STATES[kind] for kind in range(len(_STATES))], np.uint8)


def settle(swap: entry.SwapEntries, state: NDArray[np.uint8], places: Words) -> None:
    """Tell the pages that are SWAPPED (places: swap entries) from those of which such an entry says something else.

    Those that it finds become DATA, and their places frames; what is to be taken as no entry at all, EMPTY.
    """
    swapped = np.flatnonzero(state == SWAPPED)
    if not len(swapped):
        return
    entries = places[swapped]
    kinds = swap.kinds(entries)
    found = _TABLE[kinds]
    markers = kinds == entry.MARKER
    if markers.any():
        found[markers] = _of_markers(entry.offsets(entries[markers]))
    state[swapped] = found
    places[swapped] = np.where(found == DATA, swap.frames(entries), entries)


def _of_markers(bits: Words) -> NDArray[np.uint8]:
    said = [(bits & np.uint64(bit)) != 0 for bit, _ in _MARKERS]
    states = [np.uint8(state) for _, state in _MARKERS]
    found: NDArray[np.uint8] = np.select(said, states, np.uint8(page_state.EMPTY))
    return found
