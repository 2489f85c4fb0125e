"""Rooms, and who may know whom: read out of the imports, so that the picture in the README stays true."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "gcoretools"

# From the lowest room up: a module imports from rooms below its own, and from its own.
ROOMS = (
    "errors",
    "workers",
    "transfer",
    "records",
    "stream",
    "compression",
    "dumps",
    "paging",
    "arch",
    "memory",
    "layout",
    "kernel",
    "sysroot",
    "core",
    "stages",
    "commands",
)

# The package itself: its version, which every room may know.
PACKAGE = "gcoretools"

# Rooms whose modules do not know each other, but for those that all of them share.
APART = {
    "stages": set[str](),
    "commands": {"run", "show", "report", "options", "streams", "progress", "replay", "account"},
}

# What only some rooms may import, and what only some may speak of. stream and the cache of layouts are the two
# places where something is packed; the user's terminal, files and arguments are the commands' own.
ONLY_IN = {
    "msgpack": ("stream", "layout.cache"),
    "docopt": ("commands",),
    "elftools": ("layout",),
    "tqdm": ("commands.progress",),
    "cramjam": ("compression",),
    "lzallright": ("compression",),
    "deflate": ("compression",),
    "sys": ("commands",),
    "argparse": (),
    "pickle": (),
    "subprocess": (),
    "socket": ("workers",),
    "urllib": (),
}


def name_of(path: Path) -> str:
    """A module's name without the package's."""
    parts = [*path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}


def imports(tree: ast.Module) -> Iterator[str]:
    """Full names of what a module imports, at its head or inside functions; `from a import b` is both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(name: str) -> set[str]:
    """The modules of the package that a module imports."""
    found = {each.partition(".")[2] for each in imports(MODULES[name]) if each.partition(".")[0] == PACKAGE}
    # What is defined in a module, and is no module, has brought its module with it.
    return {each for each in found if each in MODULES} - {"", name}


def room(name: str) -> str:
    return name.partition(".")[0]


def within(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def test_the_modules_are_found() -> None:
    assert {"errors", "dumps", "dumps.dump", "kernel.vma", "commands.run"} <= set(MODULES)
    assert "kernel.vma" in own_imports("kernel.residence")
    assert "layout.vmlinux" in own_imports("layout.symbol_file")  # inside a function


def test_every_room_has_its_place() -> None:
    assert {room(name) for name in MODULES} - {""} == set(ROOMS)


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_imports_go_downwards(name: str) -> None:
    place = ROOMS.index(room(name))
    upwards = {each for each in own_imports(name) if ROOMS.index(room(each)) > place}
    assert upwards == set()


def test_there_are_no_cycles() -> None:
    graph = {name: own_imports(name) for name in MODULES}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) in APART])
def test_stages_and_commands_do_not_know_each_other(name: str) -> None:
    others = {each for each in own_imports(name) if room(each) == room(name) != each}
    assert {each.partition(".")[2] for each in others} <= APART[room(name)]


@pytest.mark.parametrize("what", ONLY_IN)
def test_who_may_know_what_is_outside(what: str) -> None:
    those = {name for name, tree in MODULES.items() if what in {each.partition(".")[0] for each in imports(tree)}}
    assert {name for name in those if not within(name, ONLY_IN[what])} == set()
    assert those or not ONLY_IN[what]


def test_only_commands_print() -> None:
    """A stage that prints would write into the stream."""
    prints = {
        name
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "input")
    }
    assert {name for name in prints if room(name) != "commands"} == set()
    assert prints


def public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Functions, classes and methods whose name, and whose class's, has no underscore before it."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (m for m in node.body if isinstance(m, ast.FunctionDef) and not m.name.startswith("_"))


@pytest.mark.parametrize("name", [name for name in MODULES if MODULES[name].body])
def test_what_is_public_says_what_it_is(name: str) -> None:
    """A docstring for each module, class and function; one that overrides another may lean on it."""
    assert ast.get_docstring(MODULES[name]), name
    module = importlib.import_module(f"{PACKAGE}.{name}" if name else PACKAGE)
    inherited = {
        method
        for _, cls in inspect.getmembers(module, inspect.isclass)
        for base in cls.__mro__[1:-1]
        for method, value in vars(base).items()
        if inspect.getdoc(value)
    }
    silent = [node.name for node in public(MODULES[name]) if not ast.get_docstring(node)]
    assert [each for each in silent if each not in inherited] == []


def test_every_launcher_has_its_command_and_every_command_its_launcher() -> None:
    launchers = {path.name for path in (ROOT.parent / "bin").iterdir()}
    commands = {name.partition(".")[2] for name in MODULES if room(name) == "commands"} - {"", *APART["commands"]}
    assert launchers == {f"gc-{name}" for name in commands}
