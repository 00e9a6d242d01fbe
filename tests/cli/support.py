"""Running the command line as a user does: the program in a process of its own, in a folder of a project."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = (sys.executable, "-P", "-m", "paneview")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output as the one JSON object it has to be."""
        value: dict[str, Any] = json.loads(self.out)
        return value


def environment(env: dict[str, str] | None = None) -> dict[str, str]:
    """The test's environment, in which Python keeps what it has compiled: else each command compiles us anew."""
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(env or {})}


def run(*args: str, cwd: Path, env: dict[str, str] | None = None, text: str | None = None) -> Done:
    """Run ``paneview`` with these arguments and wait for it."""
    done = subprocess.run(
        [*COMMAND, *args],
        cwd=cwd,
        env=environment(env),
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


async def arun(*args: str, cwd: Path, env: dict[str, str] | None = None) -> Done:
    """`run` for tests whose own event loop has to go on meanwhile."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *args,
        cwd=cwd,
        env=environment(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())
