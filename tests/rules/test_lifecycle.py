"""The life cycle over virtual time: examples of each rule, and properties over random histories."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from paneview.rules import stopping
from paneview.rules.lifecycle import begins_anew, deadline, step, wants_probe
from paneview.rules.restart import HEALTHY_RESETS_AFTER, MAX_DELAY, Exit, delay, describe, wants_restart
from paneview.rules.states import (
    Emit,
    Health,
    Lost,
    Policy,
    Probed,
    Redefined,
    Restart,
    RootGone,
    SessionEnded,
    Signal,
    Spawned,
    SpawnFailed,
    Stage,
    Start,
    Stop,
    Stopped,
    StopRefused,
    TaskPhase,
    TaskState,
    Tick,
    TreeGone,
)
from paneview.text import person
from tests.rules.world import World

CRASH, SUCCESS = Exit(3), Exit(0)


def running(**changes: object) -> World:
    world = World(replace(Policy(), **changes))  # type: ignore[arg-type]
    world.feed(Start("user"))
    world.settle()
    assert world.state.phase is TaskPhase.RUNNING
    return world


class TestRestartPolicy:
    @pytest.mark.parametrize(
        ("policy", "exit_", "expected"),
        [
            ("no", CRASH, False),
            ("no", SUCCESS, False),
            ("on-failure", CRASH, True),
            ("on-failure", SUCCESS, False),
            ("on-failure", Exit(137, 9), True),
            ("on-failure", Exit(), True),
            ("always", SUCCESS, True),
            ("always", CRASH, True),
        ],
    )
    def test_goes_by_the_real_exit(self, policy, exit_, expected):
        assert wants_restart(policy, exit_) is expected

    def test_an_exit_in_words_says_what_a_shell_means_by_it(self):
        exits = [Exit(code=127), Exit(code=126), Exit(code=1), Exit(signal=9), Exit()]
        assert [describe(exit_) for exit_ in exits] == [
            "exit code 127 (command not found)",
            "exit code 126 (cannot be executed)",
            "exit code 1",
            "killed by signal 9",
            "exit status unknown",
        ]

    def test_first_restart_is_at_once_and_the_nth_waits_backoff_to_the_n_minus_1(self):
        world = running(max_restarts=4, backoff=3.0)
        starts = [world.now]
        for _ in range(4):
            world.exit(CRASH)
            world.advance(40.0)  # longer than the longest wait, shorter than what resets the counter
            starts.append(world.times("task_started")[-1])
        waits = [round(at - (starts[0] + 40.0 * number), 6) for number, at in enumerate(starts[1:])]
        assert waits == [0.0, 3.0, 9.0, 27.0]

    @given(st.integers(1, 500), st.floats(0, 100), st.floats(0, 1, exclude_max=True))
    def test_delay_is_bounded(self, attempt, backoff, chance):
        wait = delay(attempt, backoff, chance)
        assert 0 <= wait <= MAX_DELAY
        if attempt == 1 or backoff == 0:
            assert wait == 0

    def test_gives_up_once_and_says_so_once(self):
        world = running(max_restarts=2, backoff=0.0)
        for _ in range(2):
            world.exit(CRASH)
            world.settle()
        world.exit(CRASH)
        world.advance(10_000)
        assert world.state.phase is TaskPhase.FAILED
        assert "gave up after 2 restarts" in world.state.reason
        assert len(world.times("max_restarts_reached")) == 1
        assert world.runs == 3

    def test_counter_is_forgotten_after_a_minute_of_health(self):
        world = running(max_restarts=1, backoff=0.0)
        world.exit(CRASH)
        world.advance(HEALTHY_RESETS_AFTER + 0.1)
        assert world.state.attempt == 0
        assert world.times("counter_reset")
        world.exit(CRASH)
        world.settle()
        assert world.state.phase is TaskPhase.RUNNING
        assert world.state.restarts == 2, "the total is kept"

    def test_no_restart_after_success_on_failure(self):
        world = running()
        world.exit(SUCCESS)
        world.advance(1_000)
        assert world.state.phase is TaskPhase.DONE
        assert world.state.exit == SUCCESS

    def test_a_lost_run_is_brought_back_by_policy(self):
        world = running()
        world.alive = None
        world.feed(Lost("the tmux server ended"))
        world.settle()
        assert world.state.phase is TaskPhase.RUNNING
        world = running(restart="no")
        world.alive = None
        world.feed(Lost("the tmux server ended"))
        assert world.state.phase is TaskPhase.FAILED
        assert world.state.reason == "the tmux server ended"

    def test_failing_spawn_is_retried_by_policy_then_given_up(self):
        world = World(Policy(max_restarts=2, backoff=0.0), spawn_fails=lambda _run: True)
        world.feed(Start("user"))
        world.advance(1_000)
        assert world.state.phase is TaskPhase.FAILED
        assert world.runs == 3


class TestAnotherDefinition:
    @pytest.mark.parametrize("phase", TaskPhase)
    def test_what_runs_begins_anew_and_what_ended_by_itself_does_where_nobody_has_to_start_it(self, phase):
        state = replace(TaskState(), phase=phase)
        running = phase in (TaskPhase.RUNNING, TaskPhase.STARTING, TaskPhase.BACKOFF)
        ended = phase in (TaskPhase.DONE, TaskPhase.FAILED)
        assert begins_anew(state, by_itself=True) == (running or ended)
        assert begins_anew(state, by_itself=False) == running
        for kept in (replace(state, manual_stop=True), replace(state, quarantined=True)):
            assert begins_anew(kept, by_itself=True) == running


class TestStop:
    def test_interrupt_then_term_after_grace_then_kill(self):
        world = running(stop_grace=2.0)
        world.heeds = frozenset()
        begun = world.now
        world.feed(Stop("user"))
        world.advance(60)
        assert [(round(at - begun, 3), stage) for at, stage in world.signals] == [
            (0.0, Stage.INTERRUPT),
            (2.0, Stage.TERMINATE),
            (4.0, Stage.KILL),
        ]
        assert world.state.phase is TaskPhase.STOPPED
        assert world.state.manual_stop

    def test_a_manual_stop_blocks_every_restart_until_start(self):
        world = running(restart="always", backoff=0.0)
        world.feed(Stop("user"))
        world.advance(10_000)
        assert world.state.phase is TaskPhase.STOPPED
        world.feed(Start("user"))
        world.settle()
        assert world.state.phase is TaskPhase.RUNNING
        assert not world.state.manual_stop

    def test_kill_is_at_once(self):
        world = running(stop_grace=1_000.0)
        world.feed(Stop("user", kill=True))
        world.settle()
        assert world.signals == [(world.now, Stage.KILL)]
        assert world.times("task_killed")

    def test_kill_overtakes_a_stop(self):
        world = running(stop_grace=1_000.0)
        world.heeds = frozenset()
        world.feed(Stop("user"))
        world.settle()
        world.feed(Stop("user", kill=True))
        world.settle()
        assert world.state.phase is TaskPhase.STOPPED

    def test_a_run_that_heeds_the_interrupt_gets_no_other_signal(self):
        world = running(stop_grace=1_000.0)
        world.feed(Stop("user"))
        world.advance(10.0)
        assert [stage for _, stage in world.signals] == [Stage.INTERRUPT]

    def test_stop_while_waiting_to_be_restarted(self):
        world = running(backoff=2.0)
        for _ in range(2):
            world.exit(CRASH)
            world.settle()
        assert world.state.phase is TaskPhase.BACKOFF
        world.feed(Stop("user"))
        world.advance(1_000)
        assert world.state.phase is TaskPhase.STOPPED
        assert world.runs == 2

    def test_stop_while_being_launched_ends_the_launched(self):
        state = replace(TaskState(), phase=TaskPhase.STARTING)
        stopping = step(state, Stop("user"), 5.0, Policy()).state
        assert stopping.phase is TaskPhase.STOPPING
        outcome = step(stopping, Spawned(7), 6.0, Policy(stop_grace=2.0))
        assert outcome.state.phase is TaskPhase.STOPPING
        assert outcome.state.due == 8.0
        assert any(getattr(effect, "stage", None) is Stage.INTERRUPT for effect in outcome.effects)

    def test_a_refused_stop_leaves_it_running_and_unmarked(self):
        state = replace(TaskState(), phase=TaskPhase.STOPPING, stage=Stage.HOOKS, manual_stop=True)
        after = step(state, StopRefused("not now"), 1.0, Policy()).state
        assert (after.phase, after.manual_stop, after.reason) == (TaskPhase.RUNNING, False, "not now")

    @pytest.mark.parametrize("refuses", [False, True])
    @pytest.mark.parametrize(("asked", "phase"), [(Stop, TaskPhase.STOPPED), (Restart, TaskPhase.RUNNING)])
    def test_a_task_that_ends_while_the_hooks_before_its_stop_run_is_stopped(self, asked, phase, refuses):
        """Even if the hooks refuse the stop: no process is left that could go on."""
        world = running(restart="always")
        world.hooks_take, world.hooks_refuse = 4.0, refuses
        world.feed(asked("user"))
        world.advance(2.0)
        world.exit(CRASH)
        assert world.state.phase is TaskPhase.STOPPING
        world.advance(2.0)
        assert world.state.phase is phase
        assert world.state.manual_stop == (phase is TaskPhase.STOPPED)
        assert len(world.times("hook_failed")) == refuses
        if phase is TaskPhase.STOPPED:
            assert world.state.exit == CRASH

    def test_a_refused_stop_after_one_that_a_task_forestalled_leaves_it_running(self):
        world = running()
        world.hooks_take, world.hooks_refuse = 4.0, True
        world.feed(Restart("user"))
        world.exit(CRASH)
        world.advance(5.0)
        world.feed(Stop("user"))
        world.advance(5.0)
        assert (world.state.phase, world.runs) == (TaskPhase.RUNNING, 2)

    def test_left_over_children_are_not_given_the_whole_grace(self):
        """Processes that end a moment after the first got the interrupt; those in another session did not get it."""
        state = replace(TaskState(), phase=TaskPhase.STOPPING, stage=Stage.INTERRUPT, due=6.0, run=1)
        state, effects = step(state, RootGone(), 1.0, Policy())
        assert (effects, state.due) == ((), 1.0 + stopping.LAST_MOMENTS)
        ended = step(step(state, TreeGone(), 1.1, Policy()).state, Stopped(), 1.1, Policy())
        assert [emit.detail["stage"] for emit in ended.effects] == ["interrupt"]
        late = step(state, Tick(), state.due, Policy())
        assert late.effects == (Signal(Stage.TERMINATE),)
        hurried = step(replace(state, due=1.05), RootGone(), 1.0, Policy())
        assert hurried.state.due == 1.05, "its grace is over before"

    @pytest.mark.parametrize(
        ("ticks", "killed", "needed"),
        [
            (0, False, None),
            (1, False, "SIGTERM"),
            (2, False, "SIGKILL"),
            (3, False, "SIGKILL"),
            (2, True, None),
        ],
    )
    def test_the_end_says_which_signal_it_took_if_not_the_first(self, ticks, killed, needed):
        state = replace(TaskState(), phase=TaskPhase.STOPPING, stage=Stage.INTERRUPT, due=6.0, run=1)
        state = replace(state, reason="stopped by user", killed=killed)
        for _ in range(ticks):
            state = step(state, Tick(), state.due, Policy()).state
        rest, (told,) = step(state, Stopped(), state.due, Policy())
        assert (told.detail.get("needed"), told.cause) == (needed, "stopped by user")
        assert rest.reason == "stopped by user" + (f"; it needed {needed}" if needed else "")

    def test_a_start_after_a_stop_during_a_launch_that_fails_is_not_forgotten(self):
        state = replace(TaskState(), phase=TaskPhase.STARTING)
        for event in (Stop("user"), Start("user"), SpawnFailed("no such folder")):
            state, effects = step(state, event, 5.0, Policy())
        assert (state.phase, state.manual_stop, state.stage) == (TaskPhase.WAITING, False, None)
        assert [effect.kind for effect in effects if isinstance(effect, Emit)] == [
            "spawn_failed",
            "task_restarted",
        ]

    @pytest.mark.parametrize(
        ("asked", "phase", "told"),
        [
            ([Stop("user")], TaskPhase.STOPPED, ["task_stopped"]),
            ([Stop("user"), Stop("user", kill=True)], TaskPhase.STOPPED, ["task_killed"]),
            ([Stop("user"), Start("user")], TaskPhase.WAITING, ["task_stopped", "task_restarted"]),
        ],
    )
    def test_a_launch_that_is_withdrawn_ends_as_it_was_asked_to(self, asked, phase, told):
        state = replace(TaskState(), phase=TaskPhase.STARTING, run=7, exit=CRASH, ended_at=1.0)
        for event in (*asked, SpawnFailed("it was to stop", withdrawn=True)):
            state, effects = step(state, event, 5.0, Policy())
        assert (state.phase, state.stage, state.due) == (phase, None, None)
        assert (state.run, state.exit, state.ended_at) == (7, CRASH, 1.0), "nothing has run since"
        assert [effect.kind for effect in effects if isinstance(effect, Emit)] == told

    @pytest.mark.parametrize("kill", [False, True])
    def test_a_run_that_is_stopped_in_any_way_while_it_is_launched_has_a_start_and_an_end(self, kill):
        """Regression: a kill after the stop did not wait for the launch, so the run's start was never recorded."""
        world = World(launch_takes=1.0)
        world.feed(Start("user"))
        world.settle()
        world.feed(Stop("user"))
        world.feed(Stop("another", kill=kill))
        world.advance(60)
        assert (world.state.phase, world.state.run) == (TaskPhase.STOPPED, 1)
        assert world.state.reason == ("killed by another" if kill else "stopped by user")
        assert world.signals[0] == (1_001.0, Stage.KILL if kill else Stage.INTERRUPT)
        assert len(world.times("task_started")) == 1
        world.check_history()

    @pytest.mark.parametrize(
        ("wishes", "ended", "next_cause"),
        [
            ([Restart("user:a"), Stop("user:b")], "stopped by b", None),
            ([Restart("a"), Stop("b", kill=True)], "killed by b", None),
            ([Stop("a"), Stop("b")], "stopped by a", None),
            ([Stop("a"), Start("b")], "stopped by a", "started by b"),
            ([Stop("a"), Restart("user:b"), Start("c")], "stopped by a", "restarted by b"),
            ([Restart("a"), Start("b")], "restarted by a", "restarted by a"),
            ([Stop("a"), Start("b"), Stop("c")], "stopped by c", None),
        ],
    )
    def test_each_wish_that_changes_what_comes_of_a_stop_is_told_as_its_cause(
        self, wishes, ended, next_cause
    ):
        world = running(stop_grace=2.0)
        world.heeds = frozenset()
        for wish in wishes:
            world.feed(wish)
            world.settle()
        world.advance(60)
        end = next(emit for emit in world.told if emit.kind in ("task_stopped", "task_killed"))
        assert (end.cause, person(end.by)) == (ended, ended[-1])
        assert world.state.phase is (TaskPhase.RUNNING if next_cause else TaskPhase.STOPPED)
        if next_cause:
            started = [emit for emit in world.told if emit.kind in ("task_restarted", "task_started")][1:]
            assert {(emit.cause, person(emit.by)) for emit in started} == {(next_cause, next_cause[-1])}
        else:
            assert world.told[-1].cause == ended
            assert [emit.cause for emit in world.told if emit.kind == "task_stopping"][-1] == ended

    def test_what_is_stopped_again_while_it_is_launched_is_told_of_no_run(self):
        world = running(restart="no")
        world.exit(SUCCESS)
        world.launch_takes = 1.0
        world.feed(Start("user"))
        world.settle()
        for wish in (Stop("a"), Start("b"), Stop("c")):
            world.feed(wish)
        told = [(emit.cause, emit.of_run) for emit in world.told if emit.kind == "task_stopping"]
        assert told == [("stopped by a", False), ("stopped by c", False)]

    def test_a_person_who_stops_what_is_ended_for_its_health_is_the_cause(self):
        world = running(probed=True, health_retries=1)
        world.hooks_take = 1.0
        world.feed(Probed(ok=True))
        world.feed(Probed(ok=False, detail="500"))
        world.feed(Stop("user"))
        world.advance(10)
        assert (world.state.phase, world.state.reason) == (TaskPhase.STOPPED, "stopped by user")

    def test_what_happens_between_two_runs_is_told_of_neither(self):
        """Otherwise the run before would seem to have ended twice."""
        world = running(backoff=2.0)
        for _ in range(2):
            world.exit(CRASH)
            world.settle()
        world.feed(Stop("user"))
        assert [emit.of_run for emit in world.told if emit.kind == "task_stopped"] == [False]
        world.check_history()

    def test_a_launch_that_is_said_to_have_failed_when_its_run_is_there_ends_no_stop(self):
        world = running()
        world.heeds = frozenset({Stage.TERMINATE})
        world.feed(Stop("user"))
        world.settle()
        world.feed(SpawnFailed("a defect"))
        assert world.state.phase is TaskPhase.STOPPING
        world.advance(60)
        world.check_history()

    @pytest.mark.parametrize("more", [(), (Stop("user"),), (Stop("user", kill=True),)])
    def test_while_the_hooks_after_a_stop_run_nobody_is_signalled_and_nothing_else_is_told(self, more):
        world = running(stop_grace=1.0)
        world.after_hooks_take = 60.0
        world.feed(Stop("user"))
        world.advance(5.0)
        assert (world.state.phase, deadline(world.state)) == (TaskPhase.STOPPING, None)
        for wish in more:
            world.feed(wish)
        world.advance(60.0)
        assert (world.state.phase, world.state.tree_gone) == (TaskPhase.STOPPED, False)
        assert Stage.KILL not in [stage for _, stage in world.signals]
        assert [kind for _, kind in world.log[-2:]] == ["task_stopping", "task_stopped"]
        assert world.told[-1].detail["stage"] == "interrupt"

    def test_restart_ends_then_starts(self):
        world = running()
        world.feed(Restart("user"))
        world.settle()
        assert world.state.phase is TaskPhase.RUNNING
        assert world.runs == 2
        assert world.state.restarts == 0

    def test_start_during_a_stop_starts_after_it(self):
        world = running(stop_grace=5.0)
        world.heeds = frozenset({Stage.TERMINATE})
        world.feed(Stop("user"))
        world.advance(1.0)
        world.feed(Start("user"))
        assert world.state.phase is TaskPhase.STOPPING
        world.advance(5.0)
        assert world.state.phase is TaskPhase.RUNNING
        assert world.runs == 2

    def test_session_end_forgets_marks_and_counters(self):
        world = running()
        world.feed(Stop("user"))
        world.settle()
        world.feed(SessionEnded())
        assert world.state.phase is TaskPhase.IDLE
        assert not world.state.manual_stop
        assert world.state.exit.signal == 2, "how the last run ended stays known"


class TestHealth:
    def test_without_probe_alive_is_ready(self):
        assert running().state.ready

    def test_with_probe_ready_at_the_first_success(self):
        world = running(probed=True)
        assert (world.state.ready, world.state.health) == (False, Health.STARTING)
        world.feed(Probed(ok=False, detail="refused"))
        assert world.state.health is Health.STARTING
        world.feed(Probed(ok=True))
        assert (world.state.ready, world.state.health) == (True, Health.HEALTHY)
        assert len(world.times("task_ready")) == 1

    def test_a_line_that_was_found_once_is_not_looked_for_again(self):
        world = running(probed=True, probed_once=True)
        assert wants_probe(world.state, world.policy)
        world.feed(Probed(ok=True))
        assert not wants_probe(world.state, world.policy)
        failing = replace(world.state, failures=1)  # of the probe that its earlier definition had
        assert wants_probe(failing, world.policy)
        assert wants_probe(world.state, replace(world.policy, probed_once=False))

    def test_as_many_failures_in_a_row_as_health_retries_restart(self):
        world = running(probed=True, health_retries=3)
        world.feed(Probed(ok=True))
        for expected in (TaskPhase.RUNNING, TaskPhase.RUNNING, TaskPhase.STOPPING):
            world.feed(Probed(ok=False, detail="refused"))
            assert world.state.phase is expected
        world.settle()
        assert world.state.phase is TaskPhase.RUNNING
        assert world.state.restarts == 1
        assert len(world.times("task_unhealthy")) == 1

    def test_a_success_between_failures_begins_the_count_anew(self):
        world = running(probed=True, health_retries=2)
        for ok in (True, False, True, False, True, False):
            world.feed(Probed(ok=ok))
        assert world.state.phase is TaskPhase.RUNNING

    def test_unhealthy_is_told_and_left_alone_with_policy_no(self):
        world = running(probed=True, health_retries=1, restart="no")
        world.feed(Probed(ok=True))
        for _ in range(5):
            world.feed(Probed(ok=False, detail="refused"))
        assert world.state.phase is TaskPhase.RUNNING
        assert world.state.health is Health.UNHEALTHY
        assert len(world.times("task_unhealthy")) == 1
        world.feed(Probed(ok=True))
        assert world.state.health is Health.HEALTHY
        assert world.times("task_healthy")

    def test_failures_before_ready_count_only_after_the_start_grace(self):
        world = running(probed=True, health_interval=10.0, health_retries=3)
        for _ in range(100):
            world.feed(Probed(ok=False))
        assert world.state.phase is TaskPhase.RUNNING
        world.advance(30.0)
        world.feed(Probed(ok=False, detail="refused"))
        assert world.state.phase is TaskPhase.STOPPING
        assert "not ready within 30 s: refused" in world.state.reason


class TestRobustness:
    @pytest.mark.parametrize(
        ("answers", "told"),
        [
            ([], ["task_ready"]),
            ([True], []),
            ([True, False], ["task_healthy"]),
        ],
    )
    def test_without_its_check_a_run_is_as_one_that_never_had_any(self, answers, told):
        world = running(probed=True, health_retries=1, restart="no")
        for ok in answers:
            world.feed(Probed(ok=ok, detail="500"))
        del world.told[:]
        world.policy = replace(world.policy, probed=False)
        world.feed(Redefined())
        state = world.state
        assert (state.ready, state.health, state.failures, state.reason) == (True, Health.NONE, 0, "")
        assert [emit.kind for emit in world.told] == told
        world.feed(Redefined())
        assert [emit.kind for emit in world.told] == told, "once"

    def test_a_restart_that_the_policy_allows_no_more_does_not_come(self):
        world = running(backoff=2.0)
        for _ in range(2):
            world.exit(CRASH)
            world.settle()
        world.policy = replace(world.policy, restart="no")
        world.feed(Redefined())
        assert world.state.phase is TaskPhase.FAILED
        assert world.state.reason == "exit code 3, restart policy is 'no'"
        world.advance(1_000)
        assert world.runs == 2

    def test_a_run_whose_command_was_never_started_says_so(self):
        stopping = TaskState(phase=TaskPhase.STOPPING, reason="stopped by user")
        state, effects = step(stopping, Stopped(began=False), 1.0, Policy())
        assert (state.phase, state.reason) == (TaskPhase.STOPPED, "stopped by user before it began")
        assert [effect.cause for effect in effects if isinstance(effect, Emit)] == [state.reason]

    def test_answers_of_the_past_change_nothing(self):
        idle = TaskState()
        for late in (Spawned(1), TreeGone(), Stopped(), Probed(ok=True), StopRefused("x"), Lost("x")):
            assert step(idle, late, 1.0, Policy()) == (idle, ())

    def test_state_of_an_older_version_is_read(self):
        stored = TaskState(phase=TaskPhase.BACKOFF, due=5.0, exit=CRASH).to_dict()
        stored["unknown_to_us"] = 1
        del stored["killed"]
        assert TaskState.from_dict(stored) == TaskState(phase=TaskPhase.BACKOFF, due=5.0, exit=CRASH)


policies = st.builds(
    Policy,
    restart=st.sampled_from(["no", "on-failure", "always"]),
    max_restarts=st.integers(0, 4),
    backoff=st.sampled_from([0.0, 0.5, 1.0, 2.0, 10.0]),
    probed=st.booleans(),
    health_interval=st.sampled_from([0.1, 1.0, 10.0]),
    health_retries=st.integers(1, 4),
    stop_grace=st.sampled_from([0.0, 0.5, 5.0]),
)
exits = st.sampled_from([SUCCESS, CRASH, Exit(137, 9), Exit()])


class History(RuleBasedStateMachine):
    """Random events happen to one task; `World.check` holds after every step."""

    @initialize(policy=policies, heeds=st.frozensets(st.sampled_from([Stage.INTERRUPT, Stage.TERMINATE])))
    def begin(self, policy: Policy, heeds: frozenset[Stage]) -> None:
        self.world = World(policy, heeds=heeds)
        self.wanted_down = False

    @rule()
    def start(self) -> None:
        self.world.feed(Start("user"))
        self.wanted_down = False

    @rule()
    def restart(self) -> None:
        self.world.feed(Restart("user"))
        self.wanted_down = False

    @rule(kill=st.booleans())
    def stop(self, kill: bool) -> None:
        self.world.feed(Stop("user", kill=kill))
        self.wanted_down = True

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.5, 5.0, 61.0, 300.0]))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(take=st.sampled_from([0.0, 0.25, 1.0]), refuse=st.booleans())
    def hooks(self, take: float, refuse: bool) -> None:
        self.world.hooks_take, self.world.hooks_refuse = take, refuse

    @rule(take=st.sampled_from([0.0, 0.25, 10.0]))
    def hooks_after(self, take: float) -> None:
        self.world.after_hooks_take = take

    @rule(take=st.sampled_from([0.0, 0.25]))
    def launches(self, take: float) -> None:
        self.world.launch_takes = take

    @rule(policy=policies)
    def redefine(self, policy: Policy) -> None:
        self.world.policy = policy
        self.world.feed(Redefined())

    @rule(met=st.booleans())
    def dependencies(self, met: bool) -> None:
        self.world.dependencies_met = met

    @rule(back=st.sampled_from([0.0, 0.0, 7_200.0]))
    def take_over(self, back: float) -> None:
        self.world.take_over(back)

    @precondition(
        lambda self: self.world.alive and self.world.state.phase in (TaskPhase.RUNNING, TaskPhase.STOPPING)
    )
    @rule(exit_=exits)
    def die(self, exit_: Exit) -> None:
        self.world.exit(exit_)

    @precondition(lambda self: self.world.alive and self.world.state.phase is TaskPhase.RUNNING)
    @rule()
    def lose(self) -> None:
        self.world.alive = None
        self.world.feed(Lost("the tmux server ended"))

    @rule(ok=st.booleans())
    def probe(self, ok: bool) -> None:
        self.world.feed(Probed(ok=ok, detail="probe"))

    @invariant()
    def a_stopped_task_stays_down(self) -> None:
        if hasattr(self, "world") and self.wanted_down and not self.world.refused:
            assert self.world.state.phase not in (TaskPhase.RUNNING, TaskPhase.BACKOFF, TaskPhase.WAITING)

    @invariant()
    def something_is_due_while_it_is_being_stopped(self) -> None:
        if hasattr(self, "world") and self.world.state.phase is TaskPhase.STOPPING:
            launching = self.world.state.due is None
            assert launching == bool(self.world._agenda) or deadline(self.world.state) is not None

    def teardown(self) -> None:
        """After any history, a stop brings the task to rest within its grace periods and a little more."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.hooks_refuse = False
        world.advance(10.0)  # hooks that are still running may refuse
        world.feed(Stop("user"))
        world.advance(world.launch_takes + world.hooks_take + world.after_hooks_take + 2 * 5.0 + 4.0)
        assert world.state.phase in (TaskPhase.IDLE, TaskPhase.STOPPED, TaskPhase.DONE, TaskPhase.FAILED)
        assert world.alive is None
        world.check_history()


TestHistory = History.TestCase
TestHistory.settings = settings(stateful_step_count=40)


def test_a_clock_that_was_set_back_before_a_takeover_makes_nothing_wait_for_it() -> None:
    policy = Policy(stop_grace=20.0)
    fallen = TaskState(TaskPhase.BACKOFF, started_at=9_000.0, ended_at=9_001.0, due=9_050.0)
    found = fallen.taken_over(1_800.0, policy)
    assert (found.started_at, found.ended_at, found.due) == (1_800.0, 1_800.0, 1_860.0)
    well = TaskState(TaskPhase.RUNNING, started_at=9_000.0, healthy_since=9_010.0)
    assert well.taken_over(1_800.0, policy).healthy_since == 1_800.0
    ending = TaskState(TaskPhase.STOPPING, started_at=9_000.0, stage=Stage.INTERRUPT, due=9_020.0)
    assert ending.taken_over(1_800.0, policy).due == 1_820.0
    for state in (fallen, well, ending):
        assert state.taken_over(9_011.0, policy) == state
