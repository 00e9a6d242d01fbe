"""The rules of the queue: examples, and random histories of a queue made only of them, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from paneview.rules.jobs import (
    FINAL,
    Backoff,
    JobState,
    Verdict,
    after_error,
    after_loss,
    after_needs,
    crash_looping,
    judge,
    next_look,
    overdue,
    renew_every,
)
from tests.rules.queue_model import ModelLease, ModelQueue

STATES = st.sampled_from(list(JobState))
CHANCES = st.floats(0, 1, exclude_max=True)
BACKOFF = Backoff(base=2.0, factor=3.0, longest=50.0, jitter=0.25)


class TestJudge:
    @pytest.mark.parametrize(
        ("state", "token", "ok", "verdict"),
        [
            ("leased", 2, True, "accepted"),
            ("leased", 2, False, "accepted"),
            ("leased", 3, True, "stale"),
            ("queued", 2, True, "accepted"),
            ("queued", 2, False, "already"),
            ("delayed", 2, False, "already"),
            ("queued", 3, True, "stale"),
            ("done", 2, True, "already"),
            ("done", 3, True, "stale"),
            ("dead", 2, True, "accepted"),
            ("dead", 2, False, "already"),
            ("cancelled", 2, True, "stale"),
            ("cancelled", 2, False, "stale"),
        ],
    )
    def test_examples_for_token_2(self, state: str, token: int, ok: bool, verdict: str) -> None:
        assert judge(JobState(state), token, 2, ok=ok) == verdict

    @given(STATES, st.integers(1, 9), st.integers(1, 9), st.booleans())
    def test_only_the_last_holder_is_ever_heard(
        self, state: JobState, token: int, brought: int, ok: bool
    ) -> None:
        verdict = judge(state, token, brought, ok=ok)
        if token != brought:
            assert verdict is Verdict.STALE
        if verdict is Verdict.ACCEPTED:
            assert state not in (JobState.DONE, JobState.CANCELLED)


class TestBackoff:
    @given(st.integers(0, 10_000), CHANCES)
    def test_it_is_bounded_and_jitter_only_shortens(self, attempt: int, chance: float) -> None:
        wait = BACKOFF.delay(attempt, chance)
        assert 0 <= wait <= BACKOFF.longest
        assert 0.75 * BACKOFF.delay(attempt, 0.0) <= wait <= BACKOFF.delay(attempt, 0.0)

    @given(st.integers(1, 100))
    def test_it_never_shrinks(self, attempt: int) -> None:
        assert BACKOFF.delay(attempt + 1, 0.0) >= BACKOFF.delay(attempt, 0.0)

    def test_examples(self) -> None:
        assert [BACKOFF.delay(attempt, 0.0) for attempt in range(1, 5)] == [2.0, 6.0, 18.0, 50.0]


class TestNext:
    @given(st.integers(1, 20), st.integers(1, 20), st.booleans(), st.none() | st.floats(0, 100), CHANCES)
    def test_an_error_leads_to_another_attempt_or_to_death(
        self, attempts: int, limit: int, retry: bool, retry_in: float | None, chance: float
    ) -> None:
        after = after_error(attempts, limit, retry=retry, retry_in=retry_in, backoff=BACKOFF, chance=chance)
        assert (after.state is JobState.DEAD) == (not retry or attempts >= limit)
        assert (after.delay > 0) == (after.state is JobState.DELAYED)
        if retry_in is not None and after.state is JobState.DELAYED:
            assert after.delay == retry_in

    @given(st.integers(1, 20), st.integers(1, 20))
    def test_a_loss_comes_back_at_once_while_attempts_are_left(self, attempts: int, limit: int) -> None:
        assert after_loss(attempts, limit, cancelled=True) is JobState.CANCELLED
        expected = JobState.DEAD if attempts >= limit else JobState.QUEUED
        assert after_loss(attempts, limit, cancelled=False) is expected

    @given(st.lists(STATES | st.none(), max_size=5), st.booleans())
    def test_needs(self, states: list[JobState | None], delayed: bool) -> None:
        state = after_needs(states, delayed=delayed)
        if all(need is JobState.DONE for need in states):
            assert state is (JobState.DELAYED if delayed else JobState.QUEUED)
        elif None in states or {JobState.DEAD, JobState.CANCELLED} & set(states):
            assert state is JobState.CANCELLED
        else:
            assert state is JobState.BLOCKED


class TestTime:
    @given(st.floats(0, 1e6), st.floats(0.1, 1e4), st.floats(-1e6, 1e6))
    def test_a_lease_runs_out_once_and_after_a_restart_of_the_clock(
        self, renewed: float, seconds: float, later: float
    ) -> None:
        assert overdue(renewed + later, renewed, seconds) == (
            renewed + later < renewed or renewed + later >= renewed + seconds
        )

    @given(st.floats(0.1, 1e4))
    def test_two_renewals_may_fail(self, seconds: float) -> None:
        assert 2 * renew_every(seconds) < seconds

    def test_the_next_look(self) -> None:
        assert next_look(1.0) == 1.0
        assert next_look(1.0, None, 0.25, 7.0) == 0.25
        assert next_look(1.0, -3.0) == 0.0

    @given(st.lists(st.floats(0, 1000), max_size=20))
    def test_quarantine_counts_what_is_recent(self, deaths: list[float]) -> None:
        recent = [death for death in deaths if 700 < death <= 1000]
        assert crash_looping(deaths, 1000.0, 5, 300.0) == (len(recent) >= 5)


def test_final_states_are_final() -> None:
    assert {state for state in JobState if state.final} == FINAL


class Histories(RuleBasedStateMachine):
    """Any operations in any order: the invariants hold, and in the end every job is over."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = ModelQueue(BACKOFF)
        self.leases: list[ModelLease] = []

    @rule(
        priority=st.integers(-1, 1),
        delay=st.sampled_from([0.0, 5.0]),
        limit=st.integers(1, 3),
        data=st.data(),
    )
    def submit(self, priority: int, delay: float, limit: int, data: st.DataObject) -> None:
        known = list(self.queue.jobs)
        after = data.draw(st.lists(st.sampled_from(known), max_size=2)) if known else []
        self.queue.submit(f"j{len(known)}", priority, delay, limit, tuple(after), "")

    @rule(seconds=st.sampled_from([1.0, 10.0]), n=st.integers(1, 3))
    def claim(self, seconds: float, n: int) -> None:
        self.queue.tend()
        self.leases += self.queue.claim("w", n, seconds)

    @rule(status=st.sampled_from(["ok", "error", "cancelled"]), data=st.data())
    def finish(self, status: str, data: st.DataObject) -> None:
        if self.leases:
            self.queue.finish(data.draw(st.sampled_from(self.leases)), status)

    @rule(data=st.data())
    def give_back_or_renew(self, data: st.DataObject) -> None:
        if self.leases:
            act = data.draw(st.sampled_from([self.queue.release, self.queue.renew]))
            act(data.draw(st.sampled_from(self.leases)))

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.queue.jobs:
            self.queue.cancel(data.draw(st.sampled_from(list(self.queue.jobs))))

    @rule(seconds=st.floats(0.0, 20.0))
    def time_passes(self, seconds: float) -> None:
        self.queue.now += seconds

    @invariant()
    def holds(self) -> None:
        self.queue.check()

    def teardown(self) -> None:
        for _ in range(10 * len(self.queue.jobs) + 10):
            self.queue.now += 100.0
            self.queue.tend()
            for lease in self.queue.claim("last", 100, 1000.0):
                self.queue.finish(lease, "error")
        assert all(job.state.final for job in self.queue.jobs.values()), "nothing is stuck"


TestHistories = Histories.TestCase
TestHistories.settings = settings(stateful_step_count=30)
