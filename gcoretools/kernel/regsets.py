"""The notes that a core has of each thread behind its NT_PRSTATUS: the kernel's own table of register sets.

fs/binfmt_elf.c goes through the user_regset_view of the process's kind: each register set that names a note and
is active becomes one. The table stands in the dump; what each set holds is here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gcoretools.arch import xsave
from gcoretools.arch.i387 import FSAVE_SIZE, RESERVED, fsave, fxsave_head
from gcoretools.arch.tls import DESCRIPTOR_SIZE, user_desc
from gcoretools.errors import DumpError, KernelDataError, LayoutError
from gcoretools.kernel.fpu import FpuState, FpuStates
from gcoretools.kernel.image import Image, Struct
from gcoretools.kernel.task import without_thread_groups
from gcoretools.records import Thread

NT_PRFPREG, NT_PRXFPREG = 2, 0x46E62B7F
NT_386_TLS, NT_386_IOPERM = 0x200, 0x201
NT_X86_XSTATE, NT_X86_SHSTK, NT_X86_XSAVE_LAYOUT = 0x202, 0x204, 0x205

SETS_LIMIT = 32

# struct user32_fxsr_struct of include/asm-x86_64/user32.h: the selectors, each of 4 bytes.
FCS, FOS = 12, 20

# __KERNEL_CS of arch/x86/include/asm/segment.h, and the bits of any selector.
KERNEL_CS, SELECTOR = 0x10, 0xFFFF
IO_BITMAP_SIZE = 8192

# thread.features: the thread has a shadow stack (ARCH_SHSTK_SHSTK); its pointer is the second word of CET_USER.
FEATURE_SHADOW_STACK = 1 << 0
SHADOW_STACK_POINTER = slice(8, 16)

Error = (KernelDataError, LayoutError, DumpError)


@dataclass(frozen=True, slots=True)
class Regset:
    """One struct user_regset: the type of its note, and its size in bytes; 0: there is no such set."""

    note: int
    size: int


@dataclass(frozen=True, slots=True)
class RegsetNotes:
    """The notes of a thread in their order, each as type and data, and where its floating-point state came from."""

    notes: list[tuple[int, bytes]]
    fpu_origin: str


@dataclass(slots=True)
class _Source:
    """What the functions of the rows read."""

    task: Struct
    tables: xsave.XsaveTables | None
    state: FpuState | None
    bits: int
    segments: tuple[int, int]
    dumping: bool


class ThreadRegsets:
    """Makes the notes of the threads of one dump."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._states: FpuStates | None = None
        self._sets: dict[int, tuple[Regset, ...]] = {}
        self._lost = ""
        try:
            self._sets = {bits: regsets(image, bits) for bits in kinds(image)}
            self._states = FpuStates(image, _user_size(self._sets[image.arch.CORE.bits]))
        except Error as error:
            self._lost = f"not recovered: {error}"

    def of(self, thread: Thread, bits: int = 64, cs: int = 0, ds: int = 0, dumping: bool = False) -> RegsetNotes:
        """The notes of a thread; what cannot be recovered has none, and `fpu_origin` says why.

        Args:
            bits: 32 or 64, the kind of its process.
            cs, ds: the thread's selectors, which notes of a 32-bit one show.
            dumping: whether the thread stands for the one that writes the core.
        """
        task = self._image.struct("task_struct", thread.task)
        state, origin = self._state(thread, task)
        source = _Source(task, self._states.tables if self._states else None, state, bits, (cs, ds), dumping)
        notes = []
        for row in self._sets.get(bits, ()):
            try:
                data = ROWS[row.note](self._image, source) if row.note in ROWS and row.size else None
            except Error as error:
                data, origin = None, f"not recovered: {error}"
            if data:
                notes.append((row.note, data[: row.size]))
        return RegsetNotes(notes, origin)

    def _state(self, thread: Thread, task: Struct) -> tuple[FpuState | None, str]:
        """The thread's floating-point state, and where it comes from or why it is not there."""
        if self._states is None:
            return None, self._lost
        try:
            state = self._states.of(thread, task)
        except Error as error:
            return None, f"not recovered: {error}"
        return state, state.origin


def kinds(image: Image) -> tuple[int, ...]:
    """How many bits the processes of this kernel have: its own first."""
    return (64, 32) if image.arch.CORE.bits == 64 else (32,)


def regsets(image: Image, bits: int) -> tuple[Regset, ...]:
    """The register sets of processes of a kind, in the kernel's order, but for the general registers.

    Raises KernelDataError when the table is damaged, PageAbsent.
    """
    view = "user_x86_64_view" if bits == 64 else "user_x86_32_view"
    if not image.has(view) or not _has_views(image):
        fxsave = Regset(NT_PRXFPREG, xsave.FXSAVE_SIZE)
        return (Regset(NT_PRFPREG, FSAVE_SIZE), fxsave) if bits == 32 else (replace(fxsave, note=NT_PRFPREG),)
    table = image.struct("user_regset_view", image.symbol(view))
    if not 0 < table["n"] <= SETS_LIMIT:
        raise KernelDataError(f"{view}: {table['n']} register sets: the table is damaged")
    step = image.size("user_regset")
    rows = (image.struct("user_regset", table["regsets"] + step * i) for i in range(1, table["n"]))
    return tuple(Regset(row["core_note_type"], row["n"] * row["size"]) for row in rows)


def _has_views(image: Image) -> bool:
    """Whether the kernel has tables of register sets (since 2.6.25)."""
    return image.has(
        "user_regset_view.regsets", "user_regset_view.n", "user_regset.n", "user_regset.core_note_type"
    )


def last_notes(image: Image) -> list[dict[str, object]]:
    """The notes that this kernel puts behind those of all threads: NT_X86_XSAVE_LAYOUT (ba386777a30b, 6.12)."""
    if not image.has("x86_xfeat_component"):
        return []
    try:
        size = _user_size(regsets(image, image.arch.CORE.bits))
        tables = FpuStates(image, size).tables
    except Error:
        return []
    if tables is None:
        return []
    return [{"owner": "LINUX", "type": NT_X86_XSAVE_LAYOUT, "data": xsave.layout_note(tables)}]


def _user_size(sets: tuple[Regset, ...]) -> int:
    """Bytes of NT_X86_XSTATE: the kernel writes them into its table when the CPU has XSAVE."""
    return next((row.size for row in sets if row.note == NT_X86_XSTATE), 0)


def _fxsave(image: Image, source: _Source) -> bytes | None:
    if source.state is None or _is_fsave(source.state):
        return None
    return xsave.fxsave(source.state.area, source.tables)


def _is_fsave(state: FpuState) -> bool:
    return len(state.area) < xsave.FXSAVE_SIZE


def _prxfpreg(image: Image, source: _Source) -> bytes | None:
    """The FXSAVE image; kernels without tables of register sets put cs and ds where 32-bit ones have them."""
    found = _fxsave(image, source)
    if found is None or _has_views(image) or image.arch.CORE.bits == 32:
        return found
    cs, ds = (selector.to_bytes(4, "little") for selector in source.segments)
    return found[:FCS] + cs + found[FCS + 4 : FOS] + ds + found[FOS + 4 :]


def _prfpreg(image: Image, source: _Source) -> bytes | None:
    if source.state and _is_fsave(source.state):
        return source.state.area
    image_ = _fxsave(image, source)
    if image_ is None or source.bits == 64:
        return image_
    if image.arch.CORE.bits == 64:
        return fsave(image_, _x87_segments(image, source), by_stack=not without_thread_groups(image))
    return fsave(image_, None) if _has_views(image) else fxsave_head(image_)


def _x87_segments(image: Image, source: _Source) -> tuple[int, int]:
    """fcs and fos of the last x87 instruction: nobody knows them, and the kernel shows the thread's cs and ds.

    Of the thread that dumps, kernels up to 2.6.36 showed their own cs. Their names changed when NT_FILE came at the
    latest; those without a table of register sets filled the upper halves of both.
    """
    cs, ds = source.segments
    if image.has("elf_note_info.files"):
        return cs, ds & SELECTOR | RESERVED
    cs = KERNEL_CS if source.dumping else cs
    if not _has_views(image):
        return cs | RESERVED, ds & SELECTOR | RESERVED
    return cs, ds & SELECTOR | (0 if source.dumping else RESERVED)


def _xstate(image: Image, source: _Source) -> bytes | None:
    state = source.state
    if state is None or source.tables is None:
        return None
    return xsave.xstate(state.area, source.tables, state.features, state.pkru)


def _tls(image: Image, source: _Source) -> bytes | None:
    """All descriptors when any is not empty (regset_tls_active, regset_tls_get)."""
    table = source.task.raw("thread.tls_array")
    if not any(table):
        return None
    rows = [table[at : at + DESCRIPTOR_SIZE] for at in range(0, len(table), DESCRIPTOR_SIZE)]
    return b"".join(user_desc(row, number) for number, row in enumerate(rows, image.arch.TLS_FIRST))


def _ioperm(image: Image, source: _Source) -> bytes | None:
    """The permission bitmap of I/O ports, where the thread has one (ioperm_active, ioperm_get)."""
    if not source.task.has("thread.io_bitmap") or not source.task["thread.io_bitmap"]:
        return None
    bitmap = image.struct("io_bitmap", source.task["thread.io_bitmap"])
    return image.memory.read(bitmap.at("bitmap"), IO_BITMAP_SIZE) if bitmap["max"] else None


def _shadow_stack(image: Image, source: _Source) -> bytes | None:
    """The shadow stack's pointer, where the thread has one (ssp_active, ssp_get)."""
    has = source.task.has("thread.features") and source.task["thread.features"] & FEATURE_SHADOW_STACK
    if not has or source.state is None or source.tables is None:
        return None
    if not xsave.present(source.state.area) >> xsave.CET_USER & 1:
        return None
    return xsave.component(source.state.area, source.tables, xsave.CET_USER)[SHADOW_STACK_POINTER]


# What each register set holds, by the type of its note; the kernel's table says which there are, and their order.
ROWS: dict[int, Callable[[Image, _Source], bytes | None]] = {
    NT_PRFPREG: _prfpreg,
    NT_PRXFPREG: _prxfpreg,
    NT_X86_XSTATE: _xstate,
    NT_386_TLS: _tls,
    NT_386_IOPERM: _ioperm,
    NT_X86_SHSTK: _shadow_stack,
}
