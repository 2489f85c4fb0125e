"""README's tour is real: every command line of it runs, and prints the lines that stand below it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from gcoretools.records import KINDS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def tour() -> list[tuple[str, list[str]]]:
    """Command lines of the tour that are ours, each with the lines that stand below it."""
    text = README.partition("## A tour")[2].partition("\n## ")[0]
    blocks = [[line[4:] for line in block.splitlines()] for block in re.findall(r"(?m)(?:^    .*\n)+", text)]
    found: list[tuple[str, list[str]]] = []
    for line in (line for block in blocks for line in block):
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif "..." not in line:
            found[-1][1].append(line)
    return [(command, shown) for command, shown in found if command.startswith("gc-")]


def on_a_terminal(command: str, folder: Path) -> list[str]:
    """What a command line prints on a terminal."""
    primary, secondary = pty.openpty()
    environment = {**os.environ, "PATH": f"{ROOT / 'bin'}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(folder)}
    with subprocess.Popen(["bash", "-c", command], cwd=folder, stdout=secondary, env=environment) as process:
        os.close(secondary)
        text = b""
        while piece := _read(primary):
            text += piece
    os.close(primary)
    assert process.returncode == 0
    return text.decode().replace("\r\n", "\n").splitlines()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:
        return b""  # the other end is closed


@pytest.mark.parametrize(("command", "shown"), tour(), ids=[command for command, _ in tour()])
def test_the_tour(command: str, shown: list[str], tmp_path: Path) -> None:
    (tmp_path / "vmcore").symlink_to(ROOT / "examples/vmcore")
    printed = [line.rstrip() for line in on_a_terminal(command, tmp_path)]
    assert [line for line in shown if line.rstrip() not in printed] == []


def test_the_tour_has_every_command() -> None:
    commands = " ".join(command for command, _ in tour())
    assert {"gc-tasks", "gc-maps", "gc-regs", "gc-pages", "gc-elf", "gc-cat", "gc-core"} <= set(
        re.findall(r"gc-\w+", commands)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_the_stream_is_told(kind: str) -> None:
    row = next(line for line in README.splitlines() if line.startswith(f"| `{kind}` |"))
    assert [f.name for f in fields(KINDS[kind]) if f.name != "more" and f"`{f.name}`" not in row] == []
