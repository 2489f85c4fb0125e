"""Where swapped pages are, in the order in which the kernel looks (mm/memory.c: do_swap_page; mm/page_io.c)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SIZE, Buffer
from gcoretools.errors import KernelDataError, LayoutError, PageAbsent
from gcoretools.kernel.image import Image
from gcoretools.kernel.page import Pages
from gcoretools.kernel.page_state import DATA, STORED, ZERO
from gcoretools.kernel.swap import area as swap_area
from gcoretools.kernel.swap.area import Area
from gcoretools.kernel.swap.cache import SwapCache
from gcoretools.kernel.swap.entry import offsets, types
from gcoretools.kernel.swap.store import HELD, LOST, UNKNOWN, Store
from gcoretools.kernel.swap.zram import Zram
from gcoretools.kernel.swap.zsmalloc import Zsmalloc
from gcoretools.memory import NO_FRAME
from gcoretools.paging import Words

States = NDArray[np.uint8]

# States from here on are gaps that only swap knows; those below are of gcoretools.kernel.page_state.
FIRST_REASON, LAST_REASON = 64, 255


class Swap:
    """The swapped pages of one kernel.

    Args:
        image: the kernel.

    Attributes:
        reasons: why a page is a gap, by its state; it grows as `locate` finds more.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self.reasons: dict[int, str] = {}
        self._stores: dict[int, Sequence[Store]] = {}

    @cached_property
    def areas(self) -> dict[int, Area]:
        """The swap areas in use, by the type of an entry."""
        return swap_area.areas(self._image)

    @cached_property
    def _pages(self) -> Pages:
        return Pages(self._image)

    @cached_property
    def _cache(self) -> SwapCache:
        return SwapCache(self._image, self._pages)

    @cached_property
    def _objects(self) -> Zsmalloc:
        return Zsmalloc(self._image, self._pages)

    def locate(self, entries: Words) -> tuple[States, Words]:
        """State and place of the pages that these SWAPPED entries name.

        Returns: DATA with page frames, STORED with what `read` takes, ZERO, or a gap out of `reasons`.
        """
        states = np.empty(len(entries), np.uint8)
        places = entries.copy()
        areas = types(entries)
        for number in np.unique(areas).tolist():
            those = np.flatnonzero(areas == number)
            states[those], places[those] = self._in_area(number, entries[those])
        return states, places

    def read(self, places: Words) -> Buffer:
        """The bytes of STORED pages, one after the other. Raises KernelDataError when one is corrupt."""
        rows = np.empty((len(places), PAGE_SIZE), np.uint8)
        areas, wanted = types(places), offsets(places)
        for number in np.unique(areas).tolist():
            left = np.flatnonzero(areas == number)
            for store in self._of(self.areas[number]):
                held = store.verdicts(wanted[left]) == HELD
                rows[left[held]] = store.read(wanted[left[held]])
                left = left[~held]
        return rows.data.cast("B")

    def _in_area(self, number: int, entries: Words) -> tuple[States, Words]:
        area, wanted, places = self.areas.get(number), offsets(entries), entries.copy()
        if area is None:
            return np.full(len(entries), self._gap(f"swapped out to area {number}, which is not known")), places
        states = np.full(len(entries), self._gap(f"swapped out to {area.name}"), np.uint8)
        try:
            frames = self._cache.frames(area, wanted)
            zero = self._cache.zeros(area, wanted)
        except LayoutError:
            frames, zero = np.full(len(entries), NO_FRAME, np.uint64), np.zeros(len(entries), np.bool_)
        cached = frames != NO_FRAME
        places[cached] = frames[cached]
        states[zero] = ZERO
        states[cached] = DATA
        left = np.flatnonzero(~cached & ~zero)
        for store in self._of(area):
            verdicts = store.verdicts(wanted[left])
            for verdict in np.unique(verdicts[verdicts != UNKNOWN]).tolist():
                state = STORED if verdict == HELD else self._gap(store.reasons[verdict - LOST])
                states[left[verdicts == verdict]] = state
            left = left[verdicts == UNKNOWN]
        return states, places

    def _of(self, area: Area) -> Sequence[Store]:
        """The stores that have pages of an area, in the order in which the kernel asks them."""
        if area.number not in self._stores:
            self._stores[area.number] = tuple(self._open(area))
        return self._stores[area.number]

    def _open(self, area: Area) -> list[Store]:
        try:
            disk = swap_area.disk(self._image, area)
            if disk and disk.string("disk_name").startswith("zram"):
                return [Zram(self._image, area.name, disk, self._objects)]
        except (KernelDataError, LayoutError, PageAbsent):
            pass
        return []

    def _gap(self, reason: str) -> int:
        """The state of gaps with this reason."""
        for state, known in self.reasons.items():
            if known == reason:
                return state
        state = min(FIRST_REASON + len(self.reasons), LAST_REASON)
        self.reasons[state] = reason
        return state
