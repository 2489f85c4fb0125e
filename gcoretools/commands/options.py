"""What options and arguments come to that several commands have."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from gcoretools.commands.report import PAGE_FAULTS, PROGRESS, Report
from gcoretools.core.filter import parse_filter
from gcoretools.errors import UsageError
from gcoretools.sysroot.backing import Sysroot

# What docopt makes of a command line: option or argument to its value.
Arguments = dict[str, Any]


def chosen_filter(arguments: Arguments) -> int | None:
    """The bits of -f; None when it is not given. Raises UsageError."""
    return None if arguments["-f"] is None else parse_filter(arguments["-f"])


def swap_images(arguments: Arguments) -> dict[str, Path]:
    """The images of --swap by the names of their areas, "" for one without. Raises UsageError."""
    images: dict[str, Path] = {}
    for word in arguments["--swap"]:
        name, _, path = word.partition("=") if "=" in word and not Path(word).exists() else ("", "", word)
        if name in images:
            raise UsageError(f"--swap {word}: there is an image of {name or 'the swap area'} already")
        images[name] = Path(path)
    return images


def sysroot(arguments: Arguments, report: Report) -> Sysroot | None:
    """The folder of --sysroot; None when it is not given. Raises FileError."""
    if arguments["--sysroot"] is None:
        return None
    return Sysroot(Path(arguments["--sysroot"]), partial(report.say, PROGRESS), partial(report.say, PAGE_FAULTS))


def gaps_are_zero(arguments: Arguments) -> bool:
    """Whether --gaps asks for zeros. Raises UsageError."""
    if arguments["--gaps"] not in ("absent", "zero"):
        raise UsageError(f"--gaps {arguments['--gaps']}: gaps are absent or zero")
    return bool(arguments["--gaps"] == "zero")


def head(arguments: Arguments, **more: object) -> dict[str, object]:
    """The settings of a stage at the head of a pipe; of another there are none."""
    if not arguments["VMCORE"]:
        return {}
    return settings(arguments, "-k", selectors=arguments["SELECTOR"], **more)


def settings(arguments: Arguments, *paths: str, **more: object) -> dict[str, object]:
    """The settings of a stage: options that name files, with paths that are good from any folder, and others."""
    named = {option.lstrip("-"): arguments[option] for option in paths}
    return {option: path and str(Path(path).resolve()) for option, path in named.items()} | more
