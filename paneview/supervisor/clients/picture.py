"""The picture clients see: every task's object, kept up to date, and pushed no more often than the eye needs.

Changes are collected for one turn of the event loop and published together, so that fifty tasks that start at once
are one message. CPU and memory are sampled more often while a client is subscribed, and published only then.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from msgspec.structs import asdict

from paneview import __version__
from paneview.config.secrets import Masker
from paneview.control.audience import Audience
from paneview.proc import ProcessId, ProcessTable, Sampler, Usage
from paneview.rules.states import TaskPhase
from paneview.store.rows import RunRow
from paneview.store.state import StateStore
from paneview.supervisor.clients.views import definition_view, facts_of, task_view, why
from paneview.supervisor.clock import Clock
from paneview.supervisor.runs.probing import Prober
from paneview.supervisor.tasks.supervisor import Supervisor
from paneview.supervisor.tasks.unit import Unit

SAMPLE_EVERY = 2.0  # seconds between samples while a client is subscribed
SAMPLE_AT_REST = 4.0  # the same while nothing changes
SAMPLE_SOON = 0.2  # seconds from a client's subscription to the first sample: its screen comes first
INSPECTED_RUNS = 20  # latest runs that `inspect` shows
SEEN_BYTES = 1 << 17  # the smallest difference in memory that a person would see
AT_REST = 3  # samples without a difference, after which tasks count as at rest
REMEMBER_EVERY = 5.0  # seconds between looks at process trees while no client is subscribed


class Picture:
    """Makes and publishes task objects. ``next_runs``: when scheduled tasks run next, in epoch seconds."""

    def __init__(
        self,
        supervisor: Supervisor,
        store: StateStore,
        clock: Clock,
        prober: Prober,
        audience: Audience,
        masker: Masker,
        next_runs: Mapping[str, float],
    ) -> None:
        self._supervisor = supervisor
        self._store = store
        self._clock = clock
        self._prober = prober
        self._audience = audience
        self._masker = masker
        self._next_runs = next_runs
        self._sampler = Sampler()
        self._usage: dict[str, Usage] = {}
        self._roots: dict[str, ProcessId] = {}  # first processes of the runs in `_usage`
        self._without_pid: set[str] = set()  # tasks shown as running before their command was started
        self._told: dict[str, Usage | None] = {}  # usage as last published
        self._sampled = 0.0
        self._began = clock.now()
        self._told_ahead = clock.ahead()
        self._heads: dict[str, int] = {}
        self._dirty: set[str] = set()
        self._flushing = False
        self._begun = asyncio.Event()

    def changed(self, name: str) -> None:
        """Note that a task's picture is out of date."""
        if not self._looked_at():
            return
        self._dirty.add(name)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def heads(self, heads: Mapping[str, int]) -> None:
        """Note that logs have grown."""
        self._heads.update(heads)
        self._audience.publish_heads(heads)

    def status(self) -> dict[str, Any]:
        """The status object: all tasks, and the supervisor itself."""
        tasks = self._views(self._supervisor.units)
        return {
            "session": self._supervisor.project.name,
            "running": True,
            "active_tasks": sum(task["running"] for task in tasks),
            "file": str(self._supervisor.project.file),
            "file_problem": self._masker.text(self._supervisor.file_problem) or None,
            "supervisor": {
                "pid": os.getpid(),
                "uptime_s": round(self._clock.now() - self._began, 3),
                "version": __version__,
            },
            "tasks": tasks,
        }

    def sample(self) -> None:
        """Sample all process trees, unless that was just done."""
        now = self._clock.now()
        if now - self._sampled < SAMPLE_EVERY / 4:
            return
        self._sampled = now
        units = self._supervisor.units.values()
        live = {unit.name: unit.live for unit in units if unit.live is not None}
        self._roots = {name: one.root for name, one in live.items() if one.root is not None}
        table = ProcessTable.recent()
        self._usage = self._sampler.sample(self._roots, table)
        for one in live.values():
            one.remember(table)

    async def keep_sampling(self) -> None:
        """Sample for ever: for subscribed clients, and to remember which process belongs to which run."""
        still = 0  # samples without a difference
        while True:
            pause = SAMPLE_AT_REST if still >= AT_REST else SAMPLE_EVERY
            await self._rest(pause if self._looked_at() else REMEMBER_EVERY)
            self.sample()
            still = still + 1 if self._looked_at() and not self._tell_usage() else 0

    def heard(self, topics: frozenset[str]) -> None:
        """Note that a client has subscribed to these topics: it does not have to wait for the next sample."""
        if "state" in topics:
            self._begun.set()

    def _looked_at(self) -> bool:
        return self._audience.subscribers("state") > 0

    async def _rest(self, seconds: float) -> None:
        """Wait this long, or until a client subscribes."""
        self._begun.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._begun.wait()
                await asyncio.sleep(SAMPLE_SOON)

    def _tell_usage(self) -> bool:
        """Publish tasks whose usage differs from what was published, or that have a pid now; whether there are any."""
        found = {name: usage for name, usage in self._usage.items() if _differs(self._told.get(name), usage)}
        self._told.update(found)
        names = found.keys() | self._begun_since()
        if (ahead := self._clock.ahead()) != self._told_ahead:  # all published times are wrong by now
            self._told_ahead = ahead
            names |= self._supervisor.units.keys()
        for name in names:
            self.changed(name)
        return bool(names)

    def _begun_since(self) -> set[str]:
        """Tasks that were shown without the pid that is known by now; their usage alone may not differ."""
        units = self._supervisor.units
        self._without_pid &= units.keys()
        live = {name: units[name].live for name in self._without_pid}
        return {name for name, one in live.items() if one is not None and one.command_pid() is not None}

    def _usage_of(self, unit: Unit) -> Usage | None:
        """What the current run uses; None if the last sample is of the run before."""
        same = unit.live is not None and unit.live.root == self._roots.get(unit.name)
        return self._usage.get(unit.name) if same else None

    async def inspect(self, unit: Unit) -> dict[str, Any]:
        """Everything about one task: definition, history, probe, processes. Secrets are masked."""
        stored = await self._store.runs(unit.name, INSPECTED_RUNS)
        view = self._masker.values(self._views([unit.name])[0])
        definition = {**definition_view(unit.task), "env": self._masker.env(unit.task.env)}
        probe = self._prober.last.get(unit.name)
        table = ProcessTable.recent()
        tree = table.tree(unit.live.root.pid) if unit.live and unit.live.root else []
        view.update(
            log_file=self._masker.json(str(unit.task.log_file)) if unit.task.log_file else None,
            health_check=self._masker.json(unit.task.health_check),
            definition=self._masker.values(definition),
            runs=[self._masker.values(asdict(run)) for run in _with_latest(stored, unit.row)],
            probe=self._masker.values(asdict(probe)) if probe else None,
            tree=[
                {
                    "pid": row.pid,
                    "ppid": row.ppid,
                    "name": self._masker.json(row.name),
                    "rss_bytes": row.rss_bytes,
                }
                for row in tree
            ],
            state_detail=self._masker.values(unit.state.to_dict()),
        )
        return view

    def _views(self, names: Iterable[str]) -> list[dict[str, Any]]:
        now, ahead = self._clock.now(), self._clock.ahead()
        units = self._supervisor.units
        running = (unit for unit in units.values() if unit.state.phase is TaskPhase.RUNNING)
        details = {unit.name: unit.probes.detail for unit in running}
        views = []
        for name in names:
            unit = units[name]
            waiting = unit.state.phase is TaskPhase.WAITING
            because = why(unit, self._supervisor.held_by(name) if waiting else (), details, now)
            usage, log_end = self._usage_of(unit), self._heads.get(name, 0)
            next_run = None if unit.state.manual_stop else self._next_runs.get(name)
            facts = facts_of(unit, now, ahead, because, usage, log_end, next_run)
            if facts.running and facts.pid is None:
                self._without_pid.add(name)
            views.append(task_view(unit.task, unit.state, facts, self._masker))
        return views

    def _flush(self) -> None:
        self._flushing = False
        dirty, self._dirty = self._dirty, set()
        names = [name for name in self._supervisor.units if name in dirty]
        if names:
            for name in names:  # a new run has no usage yet, and that is what is published now
                self._told[name] = self._usage_of(self._supervisor.units[name])
            self._without_pid.difference_update(names)
            self._audience.publish_tasks(self._views(names))


def _differs(before: Usage | None, after: Usage) -> bool:
    """Whether a person would see the difference."""
    if before is None or before.processes != after.processes:
        return True
    return (
        abs(before.cpu_percent - after.cpu_percent) >= 0.1
        or abs(before.rss_bytes - after.rss_bytes) >= SEEN_BYTES
    )


def _with_latest(stored: list[RunRow], latest: RunRow | None) -> list[RunRow]:
    """The stored runs, newest first, with the latest as it is in memory: its end may not be on disk yet."""
    if latest is None:
        return stored
    return [latest, *(run for run in stored if run.id != latest.id)][:INSPECTED_RUNS]
