"""Our programs as processes that do not have to import everything first.

A supervisor spends a quarter of a second of CPU time on its imports, a worker half of that, and the suite starts
hundreds of them. So one Python process, which has imported both and waits, is forked for each: a process like any
other, with its own pid, folder, environment, streams and signals, that begins where the imports end. (Starting from
scratch, and what a program may import, are tested with real starts, in `tests/cli`, `tests/parity` and `tests/chaos`.)

The command line and initial environment that the system shows for a forked process are those of the waiting one: a
test that looks for a process by these must start a real one. This file is run by its path, and imports nothing but
Python's standard library before `PRELOADED`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

PRELOADED = (
    "paneview.supervisor.serve",
    # Loaded only once there is a queue: fifty modules, a third of such a supervisor's start.
    "paneview.supervisor.queue.desk",
    "paneview.supervisor.queue.link",
    "paneview.supervisor.queue.overview",
    "paneview.supervisor.queue.pushing",
    "paneview.supervisor.queue.thread",
    "paneview.supervisor.queue.upkeep",
    "paneview.supervisor.queue.workflows",
    "paneview.agents.strays",
    "paneview.cli.verbs",
    "paneview.cli.failure",
    "paneview.cli.launch",
    "paneview.cli.queue.verbs",
    "paneview.cli.queue.watchdog",
    "paneview.cli.queue.worker",
    "paneview.cli.workflow.verbs",
    "paneview.worker.worker",
    "paneview.worker.phases",
    "paneview.worker.watchdog",
    "paneview.broker.directory.broker",
    "paneview.broker.redis.broker",
    "paneview.broker.sqlite.broker",
)
FILE = b"[tasks.web]\ncommand = 'true'\n[workers.cook]\n[runners.demo]\n[workflows.one]\n"
FILE += b"phases = [{ name = 'work', role = 'worker', prompt = '{{task}}' }]\n"
SIZE = 4  # bytes of a message's length


class Process:
    """A forked process, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = _server().ask({"ended": self.pid})
            if self.returncode is not None:
                _running.pop(self.pid, None)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has one. Raises subprocess.TimeoutExpired."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if (left := end - time.monotonic()) <= 0:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            _wait_for_end(self.pid, left)
        return status

    def send_signal(self, number: int) -> None:
        """Signal it, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _wait_for_end(pid: int, most: float) -> None:
    """Return when an unreaped process may have ended, or after ``most`` seconds."""
    if not hasattr(os, "pidfd_open"):
        time.sleep(0.005)
        return
    descriptor = os.pidfd_open(pid)
    try:
        ending = select.poll()
        ending.register(descriptor, select.POLLIN)
        ending.poll(None if most == math.inf else 1000 * most)
    finally:
        os.close(descriptor)


def start(
    *words: str, cwd: Path, env: Mapping[str, str], out: IO[Any], err: IO[Any] | None = None
) -> Process:
    """Fork a process that runs ``paneview`` with these arguments, in its own session.

    Its standard output goes to `out`, and its standard error to `err`, or to `out` as well.
    """
    request = {"words": words, "cwd": str(cwd), "env": dict(env)}
    pid = _server().ask(request, out.fileno(), (err or out).fileno())
    process = _running[pid] = Process(pid)
    return process


def left() -> list[int]:
    """Kill all that still run; returns their pids."""
    found = [process for process in list(_running.values()) if process.poll() is None]
    for process in found:
        process.kill()
        process.wait()
    return [process.pid for process in found]


class _Server:
    """Our connection to the waiting process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        env = {key: value for key, value in os.environ.items() if not key.startswith("PANEVIEW")}
        words = [sys.executable, "-P", __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(
            words,
            env=env,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        atexit.register(self.end)

    def ask(self, request: dict[str, Any], *descriptors: int) -> Any:
        with self._lock:
            _send(self._socket, request, descriptors)
            answer, _ = _receive(self._socket)
        return answer["answer"]

    def end(self) -> None:
        self._socket.close()
        self._process.wait()


_running: dict[int, Process] = {}
_servers: list[_Server] = []


def _server() -> _Server:
    if not _servers:
        _servers.append(_Server())
    return _servers[0]


def _send(to: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    data = json.dumps(message).encode()
    socket.send_fds(to, [len(data).to_bytes(SIZE)], list(descriptors))
    to.sendall(data)


def _receive(source: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The next message and its descriptors. Raises EOFError."""
    head, descriptors, _, _ = socket.recv_fds(source, SIZE, 2)
    while 0 < len(head) < SIZE:
        head += source.recv(SIZE - len(head))
    if not head:
        raise EOFError
    data = b""
    while len(data) < int.from_bytes(head):
        data += source.recv(int.from_bytes(head) - len(data))
    message: dict[str, Any] = json.loads(data)
    return message, descriptors


# The waiting process


def _wait_to_be_forked(control: socket.socket) -> dict[str, Any]:
    """Fork for each request; returns the request in each of the children, and raises SystemExit in the parent."""
    while True:
        try:
            request, descriptors = _receive(control)
        except EOFError:
            raise SystemExit from None
        if "ended" in request:
            pid, status = os.waitpid(request["ended"], os.WNOHANG)
            _send(control, {"answer": os.waitstatus_to_exitcode(status) if pid else None})
        elif pid := os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
            _send(control, {"answer": pid})
        else:
            for number, descriptor in enumerate(descriptors, 1):
                os.dup2(descriptor, number)
                os.close(descriptor)
            return request


def _become(request: dict[str, Any]) -> int:
    """Run the requested command; returns its exit status."""
    os.setsid()
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    sys.argv = ["paneview", *request["words"]]
    status: int = importlib.import_module("paneview.cli").main(request["words"])
    return status


def _main() -> int:
    with socket.socket(fileno=int(sys.argv[1])) as control:
        for name in PRELOADED:
            importlib.import_module(name)
        # To cache what msgspec derives from the models at the first file, and compiled patterns.
        importlib.import_module("paneview.config.load").parse_project(FILE, Path("/paneview.toml"), {})
        importlib.import_module("paneview.rules.asking").compiled()
        gc.collect()
        gc.freeze()
        request = _wait_to_be_forked(control)
    return _become(request)


def _leave(status: int) -> NoReturn:
    """Exit like Python does, but without freeing memory.

    Most of it is shared with the waiting process, and freeing would write to it, so that each page would be copied
    first: that takes three times as long as a short command itself.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are not daemons
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _leave(_main())
