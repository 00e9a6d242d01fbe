"""A real Redis of the tests' own: a free loopback port, an append-only file, ended by its pid."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from tests.harness import free_port, wait_until

PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Between fork and exec: a test run that is killed leaves no server behind (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class RedisServer:
    """One server process and its folder; it may be killed and started again on the same port."""

    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pv-redis-", dir="/tmp"))
        self.port = free_port()
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it answers."""
        self.process = subprocess.Popen(
            [
                "redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
                "--appendonly", "yes", "--save", "", *self.options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"]},
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - nothing but one system call
        )  # fmt: skip
        wait_until(self.answers)

    def answers(self) -> bool:
        """Whether it takes commands."""
        with socket.socket() as probe:
            probe.settimeout(1)
            try:
                probe.connect(("127.0.0.1", self.port))
                probe.sendall(b"PING\r\n")
                return probe.recv(64) == b"+PONG\r\n"
            except OSError:
                return False

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        assert self.process
        self.process.kill()
        self.process.wait()

    @property
    def client(self) -> Any:
        """A plain client, to be closed."""
        return redis.Redis(host="127.0.0.1", port=self.port, decode_responses=True, driver_info=None)

    def forget(self) -> None:
        """Drop every key."""
        with self.client as client:
            client.flushall()

    def close(self) -> None:
        """End it and remove its folder."""
        if self.process:
            self.kill()
        shutil.rmtree(self.folder)


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """A server for the time of a block."""
    server = RedisServer(*options)
    try:
        server.start()
        yield server
    finally:
        server.close()
