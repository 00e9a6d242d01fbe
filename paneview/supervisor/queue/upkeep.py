"""The supervisor's side of the queue: dead workers' jobs go back at once, hung workers are killed, leases are reaped.

The queue may be on another host and slow, so nothing here touches it on the event loop: a single thread does, which
gets its actions from `QueueKeeper`, and looks at the queue every few seconds. What fails because the queue does not
answer is done when it does. Of all supervisors and workers that share a queue, one reaps (`paneview.worker.reaping`).

Quarantine is decided by the rules of the life cycle and kept in the task's state. The queue gets a mark of it, so that
it is visible everywhere; when that mark is removed, by ``paneview unquarantine`` on any host, the worker starts again.
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
from paneview.broker.interface import HURRY, mark_of
from paneview.config.queue import QueueSettings
from paneview.rules.states import Start
from paneview.worker.joining import connect
from paneview.worker.reaping import Reaper
from paneview.worker.silence import Silence

if TYPE_CHECKING:
    from paneview.broker import Broker, Registration, WorkerView
    from paneview.broker.interface import Marks
    from paneview.config.models import Project
    from paneview.supervisor.journal import Journal
    from paneview.supervisor.supervisor import Supervisor
    from paneview.supervisor.unit import Unit

logger = logging.getLogger(__name__)

LOOK = 2.0  # seconds between two rounds
PAUSE = 1.0  # seconds after a call that failed
LEADERSHIP = LOOK * 5
Action = Callable[["Broker"], object]


class QueueKeeper:
    """Looks after the project's queue while it has one. Call its methods on the event loop."""

    def __init__(self, supervisor: Supervisor, journal: Journal, folder: Path) -> None:
        self._supervisor = supervisor
        self._journal = journal
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._told: dict[str, int | None] = {}  # by worker: the run whose end the thread was told
        self._marked: dict[str, bool] = {}  # by worker: whether we have asked for its quarantine mark
        self._seen: set[str] = set()  # workers whose mark is known to have been set
        self._respawns: dict[str, int] = {}  # by worker: the number of restarts, as last reported
        self._thread: _Thread | None = None
        self._place: tuple[str, str] | None = None  # the queue's URL, and this host's name in it
        self.problem: str | None = None
        """Why the queue does not answer; None if it does."""

    def follow(self, project: Project) -> None:
        """Look after the queue of this project, if it has one now."""
        wanted = project.queue if project.uses_queue(self._folder) else None
        if self._thread is not None and self._thread.settings != wanted:
            self._thread.leave()
            self._thread, self.problem = None, None
        if wanted is not None and self._thread is None:
            self._take_over(wanted)
            self._thread = _Thread(self, wanted, self._folder, self._loop)
            self._thread.start()
            self._release_lost(self._thread)
        for name in self._supervisor.units:
            self.changed(name)

    def _take_over(self, settings: QueueSettings) -> None:
        """Assume that every quarantined worker had its mark set: if there is none now, it was removed meanwhile.

        Not those of which we know better: nobody has set or removed any in another queue than so far.
        """
        place, before = (settings.broker, settings.here), self._place
        self._place = place
        quarantined = {name for name, unit in self._supervisor.units.items() if unit.state.quarantined}
        if before is not None:
            quarantined &= self._seen if place == before else set()
        self._marked = dict.fromkeys(quarantined, True)
        self._seen = quarantined

    def _release_lost(self, thread: _Thread) -> None:
        """Give back the jobs of workers that died while no supervisor was running."""
        names = [name for name, unit in self._supervisor.units.items() if unit.task.worker]
        host = thread.settings.here

        def release(broker: Broker) -> None:
            for name in names:
                release_dead(broker, name, host)

        if names:
            thread.tell(release)

    def changed(self, name: str) -> None:
        """Note that a task has changed, and tell the queue what it should know if that is a worker."""
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
        """Notify all who share the queue of a worker's restart, by the same event as a watchdog's."""
        before, count = self._respawns.get(unit.name), unit.state.restarts
        self._respawns[unit.name] = count
        if before is not None and count > before:
            detail = {"name": unit.name, "host": thread.settings.here}
            thread.tell(lambda broker: broker.events.note("pane_respawned", detail=detail))

    def _mark(self, broker: Broker, name: str, reason: str, here: str) -> None:
        """Mark a worker as quarantined for all who share the queue. Called on the thread."""
        broker.workers.quarantine(name, reason, host=here)
        self._loop.call_soon_threadsafe(self._seen.add, name)

    async def close(self) -> None:
        """End the thread; what it was doing is finished first if the queue answers."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await asyncio.to_thread(thread.end)

    # Called by the thread, through the loop

    def released(self, marks: Marks, here: str) -> None:
        """Start quarantined workers again whose mark was removed."""
        if self._supervisor.going_down:
            return
        for name, unit in self._supervisor.units.items():
            if unit.state.quarantined and name in self._seen and mark_of(marks, name, here) is None:
                unit.feed(Start("unquarantine"))

    def hung(self, views: list[WorkerView]) -> None:
        """Kill workers of ours that run but send no heartbeats; their restart policy does the rest."""
        for view in views:
            unit = self._supervisor.units.get(view.worker.name)
            if unit is not None and _runs(view.worker):
                self._end_hung(unit, view.worker.pid, f"no heartbeat for {view.beat_age:.0f} s")

    def stopped(self, pid: int) -> None:
        """Kill a stopped process that blocks the queue for everyone, if it belongs to a worker of ours."""
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
        """Note that the queue has stopped answering, or answers again (None)."""
        self.problem = problem
        if problem is None:
            self._journal.note("queue_restored", "the queue answers again")
        else:
            self._journal.note("queue_lost", problem)


class _Thread(threading.Thread):
    """The thread that talks to the queue."""

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
        self._silence = Silence(LOOK)
        self._hung: set[str] = set()  # silent workers that were reported
        self._next_round = 0.0  # monotonic

    def tell(self, action: Action) -> None:
        """Have this action done as soon as the queue answers."""
        self._actions.put(action)

    def leave(self) -> None:
        """End soon; actions given so far are done first if the queue answers."""
        self._ended.set()
        self._actions.put(None)

    def end(self) -> None:
        """`leave`, and wait up to 5 seconds for the thread to end."""
        self.leave()
        self.join(5.0)

    def run(self) -> None:
        """Do actions and look at the queue until `leave` is called."""
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
                self._broker.hurry(HURRY)
                for warning in self._broker.warnings:
                    logger.warning("queue: %s", warning)
            if self._problem and not self._ended.is_set():
                # This only reads: a silent worker may be what keeps us from writing.
                self._look_for_silent(self._broker)
            self._act(self._broker)  # first, because jobs of a dead worker wait
            if not self._ended.is_set() and time.monotonic() >= self._next_round:
                # Not at each turn: the jobs of the next dead worker must not wait for another round.
                self._next_round = time.monotonic() + LOOK
                self._broker.check()
                self._look_for_silent(self._broker)
                Reaper(self._broker, self._me, LEADERSHIP).turn()
                marks = self._broker.workers.quarantined()
                self._call(self._keeper.released, marks, self.settings.here)
        except BrokerError as error:
            self._next_round = 0.0  # only a whole round shows that the queue answers again
            self._say(str(error))
            if isinstance(error, UnavailableError) and error.stopped is not None:
                self._call(self._keeper.stopped, error.stopped)
            else:
                self._silence.doubt()
            return False
        except Exception as error:  # without this thread, dead workers' jobs would silently never go back
            self._next_round = 0.0
            self._silence.doubt()
            problem = f"defect: {error!r}"
            if problem != self._problem:
                logger.exception("queue: a turn failed")
            self._say(problem)
            self._let_go()  # the defect may be the connection's
            return False
        self._say(None)
        return True

    def _act(self, broker: Broker) -> None:
        """Do the actions given. One that fails because of the queue is kept for later, one with a defect is dropped."""
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
            for view in self._silence.hung(_workers_here(broker, self.settings.here))
            if view.beat_age >= view.worker.ttl
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
    """Give back the jobs of workers with this name whose process on this host is gone.

    Workers that were silent before they died (hung, then killed) no longer count as alive, but still hold their jobs.
    """
    for view in _workers_here(broker, host):
        left = (view.alive or view.jobs) and view.worker.name == name
        if left and not _runs(view.worker):
            broker.release_owner(view.worker.id, "its process died")
            broker.workers.leave(view.worker.id, "its process died")


def _workers_here(broker: Broker, host: str) -> list[WorkerView]:
    """The workers whose processes can be looked up here; those registered by an older version have no boot id.

    A worker of another boot has ended with it, or is on another host of the same name; one of another pid namespace is,
    or was, in a container of the same name. Whether these are alive, only their leases show.
    """
    boots, spaces = ("", proc.boot_id()), ("", proc.pid_space())
    views = broker.workers.all(host=host)
    return [view for view in views if view.worker.boot in boots and view.worker.pids in spaces]


def _runs(worker: Registration) -> bool:
    """Whether the worker's own process is running, not a later one with the same pid."""
    found = proc.identify(worker.pid)
    return found is not None and (not worker.boot or found.start == worker.start)
