"""A simulation for the rules: one task's process, hooks and a clock, all virtual. Nothing sleeps."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from paneview.rules import lifecycle, stopping
from paneview.rules.restart import Exit
from paneview.rules.states import (
    BeginStop,
    DependenciesMet,
    Emit,
    Event,
    Exited,
    Launch,
    Policy,
    Redefined,
    RootGone,
    Signal,
    Spawned,
    SpawnFailed,
    Stage,
    Stop,
    StopBegun,
    Stopped,
    StopRefused,
    TaskPhase,
    TaskState,
    Tick,
    TreeGone,
)
from paneview.text import person

ENDS = ("task_exited", "task_stopped", "task_killed", "task_lost")


@dataclass
class World:
    """Does what the rules decide, like the supervisor, and checks what must hold after every step."""

    policy: Policy = field(default_factory=Policy)
    # The stages that end the process; a task that ignores SIGINT and SIGTERM ends only by SIGKILL.
    heeds: frozenset[Stage] = frozenset(Stage)
    spawn_fails: Callable[[int], bool] = lambda _run: False
    launch_takes: float = 0.0
    # The hooks before a stop: the seconds they take, and whether they refuse it.
    hooks_take: float = 0.0
    hooks_refuse: bool = False
    after_hooks_take: float = 0.0
    state: TaskState = field(default_factory=TaskState)
    now: float = 1_000.0
    alive: int | None = None
    runs: int = 0
    dependencies_met: bool = True
    log: list[tuple[float, str]] = field(default_factory=list)
    told: list[Emit] = field(default_factory=list)
    signals: list[tuple[float, Stage]] = field(default_factory=list)
    refused: bool = False  # whether the last stop that was requested was refused
    _died: Exit | None = None  # the exit of a process that was not yet waited for
    _agenda: list[tuple[float, int, Event, int | None]] = field(default_factory=list)
    _ticket: int = 0

    def feed(self, event: Event, chance: float = 0.0) -> None:
        """Feed one event at the present time, and carry out the effects."""
        outcome = lifecycle.step(self.state, event, self.now, self.policy, chance)
        self.state = outcome.state
        if isinstance(event, Stop):
            self.refused = False
        elif isinstance(event, StopRefused) and self.state.phase is TaskPhase.RUNNING:
            self.refused = True
        self.check()
        for effect in outcome.effects:
            match effect:
                case Emit(kind):
                    self.log.append((self.now, kind))
                    self.told.append(effect)
                case Launch():
                    self._launch()
                case BeginStop():
                    self._begin_stop()
                case Signal(stage):
                    self._signal(stage)
        if self.state.phase is TaskPhase.WAITING and self.dependencies_met:
            self.later(0.0, DependenciesMet())

    def later(self, delay: float, event: Event, of_run: int | None = None) -> None:
        """Put an event on the agenda; with ``of_run``, it is dropped if there is a newer run by then."""
        self._ticket += 1
        heapq.heappush(self._agenda, (self.now + delay, self._ticket, event, of_run))

    def advance(self, seconds: float) -> None:
        """Let time pass: everything that becomes due happens at its own time."""
        end = self.now + seconds
        while True:
            tick = lifecycle.deadline(self.state)
            due = [self._agenda[0][0]] if self._agenda else []
            due += [max(tick, self.now)] if tick is not None else []
            if not due or min(due) > end:
                break
            self.now = min(due)
            if self._agenda and self._agenda[0][0] <= self.now:
                _, _, event, of_run = heapq.heappop(self._agenda)
                if of_run in (None, self.runs):
                    self.feed(event)
            else:
                self.feed(Tick())
        self.now = end

    def settle(self) -> None:
        """Do what is due now."""
        self.advance(0.0)

    def exit(self, exit_: Exit) -> None:
        """End the process, by itself."""
        assert self.alive is not None
        self.alive = None
        if self.state.phase is not TaskPhase.STOPPING:
            self.feed(Exited(exit_))
        elif stopping.before_launch(self.state):
            self._died = exit_  # the supervisor waits for the end once the launch is answered
        elif self.state.stage is Stage.HOOKS:
            self._died = exit_  # the supervisor looks for the exit once it has something to signal
            self.feed(RootGone())
        else:
            self._gone(exit_)

    def take_over(self, back: float = 0.0) -> None:
        """Let the supervisor die, with all that it waited for; the next one finds its record and the process.

        Meanwhile the clock is set back by ``back`` seconds.
        """
        self._agenda.clear()
        self.now -= back
        self.state = state = TaskState.from_dict(self.state.to_dict()).taken_over(self.now, self.policy)
        stopping_early = stopping.before_launch(state)
        if state.phase is TaskPhase.STARTING or stopping_early:
            if self.alive is not None or self._died is not None:
                self.feed(Spawned(self.runs))
            elif stopping_early:
                self.feed(SpawnFailed("it was to stop", withdrawn=True))
            else:
                self.state = replace(state, phase=TaskPhase.WAITING)
        elif state.phase is TaskPhase.STOPPING:
            if self.alive is None:
                self.feed(Exited(self._died or Exit(128 + 2, 2)))
            elif state.stage is Stage.HOOKS:
                self._begin_stop()
            elif state.stage:
                self._signal(state.stage)
        self.feed(Redefined())

    def times(self, kind: str) -> list[float]:
        """The times of the events of this kind."""
        return [at for at, told in self.log if told == kind]

    def check_history(self) -> None:
        """Assert that each run was started once and ended once, alternately; the last may still be alive."""
        of_runs = [emit.kind for emit in self.told if emit.of_run and emit.kind in (*ENDS, "task_started")]
        starts, ends = of_runs[::2], of_runs[1::2]
        assert set(starts) <= {"task_started"}, of_runs
        assert set(ends) <= set(ENDS), of_runs
        assert len(starts) - len(ends) == (self.alive is not None), of_runs

    def check(self) -> None:
        """Assert what must hold after every step."""
        state = self.state
        assert state.attempt <= max(4, self.policy.max_restarts or 0)
        if state.phase in (
            TaskPhase.IDLE,
            TaskPhase.WAITING,
            TaskPhase.BACKOFF,
            TaskPhase.DONE,
            TaskPhase.FAILED,
            TaskPhase.STOPPED,
        ):
            assert self.alive is None, f"{state.phase} with a process alive"
            assert not state.ready
            assert state.stage is None
        if state.phase is TaskPhase.RUNNING:
            assert self.alive is not None, "running, and nobody there who could end"
        if state.phase is TaskPhase.BACKOFF:
            assert state.due is not None
            assert not state.manual_stop
        if state.phase in (TaskPhase.STOPPING, TaskPhase.STOPPED) and " by " in state.reason:
            who = state.reason.partition("; it needed ")[0].partition(" by ")[2]
            who = who.removesuffix(" before it began")
            assert who == person(state.stopped_by), "who stopped it is another one than the reason says"
        assert TaskState.from_dict(state.to_dict()) == state

    def _launch(self) -> None:
        assert self.alive is None, "a second process beside the first"
        self.runs += 1
        self._died = None
        if self.spawn_fails(self.runs):
            self.later(self.launch_takes, SpawnFailed("no such folder"))
            return
        self.alive = self.runs
        self.later(self.launch_takes, Spawned(self.runs))

    def _begin_stop(self) -> None:
        answer = StopRefused("not now") if self.hooks_refuse else StopBegun()
        self.later(self.hooks_take, answer, of_run=self.runs)

    def _gone(self, exit_: Exit) -> None:
        """Report that a run which is being ended has no process any more."""
        self.later(0.0, TreeGone())
        self.later(self.after_hooks_take, Stopped(exit_))

    def _signal(self, stage: Stage) -> None:
        assert not self.state.tree_gone, "a signal to nobody"
        self.signals.append((self.now, stage))
        if self.alive is not None and (stage is Stage.KILL or stage in self.heeds):
            self.alive = None
            self.later(0.0, RootGone())
            self._gone(Exit(128 + 2, 2))
        elif self._died is not None:
            self._gone(self._died)
            self._died = None
