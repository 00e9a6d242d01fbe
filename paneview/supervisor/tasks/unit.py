"""One task under supervision: feeds the rules, and carries out what they decide.

`Unit.feed` is the only place where a task's state changes. It is a plain call: decide, record, start the deeds. Deeds
are coroutines that wait until the decision is durable, act, and feed the result back in. A result that belongs to an
earlier run is dropped here (``live is not self.live``), so the rules never see one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from paneview.config.models import Task
from paneview.rules import lifecycle
from paneview.rules.restart import Exit, describe
from paneview.rules.states import (
    BeginStop,
    Effect,
    Emit,
    Event,
    Exited,
    Launch,
    Lost,
    Outcome,
    Probed,
    Redefined,
    Restart,
    RootGone,
    Signal,
    Spawned,
    SpawnFailed,
    Stage,
    StopBegun,
    Stopped,
    StopRefused,
    TaskPhase,
    TaskState,
    Tick,
    TreeGone,
)
from paneview.store.rows import RunRow
from paneview.supervisor.clock import Clock
from paneview.supervisor.journal import Durable, Journal
from paneview.supervisor.logs.runlogs import RunLogs
from paneview.supervisor.runs.ending import Ender
from paneview.supervisor.runs.hooks import HookFailed, Hooks
from paneview.supervisor.runs.launching import Launcher, LaunchError
from paneview.supervisor.runs.live import Live
from paneview.supervisor.runs.origin import outdated, renewed
from paneview.supervisor.runs.probing import Prober, Probes
from paneview.supervisor.runs.strays import Strays
from paneview.supervisor.tasks.policy import policy_of
from paneview.supervisor.tasks.waiters import Waiters
from paneview.tmux.errors import TmuxGone

logger = logging.getLogger(__name__)
_SOME = 3  # left-overs that an event's text names


class Services(Struct, frozen=True):
    """The services that a unit needs, each with one job."""

    clock: Clock
    journal: Journal
    launcher: Launcher
    ender: Ender
    prober: Prober
    hooks: Hooks
    logs: RunLogs
    strays: Strays


def _ended(row: RunRow, state: TaskState, now: float) -> RunRow:
    """The row of a run that has ended as ``state`` says."""
    reason = state.reason or describe(state.exit)
    return replace(row, ended_at=now, exit_code=state.exit.code, signal=state.exit.signal, end_reason=reason)


def _left_behind(processes: list[str]) -> str:
    """An event's text about left-overs: why they were ended, and the first few of them."""
    some = ", ".join(processes[:_SOME]) + (", …" if len(processes) > _SOME else "")
    return f"it had ended and left behind {some}"


class Unit:
    """A task, its state, and its current run if it has one. ``changed`` is called after every change."""

    def __init__(
        self, task: Task, state: TaskState, services: Services, changed: Callable[[Unit], None]
    ) -> None:
        self.task = task
        self.policy = policy_of(task)
        self.state = state
        self.live: Live | None = None
        self.row: RunRow | None = None
        self.probes = Probes()
        self.question = ""  # the question that its run waits to have answered; see `Questions`
        self._services = services
        self._changed = changed
        self._deeds: set[asyncio.Task[None]] = set()
        self._probing: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiters = Waiters(lambda: self.state)

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.name

    def redefine(self, task: Task, *, anew: bool = False) -> None:
        """Take a new definition. The process keeps the old one, unless a restart follows (``anew``)."""
        if task == self.task:
            return
        self.task = task
        self.policy = policy_of(task)
        if not self.policy.probed:
            self._services.prober.forget(self.name)
            self.probes = Probes()
        self.store_definition()
        self._stop_probing()
        (self._follow_up if anew else self.resume)()

    def store_definition(self) -> None:
        """Update the definition stored with its run's pane, as far as that does not need another process."""
        if self.live and (now := renewed(self.live.definition, self.task)) != self.live.definition:
            self.live.definition = now
            self._start(self._services.launcher.define(self.live.pane_id, now))

    def outdated(self, task: Task) -> bool:
        """Whether it has a run that was launched from another definition than this one."""
        return self.live is not None and outdated(self.live.definition, task)

    def feed(self, event: Event, row: RunRow | None = None) -> None:
        """Let the rules decide about ``event``, record the outcome, and start the deeds that follow from it."""
        outcome = lifecycle.step(
            self.state, event, self._services.clock.now(), self.policy, random.random()  # noqa: S311 - jitter
        )  # fmt: skip
        if outcome.state == self.state and not outcome.effects and row is None:
            return
        durable = self._record(outcome, row)
        for effect in outcome.effects:
            if not isinstance(effect, Emit):
                self._start(self._do(effect, durable))
        if self.state.phase is TaskPhase.STOPPING:
            self._services.launcher.withdraw(self.name)
        self._follow_up()
        self._changed(self)
        self._waiters.wake()

    async def until(self, settled: Callable[[Unit], bool]) -> TaskState:
        """Wait until ``settled`` holds for this unit; returns the state in which it did."""
        return await self._waiters.until(lambda: settled(self))

    def reconsider(self) -> None:
        """Check the waiters' conditions again, because something outside this unit has changed."""
        self._waiters.wake()

    def adopt(self, live: Live, row: RunRow) -> None:
        """Take charge of a run that an earlier supervisor has started."""
        self.row = row
        self._services.logs.attach(live.run, self.task)
        self._take(live)
        self._follow_up()

    def resume_stop(self) -> None:
        """Go on with a stop that an earlier supervisor began."""
        stage = self.state.stage
        recorded = self._services.journal.put(task=self.name, state=self.state)
        if stage is Stage.HOOKS:
            self._start(self._before_stop(recorded))
        elif self.live and stage:
            self._start(self._signal(stage, recorded))

    async def clear_away(self) -> None:
        """Close the pane of a task that no longer runs."""
        if self.row and self.row.pane_id:
            await self._services.launcher.clear_away(self.name, self.row.pane_id)

    def resume(self) -> None:
        """Go on where an earlier supervisor, or an earlier definition, left off."""
        self.feed(Redefined())
        self._follow_up()

    async def close(self) -> None:
        """Cancel everything without touching the process."""
        if self._timer:
            self._timer.cancel()
        self._stop_probing()
        deeds = list(self._deeds)
        for deed in deeds:
            deed.cancel()
        await asyncio.gather(*deeds, return_exceptions=True)
        if self.live:
            self._services.ender.unwatch(self.live)

    # Recording and following up

    def _record(self, outcome: Outcome, row: RunRow | None) -> Durable:
        self.state = outcome.state
        over = self.state.ended_at and not self.state.phase.active
        if row is not None:
            self.row = row
        elif over and self.row and self.row.ended_at is None:
            row = self.row = _ended(self.row, self.state, self._services.clock.wall())
        emits = [effect for effect in outcome.effects if isinstance(effect, Emit)]
        return self._services.journal.put(task=self.name, state=self.state, run=row, events=emits)

    def _follow_up(self) -> None:
        self._arm_timer()
        if self.live is None or not lifecycle.wants_probe(self.state, self.policy):
            self._stop_probing()
        elif self._probing is None:
            self._probing = self._start(self._probe(self.live))

    def _arm_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        due = lifecycle.deadline(self.state)
        if due is not None:
            loop = asyncio.get_running_loop()
            wait = max(0.0, due - self._services.clock.now())
            self._timer = loop.call_later(wait, self.feed, Tick())

    def _stop_probing(self) -> None:
        if self._probing:
            self._probing.cancel()
            self._probing = None

    def _start(self, deed: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(deed)
        self._deeds.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, deed: asyncio.Task[None]) -> None:
        self._deeds.discard(deed)
        if not deed.cancelled() and (error := deed.exception()):
            logger.error("%s: a deed failed", self.name, exc_info=error)
            self._services.journal.note_task(self.name, self.state.run, "internal_error", repr(error))

    # Deeds

    async def _do(self, effect: Effect, durable: Durable) -> None:
        match effect:
            case Launch():
                try:
                    await self._launch(durable)
                except Exception as error:  # else it would stay in `starting` for ever
                    self.feed(SpawnFailed(f"internal error: {error!r}"))
                    raise
            case BeginStop():
                await self._before_stop(durable)
            case Signal(stage):
                await self._signal(stage, durable)

    async def _launch(self, durable: Durable) -> None:
        # Even for hours: a process with no record could not be assigned to its task later.
        await durable.unless(lambda: "it is to stop" if self.state.phase is TaskPhase.STOPPING else "")
        await self._services.strays.gone(self.name)
        if self.state.phase is TaskPhase.STOPPING:
            self.feed(SpawnFailed("it was to stop", withdrawn=True))
            return
        run = self._services.journal.new_run()
        task = self.task  # `self.task` may have changed by the time the hooks have run
        # Before there is any output, so that all its times are exact.
        self._services.logs.announce(run, task)
        try:
            live, row = await self._services.launcher.launch(task, run, self.row)
        except LaunchError as error:
            self._services.logs.finish(run)
            if error.unborn:
                await self._services.ender.sweep_unborn(error.unborn)
            self.feed(SpawnFailed(str(error), error.retry, error.withdrawn))
            if error.unborn:
                self._start(self._services.launcher.clear_unborn(self.name, run))
            return
        self.row = row = replace(row, cause=self.state.cause)
        self._take(live)
        self.feed(Spawned(run), row)
        edited = task is not self.task and task.definition_key() != self.task.definition_key()
        if edited and self.state.phase is TaskPhase.RUNNING:
            self.feed(Restart("file change"))  # it had no effect before there was a run
        self._start(self._hook("after_start", task, run))

    async def _before_stop(self, durable: Durable) -> None:
        live = self.live
        answer: Event = StopBegun()
        await self._services.journal.recorded(durable)
        try:
            await self._services.hooks.before("before_stop", self.task, self.state.run or 0)
        except HookFailed as error:
            answer = StopRefused(str(error))
        if live is self.live:  # hooks of a killed run must not affect the next run's end
            self.feed(answer)

    async def _signal(self, stage: Stage, durable: Durable) -> None:
        live = self.live
        await self._services.journal.recorded(durable)
        if live is None or live is not self.live:
            return
        if self._ending is None:
            self._ending = self._start(self._gone(live))
        await self._services.ender.send(live, stage, self.task.stop_signal)

    async def _gone(self, live: Live) -> None:
        """Wait until the last process of a run that is being ended is gone, then tell the rules."""
        try:
            await self._services.ender.gone(live)
            # Before tmux is asked for the exit, which may take long: nothing is left to signal.
            self.feed(TreeGone())
            exit_ = await self._services.ender.any_exit_of(live)
            self.let_go(live)
        finally:
            self._ending = None
        await self._hook("after_stop", self.task, live.run)
        self.feed(Stopped(exit_, began=live.heard is not False or exit_ != Exit()))

    async def _hook(self, moment: Literal["after_start", "after_stop"], task: Task, run: int) -> None:
        if error_text := await self._services.hooks.after(moment, task, run):
            self._services.journal.note_task(self.name, run, "hook_failed", error_text, hook=moment)

    async def _probe(self, live: Live) -> None:
        self.probes = Probes(self.probes.detail)
        async for result in self._services.prober.probe(self.task, live.run, lambda: self.state.ready):
            if live is not self.live:
                return
            self.probes.heard(result, self._services.prober.pause.get(self.name), self._services.clock.wall())
            if result.asked:
                self.feed(Probed(result.ok, result.detail))

    # The run

    def _take(self, live: Live) -> None:
        self.live = live
        self._services.ender.watch(live, lambda: self._start(self._root_gone(live)))

    async def _root_gone(self, live: Live) -> None:
        """Handle the death of the run's first process, by itself or as part of a stop."""
        if live is not self.live:
            return
        if self.state.phase is TaskPhase.STOPPING:
            self.feed(RootGone())
            return
        try:
            swept, exit_ = await self._services.ender.end_of(live)
        except TmuxGone:
            return  # lost with the terminal: `Outages` handles all such runs once there is a new one
        if live is not self.live or self._ending:
            return
        self.let_go(live)
        if swept:
            cause = _left_behind(swept)
            self._services.journal.note_task(self.name, live.run, "leftovers_ended", cause, processes=swept)
        self.feed(Exited(exit_))

    def lose(self, reason: str) -> None:
        """Note that the run was lost; if it is being ended, `_gone` already waits for that and reports it."""
        if self.live is not None and self._ending is None:
            self.let_go(self.live)
            self.feed(Lost(reason))

    def keep(self) -> None:
        """Note that the run's terminal is still there: if the run ended meanwhile, it did so by itself."""
        if self.live is not None:
            self.live.lost = False
            if self.state.phase is not TaskPhase.STOPPING:
                self._services.ender.unwatch(self.live)
                self._take(self.live)

    def let_go(self, live: Live) -> None:
        """Note that the run is over, with nothing of it left."""
        self._services.ender.unwatch(live)
        if self.live is live:
            self.live = None
        self._services.logs.finish(live.run)
