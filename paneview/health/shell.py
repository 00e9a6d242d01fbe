"""A shell command with a time limit, which leaves no process behind.

It has its own session and its own marker in the environment, so that on a timeout, or when the waiter is
cancelled, all it has started is found and killed, including what left its process group. What it leaves after
a normal end is killed, too, if it is in the same group: that takes a single system call and no scan of all
processes.

The command is over when its process ends, not when its output does: it may leave something in the background that
keeps standard output open. Output is read as it comes, so it never blocks the command, and only the end is kept.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from paneview import proc
from paneview.health.result import MAX_OUTPUT, ProbeFailed, ProbeResult, seconds
from paneview.health.specs import ShellProbe

KILL_TIMEOUT = 2.0  # seconds after which a process that SIGKILL does not end (dead disk) is given up


class Finished(Struct, frozen=True):
    """How a command ended. `code` is negative for a signal, None if its time was up."""

    code: int | None
    output: bytes


async def probe_shell(spec: ShellProbe, env: Mapping[str, str], cwd: Path, marker: str) -> ProbeResult:
    """Run the command; healthy if it exits with 0. Raises ProbeFailed, OSError if resources are short."""
    try:
        finished = await run_command(spec.command, env=env, cwd=cwd, marker=marker, limit=spec.timeout)
    except OSError as error:
        if error.errno in proc.SCARCE:
            raise
        raise ProbeFailed(f"the command could not be run in {cwd}: {error.strerror}") from error
    output = finished.output.decode("utf-8", "replace")
    if finished.code == 0:
        return ProbeResult(True, "exit code 0", output)
    last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")
    detail = describe_end(finished.code, spec.timeout)
    raise ProbeFailed(f"{detail}: {last[:200]}" if last else detail, output)


def describe_end(code: int | None, limit: float) -> str:
    """How a command ended, in words."""
    if code is None:
        return f"no answer within {seconds(limit)}"
    if code < 0:
        try:
            return f"ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"ended by signal {-code}"
    return f"exit code {code}"


async def run_command(
    command: str, *, env: Mapping[str, str], cwd: Path, marker: str, limit: float, keep: int = MAX_OUTPUT
) -> Finished:
    """Run `command` by ``sh -c`` for `limit` seconds at most, keeping the last `keep` bytes of its output.

    `env` is the whole environment; `marker` must be unique to this command. Raises OSError if it can't be
    started.
    """
    running = _Running(command, {**env, proc.MARKER: marker}, cwd, keep)
    try:
        async with asyncio.timeout(limit):
            await running.ended()
    except TimeoutError:
        pass
    finally:
        await running.clean_up(marker)
    return Finished(running.process.returncode if running.in_time else None, bytes(running.output[-keep:]))


class _Running:
    """A command under way, and the reading of its output."""

    def __init__(self, command: str, env: Mapping[str, str], cwd: Path, keep: int) -> None:
        self.keep = keep
        self.output = bytearray()
        self.in_time = False
        self._reading, writing = os.pipe()
        try:
            os.set_blocking(self._reading, False)
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", command], cwd=cwd, env=env, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=writing, stderr=writing,
            )  # fmt: skip
        except BaseException:
            os.close(self._reading)
            raise
        finally:
            os.close(writing)
        self.identity: proc.ProcessId | None = None

    async def ended(self) -> None:
        """Wait for the process to end. Raises OSError if resources are short."""
        # A child that has not been reaped keeps its pid: this is the one just started, even if it is over.
        self.identity = proc.identify(self.process.pid)
        asyncio.get_running_loop().add_reader(self._reading, self._read)
        if self.identity is not None:
            watch = proc.ExitWatch()
            try:
                await watch.wait(self.identity)
            finally:
                watch.close()
        self.in_time = True

    def _read(self) -> bool:
        """Read what is available; False when there is no more, for now or at all."""
        try:
            data = os.read(self._reading, 65536)
        except BlockingIOError:
            return False
        if not data:
            asyncio.get_running_loop().remove_reader(self._reading)
            return False
        self.output += data
        if len(self.output) > 4 * self.keep:
            del self.output[: -self.keep]
        return True

    async def clean_up(self, marker: str) -> None:
        """Kill what is left, reap the process and close the pipe."""
        pid = self.process.pid
        self._drain()  # before the kill: a shell that sees its child being killed prints a message
        asyncio.get_running_loop().remove_reader(self._reading)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        try:
            if not self.in_time:
                await proc.kill_until_gone(
                    lambda table: table.members(self.identity, marker, pid), KILL_TIMEOUT
                )
        finally:
            self.process.poll()
            os.close(self._reading)

    def _drain(self) -> None:
        """Read what was written before the end: it fits in the pipe, so a bounded number of reads will do."""
        for _ in range(16):
            if not self._read():
                break
