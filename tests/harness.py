"""What tests of every package need: waiting for a condition, a free port, processes by their marker.

Nothing here sleeps for a fixed time and hopes: a wait has a condition and a deadline.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

# Seconds. Generous, since the full suite on two busy cores can delay any process; passing tests never wait for it.
DEADLINE = 20.0
MARKER = "PANEVIEW_TEST"
LONGEST_LOOK = 0.5  # seconds


def wait_until(condition: Callable[[], T], deadline: float = DEADLINE, interval: float = 0.01) -> T:
    """Call ``condition`` until it returns something true, and return that; fail after ``deadline`` s."""
    pace = _Pace(deadline, interval)
    while True:
        if result := condition():
            return result
        time.sleep(pace.next(condition))


async def eventually(
    condition: Callable[[], T] | Callable[[], Awaitable[T]],
    deadline: float = DEADLINE,
    interval: float = 0.01,
) -> T:
    """Like `wait_until` for async tests; the condition may be a coroutine function, too."""
    pace = _Pace(deadline, interval)
    while True:
        result = condition()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return result  # type: ignore[return-value]
        await asyncio.sleep(pace.next(condition))


class _Pace:
    """When to check a condition again.

    A check that takes long (a whole command, a request to the supervisor) is made rarely, so as not to slow down what
    is waited for: checks take a quarter of the time at most, and the wait is a tenth too long at most.
    """

    def __init__(self, deadline: float, interval: float) -> None:
        self._began = self._slept = time.monotonic()
        self._deadline = deadline
        self._interval = interval

    def next(self, condition: Callable[..., object]) -> float:
        """Seconds to sleep now. Raises AssertionError at the deadline."""
        now = time.monotonic()
        if now > self._began + self._deadline:
            raise AssertionError(f"not true within {self._deadline} s: {_name(condition)}")
        look = now - self._slept
        sleep = max(self._interval, min(3 * look, LONGEST_LOOK), min(0.1, (now - self._began) / 10))
        self._slept = now + sleep
        return sleep


def _name(condition: Callable[..., object]) -> str:
    code = getattr(getattr(condition, "func", condition), "__code__", None)  # `func`: of a `partial`
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(condition)


def free_port() -> int:
    """A TCP port of the loopback interface on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_ports(number: int) -> list[int]:
    """This many free ports, all different: among a hundred obtained one by one, two are the same in one case of six."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def can_connect(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections on ``port``."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


NO_DESCRIPTORS = """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        os.dup(0)
except OSError:
    pass
"""
"""Code for a test's own program: after this it cannot open any file."""


def alive(pid: int) -> bool:
    """Whether a process with this pid exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def marked(marker: str, but: Collection[int] = ()) -> list[psutil.Process]:
    """The live processes with ``PANEVIEW_TEST=marker`` in their environment: all that the test has started.

    Pids in ``but``, of processes that were there before, are skipped.
    """
    wanted = f"{MARKER}={marker}".encode()
    found = []
    for pid in psutil.pids():
        try:
            if pid not in but and pid != os.getpid() and wanted in _environment(pid):
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def words_of(process: psutil.Process) -> list[str]:
    """The command line of a process; empty once it is gone."""
    try:
        return process.cmdline()
    except psutil.Error:  # gone, or dead and not yet collected
        return []


def _environment(pid: int) -> list[bytes]:
    if os.path.exists("/proc/self/environ"):  # every test ends with this, and psutil takes ten times as long
        file = Path(f"/proc/{pid}/environ")
        for _ in range(5):
            if (data := file.read_bytes()) or not os.path.exists(f"/proc/{pid}/exe"):
                break
            time.sleep(0.001)  # in the middle of an exec, a process has no environment yet
        return data.split(b"\0")
    return [f"{key}={value}".encode() for key, value in psutil.Process(pid).environ().items()]


@dataclass(frozen=True)
class Sandbox:
    """The private sandbox of one test: all that it starts or writes is in here."""

    root: Path
    home: Path
    """$PANEVIEW_HOME."""
    marker: str
    """Value of $PANEVIEW_TEST in the environment of every process of the test."""
    tmux_socket: str
    """Path of the private tmux socket, also in $PANEVIEW_TMUX_SOCKET; `tmux_conf` configures it."""

    @property
    def tmux_conf(self) -> Path:
        """The configuration file that the private tmux server reads at its start; exists only if a test writes it."""
        return self.root / ".tmux.conf"

    def tmux(self, *args: str, check: bool = True) -> str:
        """Run a tmux command on the private server; returns its standard output without trailing newlines."""
        done = subprocess.run(
            ["tmux", "-S", self.tmux_socket, *args], capture_output=True, text=True, check=False, timeout=30
        )
        if check and done.returncode:
            raise AssertionError(f"tmux {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout.rstrip("\n")

    def tmux_server_pid(self) -> int | None:
        """The private tmux server's pid; None if it is not running."""
        answer = self.tmux("display-message", "-p", "#{pid}", check=False)
        return int(answer) if answer.isdecimal() else None

    def processes(self) -> list[psutil.Process]:
        """The live processes that this test has started."""
        return marked(self.marker)

    def end_tmux(self) -> None:
        """End the private tmux server; returns when its process is gone."""
        if not os.path.exists(self.tmux_socket):
            return
        answer = self.tmux("display-message", "-p", "#{pid}", ";", "kill-server", check=False)
        if answer.isdecimal():
            wait_until(lambda: not alive(int(answer)))


def end_all(processes: list[psutil.Process]) -> None:
    """Send SIGKILL to each process, then wait until they are gone."""
    for process in processes:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    wait_until(lambda: not any(alive(process.pid) for process in processes))
