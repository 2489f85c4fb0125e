"""The resolver: spellings in their order, nested and anonymous members, against a source written as a table."""

from collections.abc import Collection, Iterator

from gcoretools.layout.layout import Layout, Member
from gcoretools.layout.needs import Need
from gcoretools.layout.types import Field, Ref, Struct, find_layout, find_member

TASK = (Field("state", 0, 8, True), Field("thread", 16, 16, nested="thread"), Field(None, 32, 8, nested="u"))
TYPES = {
    "task_struct": Struct(64, TASK),
    "thread": Struct(16, (Field("fs", 8, 8), Field("sp", 0, 8))),
    "u": Struct(8, (Field("pid", 0, 4, True), Field(None, 4, 4, nested="v"))),
    "v": Struct(4, (Field("cpu", 0, 4), Field(None, 0, 4, nested="u"))),
}
CONSTANTS = {"PIDTYPE_PID": 0, "OLD": 5}


class Table:
    """A source of types that notes what it is asked for."""

    def __init__(self) -> None:
        self.expected: set[str] = set()

    def expect(self, names: Collection[str]) -> None:
        self.expected |= set(names)

    def structs(self, name: str) -> Iterator[Struct]:
        assert name in self.expected
        return iter((TYPES[name],) if name in TYPES else ())

    def nested(self, ref: Ref) -> Struct:
        return TYPES[str(ref)]

    def constants(self, names: Collection[str]) -> dict[str, int]:
        return {name: CONSTANTS[name] for name in names if name in CONSTANTS}


def need(name: str, *older: str) -> Need:
    return Need(name, (name, *older), required=False)


def test_the_first_spelling_that_exists_counts() -> None:
    found = find_layout(
        Table(),
        members=(
            need("task_struct.__state", "task_struct.state"),
            need("task_struct.thread.sp", "task_struct.thread.fs"),
            need("mm_struct.pgd", "task_struct.cpu", "task_struct.state"),
            need("mm_struct.brk"),
        ),
        sizes=(need("thread_struct", "thread"), need("mm_struct")),
        constants=(need("NEW", "OLD", "PIDTYPE_PID"), need("PIDTYPE_PID"), need("GONE")),
    )
    assert found == Layout(
        members={
            "task_struct.__state": Member(0, 8, True),
            "task_struct.thread.sp": Member(16, 8),
            "mm_struct.pgd": Member(36, 4),
        },
        sizes={"thread_struct": 16},
        constants={"NEW": 5, "PIDTYPE_PID": 0},
    )


def test_anonymous_members_are_looked_through_and_end() -> None:
    source = Table()
    source.expect(("task_struct",))
    assert find_member(source, "task_struct.pid") == Member(32, 4, True)
    assert find_member(source, "task_struct.nowhere") is None
    assert find_member(source, "task_struct.pid.deeper") is None
    assert find_member(source, "task_struct") is None
