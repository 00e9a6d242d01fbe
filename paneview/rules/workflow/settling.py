"""What follows by itself: phases that may begin begin, those that can't are skipped, and the workflow ends."""

from __future__ import annotations

from dataclasses import replace

from paneview.config.workflows.expression import parse
from paneview.rules.workflow import money
from paneview.rules.workflow.model import (
    OVER,
    WAITING,
    WORKING,
    Phase,
    PhaseStatus,
    Status,
    Workflow,
)
from paneview.rules.workflow.results import risk, uncounted, values

PATIENCE = 60.0  # seconds that a cancelled run may take to end
_FAILED = (PhaseStatus.FAILED, PhaseStatus.CANCELLED)
UNMET = "needs "  # how the reason begins of a phase that was skipped since one before it failed


def settle(flow: Workflow, now: float) -> Workflow:
    """Do all that now follows without another event."""
    if flow.status.final or flow.status in (Status.PREPARING, Status.CLOSING):
        return flow
    if flow.status is Status.CANCELLING:
        return _end(flow, now) if not working(flow) else flow
    flow = _begin_phases(replace(flow, hold="" if flow.hold.startswith("budget:") else flow.hold), now)
    if not flow.warned and money.nearly(flow):
        flow = replace(flow, warned=True)
    return _judge(flow, now)


def working(flow: Workflow) -> list[int]:
    """The phases that are queued, running or being verified."""
    return [number for number, phase in enumerate(flow.phases) if phase.status in WORKING]


def put(flow: Workflow, number: int, phase: Phase) -> Workflow:
    """The workflow with this phase instead of the one of that number."""
    return replace(flow, phases=(*flow.phases[:number], phase, *flow.phases[number + 1 :]))


def _begin_phases(flow: Workflow, now: float) -> Workflow:
    """One pass is enough, since each phase stands after those that it needs."""
    for number, phase in enumerate(flow.phases):
        if phase.status is PhaseStatus.PENDING and _is_due(flow, number):
            flow = _consider(flow, number, now)
    return flow


def _is_due(flow: Workflow, number: int) -> bool:
    return all(flow.phases[needed].status in OVER for needed in _needed(flow, number))


def _needed(flow: Workflow, number: int) -> list[int]:
    found = [flow.index(name) for name in flow.plan.phases[number].needs]
    return [needed for needed in found if needed is not None]


def _consider(flow: Workflow, number: int, now: float) -> Workflow:
    plan, phase = flow.plan.phases[number], flow.phases[number]
    for needed in _needed(flow, number):
        before = flow.phases[needed]
        broken = before.status is PhaseStatus.SKIPPED and before.reason.startswith(UNMET)
        if before.status in _FAILED or broken:
            reason = (
                f"{UNMET}{flow.plan.phases[needed].name}, which {'was skipped' if broken else before.status}"
            )
            return put(flow, number, replace(phase, status=PhaseStatus.SKIPPED, reason=reason, ended_at=now))
    if not phase.cleared and plan.when and (held := _held_by_condition(flow, number, now)):
        return put(flow, number, held)
    if spent := money.exhausted(flow):
        return replace(flow, hold=spent)
    if flow.hold:
        return flow
    if not phase.cleared and (why := _asks(flow, number)):
        return put(flow, number, replace(phase, status=PhaseStatus.WAITING_APPROVAL, reason=why))
    return put(
        flow,
        number,
        replace(
            phase, status=PhaseStatus.QUEUED, reason="", attempt=phase.attempt + 1, runs=phase.runs + 1, cleared=True,
            queued_at=now, started_at=None, ended_at=None,
        ),
    )  # fmt: skip


def _held_by_condition(flow: Workflow, number: int, now: float) -> Phase | None:
    """The phase if its condition skips it, or a person has to judge that; None: it may begin."""
    phase, when = flow.phases[number], flow.plan.phases[number].when
    condition, known = parse(when), values(flow)
    if condition.holds(known):
        return None
    if why := uncounted(flow, condition.paths):
        return replace(phase, status=PhaseStatus.WAITING_APPROVAL, reason=why)
    reason = f"not ({when}): {condition.explain(known)}"
    return replace(phase, status=PhaseStatus.SKIPPED, reason=reason, ended_at=now)


def _asks(flow: Workflow, number: int) -> str:
    match flow.plan.phases[number].approve:
        case "always":
            return "a person is to approve it"
        case "on_risk":
            return risk(flow, number)
        case _:
            return ""


def _judge(flow: Workflow, now: float) -> Workflow:
    """Whether the workflow as a whole now runs, waits, or ends."""
    if working(flow):
        return running(flow, now)
    if all(phase.status in OVER for phase in flow.phases):
        failed = [
            (plan.name, phase)
            for plan, phase in zip(flow.plan.phases, flow.phases, strict=True)
            if phase.status in _FAILED
        ]
        if not failed:
            return _end(replace(flow, ending="done", reason=""), now)
        words = "; ".join(f"{name} {phase.status.value}: {phase.reason}" for name, phase in failed)
        return _end(replace(flow, ending="failed", reason=words), now)
    names = [
        f"{plan.name}: {phase.reason}"
        for plan, phase in zip(flow.plan.phases, flow.phases, strict=True)
        if phase.status in WAITING
    ]
    reason = "; ".join([*([flow.hold] if flow.hold else []), *names])
    if flow.status is Status.WAITING:
        return replace(flow, reason=reason)
    return replace(flow, status=Status.WAITING, reason=reason, waiting_since=now)


def running(flow: Workflow, now: float) -> Workflow:
    """The workflow, running; the time for which it waited for a person is added to its deadline."""
    deadline = flow.deadline
    if flow.waiting_since is not None and deadline is not None:
        deadline += max(0.0, now - flow.waiting_since)
    return replace(flow, status=Status.RUNNING, reason="", waiting_since=None, deadline=deadline)


def stop(flow: Workflow, ending: str, reason: str, now: float) -> Workflow:
    """Let no phase begin any more, and end what runs."""
    phases = tuple(_stopped(phase, now) for phase in flow.phases)
    flow = replace(flow, phases=phases, ending=ending, reason=reason, hold="", waiting_since=None)  # type: ignore[arg-type]
    flow = replace(flow, status=Status.CANCELLING, give_up_at=now + PATIENCE)
    return settle(flow, now)


def _stopped(phase: Phase, now: float) -> Phase:
    """A job is withdrawn, which takes a while; all else is cancelled at once."""
    if phase.status in OVER or phase.status in (PhaseStatus.QUEUED, PhaseStatus.RUNNING):
        return phase
    return replace(phase, status=PhaseStatus.CANCELLED, ended_at=now)


def _end(flow: Workflow, now: float) -> Workflow:
    if flow.plan.isolation == "worktree":
        return replace(flow, status=Status.CLOSING, give_up_at=None, waiting_since=None)
    return finish(flow, now)


def finish(flow: Workflow, now: float) -> Workflow:
    """The workflow, over as `stop` or `settle` decided."""
    return replace(
        flow, status=Status(flow.ending), ended_at=now, give_up_at=None, waiting_since=None, deadline=None
    )
