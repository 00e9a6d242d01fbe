"""The picture clients see: every task's object, kept up to date, and told in as few pushes as the eye needs.

Changes are collected for one turn of the event loop and published together, so that fifty tasks that start at once
are one message. CPU and memory are sampled only while somebody looks.
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
from paneview.store.rows import RunRow
from paneview.store.state import StateStore
from paneview.supervisor.clock import Clock
from paneview.supervisor.probing import Prober
from paneview.supervisor.supervisor import Supervisor
from paneview.supervisor.unit import Unit
from paneview.supervisor.views import definition_view, facts_of, task_view, why

SAMPLE_EVERY = 2.0  # seconds, while somebody looks
SAMPLE_AT_REST = 4.0  # the same while nothing does anything
SAMPLE_SOON = 0.2  # after somebody has begun to look: first the screen
INSPECTED_RUNS = 20  # the latest
SEEN_BYTES = 1 << 17  # of memory, more or less, that a person would see
AT_REST = 3  # samples without a difference, after which that is so
REMEMBER_EVERY = 5.0  # seconds between looks at process trees while nobody does


class Picture:
    """Makes and publishes task objects. ``next_runs``: those of scheduled tasks, in epoch seconds."""

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
        self._roots: dict[str, ProcessId] = {}  # of the runs whose usage that is
        self._without_pid: set[str] = set()  # shown running before their command had begun
        self._told: dict[str, Usage | None] = {}  # to those who look, however often was sampled since
        self._sampled = 0.0
        self._began = clock.now()
        self._told_ahead = clock.ahead()
        self._heads: dict[str, int] = {}
        self._dirty: set[str] = set()
        self._flushing = False
        self._begun = asyncio.Event()

    def changed(self, name: str) -> None:
        """A task's picture is out of date."""
        if not self._looked_at():
            return
        self._dirty.add(name)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def heads(self, heads: Mapping[str, int]) -> None:
        """Logs have grown."""
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
        """Look at all process trees, unless that was done just now."""
        now = self._clock.now()
        if now - self._sampled < SAMPLE_EVERY / 4:
            return
        self._sampled = now
        units = self._supervisor.units.values()
        live = {unit.name: unit.live for unit in units if unit.live is not None}
        self._roots = {name: one.root for name, one in live.items() if one.root is not None}
        table = ProcessTable.recent()
        self._usage = self._sampler.sample(self._roots, table)
        for name, root in self._roots.items():
            live[name].known.update(ProcessId(row.pid, row.start) for row in table.tree(root.pid))

    async def keep_sampling(self) -> None:
        """Sample for as long as the supervisor lives: for whoever looks, and to remember who belongs to whom."""
        still = 0  # samples without a difference
        while True:
            pause = SAMPLE_AT_REST if still >= AT_REST else SAMPLE_EVERY
            await self._rest(pause if self._looked_at() else REMEMBER_EVERY)
            self.sample()
            still = still + 1 if self._looked_at() and not self._tell_usage() else 0

    def heard(self, topics: frozenset[str]) -> None:
        """A client has subscribed to these topics: it need not wait for the next sample."""
        if "state" in topics:
            self._begun.set()

    def _looked_at(self) -> bool:
        return self._audience.subscribers("state") > 0

    async def _rest(self, seconds: float) -> None:
        """Wait so long, or until somebody begins to look."""
        self._begun.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._begun.wait()
                await asyncio.sleep(SAMPLE_SOON)

    def _tell_usage(self) -> bool:
        """Show what uses more or less than was told, or has begun since; whether anything does."""
        found = {name: usage for name, usage in self._usage.items() if _differs(self._told.get(name), usage)}
        self._told.update(found)
        names = found.keys() | self._begun_since()
        if (ahead := self._clock.ahead()) != self._told_ahead:  # all that was told of times is wrong by now
            self._told_ahead = ahead
            names |= self._supervisor.units.keys()
        for name in names:
            self.changed(name)
        return bool(names)

    def _begun_since(self) -> set[str]:
        """Tasks that were shown without the pid that is known by now. Their usage alone may tell no difference."""
        units = self._supervisor.units
        self._without_pid &= units.keys()
        live = {name: units[name].live for name in self._without_pid}
        return {name for name, one in live.items() if one is not None and one.command_pid() is not None}

    def _usage_of(self, unit: Unit) -> Usage | None:
        """What its run uses; that of the run before is nothing to show."""
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
        states = self._supervisor.states
        notes = {name: unit.probes.note for name, unit in units.items()}
        views = []
        for name in names:
            unit = units[name]
            because = why(unit, self._supervisor.graph, states, notes, now)
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
            for name in names:  # a new run has none yet, and that is what is told now
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
    """The stored runs, newest first, with the latest as it is now: what became of it may not be on disk yet."""
    if latest is None:
        return stored
    return [latest, *(run for run in stored if run.id != latest.id)][:INSPECTED_RUNS]
