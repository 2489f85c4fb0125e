"""One QEMU process: its serial console as lines, its monitor as functions."""

import json
import re
import select
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import LabError

QEMU = "qemu-system-x86_64"


def _connected(path: Path, timeout: float) -> socket.socket:
    """A socket to what listens at a path; it may not do so yet."""
    for _ in range(100):
        with suppress(ConnectionRefusedError):
            made = socket.socket(socket.AF_UNIX)
            made.settimeout(timeout)
            made.connect(str(path))
            return made
        time.sleep(0.02)
    raise LabError(f"nothing listens at {path}")


class Qmp:
    """A client of QEMU's machine protocol (docs/interop/qmp-spec): one command, one answer; events are dropped."""

    def __init__(self, path: Path, timeout: float) -> None:
        self.socket = _connected(path, timeout)
        self.lines = self.socket.makefile("r", encoding="utf-8")
        self.lines.readline()  # the greeting
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments: Any) -> Any:
        """The command's result; LabError when QEMU refuses it."""
        message = {"execute": command, "arguments": arguments}
        self.socket.sendall(json.dumps(message).encode() + b"\n")
        for line in self.lines:
            answer = json.loads(line)
            if "error" in answer:
                raise LabError(f"qemu: {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise LabError(f"qemu: {command}: the monitor was closed")


class Machine:
    """A guest that runs from enter to exit; everything it says is kept in folder/serial.log."""

    def __init__(self, arguments: tuple[str, ...], folder: Path, program: str = QEMU) -> None:
        self.program = program
        self.arguments = arguments
        self.folder = folder
        self.text = ""

    def __enter__(self) -> "Machine":
        path = self.folder / "qmp"
        self.process = subprocess.Popen(
            [self.program, *self.arguments, "-qmp", f"unix:{path},server=on,wait=off", "-serial", "stdio"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
        )  # fmt: skip
        end = time.monotonic() + 20
        while not path.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise LabError(f"{self.program} did not start: {self._output().read().decode(errors='replace')}")
            time.sleep(0.02)
        self.qmp = Qmp(path, timeout=300)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.process.kill()
        self.process.wait()
        self._hear(self._output().read())
        (self.folder / "serial.log").write_text(self.text)
        (self.folder / "qmp").unlink(missing_ok=True)
        if isinstance(error, LabError | OSError | subprocess.TimeoutExpired):
            raise LabError(f"{error}; the console's end:\n{self.text[-4000:]}") from error

    def _output(self) -> Any:
        assert self.process.stdout is not None
        return self.process.stdout

    def expect(self, pattern: str, timeout: float, fatal: str = "GC FAILED|Kernel panic") -> re.Match[str]:
        """Read the console until it matches; LabError when it says a fatal word, ends, or after timeout seconds."""
        end = time.monotonic() + timeout
        while not (found := re.search(pattern, self.text)):
            if re.search(f"({fatal}).*\n", self.text):  # the whole line has the reason
                raise LabError(f"the guest failed before {pattern!r}")
            ready, _, _ = select.select([self._output()], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise LabError(f"no {pattern!r} within {timeout:.0f} s")
            if not (data := self._output().read(65536)):
                raise LabError(f"the machine ended before {pattern!r}")
            self._hear(data)
        return found

    def _hear(self, data: bytes) -> None:
        self.text += data.decode(errors="replace").replace("\r", "")

    def answer(self, line: str) -> None:
        """Type a line on the console."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    def registers(self) -> str:
        """`info registers -a` of QEMU's own monitor: every CPU as it stands."""
        return str(self.qmp("human-monitor-command", **{"command-line": "info registers -a"}))

    def dump(self, path: Path, kind: str) -> None:
        """Write the stopped machine's physical memory: kind is elf or kdump-zlib."""
        self.qmp("dump-guest-memory", paging=False, protocol=f"file:{path}", format=kind)
