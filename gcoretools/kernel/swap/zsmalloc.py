"""Objects of zsmalloc, which zram and zswap keep compressed pages in (mm/zsmalloc.c).

A handle is the address of a word that says where its object is: a page frame, and the number of the object from the
start of that page's zspage on, counted in objects that begin in it. An object may go on in the zspage's next page.
How the bits of that word, and of the zspage's own first word, are divided is in no type: the ways that there were
are rows of a table, and the right one proves itself, since each zspage has a magic number and each object begins
with its handle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gcoretools.dumps.dump import PAGE_SHIFT, PAGE_SIZE
from gcoretools.errors import KernelDataError
from gcoretools.kernel.image import Image
from gcoretools.kernel.page import Pages
from gcoretools.kernel.swap.store import bit
from gcoretools.paging import Words

Flags = NDArray[np.bool_]

ZSPAGE_MAGIC = 0x58
MAGIC_MASK = (1 << 8) - 1

# CLASS_BITS + 1 bits number the size class; classes are that many bytes apart.
CLASS_MASK = (1 << 9) - 1
CLASS_STEP = PAGE_SIZE >> 8

# OBJ_ALLOCATED_TAG: set beside the handle at the start of an object.
ALLOCATED = 1

# Handles that are looked at to tell the layout.
SAMPLE = 256


@dataclass(frozen=True, slots=True)
class Form:
    """How the bits of a kernel's words are divided.

    Attributes:
        frame_shift: where the page frame begins in the word behind a handle; below is the object's number.
        tag: bits below that number (OBJ_TAG_BITS).
        class_shift: where the size class is in a zspage's first word.
        magic_shift: where the magic number is in it.
        huge_bit: whether bit 0 of it marks objects of a whole page, which have no handle before them.
    """

    frame_shift: int
    tag: int
    class_shift: int
    magic_shift: int
    huge_bit: bool


# (tag, class_shift, magic_shift, huge_bit), newest first.
_WORDS = (
    (0, 5, 14, True),  # 6.9 has no isolated bits any more, 6.10 no tag
    (1, 5, 14, True),
    (1, 5, 17, True),  # 4c7ac97285d8 (6.4) has four fullness bits
    (1, 3, 15, True),  # a41ec880aa7b (5.17) has the huge bit
    (1, 2, 14, False),
)

# BITS_PER_LONG less the bits of a page frame (MAX_POSSIBLE_PHYSMEM_BITS - PAGE_SHIFT), by the size of a word:
# 52 bits of physical address since 02390b87a945 (4.17), 46 before; 36 with PAE, 32 without.
_FRAME_SHIFTS = {8: (24, 30), 4: (8, 12)}


@dataclass(frozen=True, slots=True)
class Objects:
    """Where some objects lie.

    Attributes:
        found: which of them are whole in the dump.
        frame, following: page frames of where each begins, and goes on if it does.
        start: of its bytes in the first of them.
    """

    found: Flags
    frame: Words
    following: Words
    start: Words


class Zsmalloc:
    """The objects of one kernel.

    Args:
        image: the kernel.
        pages: its struct pages.
    """

    def __init__(self, image: Image, pages: Pages) -> None:
        self._image = image
        self._pages = pages
        self._word = image.pointer_size
        self._form: Form | None = None

    def find(self, handles: Words) -> Objects:
        """Where the objects of these handles lie."""
        if self._form is None:
            sample = handles[:SAMPLE]
            self._form = next((f for f in self._forms() if self._proves(f, sample)), None)
        if self._form is None:
            nothing = np.zeros(len(handles), np.uint64)
            return Objects(np.zeros(len(handles), np.bool_), nothing, nothing, nothing)
        return self._find(self._form, handles)

    def read(self, handles: Words, sizes: NDArray[np.int64]) -> Iterator[memoryview | bytes]:
        """The first `sizes` bytes of each object. Raises KernelDataError when one is not there."""
        where = self.find(handles)
        if not where.found.all():
            raise KernelDataError(f"zsmalloc handle {int(handles[~where.found][0]):#x}: its object is not there")
        spans = where.start + sizes.astype(np.uint64) > PAGE_SIZE
        frames, places = np.unique(np.concatenate([where.frame, where.following[spans]]), return_inverse=True)
        data = memoryview(self._image.dump.pages(frames)).cast("B")
        places = places.reshape(-1)
        begin = places[: len(handles)] * PAGE_SIZE + where.start.astype(np.int64)
        rest = np.zeros(len(handles), np.int64)
        rest[spans] = places[len(handles) :] * PAGE_SIZE
        for at, size, more, spanning in zip(
            begin.tolist(), sizes.tolist(), rest.tolist(), spans.tolist(), strict=True
        ):
            if spanning:
                end = at - at % PAGE_SIZE + PAGE_SIZE
                yield bytes(data[at:end]) + bytes(data[more : more + size - (end - at)])
            else:
                yield data[at : at + size]

    def _forms(self) -> Iterator[Form]:
        for shift in _FRAME_SHIFTS[self._word]:
            yield from (Form(shift, *words) for words in _WORDS)

    def _proves(self, form: Form, handles: Words) -> bool:
        """Whether every object that is there and has a handle before it begins with its own."""
        where = self._find(form, handles)
        if not where.found.any():
            return False
        small = where.found & (where.start % np.uint64(CLASS_STEP) == self._word)
        heads = self._words(where.frame[small], where.start[small] - np.uint64(self._word))
        return bool((heads == handles[small] | np.uint64(ALLOCATED)).all())

    def _find(self, form: Form, handles: Words) -> Objects:
        coded, found = self._gathered(handles)
        frame = coded >> np.uint64(form.frame_shift)
        number = coded >> np.uint64(form.tag) & np.uint64((1 << form.frame_shift - form.tag) - 1)
        pages = self._pages.addresses(frame)
        zspage, there = self._gathered(pages + np.uint64(self._image.member("page.private").offset))
        found &= there & (pages != 0)
        head, there = self._gathered(zspage, 4)
        found &= there & ((head >> np.uint64(form.magic_shift) & np.uint64(MAGIC_MASK)) == ZSPAGE_MAGIC)
        huge = self._huge(form, head, pages)
        size = self._smallest(form) + (head >> np.uint64(form.class_shift) & np.uint64(CLASS_MASK)) * CLASS_STEP
        start = np.where(huge, 0, (np.minimum(size, PAGE_SIZE) * number) % PAGE_SIZE + self._word)
        following, _ = self._gathered(pages + np.uint64(self._image.member("page.index").offset))
        following = self._pages.pfns(following)
        spans = ~huge & (start - self._word + size > PAGE_SIZE)
        found &= self._image.dump.present(frame) & (~spans | self._image.dump.present(following))
        return Objects(found, frame, following, start)

    def _huge(self, form: Form, head: Words, pages: Words) -> Flags:
        """Which objects have a page to themselves; until 5.17 the first page's PG_owner_priv_1 said so."""
        if form.huge_bit:
            huge: Flags = (head & np.uint64(1)) != 0
            return huge
        flags, _ = self._gathered(pages + np.uint64(self._image.member("page.flags").offset))
        huge = (flags >> bit(self._image, "PG_owner_priv_1") & np.uint64(1)) != 0
        return huge

    def _smallest(self, form: Form) -> int:
        """ZS_MIN_ALLOC_SIZE: 32 bytes, more where few bits are left to number the objects of a page."""
        return max(32, (4 << PAGE_SHIFT) >> (form.frame_shift - form.tag))

    def _gathered(self, addresses: Words, size: int = 0) -> tuple[Words, Flags]:
        """The words at many addresses, of `size` bytes or as large as a pointer."""
        rows, held = self._image.memory.gather(addresses, size or self._word)
        return rows.view(f"<u{size or self._word}").astype(np.uint64).reshape(-1), held

    def _words(self, frames: Words, starts: Words) -> Words:
        """The word at a place in each of these pages."""
        data = np.frombuffer(self._image.dump.pages(frames), f"<u{self._word}")
        at = np.arange(len(frames)) * PAGE_SIZE + starts.astype(np.int64)
        words: Words = data[at // self._word].astype(np.uint64)
        return words
