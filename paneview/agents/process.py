"""One process of an agent, from its start until nothing of it is left."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from paneview import proc
from paneview.agents.failures import classify
from paneview.agents.model import RunStatus
from paneview.agents.parsing import Parser
from paneview.agents.shim import Started, Told
from paneview.agents.showing import Book
from paneview.rules import runs
from paneview.rules.runs import Limits, Watch

CHUNK = 1 << 16
LONGEST_LINE = 64 * 1024 * 1024  # bytes; a longer line is split
LAST_WORDS = 0.25  # seconds to wait for output through a pipe that a background process holds open
LONGEST_WAIT = 86_400.0  # seconds: no selector takes more than 24 days
LOOK = 0.1  # seconds between two checks where there are no pidfds
GRACE = 0.4  # seconds from SIGTERM to SIGKILL for what an agent has left behind
HOPELESS = 5.0  # seconds after which processes that do not die are given up
KEEP_ERRORS = 16 * 1024  # characters
PR_SET_CHILD_SUBREAPER = 36
REFUSED = frozenset({RunStatus.RATE_LIMITED, RunStatus.AUTH})


def adopt_orphans() -> None:
    """Become the parent of what is left by a child that ends, however well that hides: by sessions, environments.

    Linux only; elsewhere what has left both is not found.
    """
    import ctypes  # noqa: PLC0415 - the agent is at work already

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Lines:
    """Splits bytes into lines, passed to ``take`` without their ends."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Add bytes."""
        first, *others = data.split(b"\n")
        self._rest.append(first)
        self._size += len(first)
        if others:
            *whole, last = others
            self.end()
            for line in whole:
                self._take(line.decode("utf-8", "replace"))
            self._rest, self._size = [last], len(last)
        elif self._size > LONGEST_LINE:
            self.end()

    def end(self) -> None:
        """Pass on what is left as the last line."""
        line, self._rest, self._size = b"".join(self._rest), [], 0
        if line:
            self._take(line.decode("utf-8", "replace"))


class Process:
    """Reads an agent's process and ends it.

    ``marker``: carried by all it starts, in the environment. ``note`` is called with each new session of the agent.
    """

    def __init__(
        self,
        started: Started,
        parser: Parser,
        book: Book,
        *,
        marker: str,
        told: Told,
        note: Callable[[str], None],
    ) -> None:
        self._pid = started.pid
        self.identity = proc.identify(started.pid)
        self._parser = parser
        self._book = book
        self._marker = marker
        self._told = told
        self._note = note
        self.errors = ""
        self.code: int | None = None
        self._streams = {started.out: Lines(self._line), started.err: Lines(self._error)}
        self._known: set[proc.ProcessId] = set()
        self._spoke = False
        self.complaint = ""
        """The provider's refusal on standard error, unless other output has followed on either stream."""
        self._selector = selectors.DefaultSelector()
        for fd in self._streams:
            os.set_blocking(fd, False)
            self._selector.register(fd, selectors.EVENT_READ)
        self._selector.register(told.bell, selectors.EVENT_READ)
        self._pidfd = os.pidfd_open(self._pid) if hasattr(os, "pidfd_open") else None
        if self._pidfd is not None:
            self._selector.register(self._pidfd, selectors.EVENT_READ)

    def run(self, limits: Limits, ends_at: float, budget: float | None) -> Watch:
        """Run until the process has ended, on its own or by us, and nothing of it is left; returns how it ended."""
        watch = runs.begin(limits, time.monotonic(), ends_at)
        try:
            while not self._reap():
                watch = self._turn(watch, limits, budget)
            until = time.monotonic() + LAST_WORDS
            while self._streams and (left := until - time.monotonic()) > 0:
                self._read(left)
            for lines in self._streams.values():
                lines.end()
        finally:  # also after a bug of ours: nothing else would end it
            end_left(self._members)
            self._close()
        return watch

    def _turn(self, watch: Watch, limits: Limits, budget: float | None) -> Watch:
        wait = max(0.0, runs.due(watch) - time.monotonic())
        self._read(min(wait, LOOK) if self._pidfd is None else wait)
        now = time.monotonic()
        if self._spoke:
            self._spoke = False
            watch = runs.heard(watch, limits, now, self._parser.patience)
        if self._parser.concluded:
            watch = runs.concluded(watch, limits, now)
        elif budget is not None and (self._parser.cost or 0.0) > budget:
            watch = runs.stop(watch, "budget", now)
        if self._told.to_end:
            watch = runs.stop(watch, "cancelled", now)
        watch, number = runs.tick(watch, now)
        if number is not None:
            self._signal(getattr(signal, f"SIG{number}"))
        return watch

    def _read(self, wait: float) -> None:
        for key, _ in self._selector.select(min(wait, LONGEST_WAIT)):
            if key.fd == self._told.bell:
                self._selector.unregister(key.fd)
            elif (lines := self._streams.get(key.fd)) is not None:
                data = os.read(key.fd, CHUNK)
                # A line about a refusal that is retried over and over is no sign of progress, see `_error`.
                self._spoke = self._spoke or b"\n" not in data
                if data:
                    lines.feed(data)
                else:
                    lines.end()
                    self._selector.unregister(key.fd)
                    del self._streams[key.fd]
                    os.close(key.fd)

    def _reap(self) -> bool:
        """Take note of children that have ended, orphans included; returns whether the agent has."""
        with suppress(ChildProcessError):  # until there are no others
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._pid:
                    self.code = os.waitstatus_to_exitcode(ended[1])
        if self.code is not None and self._pidfd is not None:
            self._selector.unregister(self._pidfd)
        return self.code is not None

    def _line(self, line: str) -> None:
        self._spoke = True
        self.complaint = ""
        self._book.line(line)
        before = self._parser.session
        for shown in self._parser.feed(line):
            self._book.show(shown)
        if self._parser.session != before:
            self._note(self._parser.session)

    def _error(self, line: str) -> None:
        line = self._book.error(line)
        self.errors = (self.errors + line + "\n")[-KEEP_ERRORS:]
        self.complaint = line.strip() if classify(line) in REFUSED else ""
        self._spoke = self._spoke or not self.complaint

    def _signal(self, number: int) -> None:
        """Signal the process group and, for SIGKILL, also all members that left it."""
        self._members()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, number)
        if number == signal.SIGKILL:
            proc.send(number, self._members())

    def _members(self) -> set[proc.ProcessId]:
        """All its processes: by tree, session and marker, the orphans that we have adopted, and those seen before."""
        table = proc.ProcessTable.read()
        ours = {proc.ProcessId(row.pid, row.start) for row in table.rows.values() if row.ppid == os.getpid()}
        found = table.members(self.identity, self._marker, self._pid, self._known | ours)
        self._known |= found
        return found

    def _close(self) -> None:
        self._selector.close()
        for fd in self._streams:
            os.close(fd)
        if self._pidfd is not None:
            os.close(self._pidfd)


def end_left(find: Callable[[], set[proc.ProcessId]]) -> None:
    """End the processes an agent has left behind, until ``find`` returns no more."""
    if not (left := find()):
        return
    proc.send(signal.SIGTERM, left)
    began = time.monotonic()
    while (left := find()) and time.monotonic() < began + HOPELESS:
        if time.monotonic() >= began + GRACE:
            proc.send(signal.SIGKILL, left)
        time.sleep(0.02)  # nothing wakes us: they are not our children, and others may join them
