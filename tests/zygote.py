"""A process that has imported all commands, and forks for each one that is to run.

A command's own start takes 0.4 s, nearly all of it imports; a fork takes 0.01 s, and what runs is a process of
its own with the descriptors, the folder and the arguments that it was given.

    python -m tests.zygote 5        # requests come on the socket that is descriptor 5
"""

from __future__ import annotations

import importlib
import io
import json
import os
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

NAMES = ("tasks", "maps", "regs", "pages", "elf", "cat", "core", "trim")
COMMANDS = {f"gc-{name}": importlib.import_module(f"gcoretools.commands.{name}") for name in NAMES}


def serve(requests: socket.socket) -> None:
    """Answer each request, a JSON object with three descriptors, with the exit status of the command."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1 << 16, 3)
        if not message:
            return
        child = os.fork()
        if not child:
            _become(json.loads(message), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        requests.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())


def _become(request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Run a command and exit, as the interpreter does that is started for it."""
    status = 1
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        os.closerange(3, 256)
        os.chdir(request["folder"])
        os.environ.update(request["environment"])
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
        out, err = (io.BufferedWriter(io.FileIO(fd, "w", closefd=False)) for fd in (1, 2))
        sys.stdout = io.TextIOWrapper(out)
        sys.stderr = io.TextIOWrapper(err, errors="backslashreplace", line_buffering=True)
        sys.argv = [request["name"], *request["arguments"]]
        status = COMMANDS[request["name"]].main()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    os._exit(status)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(socket.socket(fileno=int(sys.argv[1])))
