"""The supervisor's side of the queue: dead workers' jobs go back at once, hung ones are ended, leases are reaped.

A queue may be on another host and take its time, so nothing here touches it on the event loop: one thread does, told
what happened through `died` and `changed`, and between that looking round every few seconds. What could not be done
because the queue did not answer is done when it does. Of all supervisors and workers that share a queue, one reaps
(`paneview.worker.reaping`).

Quarantine is decided by the rules of the task's life and kept in its state. The queue gets a mark of it, so that it is
seen from everywhere; if that mark is taken away, by ``paneview unquarantine`` on any host, the worker starts again.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import signal
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from paneview import proc
from paneview.broker import BrokerError, UnavailableError
from paneview.broker.interface import mark_of
from paneview.config.queue import QueueSettings
from paneview.rules.states import Start
from paneview.worker.joining import connect
from paneview.worker.reaping import Reaper

if TYPE_CHECKING:
    from paneview.broker import Broker, Registration, WorkerView
    from paneview.broker.interface import Marks
    from paneview.config.models import Project
    from paneview.supervisor.journal import Journal
    from paneview.supervisor.supervisor import Supervisor
    from paneview.supervisor.unit import Unit

logger = logging.getLogger(__name__)

LOOK = 2.0  # seconds between two rounds
# Seconds that others may keep us from writing: one that is stopped is found before anybody else gives up.
PATIENCE = 2.0
PAUSE = 1.0  # seconds after a call that failed
LEADERSHIP = LOOK * 5
Action = Callable[["Broker"], object]


class QueueKeeper:
    """Looks after the project's queue while it has one. Its methods belong on the event loop."""

    def __init__(self, supervisor: Supervisor, journal: Journal, folder: Path) -> None:
        self._supervisor = supervisor
        self._journal = journal
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._told: dict[str, int | None] = {}  # the run whose end was told, by worker
        self._marked: dict[str, bool] = {}  # whether we have asked for its quarantine's mark
        self._seen: set[str] = set()  # whose mark is known to have been set
        self._respawns: dict[str, int] = {}  # how often it has been brought back, as far as that was told
        self._thread: _Thread | None = None
        self.problem: str | None = None
        """Why the queue does not answer."""

    def follow(self, project: Project) -> None:
        """Look after the queue of this project, if it has one now."""
        wanted = project.queue if project.uses_queue(self._folder) else None
        if self._thread is not None and self._thread.settings != wanted:
            self._thread.leave()
            self._thread, self.problem = None, None
        if wanted is not None and self._thread is None:
            self._take_over()
            self._thread = _Thread(self, wanted, self._folder, self._loop)
            self._thread.start()
            self._release_lost(self._thread)
        for name in self._supervisor.units:
            self.changed(name)

    def _take_over(self) -> None:
        """Whoever is quarantined by now has a mark, unless somebody has taken it away meanwhile."""
        quarantined = {name for name, unit in self._supervisor.units.items() if unit.state.quarantined}
        self._marked = dict.fromkeys(quarantined, True)
        self._seen = quarantined

    def _release_lost(self, thread: _Thread) -> None:
        """What workers held that died while nobody supervised them goes back at once."""
        names = [name for name, unit in self._supervisor.units.items() if unit.task.worker]
        host = thread.settings.here

        def release(broker: Broker) -> None:
            for name in names:
                release_dead(broker, name, host)

        if names:
            thread.tell(release)

    def changed(self, name: str) -> None:
        """A task has changed: if it is a worker, see whether the queue should know."""
        unit = self._supervisor.units.get(name)
        if unit is None or unit.task.worker is None or self._thread is None:
            return
        run = unit.state.run
        if (
            unit.live is None
            and not unit.state.phase.active
            and run is not None
            and self._told.get(name) != run
        ):
            self._told[name] = run
            host = self._thread.settings.here
            self._thread.tell(lambda broker: release_dead(broker, name, host))
        self._tell_respawn(self._thread, unit)
        quarantined, reason = unit.state.quarantined, unit.state.reason
        if quarantined != self._marked.get(name, False):
            self._marked[name] = quarantined
            self._seen.discard(name)
            here = self._thread.settings.here
            if quarantined:
                self._thread.tell(lambda broker: self._mark(broker, name, reason, here))
            else:
                self._thread.tell(lambda broker: broker.workers.unquarantine(name, host=here))

    def _tell_respawn(self, thread: _Thread, unit: Unit) -> None:
        """All who share the queue hear that a worker was brought back, as a watchdog tells it."""
        before, count = self._respawns.get(unit.name), unit.state.restarts
        self._respawns[unit.name] = count
        if before is not None and count > before:
            detail = {"name": unit.name, "host": thread.settings.here}
            thread.tell(lambda broker: broker.events.note("pane_respawned", detail=detail))

    def _mark(self, broker: Broker, name: str, reason: str, here: str) -> None:
        """On the thread: tell all who share the queue."""
        broker.workers.quarantine(name, reason, host=here)
        self._loop.call_soon_threadsafe(self._seen.add, name)

    async def close(self) -> None:
        """End the thread; what it was doing is finished first if the queue answers."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await asyncio.to_thread(thread.end)

    # Called by the thread, through the loop

    def released(self, marks: Marks, here: str) -> None:
        """Quarantined workers whose mark somebody took away start again."""
        if self._supervisor.going_down:
            return
        for name, unit in self._supervisor.units.items():
            if unit.state.quarantined and name in self._seen and mark_of(marks, name, here) is None:
                unit.feed(Start("unquarantine"))

    def hung(self, views: list[WorkerView]) -> None:
        """Workers of ours that run but send no heartbeats are killed; their restart policy does the rest."""
        for view in views:
            unit = self._supervisor.units.get(view.worker.name)
            if unit is not None and _runs(view.worker):
                self._end_hung(unit, view.worker.pid, f"no heartbeat for {view.beat_age:.0f} s")

    def stopped(self, pid: int) -> None:
        """A stopped process keeps everybody from the queue: if it is a worker of ours, it is as good as hung."""
        for unit in self._supervisor.units.values():
            if unit.task.worker:
                self._end_hung(unit, pid, "it is stopped and keeps all others from the queue")

    def _end_hung(self, unit: Unit, pid: int, words: str) -> None:
        if unit.live is None or unit.live.root is None:
            return
        table = proc.ProcessTable.recent()
        mine = {row.pid: row.start for row in table.tree(unit.live.root.pid)}
        if pid in mine:
            self._journal.note_task(unit.name, unit.live.run, "worker_hung", words, pid=pid)
            proc.send(signal.SIGKILL, [proc.ProcessId(pid, mine[pid])])

    def answers(self, problem: str | None) -> None:
        """The queue has stopped answering, or answers again."""
        self.problem = problem
        if problem is None:
            self._journal.note("queue_restored", "the queue answers again")
        else:
            self._journal.note("queue_lost", problem)


class _Thread(threading.Thread):
    """The one that talks to the queue."""

    def __init__(
        self, keeper: QueueKeeper, settings: QueueSettings, folder: Path, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(name="queue", daemon=True)
        self.settings = settings
        self._keeper = keeper
        self._folder = folder
        self._loop = loop
        self._actions: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._undone: list[Action] = []
        self._ended = threading.Event()
        self._problem: str | None = None
        self._broker: Broker | None = None
        self._me = f"supervisor-{uuid.uuid4().hex[:12]}"
        self._hung: set[str] = set()  # the silent ones that were told
        self._next_round = 0.0  # monotonic

    def tell(self, action: Action) -> None:
        """Have this done as soon as the queue answers."""
        self._actions.put(action)

    def leave(self) -> None:
        """End soon, with the actions told so far done if the queue answers."""
        self._ended.set()
        self._actions.put(None)

    def end(self) -> None:
        """`leave`, and wait for it."""
        self.leave()
        self.join(5.0)

    def run(self) -> None:
        """Act and look round until told to end."""
        while True:
            if self._turn():
                self._wait(max(0.0, self._next_round - time.monotonic()))
            elif not self._ended.is_set():
                self._wait(PAUSE)
            if self._ended.is_set() and (self._problem or not self._undone):
                break
        self._let_go()

    def _let_go(self) -> None:
        """Close the queue; the next turn opens it again."""
        broker, self._broker = self._broker, None
        if broker is not None:
            with suppress(Exception):  # it may be what is broken
                broker.close()

    def _wait(self, seconds: float) -> None:
        try:
            action = self._actions.get(timeout=seconds)
            while True:
                if action is not None:
                    self._undone.append(action)
                action = self._actions.get_nowait()
        except queue.Empty:
            pass

    def _turn(self) -> bool:
        try:
            if self._broker is None:
                self._broker = connect(self.settings, self._folder)
                self._broker.hurry(PATIENCE)
                for warning in self._broker.warnings:
                    logger.warning("queue: %s", warning)
            if self._problem and not self._ended.is_set():
                # Only reads: who is silent may be what keeps us from writing.
                self._look_for_silent(self._broker)
            self._act(self._broker)  # before all else: a job of a dead worker waits
            if not self._ended.is_set() and time.monotonic() >= self._next_round:
                # Not at each turn: the next dead worker's jobs are not to wait for another round.
                self._next_round = time.monotonic() + LOOK
                self._broker.check()
                self._look_for_silent(self._broker)
                Reaper(self._broker, self._me, LEADERSHIP).turn()
                marks = self._broker.workers.quarantined()
                self._call(self._keeper.released, marks, self.settings.here)
        except BrokerError as error:
            self._next_round = 0.0  # only a whole one tells that the queue answers again
            self._say(str(error))
            if isinstance(error, UnavailableError) and error.stopped is not None:
                self._call(self._keeper.stopped, error.stopped)
            return False
        except Exception as error:  # without this thread no dead worker's jobs go back, and nobody would know
            self._next_round = 0.0
            problem = f"defect: {error!r}"
            if problem != self._problem:
                logger.exception("queue: a turn failed")
            self._say(problem)
            self._let_go()  # it may be the connection's
            return False
        self._say(None)
        return True

    def _act(self, broker: Broker) -> None:
        """Do what was told. What the queue does not take now is done when it does; what is a defect is left out."""
        while self._undone:
            action = self._undone.pop(0)
            try:
                action(broker)
            except BrokerError:
                self._undone.insert(0, action)
                raise

    def _look_for_silent(self, broker: Broker) -> None:
        silent = {
            view.worker.id: view
            for view in _workers_here(broker, self.settings.here)
            if not view.alive and view.beat_age >= view.worker.ttl
        }
        if new := [view for worker, view in silent.items() if worker not in self._hung]:
            self._call(self._keeper.hung, new)
        self._hung = set(silent)

    def _say(self, problem: str | None) -> None:
        if (problem is None) != (self._problem is None):
            self._call(self._keeper.answers, problem)
        self._problem = problem

    def _call(self, function: Callable[..., None], *args: object) -> None:
        if not self._ended.is_set():
            self._loop.call_soon_threadsafe(function, *args)


def release_dead(broker: Broker, name: str, host: str) -> None:
    """Give back what workers of this name held whose process is gone from this host.

    Those who were silent before they died (hung, then killed) count as gone already, and hold their jobs all the same.
    """
    for view in _workers_here(broker, host):
        left = (view.alive or view.jobs) and view.worker.name == name
        if left and not _runs(view.worker):
            broker.release_owner(view.worker.id, "its process died")
            broker.workers.leave(view.worker.id, "its process died")


def _workers_here(broker: Broker, host: str) -> list[WorkerView]:
    """The workers that this host's processes can tell about; what an earlier version registered says no boot.

    One of another boot has ended with it, or is on another host of the same name, and one of another namespace is in
    a container of the same name, or was: its lease tells which.
    """
    boots, spaces = ("", proc.boot_id()), ("", proc.pid_space())
    views = broker.workers.all(host=host)
    return [view for view in views if view.worker.boot in boots and view.worker.pids in spaces]


def _runs(worker: Registration) -> bool:
    """Whether its process does: that very one, and not a later one of the same number."""
    found = proc.identify(worker.pid)
    return found is not None and (not worker.boot or found.start == worker.start)
