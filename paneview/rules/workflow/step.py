"""The one function that changes a workflow: ``step(workflow, event, now) → (workflow, effects)``.

An event that does not fit (of an earlier attempt, or an approval that nobody asked for) changes nothing, so any event
may come more than once. What is to be done follows from the state alone (`due`): a supervisor that takes over asks
for it and goes on, and nothing is forgotten between the change of state and the doing.

It always ends or waits for a person: attempts are bounded by the phase's retries, a run that falls silent or is lost is
resumed once, rate limits are bounded by the workflow's time-out, and a run that is cancelled but does not end is given
up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from paneview.rules.workflow import effects, events
from paneview.rules.workflow.model import WAITING, PastRun, Phase, PhaseStatus, Spent, Status, Workflow
from paneview.rules.workflow.results import later
from paneview.rules.workflow.settling import UNMET, finish, put, settle, stop, working
from paneview.text import person

LIMIT_PAUSE = 60.0  # seconds after a rate limit whose end nobody knows
TAIL = 8000  # characters of a failure that the next run is told
MOST_PAST = 100  # runs of a phase that are remembered one by one
MOST_LIMITS = 20  # rate limits in a row that are waited for
GO_ON = "The last run ended without a result. Go on where it stopped and finish the task."
_FOR_A_PERSON = {
    "needs_permission": "it was refused what it needs",
    "auth": "its runner is not logged in",
    "budget": "its run has used up what it was given",
    "rate_limited": f"its runner was limited {MOST_LIMITS} times in a row",
}


def step(flow: Workflow, event: events.Event, now: float) -> tuple[Workflow, frozenset[effects.Effect]]:
    """The workflow after the event, and what is newly to be done."""
    changed = _HANDLERS[type(event)](flow, event, now)
    return changed, due(changed) - due(flow)


def due(flow: Workflow) -> frozenset[effects.Effect]:
    """All that is to be done in this state, whether or not it has been begun."""
    if flow.status is Status.PREPARING:
        return frozenset({effects.Prepare()})
    if flow.status is Status.CLOSING:
        return frozenset({effects.Close()})
    if flow.status.final:
        return frozenset()
    found: set[effects.Effect] = set()
    for number in working(flow):
        phase = flow.phases[number]
        if flow.status is Status.CANCELLING:
            found.add(effects.Withdraw(number, phase.attempt))
        elif phase.status is PhaseStatus.VERIFYING:
            found.add(effects.Verify(number, phase.attempt))
        else:
            found.add(effects.Run(number, phase.attempt))
    return frozenset(found)


def wake_at(flow: Workflow) -> float | None:
    """When `Ticked` is to come next, should nothing happen before."""
    if flow.status is Status.CANCELLING:
        return flow.give_up_at
    if flow.status in (Status.PREPARING, Status.RUNNING):
        return flow.deadline
    return None


def _begun(flow: Workflow, _event: events.Begun, now: float) -> Workflow:
    if flow.status is not Status.PREPARING or flow.plan.isolation == "worktree":
        return flow
    return settle(replace(flow, status=Status.RUNNING), now)


def _prepared(flow: Workflow, event: events.Prepared, now: float) -> Workflow:
    if flow.status is not Status.PREPARING:
        return flow
    flow = replace(flow, place={**flow.place, **event.place})
    if event.error:
        return stop(flow, "failed", f"its working place could not be made: {event.error}", now)
    return settle(replace(flow, status=Status.RUNNING), now)


def _claimed(flow: Workflow, event: events.Claimed, now: float) -> Workflow:
    phase = _current(flow, event.phase, event.attempt, PhaseStatus.QUEUED)
    if phase is None:
        return flow
    return put(flow, event.phase, replace(phase, status=PhaseStatus.RUNNING, reason="", started_at=now))


def _handed_back(flow: Workflow, event: events.HandedBack, _now: float) -> Workflow:
    phase = _current(flow, event.phase, event.attempt, PhaseStatus.QUEUED, PhaseStatus.RUNNING)
    if phase is None:
        return flow
    waits = replace(phase, status=PhaseStatus.QUEUED, reason=event.reason, started_at=None)
    return put(flow, event.phase, waits)


def _current(flow: Workflow, number: int, attempt: int, *statuses: PhaseStatus) -> Phase | None:
    """The phase, if this is its current attempt and it is in one of these states."""
    if not 0 <= number < len(flow.phases) or flow.status.final:
        return None
    phase = flow.phases[number]
    return phase if phase.attempt == attempt and phase.status in statuses else None


def _ran(flow: Workflow, event: events.Ran, now: float) -> Workflow:
    phase = _current(flow, event.phase, event.attempt, PhaseStatus.QUEUED, PhaseStatus.RUNNING)
    if phase is None:
        return flow
    goes_on = event.session in ("", phase.session)
    spent = _used(phase.session_spent, event) if goes_on else event.spent
    tree = phase.tree or (event.tree if not phase.uncounted else "")
    phase = replace(
        phase,
        outcome=event.status,
        text=event.text or phase.text,
        data=event.data if event.data is not None else phase.data,
        error=event.error,
        session=event.session or phase.session,
        session_spent=event.session_spent or (phase.session_spent if goes_on else None),
        denials=event.denials,
        question=event.question if event.status == "needs_permission" else "",
        resumed=phase.resumed or event.resumed,
        lines=event.lines,
        files=event.files,
        uncounted=event.uncounted or ("" if tree else phase.uncounted),
        tree=tree,
        spent=phase.spent + spent,
        history=(*phase.history, PastRun(event.attempt, event.status, spent))[-MOST_PAST:],
        not_before=None,
    )
    was_to_go_on = event.session_gone and bool(phase.session)
    if event.session_gone:
        phase = replace(phase, session="", session_spent=None)
    if flow.status is Status.CANCELLING:
        phase = replace(phase, status=PhaseStatus.CANCELLED, ended_at=now)
    elif was_to_go_on:  # not its work has failed: what it was told stands, and a new session is told it, too
        phase = replace(phase, status=PhaseStatus.PENDING, reason=f"in a new session: {event.error}")
    else:
        phase = _after_run(flow, phase, event, now)
    return settle(put(flow, event.phase, phase), now)


def _used(before: Spent | None, event: events.Ran) -> Spent:
    """What a run has used that resumed a session; ``before`` is what the session had used until then."""
    if before is None or event.session_spent is None:
        return event.spent
    names = ("input", "output", "cached")
    return replace(
        event.spent, **{name: max(0, getattr(event.spent, name) - getattr(before, name)) for name in names}
    )


def _after_run(flow: Workflow, phase: Phase, event: events.Ran, now: float) -> Phase:
    plan = flow.plan.phases[event.phase]
    status, error = event.status, event.error
    if status == "ok" and plan.output == "json" and event.data is None:
        status, error = "failed", "it should have ended with JSON, and did not"
    reason = error or status
    match status:
        case "ok":
            verifying = replace(phase, status=PhaseStatus.VERIFYING, reason="", feedback="")
            return verifying if plan.verify else _done(phase, now)
        case "cancelled":
            return _failed(0, phase, f"its job was cancelled: {reason}", "", now)
        # Lost without a session, it is the job that failed: there is nothing to go on with.
        case "stalled" | "no_result" | "lost" if not phase.resumed and (event.session or status != "lost"):
            return replace(phase, status=PhaseStatus.PENDING, reason=status, resumed=True, feedback=GO_ON)
        case "rate_limited" if phase.limited < MOST_LIMITS:
            return _after_limit(phase, event.reset_at, now)
        case "needs_permission" | "auth" | "budget" | "rate_limited":
            return _for_a_person(phase, status, error)
        case _:
            return _failed(plan.retries, phase, reason, reason, now)


def _after_limit(phase: Phase, reset_at: float | None, now: float) -> Phase:
    until = reset_at if reset_at is not None and reset_at > now else now + LIMIT_PAUSE
    limited = phase.limited + 1
    return replace(phase, status=PhaseStatus.PENDING, reason="rate limit", not_before=until, limited=limited)


def _for_a_person(phase: Phase, status: str, error: str) -> Phase:
    detail = ", ".join(phase.denials) or error
    reason = f"{_FOR_A_PERSON[status]}{': ' if detail else ''}{detail}"
    if phase.question:
        refused = f", and was refused {', '.join(phase.denials)}" if phase.denials else ""
        reason = f"it asks: {phase.question}{refused}"
    return replace(phase, status=PhaseStatus.WAITING_PERSON, reason=reason, feedback=error, limited=0)


def _done(phase: Phase, now: float) -> Phase:
    return replace(phase, status=PhaseStatus.DONE, reason="", feedback="", error="", ended_at=now)


def _failed(retries: int, phase: Phase, reason: str, tail: str, now: float) -> Phase:
    """Another run, if one is left, told how the last one failed."""
    if phase.failures >= retries:
        return replace(phase, status=PhaseStatus.FAILED, reason=reason, ended_at=now)
    return replace(
        phase,
        status=PhaseStatus.PENDING,
        reason=f"again: {reason}",
        failures=phase.failures + 1,
        feedback=tail[-TAIL:],
    )


def _verified(flow: Workflow, event: events.Verified, now: float) -> Workflow:
    phase = _current(flow, event.phase, event.attempt, PhaseStatus.VERIFYING)
    if phase is None:
        return flow
    plan = flow.plan.phases[event.phase]
    phase = replace(phase, verify_code=event.code)
    if event.code == 0:
        phase = _done(phase, now)
    else:
        how = f"ended with {event.code}" if event.code is not None else "did not end well"
        reason = f"{plan.verify!r} {how}"
        phase = _failed(
            plan.retries, replace(phase, error=event.tail), reason, f"{reason}:\n{event.tail}", now
        )
    return settle(put(flow, event.phase, phase), now)


def _closed(flow: Workflow, event: events.Closed, now: float) -> Workflow:
    if flow.status is not Status.CLOSING:
        return flow
    return finish(replace(flow, place={**flow.place, **event.place}), now)


def _noted(flow: Workflow, event: events.Noted, _now: float) -> Workflow:
    if flow.status.final or all(flow.place.get(key) == value for key, value in event.place.items()):
        return flow
    return replace(flow, place={**flow.place, **event.place})


def _approved(flow: Workflow, event: events.Approved, now: float) -> Workflow:
    if not flow.status.open:
        return flow
    for number, phase in enumerate(flow.phases):
        if phase.status in WAITING and event.phase in (None, number):
            allow = tuple(dict.fromkeys((*phase.allow, *phase.denials)))
            told = _told(phase, event.answer)
            cleared = replace(
                phase, status=PhaseStatus.PENDING, cleared=True, allow=allow, feedback=told, reason=""
            )
            flow = put(flow, number, cleared)
    return settle(flow, now)


def _told(phase: Phase, answer: str) -> str:
    """What the next run is told by the person who lets the phase go on."""
    parts = []
    if phase.denials:
        parts.append(f"You may now use: {', '.join(phase.denials)}.")
    if phase.question:
        given = f"The answer: {answer}" if answer else "Nobody has an answer: decide it yourself."
        parts.append(f"You asked: {phase.question}\n{given}")
    return "\n".join([*parts, "Go on."]) if parts else phase.feedback


def _rejected(flow: Workflow, event: events.Rejected, now: float) -> Workflow:
    if not flow.status.open:
        return flow
    reason = f"rejected{f' by {person(event.by)}' if event.by else ''}{f': {event.why}' if event.why else ''}"
    for number, phase in enumerate(flow.phases):
        if phase.status in WAITING and event.phase in (None, number):
            failed = replace(phase, status=PhaseStatus.FAILED, reason=reason, ended_at=now)
            flow = put(flow, number, failed)
    return settle(flow, now)


def _resumed(flow: Workflow, event: events.Resumed, now: float) -> Workflow:
    if not flow.status.open:
        return flow
    plan = flow.plan
    if event.budget_usd is not None:
        plan = replace(plan, budget_usd=event.budget_usd)
    if event.budget_tokens is not None:
        plan = replace(plan, budget_tokens=event.budget_tokens)
    flow = replace(flow, plan=plan, hold="", warned=flow.warned and plan == flow.plan)
    for number, phase in enumerate(flow.phases):
        if phase.status is PhaseStatus.WAITING_PERSON:
            flow = put(flow, number, replace(phase, status=PhaseStatus.PENDING, reason=""))
    return settle(flow, now)


def _cancel_asked(flow: Workflow, event: events.CancelAsked, now: float) -> Workflow:
    if not flow.status.open:
        return flow
    return stop(flow, "cancelled", event.why or "cancelled", now)


def _retry_asked(flow: Workflow, event: events.RetryAsked, now: float) -> Workflow:
    if not flow.status.final:
        return flow
    if event.phase is None:
        first = {
            number
            for number, phase in enumerate(flow.phases)
            if phase.status is not PhaseStatus.DONE
            and not (phase.status is PhaseStatus.SKIPPED and not phase.reason.startswith(UNMET))
        }
    else:
        first = {event.phase} & set(range(len(flow.phases)))
    again = first.union(*(later(flow, number) for number in first)) if first else set()
    if not again:
        if event.phase is None and flow.place.get("kept"):  # what kept its worktree may be mended by now
            return replace(flow, status=Status.CLOSING, ended_at=None)
        return flow
    # What a phase has changed before on the workflow's own branch counts; in the user's folder, time has passed.
    own = flow.plan.isolation == "worktree"
    phases = tuple(
        Phase(attempt=phase.attempt, spent=phase.spent, history=phase.history, tree=phase.tree if own else "")
        if number in again
        else phase
        for number, phase in enumerate(flow.phases)
    )
    flow = replace(
        flow, phases=phases, status=Status.PREPARING, ending="", reason="", hold="", ended_at=None, waiting_since=None,
        deadline=None if flow.plan.timeout is None else now + flow.plan.timeout,
    )  # fmt: skip
    return _begun(flow, events.Begun(), now)


def _ticked(flow: Workflow, _event: events.Ticked, now: float) -> Workflow:
    at = wake_at(flow)
    if at is None or now < at:
        return flow
    if flow.status is not Status.CANCELLING:
        return stop(flow, "failed", f"not done within {flow.plan.timeout:g} s", now)
    for number in working(flow):
        phase = replace(
            flow.phases[number], status=PhaseStatus.CANCELLED, reason="it did not end", ended_at=now
        )
        flow = put(flow, number, phase)
    return settle(flow, now)


_HANDLERS: dict[type, Callable[[Workflow, Any, float], Workflow]] = {
    events.Begun: _begun,
    events.Prepared: _prepared,
    events.Claimed: _claimed,
    events.HandedBack: _handed_back,
    events.Ran: _ran,
    events.Verified: _verified,
    events.Closed: _closed,
    events.Noted: _noted,
    events.Approved: _approved,
    events.Rejected: _rejected,
    events.Resumed: _resumed,
    events.CancelAsked: _cancel_asked,
    events.RetryAsked: _retry_asked,
    events.Ticked: _ticked,
}
