"""Changing the project while it runs: reading its file again, and running another number of replicas.

A file that does not load changes nothing, and an event says so. When one loads, only tasks whose process would differ
(command, folder, environment) get a new run: those that run, and those that had ended by themselves, unless a person
has to start them, since what was done or had failed was the old definition. Everything else takes effect on the current
run. Tasks that start bring along what they depend on, as at any start, except what a person keeps stopped.

A hook may refuse the stop that a change needs. Then that run goes on and the task stays known, even if the file no
longer has it; all else is applied, and the next reload tries again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from paneview.config.editing.changes import project_settings, treated_otherwise
from paneview.config.editing.edit import replace_task, task_text
from paneview.config.errors import ConfigError, Problem
from paneview.config.models import MOST_REPLICAS, Project, Task
from paneview.control.errors import ControlError
from paneview.rules import lifecycle
from paneview.rules.states import Emit, TaskPhase
from paneview.supervisor.changes.scaling import ScaledTasks, load_scaled, outvoted
from paneview.supervisor.journal import Journal
from paneview.supervisor.tasks.supervisor import Refused, Supervisor
from paneview.supervisor.tasks.unit import Unit

Reply = dict[str, Any]


class Difference(Struct, frozen=True):
    """How a file differs from the project, as names of tasks."""

    added: list[str]
    removed: list[str]
    same: list[str]
    changed: list[str]
    """Those of ``same`` whose process would differ, or still is one that an earlier change should have replaced."""

    @classmethod
    def of(cls, old: Project, new: Project, units: Mapping[str, Unit]) -> Difference:
        """The difference between two versions of the project, given the units there are."""
        same = [name for name in new.tasks if name in old.tasks]
        return cls(
            added=[name for name in new.tasks if name not in units],
            removed=[name for name in units if name not in new.tasks],
            same=same,
            changed=[name for name in same if _differs(units[name], old.tasks[name], new.tasks[name])],
        )

    def summary(self, old: Project, new: Project, refused: Refused) -> dict[str, list[str]]:
        """What is reported once it is applied; leaves out tasks whose removal was refused."""
        treated = treated_otherwise(old.tasks, new.tasks)
        return {
            "added": self.added,
            "removed": [name for name in self.removed if name not in refused],
            "changed": self.changed,
            "settings": [name for name in treated if name not in self.changed],
            "project_settings": project_settings(old, new),
        }


class Reloader:
    """Applies a changed configuration. ``applied`` is called with the project after each change, ``refused`` when
    the file as it is now cannot be."""

    def __init__(
        self,
        supervisor: Supervisor,
        journal: Journal,
        environ: Mapping[str, str],
        scaled: ScaledTasks,
        applied: Callable[[Project, ScaledTasks], None],
        refused: Callable[[], None],
    ) -> None:
        self._supervisor = supervisor
        self._journal = journal
        self._environ = environ
        self._scaled = scaled
        self._applied = applied
        self._refused = refused
        self._owed: set[str] = set()  # added tasks that a `down` has kept from starting
        self._lock = asyncio.Lock()

    async def reload(self, by: str) -> Reply:
        """Read the file again and apply it. Raises ControlError; with code ``config`` it lists every mistake in it."""
        async with self._lock:
            return _all_done(await self._reload(by))

    async def scale(self, task: str, replicas: int, by: str) -> Reply:
        """Run ``replicas`` of a task, from 1 to `MOST_REPLICAS`. Raises ControlError."""
        if task not in (bases := self._scalable()):
            self._supervisor.unit(task)
            others = f"; scalable now: {', '.join(sorted(bases))}" if bases else ""
            why = f"{task!r} has no replicas in the file: `replicas = N` there makes it scalable{others}"
            raise ControlError(why, "bad_request")
        if replicas < 1:
            raise ControlError("a task has at least one replica; `stop` it to run none", "bad_request")
        if replicas > MOST_REPLICAS:
            raise ControlError(f"a task has at most {MOST_REPLICAS} replicas, not {replicas}", "bad_request")
        async with self._lock:
            reply = _all_done(await self._reload(by, {task: replicas}))
            if task not in self._scalable():
                raise ControlError(f"{task!r} has no replicas in the file any more", "bad_request")
        return {**reply, "action": "scaled", "task": task, "replicas": replicas}

    def _scalable(self) -> set[str]:
        tasks = self._supervisor.project.tasks.values()
        return {task.base_name for task in tasks if task.replica is not None}

    async def definition(self, name: str) -> Reply:
        """What the file says about a task, as it stands there. Raises ControlError."""
        file = self._supervisor.project.file
        try:
            text = await asyncio.to_thread(task_text, file, name)
        except (ConfigError, OSError) as error:
            raise ControlError(str(error), "config") from error
        return {"task": name, "file": str(file), "text": text}

    async def define(self, name: str, was: str, text: str, by: str) -> Reply:
        """Put ``text`` in place of ``was`` in the file, and apply it. Raises ControlError; then nothing changed.

        The reply's ``refused`` has the tasks whose runs go on as they were, and why.
        """
        async with self._lock:
            file = self._supervisor.project.file
            try:
                await asyncio.to_thread(replace_task, file, name, was, text, self._environ)
            except (ConfigError, OSError) as error:
                raise ControlError(str(error), "config") from error
            return await self._reload(by)

    async def _reload(self, by: str, asked: Mapping[str, int] | None = None) -> Reply:
        old, before = self._supervisor.project, self._scaled
        try:
            new, scaled = await asyncio.to_thread(load_scaled, old.file, self._environ, before, asked)
            self._refuse_moves(old, new)
        except ConfigError as error:
            self._refuse(str(error), by, old)
            problems = [problem.as_json() for problem in error.problems]
            raise ControlError(str(error), "config", problems=problems) from error
        except Exception as error:
            words = f"{old.file}: reading it failed, which is a defect of paneview: {error!r}"
            self._refuse(words, by, old)
            raise
        self._scaled = scaled
        if dropped := before.keys() - scaled.keys():
            self._journal.note("scale_dropped", outvoted(dropped), by=by, tasks=sorted(dropped))
        return await self._apply(old, new, by)

    def _refuse(self, why: str, by: str, kept: Project) -> None:
        self._journal.note("config_rejected", why, by=by, file=str(kept.file))
        self._supervisor.file_problem = why
        self._refused()

    def _refuse_moves(self, old: Project, new: Project) -> None:
        if (old.name, old.tmux) != (new.name, new.tmux):
            message = "name and [tmux] cannot change while the project runs"
            raise ConfigError(
                Problem(str(new.file), None, None, message, "`paneview down`, then start it again")
            )

    async def _apply(self, old: Project, new: Project, by: str) -> Reply:
        supervisor = self._supervisor
        mended, supervisor.file_problem = bool(supervisor.file_problem), ""
        difference = Difference.of(old, new, supervisor.units)
        refused = await self._drop(difference.removed, by)
        if refused:
            kept = {name: supervisor.units[name].task for name in refused}
            secrets = new.secret_values | old.secret_values  # the secrets of these tasks must stay masked
            new = replace(new, tasks={**new.tasks, **kept}, secret_values=secrets)
        restarting = [name for name in difference.changed if self._begins_anew(name, new)]
        for name in difference.same:
            supervisor.units[name].redefine(new.tasks[name], anew=name in restarting)
        for name in difference.added:
            supervisor.add(new.tasks[name])
        supervisor.reshape(new)
        self._applied(new, self._scaled)
        summary = difference.summary(old, new, refused)
        self._tell(summary, by, mended)
        starting = self._starting(difference, restarting, old, new)
        self._owed = set(starting)
        unmoved, _ = await asyncio.gather(supervisor.restart(restarting, by), supervisor.start(starting, by))
        self._owed.clear()
        for name, why in (refused | unmoved).items():
            self._journal.note_task(name, supervisor.units[name].state.run, "change_refused", why)
        restarted = [name for name in restarting if name not in unmoved]
        reply = {"session": new.name, "action": "reloaded", **summary, "restarted": restarted}
        return {**reply, "refused": refused | unmoved} if refused or unmoved else reply

    def _begins_anew(self, name: str, new: Project) -> bool:
        by_itself = new.auto_start and _starts_itself(new.tasks[name])
        return lifecycle.begins_anew(self._supervisor.units[name].state, by_itself=by_itself)

    def _tell(self, summary: Mapping[str, list[str]], by: str, mended: bool) -> None:
        told = [f"{kind.replace('_', ' ')}: {', '.join(names)}" for kind, names in summary.items() if names]
        if told or mended:
            words = "; ".join(told) or "the mistake is gone, and nothing else has changed"
            self._journal.note("config_reloaded", words, by=by, **summary)

    def _starting(
        self, difference: Difference, restarting: list[str], old: Project, new: Project
    ) -> list[str]:
        """The tasks that start with the change: those that the file has gained, and what all that start need."""
        units = self._supervisor.units
        idle = [name for name in difference.same if units[name].state.phase is TaskPhase.IDLE]
        owed = [name for name in idle if name in self._owed]
        gained = [*owed, *difference.added] if new.auto_start else []
        starting = [name for name in gained if _starts_itself(new.tasks[name])]
        waiting = [name for name in difference.same if _waits_for_others(units[name], old.tasks[name])]
        beginning = [*restarting, *starting, *waiting]
        return starting + self._supervisor.brought_along(beginning)

    async def _drop(self, names: list[str], by: str) -> Refused:
        """Remove tasks from the project, except those whose stop is refused."""
        refused = await self._supervisor.stop(names, by)
        for name in names:
            unit = self._supervisor.units[name]
            while name not in refused and unit.state.phase.under_way:  # it was started again
                refused |= await self._supervisor.stop([name], by)
            if name in refused:
                continue
            await self._supervisor.remove(name)
            await unit.clear_away()
            self._journal.forget(name, Emit("task_removed", "no longer in the file", by=by))
        return refused


def _all_done(reply: Reply) -> Reply:
    """The reply. Raises ControlError if runs go on that should have ended; all else has been done."""
    refused: Refused = reply.get("refused", {})
    if not refused:
        return reply
    told = "; ".join(f"{name} goes on as it was: {why}" for name, why in refused.items())
    results = [
        {"ok": False, "task": name, "action": "reloaded", "error": why} for name, why in refused.items()
    ]
    message = f"{told}. `paneview kill {' '.join(refused)}` ends it, then `paneview reload` again"
    raise ControlError(message, "failed", results=results)


def _differs(unit: Unit, old: Task, new: Task) -> bool:
    return old.definition_key() != new.definition_key() or unit.outdated(new)


def _waits_for_others(unit: Unit, before: Task) -> bool:
    """Whether it waits to start or restart, and its dependencies have changed."""
    return (
        unit.state.phase in (TaskPhase.WAITING, TaskPhase.BACKOFF)
        and unit.task.depends_on != before.depends_on
    )


def _starts_itself(task: Task) -> bool:
    return task.auto_start and task.schedule is None
