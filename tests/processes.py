"""The commands as their users run them: real processes, real files, pipes and terminals."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.fake_machine import FakeMachine

BIN = Path(__file__).parents[1] / "bin"

# No command needs so long for a dump of a few pages, in seconds.
TIMEOUT = 60


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    name: str
    status: int
    out: bytes
    err: str

    def sentence(self) -> str:
        """Its one sentence on standard error, without the command's name; AssertionError when that is not all."""
        assert "Traceback" not in self.err, self.err
        assert self.err.startswith(f"{self.name}: "), (self.name, self.err)
        assert self.err.endswith("\n"), self.err
        assert self.err.count("\n") == 1, self.err
        return self.err[len(self.name) + 2 : -1]


class Zygote:
    """Runs commands by forking a process that has imported them: see tests.zygote."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.zygote", str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=BIN.parent)
        theirs.close()

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait(TIMEOUT)

    def run(self, request: dict[str, object], stdin: int, stdout: int, stderr: int) -> int:
        """The exit status of a command that runs on these descriptors."""
        socket.send_fds(self._socket, [json.dumps(request).encode()], [stdin, stdout, stderr])
        status = json.loads(self._socket.recv(100))
        assert isinstance(status, int)
        return status


@dataclass(frozen=True)
class Runner:
    """Runs commands on a fake machine's dump.

    Args:
        machine: whose layout is in the cache.
        folder: where commands are run.
        zygote: runs those that need no process from the very start.
    """

    machine: FakeMachine
    folder: Path
    zygote: Zygote

    def run(
        self, name: str, *arguments: str | Path, stdin: bytes | int = subprocess.DEVNULL, stdout: int | None = None
    ) -> Ended:
        """Run a command to its end.

        Args:
            stdin: bytes to feed it, or a descriptor.
            stdout: a descriptor; by default what it writes is collected.
        """
        request: dict[str, object] = {
            "name": name,
            "arguments": [str(argument) for argument in arguments],
            "folder": str(self.folder),
            "environment": self._environment(),
        }
        with _Feeder(stdin) as fed, _Collector() as out, _Collector() as err:
            status = self.zygote.run(request, fed.fd, out.fd if stdout is None else stdout, err.fd)
            return Ended(name, status, out.found(), err.found().decode())

    def start(
        self,
        name: str,
        *arguments: str | Path,
        closed: Sequence[int] = (),
        environment: dict[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Ended:
        """Run a command to its end by its launcher, from the start of its interpreter on.

        Args:
            closed: descriptors that are closed when it starts.
            environment: variables beside its own.
        """
        command = [str(BIN / name), *map(str, arguments)]
        if closed:
            closing = " ".join(f"{fd}{'<' if fd == 0 else '>'}&-" for fd in closed)
            command = ["/bin/sh", "-c", f'exec "$@" {closing}', "sh", *command]
        variables = {**os.environ, **self._environment(), **(environment or {})}
        done = subprocess.run(
            command, input=stdin, capture_output=True, cwd=self.folder, env=variables, timeout=TIMEOUT, check=False
        )
        return Ended(name, done.returncode, done.stdout, done.stderr.decode())

    def all(self, runs: Iterable[Sequence[str | Path]], stdin: bytes | int = subprocess.DEVNULL) -> list[Ended]:
        """Several commands, each to its end."""
        return [self.run(str(name), *arguments, stdin=stdin) for name, *arguments in runs]

    def pipe(self, *commands: tuple[str | Path, ...]) -> list[Ended]:
        """Commands with a pipe between each two; only the last one's output is kept."""
        started: list[subprocess.Popen[bytes]] = []
        for name, *arguments in commands:
            before = started[-1].stdout if started else subprocess.DEVNULL
            started.append(
                subprocess.Popen(
                    [BIN / name, *map(str, arguments)],
                    stdin=before,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd=self.folder,
                    env={**os.environ, **self._environment()},
                )
            )
            if len(started) > 1 and not isinstance(before, int) and before:
                before.close()
        ended = []
        for process, (name, *_) in reversed(list(zip(started, commands, strict=True))):
            if process is started[-1]:
                out, err = process.communicate(timeout=TIMEOUT)
            else:
                assert process.stderr
                out, err = b"", process.stderr.read()
                process.wait(TIMEOUT)
            ended.append(Ended(str(name), process.returncode, out, err.decode()))
        return ended[::-1]

    def terminal(self, name: str, *arguments: str | Path, stdin: bytes | None = None) -> Ended:
        """Run a command whose standard output, and input when it is not fed, is a terminal."""
        leader, follower = pty.openpty()
        mode = termios.tcgetattr(follower)
        mode[1] &= ~termios.OPOST  # ends of lines as they are
        termios.tcsetattr(follower, termios.TCSANOW, mode)
        with ThreadPoolExecutor(1) as pool:
            shown = pool.submit(_read_all, leader)
            ended = self.run(name, *arguments, stdin=follower if stdin is None else stdin, stdout=follower)
            os.close(follower)
            return Ended(name, ended.status, shown.result(), ended.err)

    def _environment(self) -> dict[str, str]:
        """The launchers take the Python that runs the tests, where the checkout has no .venv of its own."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {"XDG_CACHE_HOME": str(self.machine.cache), "PATH": path}


class _Feeder:
    """A descriptor to read these bytes from, through a pipe; or the descriptor that is given."""

    def __init__(self, given: bytes | int) -> None:
        self.fd, self._sender = os.pipe()
        if isinstance(given, int):
            os.close(self.fd)
            self.fd = os.open(os.devnull, os.O_RDONLY) if given == subprocess.DEVNULL else os.dup(given)
        self._writing = threading.Thread(target=self._write, args=[given if isinstance(given, bytes) else b""])

    def _write(self, data: bytes) -> None:
        with suppress(BrokenPipeError), open(self._sender, "wb") as file:
            file.write(data)

    def __enter__(self) -> _Feeder:
        self._writing.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        self._writing.join()


class _Collector:
    """A descriptor to write to, through a pipe; what was written is kept."""

    def __init__(self) -> None:
        receiver, self.fd = os.pipe()
        self._pool = ThreadPoolExecutor(1)
        self._all = self._pool.submit(_read_all, receiver)

    def found(self) -> bytes:
        """Everything, when all writers have closed their end."""
        os.close(self.fd)
        self.fd = -1
        return self._all.result()

    def __enter__(self) -> _Collector:
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self._pool.shutdown()


def _read_all(fd: int) -> bytes:
    found: list[bytes] = []
    while True:
        try:
            piece = os.read(fd, 1 << 16)
        except OSError:  # EIO: nobody has the other end of the terminal any more
            piece = b""
        if not piece:
            os.close(fd)
            return b"".join(found)
        found.append(piece)
