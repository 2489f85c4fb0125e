"""Debian packages of any suite, out of a private apt that leaves the system's own alone."""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .errors import LabError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def run(command: Sequence[str | Path], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """The standard output of a command; LabError with its words when it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(words)}: exit {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


def mirror() -> str:
    """The URI that the system's own apt takes its main archive from."""
    for line in run(["apt-get", "indextargets", "--format", "$(SUITE) $(CODENAME) $(REPO_URI)"]).splitlines():
        *names, uri = line.split()
        if not any("-" in name for name in names):
            return uri
    raise LabError("apt knows no archive: `apt-get indextargets` names none without a dash; run apt-get update")


def newest(names: Iterable[str], pattern: str) -> str:
    """The name with the highest numbers among those that match the pattern whole."""
    found = [name for name in names if re.fullmatch(pattern, name)]
    if not found:
        raise LabError(f"no package is called like {pattern}")
    return max(found, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])


class Apt:
    """An apt for one suite and architecture, with its own sources, state and cache below a folder."""

    def __init__(self, folder: Path, suite: str, arch: str) -> None:
        self.folder = folder / f"{suite}-{arch}"
        self.suite, self.arch = suite, arch
        self.environment = {**os.environ, "APT_CONFIG": str(self.folder / "apt.conf")}

    def update(self) -> None:
        """Write the configuration and fetch the list of packages."""
        for name in ("state/lists/partial", "cache/archives/partial", "none"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "state/status").touch()
        source = f"deb [arch={self.arch} signed-by={KEYRING}] {mirror()} {self.suite} main\n"
        (self.folder / "sources.list").write_text(source)
        (self.folder / "apt.conf").write_text(
            f'Dir::State "{self.folder}/state";\nDir::State::status "{self.folder}/state/status";\n'
            f'Dir::Cache "{self.folder}/cache";\nDir::Etc::sourcelist "{self.folder}/sources.list";\n'
            f'Dir::Etc::sourceparts "{self.folder}/none";\nAPT::Sandbox::User "root";\n'
            f'APT::Architecture "{self.arch}";\nAPT::Architectures {{ "{self.arch}"; }};\n'
        )
        run(["apt-get", "update"], env=self.environment)

    def resolve(self, pattern: str) -> str:
        """The name=version of the newest package that matches."""
        name = newest(run(["apt-cache", "pkgnames"], env=self.environment).split(), pattern)
        for line in run(["apt-cache", "show", "--no-all-versions", name], env=self.environment).splitlines():
            if line.startswith("Version: "):
                return f"{name}={line.split()[1]}"
        raise LabError(f"package {name}: apt knows no version of it in {self.suite}")

    def download(self, package: str, folder: Path) -> Path:
        """The .deb of a name=version that resolve() gave, in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        run(["apt-get", "download", package], env=self.environment, cwd=folder)
        (deb,) = folder.glob(package.partition("=")[0] + "_*.deb")
        return deb
