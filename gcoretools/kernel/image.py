"""The dumped kernel: its memory seen through its layout. Every module of this folder reads through an Image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import TypeVar

from gcoretools.arch import architecture
from gcoretools.dumps.dump import Dump
from gcoretools.errors import KernelDataError, LayoutError, PageAbsent
from gcoretools.layout.layout import Kernel, Member
from gcoretools.memory import AddressSpace
from gcoretools.paging import Paging

T = TypeVar("T")

# _PAGE_PROTNONE as 2.6.18 has it, and 2.6.32 no longer; no struct is known that changed with it. What came between
# (task_struct.real_cred, 2.6.29) stands for it.
OLD_PROTNONE = 1 << 7

# More elements than any list of the kernel that we follow can have (PID_MAX_LIMIT).
LIST_LIMIT = 1 << 22

# A struct is read once, from the first member of the layout to the last; longer members only by address.
MEMBER_SPAN = 1 << 9

# What thousands of threads share (signal_struct, parent, pids) is read once.
STRUCTS_KEPT = 1 << 8


class Image:
    """A kernel in a dump.

    Args:
        dump: its physical memory.
        kernel: where it keeps things.

    Attributes:
        arch: the module of gcoretools.arch for it.
        memory: the kernel's own address space.
        paging: geometry of the kernel's page table.
        user_paging: that of every process's.
        pointer_size: of the kernel's pointers, in bytes.
    """

    def __init__(self, dump: Dump, kernel: Kernel) -> None:
        self.dump = dump
        self.kernel = kernel
        self.arch = architecture(kernel.arch)
        self.paging: Paging = self.arch.paging(kernel.page_levels, "l1tf_mitigation" in kernel.layout.symbols)
        self.user_paging = self._user_paging()
        linear = self.arch.linear(kernel.phys_base, kernel.direct_map)
        self.memory = AddressSpace(dump, self.paging, kernel.page_root, linear)
        self.pointer_size: int = self.paging.pointer_size
        self._spans: dict[str, tuple[int, int]] = {}
        self._members: dict[str, dict[str, Member]] = {}
        for full, member in kernel.layout.members.items():
            of, _, name = full.partition(".")
            self._members.setdefault(of, {})[name] = member
        self._struct = lru_cache(STRUCTS_KEPT)(partial(Struct, self))

    def user_memory(self, page_table: int) -> AddressSpace:
        """The memory of the process whose top page table is at that physical address."""
        return AddressSpace(self.dump, self.user_paging, page_table)

    def _user_paging(self) -> Paging:
        """The geometry of a process's table, where it is not the kernel's.

        Up to 2.6.10 it had only the lower half of addresses, and each CPU the top table.
        """
        paging: Paging = self.arch.paging(3, False) if self.has("x8664_pda.level4_pgt") else self.paging
        if not self.has("task_struct.real_cred"):
            return replace(paging, protnone=OLD_PROTNONE)
        return paging

    def has(self, *names: str) -> bool:
        """Whether the kernel has all these members, sizes, constants or symbols."""
        layout = self.kernel.layout
        tables = (layout.members, layout.sizes, layout.constants, layout.symbols)
        return all(any(name in table for table in tables) for name in names)

    def member(self, name: str) -> Member:
        """A member of the layout. Raises LayoutError when this kernel does not have it."""
        return _found(self.kernel.layout.members, name, "member")

    def members(self, name: str) -> dict[str, Member]:
        """The members of a struct that this kernel has, by their names in it."""
        return self._members.get(name, {})

    def size(self, name: str) -> int:
        """Size of a struct in bytes. Raises LayoutError."""
        return _found(self.kernel.layout.sizes, name, "struct")

    def constant(self, name: str) -> int:
        """Value of an enumerator. Raises LayoutError."""
        return _found(self.kernel.layout.constants, name, "constant")

    def symbol(self, name: str) -> int:
        """Virtual address of a symbol. Raises LayoutError."""
        return _found(self.kernel.layout.symbols, name, "symbol")

    def struct(self, name: str, address: int) -> Struct:
        """A view of the struct `name` at virtual address `address`; the same one while it is in use."""
        return self._struct(name, address)

    def pointer(self, address: int) -> int:
        """The pointer that stands at a virtual address."""
        return self.memory.pointer(address)

    def list(self, head: int, member: str) -> Iterator[Struct]:
        """The structs on a struct list_head.

        Args:
            head: virtual address of the list_head that is not inside an element.
            member: the list_head inside each element, "task_struct.tasks".
        Raises KernelDataError on a cycle that does not pass the head.
        """
        name = member.partition(".")[0]
        offset = self.member(member).offset
        node, seen = self.pointer(head), set[int]()
        while node != head:
            if node in seen or len(seen) >= LIST_LIMIT:
                raise KernelDataError(f"the list of {member} at {head:#x} does not end: it is damaged")
            seen.add(node)
            element = self.struct(name, node - offset)
            yield element
            node = element.pointer(member.partition(".")[2])

    def nodes(self, head: int) -> Iterator[int]:
        """The other list_heads on the list of one, by virtual address, where no member of the layout names them.

        Raises KernelDataError on a cycle that does not pass the head.
        """
        node, seen = self.pointer(head), set[int]()
        while node != head:
            if node in seen or len(seen) >= LIST_LIMIT:
                raise KernelDataError(f"the list at {head:#x} does not end: it is damaged")
            seen.add(node)
            yield node
            node = self.pointer(node)

    def span(self, name: str) -> tuple[int, int]:
        """Offsets between which all but the long members that we need of a struct lie, in bytes."""
        if name not in self._spans:
            members = list(self.members(name).values())
            if not members:
                raise LayoutError(f"the kernel's types do not describe struct {name}")
            read = [m for m in members if m.size <= MEMBER_SPAN] or members[:1]
            low = min(m.offset for m in read)
            self._spans[name] = low, max(m.offset + min(m.size, MEMBER_SPAN) for m in read)
        return self._spans[name]


class Struct:
    """A struct in the dump: members by name, as unsigned or signed integers; read once, on first use.

    Members longer than MEMBER_SPAN are read each time: what lies behind them need not be in the dump.
    """

    __slots__ = ("_data", "_image", "_low", "_members", "address", "name")

    def __init__(self, image: Image, name: str, address: int) -> None:
        self._image = image
        self._members = image.members(name)
        self._data = b""
        self._low = 0
        self.name = name
        self.address = address

    def __getitem__(self, member: str) -> int:
        """The integer or pointer in a member (the first 8 bytes of a longer one)."""
        where = self._member(member)
        size = where.size if where.size < 8 else 8
        return int.from_bytes(self._slice(where.offset, size), "little", signed=where.signed)

    def pointer(self, member: str) -> int:
        """The pointer that a member is or begins with."""
        return int.from_bytes(self._slice(self._member(member).offset, self._image.pointer_size), "little")

    def raw(self, member: str) -> bytes:
        """The bytes of a member, at most MEMBER_SPAN of them."""
        where = self._member(member)
        return self._slice(where.offset, min(where.size, MEMBER_SPAN))

    def string(self, member: str) -> str:
        """The text in a char array."""
        return self.raw(member).partition(b"\0")[0].decode("utf-8", "surrogateescape")

    def at(self, member: str) -> int:
        """Virtual address of a member."""
        return self.address + self._member(member).offset

    def has(self, member: str) -> bool:
        """Whether this kernel's struct has the member."""
        return member in self._members

    def _member(self, member: str) -> Member:
        return self._members.get(member) or self._image.member(f"{self.name}.{member}")

    def _slice(self, offset: int, size: int) -> bytes:
        if not self._data:
            self._low, high = self._image.span(self.name)
            self._data = self._read(self._low, high - self._low)
        if not self._low <= offset <= self._low + len(self._data) - size:
            return self._read(offset, size)
        return self._data[offset - self._low : offset - self._low + size]

    def _read(self, offset: int, size: int) -> bytes:
        try:
            return self._image.memory.read(self.address + offset, size)
        except (KernelDataError, PageAbsent) as error:
            raise type(error)(f"{self.name} at {self.address:#x}: {error}") from error


def _found(table: dict[str, T], name: str, what: str) -> T:
    try:
        return table[name]
    except KeyError:
        raise LayoutError(
            f"this kernel's {what} {name} is not known: the dump's own types or the vmlinux lack it"
        ) from None
