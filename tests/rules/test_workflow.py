"""The rules of a workflow: examples, and random histories in virtual time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paneview.config.workflows.templates import ASKED
from paneview.rules.workflow import (
    OVER,
    PhasePlan,
    PhaseStatus,
    Plan,
    Spent,
    Status,
    Workflow,
    begin,
    due,
    effects,
    events,
    step,
    wake_at,
)
from paneview.rules.workflow.results import values
from paneview.rules.workflow.settling import PATIENCE

LEARN = "work.lines >= 20 or work.attempts > 1 or review.data.new"
FOUR = Plan(
    "default",
    (
        PhasePlan("review", "reviewer", output="json"),
        PhasePlan("plan", "planner", needs=("review",)),
        PhasePlan("work", "worker", needs=("plan",), retries=2, verify="make test", approve="on_risk"),
        PhasePlan("compound", "compounder", needs=("work",), when=LEARN),
    ),
)
OUTCOMES = (
    "ok", "failed", "timeout", "stalled", "no_result", "rate_limited", "auth", "budget", "limit", "needs_permission",
    "cancelled", "lost",
)  # fmt: skip


class Play:
    """A workflow and a clock."""

    def __init__(self, plan: Plan = FOUR) -> None:
        self.now = 1000.0
        self.flow = begin("w1", plan, "do it", cwd="/", home="here", by="me", now=self.now)
        self.accepted: dict[tuple[int, int], int] = {}
        self.tell(events.Begun())

    def tell(self, event: events.Event, later: float = 1.0) -> frozenset[effects.Effect]:
        self.now += later
        before = self.flow
        self.flow, new = step(before, event, self.now)
        assert new == due(self.flow) - due(before)
        for number, (was, now) in enumerate(zip(before.phases, self.flow.phases, strict=True)):
            if now.status is PhaseStatus.DONE and was.status is not PhaseStatus.DONE:
                key = (number, now.attempt)
                self.accepted[key] = self.accepted.get(key, 0) + 1
        again, nothing = step(self.flow, events.Noted(self.flow.place), self.now)
        assert again == self.flow
        assert not nothing
        return new

    def phase(self, name: str) -> Any:
        number = self.flow.index(name)
        assert number is not None
        return self.flow.phases[number]

    def ran(self, name: str, status: str = "ok", **more: Any) -> frozenset[effects.Effect]:
        number = self.flow.index(name)
        assert number is not None
        attempt = self.flow.phases[number].attempt
        self.tell(events.Claimed(number, attempt))
        return self.tell(events.Ran(number, attempt, status, **more))

    def verified(self, name: str, code: int | None = 0, tail: str = "") -> frozenset[effects.Effect]:
        number = self.flow.index(name)
        assert number is not None
        return self.tell(events.Verified(number, self.flow.phases[number].attempt, code, tail))


def test_the_default_four_one_after_the_other() -> None:
    play = Play()
    assert due(play.flow) == {effects.Run(0, 1)}
    assert play.ran("review", data={"new": False}) == {effects.Run(1, 1)}
    assert play.ran("plan", text="first this") == {effects.Run(2, 1)}
    assert play.ran("work", lines=3, text="done") == {effects.Verify(2, 1)}
    assert play.verified("work") == frozenset()
    assert play.flow.status is Status.DONE
    compound = play.phase("compound")
    assert compound.status is PhaseStatus.SKIPPED
    assert compound.reason.endswith("work.lines = 3, work.attempts = 1, review.data.new = false")


@pytest.mark.parametrize(
    ("lines", "new", "again"), [(20, False, False), (0, True, False), (None, False, True)]
)
def test_compound_runs_if_there_is_something_to_learn(lines: int | None, new: bool, again: bool) -> None:
    play = Play()
    play.ran("review", data={"new": new})
    play.ran("plan")
    if again:
        play.ran("work", "failed", error="no")
    play.ran("work", lines=lines)
    assert play.verified("work") == {effects.Run(3, 1)}
    play.ran("compound")
    assert play.flow.status is Status.DONE


def test_a_condition_may_ask_for_all_that_there_is_of_a_phase() -> None:
    assert set(values(Play().flow)["review"]) == set(ASKED)


def test_a_failed_verification_resumes_the_session_with_its_tail() -> None:
    play = Play()
    play.ran("review", data={})
    play.ran("plan")
    play.ran("work", session="s1")
    assert play.verified("work", 2, "E  assert 1 == 2") == {effects.Run(2, 2)}
    work = play.phase("work")
    assert (work.session, work.failures, work.status) == ("s1", 1, PhaseStatus.QUEUED)
    assert work.feedback.endswith("ended with 2:\nE  assert 1 == 2")
    play.ran("work")
    play.verified("work", None, "took too long")
    play.ran("work")
    play.verified("work", 1)
    assert play.phase("work").status is PhaseStatus.FAILED
    assert play.phase("compound").reason == "needs work, which failed"
    assert play.flow.status is Status.FAILED
    assert "'make test' ended with 1" in play.flow.reason


def test_a_session_that_is_gone_is_replaced_without_spending_a_retry() -> None:
    play = Play(Plan("x", (PhasePlan("a", "r", retries=1, verify="make"),)))
    play.ran("a", session="s1", session_spent=Spent(input=5), spent=Spent(input=5))
    play.verified("a", 1, "E  assert 1 == 2")
    assert play.ran("a", "failed", error="no such session", session_gone=True) == {effects.Run(0, 3)}
    phase = play.phase("a")
    assert (phase.session, phase.session_spent, phase.failures) == ("", None, 1)
    assert phase.feedback.endswith("E  assert 1 == 2")
    play.ran("a", "failed", error="no such session", session_gone=True)  # which cannot happen twice
    assert play.flow.status is Status.FAILED


def test_json_that_is_missing_is_a_failure() -> None:
    play = Play()
    play.ran("review", text="no JSON here")
    assert play.phase("review").status is PhaseStatus.FAILED
    assert play.flow.status is Status.FAILED


def test_silence_is_resumed_once_without_spending_a_retry() -> None:
    play = Play(Plan("x", (PhasePlan("a", "r"),)))
    assert play.ran("a", "stalled", session="s") == {effects.Run(0, 2)}
    assert play.phase("a").failures == 0
    play.ran("a", "no_result")
    assert play.flow.status is Status.FAILED
    play = Play(Plan("x", (PhasePlan("a", "r"),)))
    play.ran("a", "stalled", resumed=True)  # the worker has resumed it already
    assert play.flow.status is Status.FAILED


def test_a_run_that_a_restart_of_the_machine_has_ended_is_resumed_without_spending_a_retry() -> None:
    play = Play(Plan("x", (PhasePlan("a", "r"),)))
    assert play.ran("a", "lost", session="s") == {effects.Run(0, 2)}
    assert play.phase("a").feedback
    play = Play(Plan("x", (PhasePlan("a", "r"),)))
    play.ran("a", "lost")  # its job has failed
    assert play.flow.status is Status.FAILED


def test_a_rate_limit_spends_no_retry_and_waits_for_its_end() -> None:
    play = Play(Plan("x", (PhasePlan("a", "r"),)))
    assert play.ran("a", "rate_limited", reset_at=5000.0) == {effects.Run(0, 2)}
    assert (play.phase("a").not_before, play.phase("a").failures) == (5000.0, 0)
    play.ran("a")
    assert play.flow.status is Status.DONE
    play = Play(Plan("x", (PhasePlan("a", "r"),)))
    for _ in range(30):
        if play.flow.status is Status.RUNNING:
            play.ran("a", "rate_limited")
    assert play.flow.status is Status.WAITING


def test_a_run_that_is_handed_back_waits_and_says_why() -> None:
    play = Play(Plan("x", (PhasePlan("a", "r"),)))
    play.tell(events.Claimed(0, 1))
    assert play.tell(events.HandedBack(0, 1, "its runner is paused")) == frozenset()
    phase = play.phase("a")
    assert (phase.status, phase.reason, phase.started_at) == (
        PhaseStatus.QUEUED,
        "its runner is paused",
        None,
    )
    assert due(play.flow) == {effects.Run(0, 1)}
    play.tell(events.Claimed(0, 1))
    assert (play.phase("a").status, play.phase("a").reason) == (PhaseStatus.RUNNING, "")
    play.ran("a")
    play.tell(events.HandedBack(0, 1, "too late"))
    assert play.flow.status is Status.DONE


def test_approval_and_rejection() -> None:
    plan = Plan("x", (PhasePlan("a", "r", approve="always"), PhasePlan("b", "r", needs=("a",))))
    play = Play(plan)
    assert play.flow.status is Status.WAITING
    assert not due(play.flow)
    assert play.tell(events.Approved(None)) == {effects.Run(0, 1)}
    play.ran("a")
    play.ran("b")
    assert play.flow.status is Status.DONE
    play = Play(plan)
    play.tell(events.Rejected(0, "not now", "ann"))
    assert (play.flow.status, play.phase("a").reason) == (Status.FAILED, "rejected by ann: not now")


@pytest.mark.parametrize("data", [{"risk": True}, {"risk": "High"}])
def test_on_risk_asks_when_a_phase_before_says_so(data: Any) -> None:
    play = Play()
    play.ran("review", data=data)
    play.ran("plan")
    assert play.phase("work").status is PhaseStatus.WAITING_APPROVAL
    assert play.tell(events.Approved()) == {effects.Run(2, 1)}


def test_a_condition_on_what_could_not_be_counted_is_a_persons_to_judge() -> None:
    phases = (
        PhasePlan("a", "worker"),
        PhasePlan("b", "reviewer", needs=("a",), when="a.lines > 5 or a.failed"),
    )
    for yes in (True, False):
        play = Play(Plan("x", phases))
        play.ran("a", uncounted="git is gone")
        assert play.phase("b").status is PhaseStatus.WAITING_APPROVAL
        assert play.phase("b").reason == "a.lines is not known: git is gone"
        play.tell(events.Approved() if yes else events.Rejected())
        assert play.phase("b").status is (PhaseStatus.QUEUED if yes else PhaseStatus.FAILED)
    play = Play(Plan("x", (phases[0], replace(phases[1], when="a.done or a.lines > 5"))))
    play.ran("a", uncounted="git is gone")
    assert play.phase("b").status is PhaseStatus.QUEUED


def test_what_a_phase_has_changed_is_counted_from_before_its_first_run() -> None:
    for isolation, tree in (("worktree", "t1"), ("none", "t3")):
        play = Play(Plan("x", (PhasePlan("a", "worker", retries=1),), isolation=isolation))
        play.tell(events.Prepared())
        play.ran("a", "lost", tree="t1")
        play.ran("a", "failed", tree="t2")
        assert play.phase("a").tree == "t1"
        play.tell(events.Closed())
        play.tell(events.RetryAsked())
        play.tell(events.Prepared())
        play.ran("a", tree="t3")
        assert play.phase("a").tree == tree
    play = Play(Plan("x", (PhasePlan("a", "worker", retries=1),)))
    play.ran("a", "failed", uncounted="git is gone")
    play.ran("a", tree="t2")
    assert (play.phase("a").tree, play.phase("a").uncounted) == ("", "git is gone")


def test_a_role_that_may_do_anything_is_a_risk() -> None:
    play = Play(Plan("x", (PhasePlan("a", "r", approve="on_risk", dangerous=True),)))
    assert play.phase("a").reason == "the role r may do anything"


def test_a_permission_waits_for_a_person_who_gives_it() -> None:
    play = Play(Plan("x", (PhasePlan("a", "r"),)))
    play.ran("a", "needs_permission", denials=("Bash",), session="s")
    assert play.flow.status is Status.WAITING
    assert "Bash" in play.flow.reason
    assert play.tell(events.Approved(0)) == {effects.Run(0, 2)}
    assert play.phase("a").allow == ("Bash",)
    play.ran("a")
    assert play.flow.status is Status.DONE


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("80", "You asked: Which port?\nThe answer: 80\nGo on."),
        ("", "You asked: Which port?\nNobody has an answer: decide it yourself.\nGo on."),
    ],
)
def test_a_question_waits_for_a_person_who_answers_it(answer: str, told: str) -> None:
    play = Play(Plan("x", (PhasePlan("a", "r"),)))
    play.ran("a", "needs_permission", question="Which port?", session="s")
    assert play.flow.reason == "a: it asks: Which port?"
    assert play.tell(events.Approved(0, answer=answer)) == {effects.Run(0, 2)}
    assert (play.phase("a").feedback, play.phase("a").allow) == (told, ())
    play.ran("a", "needs_permission", question="Why?", denials=("Bash",))
    assert play.flow.reason == "a: it asks: Why?, and was refused Bash"
    play.tell(events.Approved(0, answer="so"))
    assert play.phase("a").feedback == "You may now use: Bash.\nYou asked: Why?\nThe answer: so\nGo on."
    play.ran("a", "auth", question="Who?")
    assert (play.phase("a").question, play.flow.reason) == ("", "a: its runner is not logged in")
    play.tell(events.Approved(0))
    play.ran("a")
    assert play.flow.status is Status.DONE


def test_a_budget_stops_the_next_step_until_there_is_more() -> None:
    spent = Spent(input=10, cost_usd=0.9, priced=1)
    play = Play(replace(FOUR, budget_usd=1.0))
    play.ran("review", data={}, spent=spent)
    assert play.flow.warned
    assert due(play.flow) == {effects.Run(1, 1)}
    play.ran("plan", spent=spent)
    assert play.flow.status is Status.WAITING
    assert play.flow.reason == "budget: $1.80 of $1.00 is spent"
    play.tell(events.Resumed())
    assert play.flow.status is Status.WAITING
    assert play.tell(events.Resumed(budget_usd=5.0)) == {effects.Run(2, 1)}
    assert play.flow.hold == ""


def test_what_has_no_price_stays_without_one() -> None:
    play = Play(replace(FOUR, budget_usd=1.0))
    play.ran("review", data={}, spent=Spent(input=10, unpriced=1))
    assert play.flow.spent.known_cost is None
    play.ran("plan", spent=Spent(cost_usd=0.5, priced=1))
    assert (play.flow.spent.known_cost, play.flow.spent.unpriced) == (0.5, 1)


def test_of_a_session_that_tells_all_it_has_used_only_what_is_new_is_spent() -> None:
    """Records of an older version, without the session's total, can still be read."""
    play = Play(Plan("x", (PhasePlan("a", "r", retries=9),)))

    def ran(session: str, tokens: int, own: int = 0, status: str = "failed") -> tuple[int, int]:
        whole = Spent(input=tokens, output=tokens)
        spent = replace(whole, input=own or tokens, seconds=1)
        play.ran("a", status, session=session, session_spent=whole if tokens else None, spent=spent)
        play.flow = Workflow.from_json(json.loads(json.dumps(play.flow.to_json())))
        assert play.phase("a").history[-1].spent.seconds == 1
        return play.flow.spent.input, play.flow.spent.output

    assert ran("s1", 1100) == (1100, 1100)
    assert ran("s1", 2200) == (2200, 2200)
    assert ran("", 0) == (2200, 2200)  # it reported nothing
    assert ran("s1", 2500) == (2500, 2500)
    assert ran("s2", 100) == (2600, 2600)  # it began a new session
    assert ran("s2", 150) == (2650, 2650)
    raw = play.flow.to_json()
    for phase in raw["phases"]:
        del phase["session_spent"]
    play.flow = Workflow.from_json(json.loads(json.dumps(raw)))
    assert play.phase("a").session_spent is None
    assert ran("s2", 200, status="ok") == (2850, 2850)
    assert play.flow.status is Status.DONE


def test_time_out_ends_what_runs_and_waiting_for_a_person_does_not_count() -> None:
    plan = Plan("x", (PhasePlan("a", "r", approve="always"),), timeout=100.0)
    play = Play(plan)
    play.tell(events.Ticked(), later=10_000)
    assert play.flow.status is Status.WAITING
    play.tell(events.Approved())
    play.tell(events.Ticked(), later=90)
    assert play.flow.status is Status.RUNNING
    assert play.tell(events.Ticked(), later=20) == {effects.Withdraw(0, 1)}
    play.ran("a", "cancelled")
    assert (play.flow.status, play.flow.reason) == (Status.FAILED, "not done within 100 s")


def test_cancel_ends_it_even_if_the_run_does_not_end() -> None:
    play = Play()
    assert play.tell(events.CancelAsked("changed my mind")) == {effects.Withdraw(0, 1)}
    assert play.flow.status is Status.CANCELLING
    play.tell(events.Ticked(), later=PATIENCE - 5)
    assert play.flow.status is Status.CANCELLING
    play.tell(events.Ticked(), later=10)
    assert (play.flow.status, play.flow.reason) == (Status.CANCELLED, "changed my mind")
    play.ran("review", data={})  # too late
    assert play.flow.status is Status.CANCELLED


def test_a_worktree_is_made_before_and_closed_after() -> None:
    play = Play(Plan("x", (PhasePlan("a", "r"),), isolation="worktree"))
    assert due(play.flow) == {effects.Prepare()}
    assert play.tell(events.Prepared(place={"path": "/w"})) == {effects.Run(0, 1)}
    assert play.ran("a") == {effects.Close()}
    play.tell(events.Closed({"commit": "abc"}))
    assert (play.flow.status, play.flow.place) == (Status.DONE, {"path": "/w", "commit": "abc"})
    play = Play(Plan("x", (PhasePlan("a", "r"),), isolation="worktree"))
    play.tell(events.Prepared("no such branch"))
    play.tell(events.Closed())
    assert play.flow.status is Status.FAILED
    assert play.phase("a").attempt == 0


def test_independent_phases_run_side_by_side() -> None:
    plan = Plan("x", (PhasePlan("a", "r"), PhasePlan("b", "r"), PhasePlan("c", "r", needs=("a", "b"))))
    play = Play(plan)
    assert due(play.flow) == {effects.Run(0, 1), effects.Run(1, 1)}
    play.ran("b", "failed")
    assert play.flow.status is Status.RUNNING
    play.ran("a")
    assert play.phase("c").status is PhaseStatus.SKIPPED
    assert play.flow.status is Status.FAILED


def test_retry_does_again_what_failed_or_all_from_a_phase_on() -> None:
    play = Play()
    play.ran("review", data={})
    play.ran("plan", "failed")
    assert play.flow.status is Status.FAILED
    assert play.tell(events.RetryAsked()) == {effects.Run(1, 2)}
    play.ran("plan", "ok")
    play.ran("work")
    play.verified("work")
    assert play.flow.status is Status.DONE
    assert play.tell(events.RetryAsked(0)) == {effects.Run(0, 2)}
    assert [phase.status for phase in play.flow.phases[1:]] == [PhaseStatus.PENDING] * 3
    assert [(run.attempt, run.outcome) for run in play.phase("plan").history] == [(1, "failed"), (2, "ok")]
    assert Workflow.from_json(json.loads(json.dumps(play.flow.to_json()))) == play.flow


def test_an_event_of_another_attempt_changes_nothing() -> None:
    play = Play()
    for event in (
        events.Ran(0, 2, "ok"),
        events.Ran(0, 0, "ok"),
        events.Ran(7, 1, "ok"),
        events.Verified(0, 1, 0),
        events.Claimed(1, 0),
    ):
        before = play.flow
        play.tell(event)
        assert play.flow == before


_NAMES = "abcde"


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    count = draw(st.integers(1, 5))
    phases = []
    for number in range(count):
        before = list(_NAMES[:number])
        needs = tuple(draw(st.lists(st.sampled_from(before), unique=True))) if before else ()
        when = draw(st.sampled_from(["", f"{needs[0]}.lines > 5", f"{needs[0]}.failed"])) if needs else ""
        phases.append(
            PhasePlan(
                _NAMES[number], "r", needs=needs, when=when,
                output=draw(st.sampled_from(["text", "json"])),
                verify=draw(st.sampled_from(["", "make"])),
                retries=draw(st.integers(0, 2)),
                approve=draw(st.sampled_from(["never", "always", "on_risk"])),
            )
        )  # fmt: skip
    return Plan(
        "x",
        tuple(phases),
        isolation=draw(st.sampled_from(["none", "worktree"])),
        budget_usd=draw(st.sampled_from([None, 1.0])),
        timeout=draw(st.sampled_from([None, 500.0])),
    )


def answer(data: st.DataObject, play: Play, effect: effects.Effect) -> events.Event | None:
    """What happens in answer to an effect."""
    if isinstance(effect, effects.Prepare):
        return events.Prepared(data.draw(st.sampled_from(["", "", "no room"])))
    if isinstance(effect, effects.Close):
        return events.Closed({"commit": "abc"})
    if isinstance(effect, effects.Verify):
        return events.Verified(
            effect.phase, effect.attempt, data.draw(st.sampled_from([0, 0, 1, None])), "tail"
        )
    if isinstance(effect, effects.Withdraw):
        ends = data.draw(st.booleans())
        return events.Ran(effect.phase, effect.attempt, "cancelled") if ends else events.Ticked()
    return events.Ran(
        effect.phase,
        effect.attempt,
        data.draw(st.sampled_from((*OUTCOMES, "ok", "ok", "ok", "never heard of"))),
        data=data.draw(st.sampled_from([None, {}, {"risk": "high"}])),
        denials=data.draw(st.sampled_from([(), ("Bash",)])),
        lines=data.draw(st.sampled_from([None, 3, 30])),
        uncounted=data.draw(st.sampled_from(["", "", "git is gone"])),
        session=data.draw(st.sampled_from(["", "s1"])),
        session_gone=data.draw(st.sampled_from([False, False, True])),
        spent=Spent(cost_usd=data.draw(st.sampled_from([0.0, 0.3])), priced=1),
    )


@given(plans(), st.data())
def test_it_always_ends_or_waits_for_a_person(plan: Plan, data: st.DataObject) -> None:
    play = Play(plan)
    for _ in range(400):
        wanted = sorted(due(play.flow), key=repr)
        if not wanted:
            break
        event = answer(data, play, data.draw(st.sampled_from(wanted)))
        assert event is not None
        play.tell(event, later=data.draw(st.sampled_from([0.0, 1.0, 100.0])))
        if data.draw(st.integers(0, 9)) == 0:
            play.tell(events.Ticked())
    assert play.flow.status.final or play.flow.status is Status.WAITING
    assert set(play.accepted.values()) <= {1}
    if play.flow.status.final:
        assert all(phase.status in OVER for phase in play.flow.phases)
        assert wake_at(play.flow) is None
    else:
        assert play.flow.reason


EVENTS = st.one_of(
    st.just(events.Begun()),
    st.builds(events.Prepared, st.sampled_from(["", "no"])),
    st.builds(events.Claimed, st.integers(0, 4), st.integers(0, 3)),
    st.builds(events.HandedBack, st.integers(0, 4), st.integers(0, 3), st.sampled_from(["", "paused"])),
    st.builds(
        events.Ran,
        st.integers(0, 4),
        st.integers(0, 3),
        st.sampled_from(OUTCOMES),
        data=st.sampled_from([None, {"risk": True}]),
        lines=st.sampled_from([None, 30]),
        spent=st.just(Spent(cost_usd=0.4, priced=1)),
    ),
    st.builds(events.Verified, st.integers(0, 4), st.integers(0, 3), st.sampled_from([0, 1, None])),
    st.just(events.Closed()),
    st.builds(events.Approved, st.one_of(st.none(), st.integers(0, 4))),
    st.builds(events.Rejected, st.one_of(st.none(), st.integers(0, 4))),
    st.builds(events.Resumed, st.sampled_from([None, 5.0])),
    st.builds(events.RetryAsked, st.one_of(st.none(), st.integers(0, 4))),
    st.just(events.Ticked()),
    st.just(events.CancelAsked()),
)


def ends_when_cancelled(play: Play) -> None:
    play.tell(events.CancelAsked())
    for event in (events.Ticked(), events.Closed()):
        play.tell(event, later=10 * PATIENCE)
    assert play.flow.status.final


@given(plans(), st.lists(st.tuples(EVENTS, st.sampled_from([0.0, 1.0, 70.0])), max_size=30))
def test_any_events_in_any_order(plan: Plan, several: list[tuple[events.Event, float]]) -> None:
    play = Play(plan)
    for event, later in several:
        before = play.flow
        play.tell(event, later)
        after = play.flow
        for old, new in zip(before.phases, after.phases, strict=True):
            assert new.attempt in (old.attempt, old.attempt + 1)
            if new.attempt > old.attempt:
                assert old.status not in (PhaseStatus.QUEUED, PhaseStatus.RUNNING) or isinstance(
                    event, events.Ran
                )
        assert Workflow.from_json(json.loads(json.dumps(after.to_json()))) == after
    assert set(play.accepted.values()) <= {1}
    ends_when_cancelled(play)
