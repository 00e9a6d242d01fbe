"""Processes for the tests of this room; every one is ended with its test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paneview.proc import ProcessId, identify
from paneview.proc.linux import LinuxBackend
from paneview.proc.portable import PortableBackend
from paneview.proc.row import Backend
from tests.harness import Sandbox, end_all, marked, wait_until

Run = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def run(sandbox: Sandbox) -> Iterator[Run]:
    """Start ``sh -c SCRIPT`` in a session of its own, with extra environment variables as keywords."""
    started: list[subprocess.Popen[bytes]] = []

    def start(script: str, **environ: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            ["/bin/sh", "-c", script], env={**os.environ, **environ}, start_new_session=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
    end_all(marked(sandbox.marker))


@pytest.fixture
def key(sandbox: Sandbox) -> str:
    """A mark for processes, of this test only: they are looked for machine-wide."""
    return f"{sandbox.marker[:10]}-1"


@pytest.fixture(params=["linux", "portable"])
def source(request: pytest.FixtureRequest) -> Backend:
    """Each of the two back ends: what one finds, the other must."""
    if request.param == "portable":
        return PortableBackend()
    if not os.path.exists("/proc/self/stat"):
        pytest.skip("no /proc here")
    return LinuxBackend()


def identity(process: subprocess.Popen[bytes], source: Backend | None = None) -> ProcessId:
    """The process's identity, which it must have."""
    found = identify(process.pid, source) if source else identify(process.pid)
    assert found
    return found


def pid_from(path: os.PathLike[str]) -> int:
    """The process id that a script wrote into this file, once it has."""

    def written() -> str:
        text = Path(path).read_text() if os.path.exists(path) else ""
        return text if text.endswith("\n") else ""

    return int(wait_until(written))
