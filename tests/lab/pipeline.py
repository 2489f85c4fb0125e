"""The commands as their users run them: real processes, real pipes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

BIN = Path(__file__).parents[2] / "bin"


def run(command: str, *arguments: str | Path, stdin: Path | None = None, stdout: Path | None = None) -> str:
    """Run a command to its end, from a file and into a file where they are named; what it said otherwise.

    AssertionError with its words when it fails.
    """
    with (stdin or Path(os.devnull)).open("rb") as source, (stdout or Path(os.devnull)).open("wb") as sink:
        done = subprocess.run(
            [BIN / command, *arguments],
            stdin=source,
            stdout=sink if stdout else subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    return "" if stdout else done.stdout.decode()


def pipe(*commands: tuple[str | Path, ...], stdout: Path) -> None:
    """Run commands in one pipe into a file; AssertionError when one fails."""
    processes: list[subprocess.Popen[bytes]] = []
    with stdout.open("wb") as sink:
        for number, (name, *arguments) in enumerate(commands):
            last = number + 1 == len(commands)
            processes.append(
                subprocess.Popen(
                    [BIN / name, *arguments],
                    stdin=processes[-1].stdout if processes else subprocess.DEVNULL,
                    stdout=sink if last else subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
            if number:
                previous = processes[-2].stdout
                assert previous
                previous.close()
    words = [process.communicate()[1].decode() for process in reversed(processes)]
    assert all(process.returncode == 0 for process in processes), words


def records(stream: Path) -> list[dict[str, Any]]:
    """Every record of a stream, as gc-cat --json shows it."""
    return [json.loads(line) for line in run("gc-cat", "--json", stream).splitlines()]


def gaps(stream: Path) -> list[tuple[int, int]]:
    """Start and size of each gap that a stream reports; each must give its reason."""
    found = [r for r in records(stream) if r["kind"] == "extent" and r["what"] == "gap"]
    assert all(gap["reason"] for gap in found)
    return [(gap["start"], gap["size"]) for gap in found]
