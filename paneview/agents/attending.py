"""A run from the worker's side: begin it or find it under way, wait for it, and return its outcome.

The run's folder is all it needs. An outcome there is used, whichever worker began the run; a running shim is waited
for; if the shim is gone without an outcome, the run is lost, and what is left of the agent is ended.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from paneview import proc
from paneview.agents import folder as place
from paneview.agents.model import RunOutcome, RunRequest, RunStatus
from paneview.agents.presets import preset_of
from paneview.agents.redact import PATTERNS
from paneview.agents.shim import FROM_TERMINAL, TAKEN
from paneview.config.workflows.roles import Runner

LOOK = 0.1  # seconds between two checks for output to show
YOUNG = 10.0  # seconds within which a shim that holds its lock identifies itself
LITTLE = 0.01  # dollars: the least budget, since none can be 0
LAST_LINES = 4096  # bytes shown again of a run already under way


class Ended(Exception):  # noqa: N818 - a state, not an error
    """The worker no longer waits for the run, which goes on."""


class Attendance:
    """A run that a worker attends. ``show`` gets each line to be shown to people."""

    def __init__(self, runner: Runner, request: RunRequest, show: Callable[[str], None]) -> None:
        self._runner = runner
        self._request = request
        self._folder = request.folder
        self._show = show
        self._shown = 0
        self._shim: subprocess.Popen[bytes] | None = None
        self._woken = self._waker = -1  # a pipe, while `run` is waiting
        self._waking = threading.Lock()
        self.marker = proc.AGENT + request.run

    def wake(self) -> None:
        """Make `run` call ``stop`` at once; from any thread."""
        with self._waking:
            if self._waker >= 0:
                os.write(self._waker, b".")

    def run(self, stop: Callable[[], str], patterns: Iterable[str] = PATTERNS) -> RunOutcome:
        """Wait for the outcome, and begin the run if it has not begun.

        ``stop`` is called regularly: "end" ends the agent (its outcome follows soon), "leave" leaves it running, ""
        goes on. ``patterns``: name patterns of environment variables that hold secrets. Raises Ended, OSError.
        """
        place.make(self._folder)
        attended = self._attend(stop)
        try:
            with self._wakeable():
                return self._attended(stop, tuple(patterns))
        finally:
            os.close(attended)

    def _attended(self, stop: Callable[[], str], patterns: tuple[str, ...]) -> RunOutcome:
        if (found := self.outcome()) is not None:
            if found.status is not RunStatus.CANCELLED:
                return found
            # A cancelled job is never claimed again, so the agent was ended with a worker that could not report it.
            start_over(self._folder, found, found.session)
        if not self._is_under_way():
            if (self._folder / place.SHIM).exists():
                return self.outcome() or self._lost()  # it may just have ended
            self._begin(patterns)
        else:
            self._show("the agent is already at work: waiting for it")
            self._shown = max(0, _size(self._folder / place.SHOWN) - LAST_LINES)
        return self._wait(stop)

    def outcome(self) -> RunOutcome | None:
        """The run's outcome; None while there is none."""
        found = place.read_json(self._folder / place.OUTCOME)
        if found is None:
            return None
        try:
            return RunOutcome.from_json(found)
        except (ValueError, TypeError, KeyError):
            return None

    # Finding it

    def _attend(self, stop: Callable[[], str]) -> int:
        while (attended := place.lock(self._folder / place.ATTENDED)) is None:
            if stop():
                raise Ended
            time.sleep(LOOK)
        return attended

    def _is_under_way(self) -> bool:
        return self._process() is not None or place.is_locked(self._folder / place.RUNNING)

    def _process(self) -> proc.ProcessId | None:
        """The shim's process, if it is running."""
        return shim_of(self._folder)

    # Beginning it

    def _begin(self, patterns: tuple[str, ...]) -> None:
        request, runner = self._request, self._runner
        again = place.read_json(self._folder / place.AGAIN) or {}
        if session := again.get("resume"):
            request = request._replace(resume=str(session))
        if request.budget_usd is not None and (before := place.earlier(self._folder)) is not None:
            left = request.budget_usd - (before.cost_usd or 0.0)
            request = request._replace(budget_usd=max(left, LITTLE))
        place.write(self._folder / place.PROMPT, request.prompt)
        preset = preset_of(runner)
        asked = {
            "run": request.run,
            "marker": self.marker,
            "argv": preset.argv(runner, request),
            "cwd": os.fspath(request.cwd),
            "permissions": request.permissions,
            "resume": request.resume,
            "allow": request.allow,
            "schema": request.schema,
            "budget_usd": request.budget_usd,
            "log_from": _size(self._folder / preset.LOG) if preset.LOG else 0,
            "timeout": runner.timeout,
            "patterns": patterns,
            "runner": {**runner._asdict(), "env": {}},
        }
        place.write_json(self._folder / place.REQUEST, asked)
        self._shown = _size(self._folder / place.SHOWN)
        log = place.append(self._folder / place.LOG)
        # A terminal that is closed before the shim has its own session would end it before it has begun.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, FROM_TERMINAL)
        try:
            self._shim = subprocess.Popen(
                [sys.executable, "-P", "-m", "paneview.agents.shim", os.fspath(self._folder)],
                cwd=self._folder,
                env={**request.env, **preset.ENV, **runner.env, proc.MARKER: self.marker},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(log)

    # Waiting for it

    def _wait(self, stop: Callable[[], str]) -> RunOutcome:
        told = ""
        while (shim := self._alive()) is not None:
            wish = stop()
            if wish == "leave":
                raise Ended
            if wish == "end" and told != "end":
                told = wish
                proc.send(signal.SIGTERM, [shim])
            self._sleep(shim)
            self._tail()
        self._tail(last=True)
        return self.outcome() or self._lost(cancelled=told == "end")

    def _alive(self) -> proc.ProcessId | None:
        if self._shim is None:
            return self._process() or self._young()
        if self._shim.poll() is None:
            return proc.identify(self._shim.pid)
        return None if self._shim.returncode != TAKEN else self._process() or self._young()

    def _young(self) -> proc.ProcessId | None:
        """Wait for a shim that holds its lock to identify itself."""
        until = time.monotonic() + YOUNG
        while place.is_locked(self._folder / place.RUNNING) and time.monotonic() < until:
            if (found := self._process()) is not None:
                return found
            time.sleep(0.01)
        return self._process()

    @contextmanager
    def _wakeable(self) -> Iterator[None]:
        """Within the block, `wake` ends a sleep; afterwards the pipe's descriptors may belong to another file."""
        pipe = os.pipe()
        with self._waking:
            self._woken, self._waker = pipe
        try:
            yield
        finally:
            with self._waking:
                self._woken = self._waker = -1
            for end in pipe:
                os.close(end)

    def _sleep(self, shim: proc.ProcessId) -> None:
        """Sleep until the shim ends, `wake` is called, or `LOOK` seconds have passed."""
        poll, pidfd = select.poll(), None  # not `select`, which takes no descriptor above 1023
        poll.register(self._woken, select.POLLIN)
        try:
            if hasattr(os, "pidfd_open"):
                with suppress(OSError):
                    pidfd = os.pidfd_open(shim.pid)
                    poll.register(pidfd, select.POLLIN)
            if any(fd == self._woken for fd, _ in poll.poll(LOOK * 1000)):
                os.read(self._woken, 4096)
        finally:
            if pidfd is not None:
                os.close(pidfd)

    def _tail(self, *, last: bool = False) -> None:
        """Show what is new."""
        try:
            with (self._folder / place.SHOWN).open("rb") as file:
                file.seek(self._shown)
                data = file.read()
        except FileNotFoundError:
            return
        if not last:
            data = data[: data.rfind(b"\n") + 1]
        self._shown += len(data)
        for line in data.decode("utf-8", "replace").splitlines():
            self._show(line)

    def _lost(self, *, cancelled: bool = False) -> RunOutcome:
        """The outcome of a run whose shim is gone without one. Ends what is left running and keeps the session."""
        sweep(self.marker)
        note = place.read_json(self._folder / place.SHIM) or {}
        kept = [
            name for name in (place.TRANSCRIPT, place.SHOWN, place.ERRORS) if (self._folder / name).exists()
        ]
        words = (
            "it was cancelled" if cancelled else "what watched over it was killed, or the machine restarted"
        )
        lost = RunOutcome(
            RunStatus.CANCELLED if cancelled else RunStatus.LOST,
            error=words,
            session=str(note.get("session") or ""),
            started=float(note.get("started") or time.time()),
            ended=time.time(),
            resumed=int(note.get("resumed") or 0),
            files=tuple(kept),
        )
        lost = place.with_earlier(self._folder, lost)
        with suppress(OSError):  # a full disk: the next look finds the run lost again
            place.write_json(self._folder / place.OUTCOME, lost.to_json(), durable=True)
        return lost


def shim_of(folder: Path) -> proc.ProcessId | None:
    """The process of a run's shim, if it is running."""
    note = place.read_json(folder / place.SHIM)
    if note is None or note.get("boot") != proc.boot_id():
        return None
    shim = proc.ProcessId(int(note["pid"]), int(note["start"]))
    return shim if proc.is_alive(shim) else None


def start_over(folder: Path, ended: RunOutcome, session: str) -> None:
    """Prepare another attempt of the same job, which resumes ``session`` unless that is empty.

    The attempt that ended is not reported: its usage is added to that of the next one.
    """
    used = ended.used()._replace(session=session)
    place.write_json(folder / place.AGAIN, {"resume": session, "used": used.to_json()})
    for name in (place.REQUEST, place.SHIM, place.OUTCOME):
        with suppress(FileNotFoundError):
            (folder / name).unlink()


def sweep(marker: str) -> None:
    """Kill all processes that carry a run's marker."""
    for _ in range(50):
        left = proc.ProcessTable.read().marked(marker).get(marker)
        if not left:
            return
        proc.send(signal.SIGKILL, left)
        time.sleep(0.02)


def prune(state: Path, days: float, now: float) -> int:
    """Remove the folders of runs that ended or were abandoned more than so many days ago; returns how many."""
    count = 0
    with suppress(OSError):  # what cannot be read stays
        for folder in place.runs_dir(state).iterdir():
            with suppress(OSError):
                if _ended(folder) < now - days * 86400 and not _is_in_use(folder):
                    shutil.rmtree(folder, ignore_errors=True)
                    count += 1
    return count


def _ended(folder: Path) -> float:
    """When its run ended (epoch seconds); without an outcome, when the folder last changed."""
    try:
        return (folder / place.OUTCOME).stat().st_mtime
    except FileNotFoundError:
        return folder.stat().st_mtime


def _is_in_use(folder: Path) -> bool:
    return any(place.is_locked(folder / name) for name in (place.ATTENDED, place.RUNNING))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
