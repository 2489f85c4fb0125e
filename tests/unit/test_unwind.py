"""The kernel stack of a sleeping thread, frame by frame: every register holds its own name, or a frame's."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcoretools.errors import KernelDataError, LayoutError
from gcoretools.kernel.unwind import CALLEE_SAVED, SWITCH_FRAME, Frame, callee_saved, entry_frame
from gcoretools.layout.cfi import Row
from gcoretools.layout.layout import Member
from gcoretools.records import Thread
from gcoretools.stages.tasks import Tasks
from tests.fake_kernel import FakeKernel, FakeProcess, Object, spelled

SCHEDULE, READ, ENTRY = 0xFFFFFFFF81000100, 0xFFFFFFFF81000200, 0xFFFFFFFF81000300
BODY = SCHEDULE + 0x40
PT_REGS_SIZE = 21 * 8
RBX, RBP, R12 = 3, 6, 12

# schedule() has pushed all but r12, read() only rbp, by which it finds its frame, and r12.
ROWS = {
    SCHEDULE: Row((7, 64), {16: -8, 15: -16, 14: -24, 13: -32, 6: -40, 3: -48}, {}),
    READ: Row((6, 16), {16: -8, 6: -16, 12: -24}, {}),
}
USERS = {name: spelled(name) for name in CALLEE_SAVED}


class Rows:
    """Rules by return address: the call stands one byte before it at least."""

    def __init__(self, rows: dict[int, Row]) -> None:
        self.rows = rows

    def row(self, pc: int) -> Row:
        if pc + 1 not in self.rows:
            raise LayoutError(f"no call-frame information describes {pc:#x}")
        return self.rows[pc + 1]

    def body(self, pc: int) -> int:
        return BODY


class Sleeper:
    """A thread that sleeps in schedule(), called by read(), called by the entry code."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.task: FakeProcess = kernel.process(100, "cat")
        self.entry = self.task.stack + kernel.all_sizes["thread_union"] - PT_REGS_SIZE
        self.schedule = self.entry - 0x100 - 64
        caller = self.schedule + 64
        for i, word in enumerate((USERS["rbx"], self.entry - 16, *(USERS[r] for r in ("r13", "r14", "r15")), READ)):
            self.word(caller - 48 + 8 * i, word)
        for at, word in ((24, USERS["r12"]), (16, USERS["rbp"]), (8, ENTRY)):
            self.word(self.entry - at, word)
        self._switch_frame({name: spelled("junk") for name in CALLEE_SAVED} | {"r12": spelled("r12.read")})

    def _switch_frame(self, values: dict[str, int]) -> None:
        """As __switch_to_asm pushes it: the return address last."""
        names = [*(SWITCH_FRAME[name] for name in values), "ret_addr"]
        for i, name in enumerate(names):
            member = Member(8 * i, 8)
            self.kernel.layout.members[f"inactive_task_frame.{name}"] = member
            self.kernel.all_members[f"inactive_task_frame.{name}"] = member
        frame = Object(self.kernel, "inactive_task_frame", self.schedule - 8 * len(names))
        for name, value in values.items():
            frame[SWITCH_FRAME[name]] = value
        frame["ret_addr"] = SCHEDULE
        self.task["thread.sp"] = frame

    def word(self, at: int, value: int) -> None:
        self.kernel.write(at, value.to_bytes(8, "little"))

    def recovered(self, folder: Path, rows: dict[int, Row]) -> tuple[dict[str, int], Frame]:
        image = self.kernel.image(folder)
        (thread,) = (r for r in Tasks(image).selected(["100"]) if isinstance(r, Thread))
        known = callee_saved(image, thread, Rows(rows), self.entry)
        return known, entry_frame(image, thread, Rows(rows), self.entry)


@pytest.fixture
def sleeper() -> Sleeper:
    return Sleeper(FakeKernel())


def test_registers_are_where_each_function_put_them(sleeper: Sleeper, tmp_path: Path) -> None:
    known, frame = sleeper.recovered(tmp_path, ROWS)
    assert known == USERS
    assert (frame.pc, frame.sp, frame.lost) == (ENTRY, sleeper.entry, {})


def test_a_frame_that_pt_regs_is_not_whole_behind(sleeper: Sleeper, tmp_path: Path) -> None:
    """Where only a part of pt_regs was pushed, the walk ends inside of it."""
    row = Row((6, 16 + 48), ROWS[READ].saved, {})
    rows = {n: offset - 48 for n, offset in row.saved.items()}
    known, frame = sleeper.recovered(tmp_path, ROWS | {READ: Row(row.cfa, rows, {})})
    assert (known, frame.sp) == (USERS, sleeper.entry + 48)


def test_what_a_function_destroyed_is_told_by_name(sleeper: Sleeper, tmp_path: Path) -> None:
    """And what an outer function had saved is known all the same."""
    lost = {RBX: "UNDEFINED", R12: "EXPRESSION"}
    rows = ROWS | {SCHEDULE: Row((7, 64), {n: o for n, o in ROWS[SCHEDULE].saved.items() if n != RBX}, lost)}
    known, frame = sleeper.recovered(tmp_path, rows)
    assert known == {name: value for name, value in USERS.items() if name != "rbx"}
    assert frame.lost == {RBX: f"the function at {SCHEDULE:#x} has the rule UNDEFINED for it"}


def test_a_register_on_an_absent_page(sleeper: Sleeper, tmp_path: Path) -> None:
    away = sleeper.kernel.alloc(4096, 4096)
    sleeper.kernel.exclude(away)
    rows = ROWS | {READ: Row((6, 16), {**ROWS[READ].saved, R12: away - sleeper.entry}, {})}
    known, frame = sleeper.recovered(tmp_path, rows)
    assert "r12" not in known
    assert "page at physical" in frame.lost[R12]


@pytest.mark.parametrize(
    ("pc", "row", "words"),
    [
        (READ, Row((10, 16), {16: -8}, {}), "counts from register 10, which is not known"),
        (READ, Row((7, 0), {16: -8}, {}), "does not lead to a caller"),
        (READ, Row((7, -64), {16: -8}, {}), "does not lead to a caller"),
        (SCHEDULE, Row((7, 1 << 40), {16: -8}, {}), "does not lead to a caller"),
        (READ, Row((6, 16), {}, {}), "does not lead to a caller"),
    ],
)
def test_a_walk_that_goes_wrong_is_no_walk(sleeper: Sleeper, tmp_path: Path, pc: int, row: Row, words: str) -> None:
    with pytest.raises(KernelDataError, match=words):
        sleeper.recovered(tmp_path, ROWS | {pc: row})


def test_a_function_without_rules(sleeper: Sleeper, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=f"no call-frame information describes {READ - 1:#x}"):
        sleeper.recovered(tmp_path, {SCHEDULE: ROWS[SCHEDULE]})


@pytest.mark.parametrize("labelled", [True, False])
def test_a_kernel_that_switches_within_schedule(tmp_path: Path, labelled: bool) -> None:
    """rbp and eflags are pushed there; behind the switch is a label, or it is somewhere in the function's body."""
    sleeper = Sleeper(FakeKernel())
    kernel = sleeper.kernel
    for name in (*SWITCH_FRAME.values(), "ret_addr"):
        del kernel.layout.members[f"inactive_task_frame.{name}"]
    sleeper.word(sleeper.schedule - 16, sleeper.schedule + 48)
    sleeper.word(sleeper.schedule - 8, 0x246)
    sleeper.task["thread.sp"] = sleeper.schedule - 16
    kernel.symbols["thread_return" if labelled else "__schedule"] = BODY if labelled else SCHEDULE
    rows = ROWS | {BODY + 1: Row((6, 16), {**ROWS[SCHEDULE].saved, 12: -64}, {})}
    sleeper.word(sleeper.schedule, USERS["r12"])
    known, frame = sleeper.recovered(tmp_path, rows)
    assert (known, frame.pc) == (USERS, ENTRY)
