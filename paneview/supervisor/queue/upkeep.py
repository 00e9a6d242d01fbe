"""The supervisor's side of the queue: dead workers' jobs go back at once, and hung workers are killed.

Nothing here touches the queue on the event loop: what is to be done is given to a `QueueThread`, which tells what it
finds.

Quarantine is decided by the rules of the life cycle and kept in the task's state. The queue gets a mark of it, so that
it is visible everywhere; when that mark is removed, by ``paneview unquarantine`` on any host, the worker starts again.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from paneview import proc
from paneview.broker.interface import mark_of
from paneview.rules.states import Start
from paneview.supervisor.queue.thread import QueueThread
from paneview.supervisor.queue.workers import is_running, release_dead

if TYPE_CHECKING:
    from paneview.broker import Broker, WorkerView
    from paneview.broker.interface import Marks
    from paneview.config.models import Project
    from paneview.config.queue import QueueSettings
    from paneview.supervisor.journal import Journal
    from paneview.supervisor.tasks.supervisor import Supervisor
    from paneview.supervisor.tasks.unit import Unit


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
        self._thread: QueueThread | None = None
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
            self._thread = QueueThread(self, wanted, self._folder, self._loop)
            self._thread.start()
            self._release_lost(self._thread)
        for name in self._supervisor.units:
            self.changed(name)

    def _take_over(self, settings: QueueSettings) -> None:
        """Assume that every quarantined worker had its mark set: if there is none now, it was removed meanwhile.

        Not those of which we know better: nobody has set or removed any in another queue than so far, or than that of
        the supervisor before us, which has left a note of it.
        """
        place, before = (settings.broker, settings.here), self._place
        self._place = place
        quarantined = {name for name, unit in self._supervisor.units.items() if unit.state.quarantined}
        if self._is_another(place):
            quarantined = set()
        elif before is not None:
            quarantined &= self._seen if place == before else set()
        self._marked = dict.fromkeys(quarantined, True)
        self._seen = quarantined

    def _release_lost(self, thread: QueueThread) -> None:
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

    def _tell_respawn(self, thread: QueueThread, unit: Unit) -> None:
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

    def _is_another(self, place: tuple[str, str]) -> bool:
        """Whether the last queue was another, also that of an earlier supervisor; notes the present one."""
        note, text = self._folder / "queue.place", "\n".join(place)
        try:
            before = note.read_text() if note.exists() else text
            note.write_text(text)
        except OSError:  # as on a full disk: it counts as the same
            return False
        return before != text

    async def close(self) -> None:
        """End the thread; what it was doing is finished first if the queue answers."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await asyncio.to_thread(thread.end)

    # What the thread finds; called on the event loop

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
            if unit is not None and is_running(view.worker):
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
