"""Brings back workers that died in tmux panes on this host, and returns the jobs of dead ones to the queue.

For workers without a supervisor. A death is noticed at once, by pidfd; a worker that is alive but has sent no heartbeat
for its TTL is hung, and is killed. Five respawns within five minutes (by default) are a crash loop: the pane is
quarantined until a person runs ``paneview unquarantine``.

If a user has several watchdogs on a host, the first brings workers back and the others stand by. Silent workers on
other hosts are found through the queue (`reaping`), with one leader among all watchdogs, supervisors and workers.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from paneview import proc
from paneview.broker import BrokerError, UnavailableError
from paneview.broker.interface import HURRY, mark_of
from paneview.rules.jobs import crash_looping
from paneview.tmux.errors import TmuxError
from paneview.worker import records
from paneview.worker.console import Console, clean
from paneview.worker.joining import shown_url
from paneview.worker.reaping import Reaper
from paneview.worker.silence import Silence

if TYPE_CHECKING:
    from paneview.broker import Broker
    from paneview.config.queue import QueueSettings
    from paneview.worker.records import Record

# A shell stays after the worker has died or ended: otherwise its pane would close.
IN_PANE = """trap : INT; "$@"; trap - INT; exec "${SHELL:-/bin/sh}" """
LATE = 3.0  # seconds after a worker's death within which a program it was just starting may turn up
NEW_WORKERS = 1.0  # seconds between two checks for new workers


class Watchdog:
    """``connect`` opens a queue by URL; each worker is looked after in the queue named in its note."""

    def __init__(
        self, connect: Callable[[str], Broker], settings: QueueSettings, interval: float, console: Console
    ) -> None:
        self._connect = connect
        self._settings = settings
        self._interval = interval
        self._console = console
        self._id = f"watchdog-{uuid.uuid4().hex[:12]}"
        self._brokers: dict[str, Broker] = {}
        self._problems: dict[str, str] = {}  # by queue: what was last said to be wrong with it
        self._silences = defaultdict[str, Silence](lambda: Silence(interval))
        self._respawns: defaultdict[str, list[float]] = defaultdict(list)  # monotonic
        self._buried: set[str] = set()
        # Dead workers' ids, and until when (monotonic) a program of theirs may turn up.
        self._sweeping: dict[str, float] = {}
        self._alarm, self._bell = os.pipe()
        self._check_at = 0.0  # monotonic
        self._ended = False
        self._lock: int | None = None

    def run(self) -> int:
        """Watch until SIGTERM or SIGINT."""
        os.set_blocking(self._bell, False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)  # whichever thread gets it
        self._console.tell(
            "ready", f"watchdog of {shown_url(self._settings.broker)}, every {self._interval:g} s"
        )
        while not self._ended:
            try:
                self._sleep(self._round())
            except OSError as error:
                # No descriptor or process is left, or the disk is full: nobody else brings workers back.
                self._console.tell("warning", f"it goes on, after: {error}", level="WARNING")
                self._sleep([])
        self._sweep_again()
        for broker in self._brokers.values():
            broker.close()
        self._console.tell("ended", "ended")
        return 0

    def _round(self) -> list[Record]:
        """Do what is due; returns the workers that are alive. Raises OSError."""
        records.unhide()
        found = records.read_all()
        alive = [record for record in found.values() if record.alive]
        if self._leads_here():
            for path, record in found.items():
                if record not in alive:
                    self._guarded(record.broker, lambda b, p=path, r=record: self._died(b, p, r))  # type: ignore[misc]
        if time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + self._interval
            for url in {self._settings.broker, *(record.broker for record in found.values())}:
                self._guarded(url, lambda b, u=url: self._check(b, self._silences[u]))  # type: ignore[misc]
        self._sweep_again()
        return alive

    def stop(self) -> None:
        """End; may be called from a signal handler."""
        self._ended = True
        with suppress(BlockingIOError):
            os.write(self._bell, b".")

    def _leads_here(self) -> bool:
        """Whether we are the watchdog that brings workers back on this host."""
        if self._lock is None:
            place = records.folder()
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(place / "watchdog.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            self._lock = descriptor
        return True

    def _guarded(self, url: str, act: Callable[[Broker], None]) -> None:
        """Do something with a queue; if it fails, report that, and try again in the next round."""
        try:
            broker = self._brokers.get(url)
            if broker is None:
                broker = self._brokers[url] = self._connect(url)
                broker.hurry(HURRY)
            act(broker)
            if self._problems.pop(url, None):
                self._console.tell("connected", "the queue answers again")
        except BrokerError as error:
            if self._problems.get(url) != str(error):  # told once, not in every round of a long outage
                self._console.tell("warning", str(error), level="WARNING")
            self._problems[url] = str(error)
            if isinstance(error, UnavailableError) and error.stopped is not None:
                self._end_stopped(error.stopped)
            else:
                self._silences[url].doubt()

    def _end_stopped(self, pid: int) -> None:
        """Kill a stopped process that blocks a queue for all others, if it is a worker of this host."""
        if self._leads_here():
            for record in records.read_all().values():
                if record.pid == pid and record.alive:
                    self._end_hung(record, "is stopped and keeps all others from the queue")

    def _end_hung(self, record: Record, how: str) -> None:
        """Kill a hung worker; what it leaves is cleaned up once its death is noticed."""
        words = f"{record.name} (pid {record.pid}) {how}: killed"
        self._console.tell("hung", words, level="WARNING", name=record.name)
        proc.send(signal.SIGKILL, [record.process])
        self._wait_for(record)

    def _sleep(self, watched: list[Record]) -> None:
        """Sleep until one of them ends, `stop` is called, or `NEW_WORKERS` seconds have passed."""
        pidfds: list[int] = []
        try:
            for record in watched if hasattr(os, "pidfd_open") else []:
                if not record.alive:
                    return
                pidfds.append(os.pidfd_open(record.pid))
            poll = select.poll()  # not `select`, which takes no descriptor above 1023
            for fd in (self._alarm, *pidfds):
                poll.register(fd, select.POLLIN)
            poll.poll(NEW_WORKERS * 1000)
        except ProcessLookupError:
            return  # it has died meanwhile
        finally:
            for pidfd in pidfds:
                os.close(pidfd)

    def _check(self, broker: Broker, silence: Silence) -> None:
        # First the hung workers, which only takes reading: one of them may be what keeps us from writing.
        silent = {view.worker.id for view in silence.hung(broker.workers.all())}
        for path, record in records.read_all().items() if self._leads_here() else ():
            if record.alive and record.id in silent and self._brokers.get(record.broker) is broker:
                self._end_hung(record, "runs, but sends no heartbeat")
                self._died(broker, path, record)
        for reaped in Reaper(broker, self._id, self._interval * 3).turn():
            for worker in reaped.workers_lost:
                self._console.tell("lost", f"worker {worker[:12]} is silent", level="WARNING", worker=worker)

    def _wait_for(self, record: Record) -> None:
        end = time.monotonic() + 5.0
        while record.alive and time.monotonic() < end:
            time.sleep(0.01)

    def _died(self, broker: Broker, path: Path, record: Record) -> None:
        """Handle a worker that died without removing its note, which stays until the worker is brought back."""
        if not path.exists():
            return  # an orderly end: it removed its note after we had read it
        if record.id not in self._buried:
            self._bury(broker, record)
            self._buried.add(record.id)
        name, now = record.name, time.monotonic()
        if mark_of(broker.workers.quarantined(), name, record.host) is not None:
            return  # after the quarantine, it is brought back from its note
        if crash_looping(
            self._respawns[name], now, self._settings.respawn_limit, self._settings.respawn_window
        ):
            reason = f"{self._settings.respawn_limit} respawns in {self._settings.respawn_window:g} s"
            self._respawns[name].clear()
            broker.workers.quarantine(name, reason, host=record.host, detail={"pane": record.pane})
            self._console.tell("quarantined", f"{name} is quarantined: {reason}", level="WARNING", name=name)
            return
        self._respawn(broker, path, record)
        self._respawns[name] = [*self._respawns[name][-self._settings.respawn_limit :], now]
        self._buried.discard(record.id)  # its note is gone, so its death is not noticed again

    def _bury(self, broker: Broker, record: Record) -> None:
        jobs = broker.release_owner(record.id, "its process died")
        broker.workers.leave(record.id, "its process died")
        sweep(record.id)
        self._sweeping[record.id] = time.monotonic() + LATE
        words = f"{record.name} (pid {record.pid}) died" + (f"; {len(jobs)} jobs returned" if jobs else "")
        self._console.tell("died", words, level="WARNING", name=record.name, worker=record.id)

    def _sweep_again(self) -> None:
        """Sweep again: a program that was just starting when its worker was killed gets its mark a moment later."""
        for worker, until in list(self._sweeping.items()):
            sweep(worker)
            if time.monotonic() > until:
                del self._sweeping[worker]

    def _respawn(self, broker: Broker, path: Path, record: Record) -> None:
        if record.boot != proc.boot_id() or not record.place.is_there:
            self._gone(path, record, "its pane is gone")  # another pane may have its id now
            return
        others = (one for one in records.read_all().values() if one.place == record.place)
        if other := next((one for one in others if one.alive), None):  # started there by hand
            self._gone(path, record, f"{other.name} (pid {other.pid}) is in its pane")
            return
        # Hide the note first, so that it is not mistaken for another death.
        note = path.with_suffix(records.AGAIN)
        path.rename(note)
        argv = [sys.executable, "-P", "-m", "paneview", "worker", "--respawn", str(note)]
        try:
            record.place.respawn(record.cwd, "sh", "-c", IN_PANE, "sh", *argv)
        except TmuxError as error:
            self._gone(note, record, clean(error))
            return
        except OSError:  # tmux could not be run now
            note.rename(path)
            raise
        broker.events.note(
            "pane_respawned", worker=record.id, detail={"name": record.name, "pane": record.pane}
        )
        self._console.tell("respawned", f"{record.name} starts again in pane {record.pane}", name=record.name)

    def _gone(self, note: Path, record: Record, why: str) -> None:
        """Remove the note of a worker that cannot be brought back."""
        note.unlink(missing_ok=True)
        words = f"{record.name} is not brought back: {why}"
        self._console.tell("gone", words, level="WARNING", name=record.name)


def sweep(worker: str) -> None:
    """Kill what a dead worker's jobs have left running."""
    left = proc.ProcessTable.read().marked(records.marker(worker))
    for processes in left.values():
        proc.send(signal.SIGKILL, processes)
