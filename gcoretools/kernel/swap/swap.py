"""Where swapped pages are, in the order in which the kernel looks (mm/memory.c: do_swap_page; mm/page_io.c)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SIZE, Buffer
from gcoretools.errors import FileError, KernelDataError, LayoutError, PageAbsent
from gcoretools.kernel.image import Image
from gcoretools.kernel.page import Pages
from gcoretools.kernel.page_state import DATA, STORED, SWAPPED, ZERO
from gcoretools.kernel.swap import area as swap_area
from gcoretools.kernel.swap.area import Area
from gcoretools.kernel.swap.cache import SwapCache
from gcoretools.kernel.swap.disk import SwapImage
from gcoretools.kernel.swap.entry import offsets, types
from gcoretools.kernel.swap.store import HELD, LOST, UNKNOWN, Store
from gcoretools.kernel.swap.zram import Zram
from gcoretools.kernel.swap.zsmalloc import Zsmalloc
from gcoretools.kernel.swap.zswap import Zswap
from gcoretools.memory import NO_FRAME
from gcoretools.paging import Words

LOG = logging.getLogger(__name__)

States = NDArray[np.uint8]

# States from here on are gaps that only swap knows; those below are of gcoretools.kernel.page_state.
FIRST_REASON, LAST_REASON = 64, 255


class Swap:
    """The swapped pages of one kernel.

    Args:
        image: the kernel.
        images: of swap areas on disk, by their names; the name "" is that of the only one.

    Attributes:
        reasons: why a page is a gap, by its state; it grows as `locate` finds more.
    Raises FileError for an image that is not of an area of this kernel.
    """

    def __init__(self, image: Image, images: Mapping[str, Path] | None = None) -> None:
        self._image = image
        self.reasons: dict[int, str] = {}
        self._stores: dict[int, Sequence[Store]] = {}
        self._images: dict[int, SwapImage] = {}
        for name, path in (images or {}).items():
            area = self._named(name, path)
            self._images[area.number] = SwapImage(area, path)

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

        Returns: DATA with page frames, STORED with what `read` takes, ZERO, or a gap: SWAPPED as before where the
            area is not known, else one out of `reasons`.
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
        return rows.reshape(-1).data

    def _in_area(self, number: int, entries: Words) -> tuple[States, Words]:
        area, places = self.areas.get(number), entries.copy()
        if area is None:
            return np.full(len(entries), SWAPPED, np.uint8), places
        states = np.full(len(entries), self._gap(f"swapped out to {area.name}"), np.uint8)
        try:
            left = self._in_memory(area, states, places)
            self._in_stores(area, states, places, left)
        except (KernelDataError, LayoutError, PageAbsent) as error:
            LOG.warning("swap area %s: %s", area.name, error)
        return states, places

    def _in_memory(self, area: Area, states: States, places: Words) -> NDArray[np.intp]:
        """Settle the pages that are in the swap cache or known to be zero; those that are left."""
        wanted = offsets(places)
        frames, zero = self._cache.frames(area, wanted), self._cache.zeros(area, wanted)
        cached = frames != NO_FRAME
        states[zero] = ZERO
        states[cached], places[cached] = DATA, frames[cached]
        return np.flatnonzero(~cached & ~zero)

    def _in_stores(self, area: Area, states: States, places: Words, left: NDArray[np.intp]) -> None:
        """Settle the pages that are left: each store is asked for what none before it knows."""
        for store in self._of(area):
            verdicts = store.verdicts(offsets(places[left]))
            for verdict in np.unique(verdicts[verdicts != UNKNOWN]).tolist():
                state = STORED if verdict == HELD else self._gap(store.reasons[verdict - LOST])
                states[left[verdicts == verdict]] = state
            left = left[verdicts == UNKNOWN]

    def _of(self, area: Area) -> Sequence[Store]:
        """The stores that have pages of an area, in the order in which the kernel asks them."""
        if area.number not in self._stores:
            self._stores[area.number] = tuple(self._open(area))
        return self._stores[area.number]

    def _open(self, area: Area) -> Iterator[Store]:
        if self._image.has("zswap_trees", "zswap_entry.length"):
            yield Zswap(self._image, area, self._objects)
        disk = swap_area.disk(self._image, area)
        if disk and self._is_zram(area):
            yield Zram(self._image, area.name, disk, self._objects)
        elif area.number in self._images:
            yield self._images[area.number]

    def _named(self, name: str, path: Path) -> Area:
        """The area on disk of that name, or the only one. Raises FileError when there is none."""
        there = {area.name: area for area in self.areas.values() if not self._is_zram(area)}
        known = f"the areas on disk are {', '.join(there)}" if there else "the kernel had no swap area on disk"
        if name in there:
            return there[name]
        if name:
            raise FileError(f"{name}={path}: no swap area is called so; {known}")
        if len(there) != 1:
            raise FileError(f"{path}: of which swap area is it? {known}")
        return next(iter(there.values()))

    def _is_zram(self, area: Area) -> bool:
        try:
            disk = swap_area.disk(self._image, area)
            return disk is not None and disk.string("disk_name").startswith("zram")
        except (KernelDataError, PageAbsent):
            return False

    def _gap(self, reason: str) -> int:
        """The state of gaps with this reason."""
        for state, known in self.reasons.items():
            if known == reason:
                return state
        state = min(FIRST_REASON + len(self.reasons), LAST_REASON)
        self.reasons[state] = reason
        return state
