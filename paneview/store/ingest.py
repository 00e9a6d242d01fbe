"""The ingest thread: from the spool into ``logs.db``, every byte exactly once, whatever is killed and when.

One thread, one connection, one loop: wait for inotify or a command; read what is due, a bounded step per
task; store the chunks and new spool positions of all tasks in one transaction; only then remove spool
files. A task that floods is read in larger and rarer steps, never more than 1 MB at a time, so it cannot
starve another.

A task's lines are numbered in one sequence: its runs one after another, and notes (`append`: hook output,
messages of the supervisor) after whatever the runs had printed when the note was written.

While the database cannot be written (full disk), the spool keeps the data and the thread retries every
second.
"""

from __future__ import annotations

import logging
import os
import select
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path

from paneview.store import spool
from paneview.store.database import StoreError, is_damaged
from paneview.store.engine import Attachment, IngestEngine
from paneview.store.known import KnownTimes
from paneview.store.limits import LogLimits
from paneview.store.watch import Watch, watch_folder

LOG = logging.getLogger(__name__)

HEARTBEAT = 1.0  # seconds between two rounds of housekeeping
RETRY = 1.0  # seconds between two attempts while nothing can be written
PROGRESS = 1 / 60  # seconds between two progress calls
PAUSE = 0.05  # seconds that changes of other files may go unnoticed while a flooding task is paused
SPOOL_CAP = 2 << 30  # bytes that may wait in the spool while nothing can be stored
LAST_ROUNDS = 2.0  # seconds that `stop` may take to store what is in the spool


class LogIngest:
    """Owns the ingest thread. Any thread may call it; all methods but `start` and `stop` return at once.

    Callbacks run on the ingest thread and must be quick. `on_trouble` receives a message once when storing
    begins to fail or a text file cannot be written, and None when storing works again.
    """

    def __init__(
        self,
        path: Path,
        spool_dir: Path,
        *,
        on_trouble: Callable[[str | None], None] = lambda _message: None,
        spool_cap: int = SPOOL_CAP,
    ) -> None:
        self._spool_cap = spool_cap
        self._engine = IngestEngine(path, spool_dir)
        self._folder = spool_dir
        self._path = path
        self._on_trouble = on_trouble
        self._on_progress: Callable[[Mapping[str, int]], None] = lambda _heads: None
        self._commands: deque[Attachment | Callable[[], None]] = deque()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._troubled_since: float | None = None
        self._retry_at = 0.0
        self._next_progress = 0.0
        self._next_round = 0.0
        self._text_behind = False

    def start(self) -> Path | None:
        """Open the database, continue with what the spool holds of known runs, and start the thread.

        Returns where a damaged database was moved, if any. Raises `StoreError` if the path cannot be used.
        """
        moved = self._engine.open()
        self._commands.appendleft(self._engine.resume)
        self._watch: Watch = watch_folder(self._folder)
        self._thread = threading.Thread(target=self._run, name="log ingest", daemon=True)
        self._thread.start()
        return moved

    def stop(self) -> None:
        """Store what is in the spool (for at most `LAST_ROUNDS`), end the thread and close the database."""
        self._stopping = True
        self._wake()
        if self._thread is not None:
            self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def on_progress(self, callback: Callable[[Mapping[str, int]], None]) -> None:
        """Call back with the new end line of every task whose log grew, at most 60 times a second.

        A task whose last line grew without a newline is reported again with the same end.
        """
        self._on_progress = callback

    @property
    def watched(self) -> bool:
        """Whether somebody wants to see output as it comes. While nobody does, a flood is stored when it is over."""
        return self._engine.watched

    @watched.setter
    def watched(self, yes: bool) -> None:
        self._engine.watched = yes

    @property
    def troubled(self) -> bool:
        """Whether storing has failed, and has not worked since."""
        return self._troubled_since is not None

    @property
    def last_run(self) -> int:
        """The highest number of a run that had a log when this started, even if it never had a process."""
        return self._engine.last_run

    def unfinished(self, task: str) -> bool:
        """Whether the task's output, as last reported, stops inside a line: at a prompt, or just briefly."""
        return task in self._engine.unfinished

    def known_times(self, run: int) -> KnownTimes | None:
        """When the run's bytes that are not stored yet came; None if not known."""
        return self._engine.known.get(run)

    def attach(self, run: int, task: str, limits: LogLimits | None = None) -> None:
        """Store this run's output for the task. A known run continues where it was.

        `limits` apply to the task from now on; None leaves them as they are.
        """
        self._do(Attachment(run, task, limits, time.time()))

    def announce(self, run: int, task: str, limits: LogLimits | None = None) -> None:
        """`attach` a run that is about to be spawned, so that all its times are exact.

        The thread is not woken: it only has to know of the run before it reads the run's first byte. So the runs of
        fifty tasks that start together are attached together, and not while they are being started.
        """
        self._commands.append(Attachment(run, task, limits, time.time()))

    def set_limits(self, task: str, limits: LogLimits) -> None:
        """Keep this much of the task's log from now on."""
        self._do(lambda: self._engine.set_limits(task, limits))

    def finish(self, run: int) -> None:
        """The run is over. Its spool is removed once nothing can write to it any more and all of it is stored."""
        self._do(lambda: self._engine.finish(run))

    def drained(self, run: int) -> Future[None]:
        """A future that is done when a finished run is stored completely; at once if the run is not attached.

        A process that outlives its run and keeps the pipe open delays this by two seconds at most.
        """
        done: Future[None] = Future()
        self._do(lambda: self._engine.drained(run, done), done)
        return done

    def append(self, run: int, task: str, data: bytes) -> None:
        """Append whole lines (a missing last newline is added) after what the run has written so far."""
        now, place = time.time(), spool.end_of(self._folder, run)
        self._do(lambda: self._engine.append(run, task, data, now, place))

    def recover(self, runs: Mapping[int, str]) -> None:
        """Store what the spool holds of these runs (run → task), which are not attached and count as over."""
        known = dict(runs)
        self._do(lambda: self._engine.recover(known))

    def logs_clean(self, task: str | None = None) -> Future[None]:
        """Forget the lines of a task, or of all (None); done when readers no longer see them.

        The future fails with `StoreError` if that cannot be written; there is no retry.
        """
        done: Future[None] = Future()

        def clean() -> None:
            failure: StoreError | None = None
            try:
                self._engine.clean(task)
            except (sqlite3.Error, OSError) as error:
                failure = StoreError(f"cannot write {self._path}: {error}")
            if not done.set_running_or_notify_cancel():
                return
            if failure is None:
                done.set_result(None)
            else:
                done.set_exception(failure)

        self._do(clean, done)
        return done

    # The thread

    def _do(self, command: Attachment | Callable[[], None], done: Future[None] | None = None) -> None:
        """Have the thread run the command; `done` is cancelled if the thread is stopping already."""
        self._commands.append(command)
        if not self._stopping:
            self._wake()
        elif done is not None:
            done.cancel()

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"!")
        except BlockingIOError:
            return  # the pipe is full, so the thread wakes anyway

    def _run(self) -> None:
        while not self._stopping:
            self._guarded(self._step)
            self._wait()
        self._guarded(self._last_rounds)
        self._watch.close()
        self._engine.close()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (sqlite3.Error, StoreError, OSError) as error:
            self._after_failure(error)
        except Exception as error:
            # A bug of ours must not end the thread: all other logs depend on it.
            LOG.exception("log ingest")
            self._after_failure(error)

    def _step(self) -> None:
        now = time.monotonic()
        if now < self._retry_at:
            return
        if self._troubled_since is not None:
            self._engine.fell_behind(self._troubled_since)
        self._engine.mend()
        self._run_commands()
        self._engine.mark(self._watch.changed())
        self._engine.turn(now)
        self._engine.check_writers(now)
        if now >= self._next_round and self._engine.next_due() > now:
            self._next_round = now + (0.0 if self._engine.housekeeping(now) else HEARTBEAT)
        self._text_behind = self._engine.write_texts(now)
        self._report(now)
        if self._troubled_since is not None:
            self._troubled_since = None
            self._on_trouble(None)

    def _run_commands(self) -> None:
        """Run the queued commands in order; one that finds no disk space stays first and is retried."""
        while self._commands:
            attachments = self._attachments()
            done = max(len(attachments), 1)
            try:
                if attachments:
                    self._engine.attach(*attachments)
                elif callable(command := self._commands[0]):
                    command()
            except (sqlite3.Error, StoreError, OSError):
                done = 0
                raise
            except Exception:
                done = 1  # a bug of ours: drop this command, retry the rest
                raise
            finally:
                for _ in range(done):
                    self._commands.popleft()

    def _attachments(self) -> list[Attachment]:
        """The attachments at the head of the queue, to which other threads may append meanwhile."""
        found: list[Attachment] = []
        for index in range(len(self._commands)):
            if not isinstance(command := self._commands[index], Attachment):
                break
            found.append(command)
        return found

    def _last_rounds(self) -> None:
        deadline = time.monotonic() + LAST_ROUNDS
        self._run_commands()
        self._engine.mark(None)
        while self._engine.has_work() and time.monotonic() < deadline:
            self._engine.turn(time.monotonic(), rush=True)
        while self._engine.write_texts(float("inf")) and time.monotonic() < deadline:
            pass
        self._report(float("inf"))

    def _after_failure(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + RETRY
        first = self._troubled_since is None
        self._troubled_since = self._troubled_since or time.time()
        message = f"cannot store logs in {self._path}: {error}"
        try:
            if is_damaged(error):
                message = f"{self._path} was damaged; moved to {self._engine.begin_anew()}, begun anew"
            else:
                self._engine.relieve(self._spool_cap)
        except (sqlite3.Error, StoreError, OSError) as second:
            message = f"{message}; then: {second}"
        if first:
            self._on_trouble(message)

    def _report(self, now: float) -> None:
        for complaint in self._engine.take_complaints():
            self._on_trouble(complaint)
        if self._engine.heads and now >= self._next_progress:
            heads, self._engine.heads = self._engine.heads, {}
            self._next_progress = now + PROGRESS
            self._on_progress(heads)

    def _wait(self) -> None:
        now = time.monotonic()
        work = self._engine.next_due()
        due = now if self._text_behind else min(work, self._next_round)
        if self._engine.heads:
            due = min(due, self._next_progress)
        if self._watch.interval is not None:
            due = min(due, now + self._watch.interval)
        due = max(due, self._retry_at)
        waiting = select.poll()
        waiting.register(self._wake_read, select.POLLIN)
        # While nothing can be written, growing files need not wake the thread; while a flooding task is paused,
        # its own file would wake it all the time.
        if self._retry_at <= now:
            if self._engine.pausing(now):
                due = min(due, now + PAUSE)
            elif (descriptor := self._watch.fileno()) is not None:
                waiting.register(descriptor, select.POLLIN)
        if waiting.poll(max(0.0, due - now) * 1000):
            self._empty_pipe()

    def _empty_pipe(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            return
