"""The last known state of the project, and the listeners to its changes.

The supervisor may push hundreds of changes a second. They are put into the picture as they come, which costs next to
nothing, and listeners are notified of them together, at most once a frame: what is drawn is always the newest state
and never a queue of old ones. When the connection is lost the picture stays, marked as old.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from paneview.control.flowmodel import FlowView
from paneview.control.model import EventView, StatusView, SupervisorView, TaskView
from paneview.control.queuemodel import QueueView

FRAME = 1 / 30
KEPT_EVENTS = 1000
KEPT_SAMPLES = 120

Listener = Callable[["Change"], None]


def _raise(error: Exception) -> None:
    raise error


@dataclass
class Change:
    """What is new since the last one: names of tasks, whether any came or went, new events, grown logs, workflows."""

    tasks: set[str] = field(default_factory=set)
    order: bool = False
    events: int = 0
    heads: set[str] = field(default_factory=set)
    link: bool = False
    queue: bool = False
    flows: dict[str, FlowView | None] = field(default_factory=dict)
    """The workflows that have changed, as they were before; None for a new one."""


class LinkState(NamedTuple):
    """The connection's state: ``starting`` (never had one), ``connected`` or ``lost``, why, and since when."""

    phase: str = "starting"
    reason: str = ""
    since: float = 0.0


class Picture:
    """Tasks in the file's order, the latest events, the end of each log, and the state of the connection.

    ``failed`` is called with what a listener raises, which is a defect; the other listeners are still called.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, failed: Callable[[Exception], None] = _raise
    ) -> None:
        self.clock = clock
        self._failed = failed
        self.tasks: dict[str, TaskView] = {}
        self.heads: dict[str, int] = {}
        self.events: deque[EventView] = deque(maxlen=KEPT_EVENTS)
        self.earlier_events = False
        """Whether there are events before those in ``events``; only the supervisor has them."""
        self.session = ""
        self.file: str | None = None
        self.file_problem: str | None = None
        self.supervisor = SupervisorView()
        self.link = LinkState()
        self.queue: QueueView | None = None
        self.queue_at = 0.0
        self.flows: dict[str, FlowView] = {}
        self.flows_known = False
        self.flows_problem = ""
        self._told_flows: set[str] = set()
        self.usage: deque[float] = deque(maxlen=KEPT_SAMPLES)
        self.usage_of: dict[str, deque[float]] = {}
        self._change = Change()
        self._listeners: list[Listener] = []
        self._flush_at: asyncio.TimerHandle | None = None
        self._last_flush = 0.0
        self._last_sample = 0.0
        self._noted = 0

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` on every change, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def mute(self) -> None:
        """Drop all listeners."""
        self._listeners.clear()

    def take(self, push: Mapping[str, Any]) -> None:
        """Apply one push of the supervisor."""
        kind = push.get("push")
        if kind == "snapshot":
            self._take_snapshot(StatusView.from_json(push["status"]))
        elif kind == "tasks":
            self._take_tasks([TaskView.from_json(raw) for raw in push["tasks"]])
        elif kind == "event":
            self.add_events([EventView.from_json(push["event"])])
        elif kind == "heads":
            self.heads.update(push["heads"])
            self._change.heads.update(push["heads"])
            self._schedule()
        elif kind == "queue":
            self.take_queue(push["queue"])
        elif kind == "workflow":
            self.take_flow(push["workflow"])

    def take_queue(self, raw: Mapping[str, Any]) -> None:
        """The queue of jobs as it is now."""
        self.queue, self.queue_at = QueueView.from_json(dict(raw)), self.clock()
        self._change.queue = True
        self._schedule()

    def take_flow(self, raw: Mapping[str, Any]) -> FlowView:
        """A workflow as it is now. A push older than what is known is ignored: attempts never decrease."""
        flow = FlowView.from_json(dict(raw))
        before = self.flows.get(flow.id)
        if before is not None and sum(one.attempt for one in flow.phases) < sum(
            one.attempt for one in before.phases
        ):
            return before
        self._told_flows.add(flow.id)
        self.flows[flow.id] = flow
        self._change.flows.setdefault(flow.id, before)
        self._schedule()
        return flow

    def expect_flows(self) -> None:
        """All workflows are being fetched: what is pushed from now on is newer than that reply."""
        self._told_flows.clear()

    def take_flows(self, raws: list[dict[str, Any]], problem: str = "") -> None:
        """All workflows; or the ``problem`` why they could not be fetched: then the known ones stay."""
        self.flows_known, self.flows_problem = True, problem
        before = self.flows
        if not problem:
            told = {name: before[name] for name in self._told_flows}
            self.flows = {raw["id"]: FlowView.from_json(raw) for raw in raws} | told
        for name, flow in self.flows.items():
            self._change.flows.setdefault(name, before.get(name, flow))
        self._change.link = True
        self._schedule()

    def set_link(self, phase: str, reason: str = "") -> None:
        """The connection came or went."""
        self.link = LinkState(phase, reason, self.clock())
        self._change.link = True
        self._schedule()

    @property
    def newest_event(self) -> int:
        """The number of the newest event, 0 if there is none."""
        return max((event.id for event in self.events), default=0)

    def take_events(self, latest: list[EventView], known: int) -> None:
        """The latest events of a supervisor that has just been met; of one before, those up to ``known`` are here.

        If the store was replaced meanwhile, the numbers have begun anew, and what is here is of no use: it would hide
        the new events.
        """
        times = {event.id: event.ts for event in self.events}
        newest = max((event.id for event in latest), default=0)
        if newest < known or any(times.get(event.id, event.ts) != event.ts for event in latest):
            self.events = deque((event for event in self.events if event.id < 0), maxlen=KEPT_EVENTS)
            self.earlier_events = False
        self.add_events(latest)

    def add_events(self, new: list[EventView]) -> None:
        """Add events, in any order; those known already are skipped."""
        newest = self.newest_event
        fresh = [event for event in new if event.id > newest]
        if len(fresh) < len(new):
            known = {event.id for event in self.events}
            fresh = [event for event in new if event.id not in known]
        if not fresh:
            return
        self.earlier_events |= len(self.events) + len(fresh) > KEPT_EVENTS
        if fresh[0].id > newest:
            self.events.extend(fresh)
        else:
            self.events = deque(
                sorted([*self.events, *fresh], key=lambda event: (event.ts, event.id)), maxlen=KEPT_EVENTS
            )
        self._change.events += len(fresh)
        self._schedule()

    def note(self, kind: str, text: str) -> None:
        """Add an event that only this screen knows of: a toast disappears, this stays."""
        self._noted += 1
        self.add_events([EventView(-self._noted, self.clock(), kind, detail={"message": text})])

    def dependents(self, name: str) -> list[str]:
        """The tasks that need ``name``, directly or not, in the file's order."""
        needed = {name}
        found: set[str] = set()
        while needed:
            needed = {
                task.name
                for task in self.tasks.values()
                if task.name not in found and needed.intersection(task.depends_on)
            }
            found |= needed
        return [task for task in self.tasks if task in found and task != name]

    def _take_snapshot(self, status: StatusView) -> None:
        self.session, self.file, self.supervisor = status.session, status.file, status.supervisor
        self.file_problem = status.file_problem
        self._change.tasks.update(self.tasks)
        self.tasks = {task.name: task for task in status.tasks}
        self._change.tasks.update(self.tasks)
        self.usage_of = {name: used for name, used in self.usage_of.items() if name in self.tasks}
        self.heads = {task.name: task.log_end for task in status.tasks}
        self._change.heads.update(self.tasks)
        self._change.order = True
        self.set_link("connected")
        self._sample()

    def _take_tasks(self, tasks: list[TaskView]) -> None:
        for task in tasks:
            self._change.order |= task.name not in self.tasks
            self.tasks[task.name] = task
        self._change.tasks.update(task.name for task in tasks)
        self._sample()
        self._schedule()

    @property
    def used(self) -> tuple[float, int] | None:
        """CPU and memory of all tasks together. None if not measured yet: showing nothing is better than zeros."""
        tasks = self.tasks.values()
        measured = any(task.rss_bytes for task in tasks)
        if not measured and (not self.usage or any(task.running for task in tasks)):
            return None
        return sum(task.cpu_percent or 0.0 for task in tasks), sum(task.rss_bytes or 0 for task in tasks)

    def _sample(self) -> None:
        """Record what the tasks use, at most once a second: the small curves are drawn from it."""
        now = self.clock()
        if 0 <= now - self._last_sample < 0.9:
            return
        if (used := self.used) is None:
            return
        self._last_sample = now
        for task in self.tasks.values():
            curve = self.usage_of.setdefault(task.name, deque(maxlen=KEPT_SAMPLES))
            curve.append(task.cpu_percent or 0.0)
        self.usage.append(used[0])

    def _schedule(self) -> None:
        if self._flush_at is None and self._listeners:
            loop = asyncio.get_running_loop()
            self._flush_at = loop.call_at(max(loop.time(), self._last_flush + FRAME), self._flush)

    def _flush(self) -> None:
        self._flush_at = None
        self._last_flush = asyncio.get_running_loop().time()
        change, self._change = self._change, Change()
        for listener in tuple(self._listeners):
            try:
                listener(change)
            except Exception as error:  # noqa: BLE001 - handed on: the other listeners are still called
                self._failed(error)
