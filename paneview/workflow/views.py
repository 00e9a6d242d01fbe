"""Workflows as JSON objects, for clients and the command line. Times are epoch seconds, durations seconds.

A *summary* is used in lists and pushes; `whole` adds the full task and each phase's results. ``cost_usd`` is null if no
run has a price; ``unpriced`` counts the runs without one, whose cost is unknown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from paneview.rules.workflow import WAITING, Phase, PhasePlan, PhaseStatus, Spent, Status, Workflow
from paneview.rules.workflow.step import due

if TYPE_CHECKING:
    from paneview.broker import Broker

SHOWN = 300  # characters of a task in a summary


def job_id(flow: str, phase: int, attempt: int) -> str:
    """The id of a run's job, which also names its folder."""
    return f"{flow}-{phase}-{attempt}"


def read_job_id(job: str) -> tuple[str, int, int] | None:
    """Workflow, phase and attempt from a run's job id; None if it is not one."""
    flow, _, rest = job.rpartition("-")
    name, _, phase = flow.rpartition("-")
    if not name or not phase.isdecimal() or not rest.isdecimal():
        return None
    return name, int(phase), int(rest)


def spent_json(spent: Spent) -> dict[str, Any]:
    """Usage: tokens, cost, turns and agents' time."""
    return {
        "tokens": {
            "input": spent.input, "output": spent.output, "cached": spent.cached, "total": spent.tokens,
        },
        "cost_usd": None if spent.known_cost is None else round(spent.known_cost, 6),
        "unpriced": spent.unpriced,
        "turns": spent.turns,
        "agent_seconds": round(spent.seconds, 3),
    }  # fmt: skip


def _phase(flow: Workflow, number: int, plan: PhasePlan, phase: Phase) -> dict[str, Any]:
    return {
        "name": plan.name,
        "role": plan.role,
        "needs": list(plan.needs),
        "status": phase.status.value,
        "reason": phase.reason,
        "attempt": phase.attempt,
        "runs": phase.runs,
        "retries_left": max(0, plan.retries - phase.failures),
        "job": job_id(flow.id, number, phase.attempt) if phase.attempt else None,
        "queued_at": phase.queued_at,
        "started_at": phase.started_at,
        "ended_at": phase.ended_at,
        "not_before": phase.not_before,
        "lines": phase.lines,
        "files": phase.files,
        "waits_for_person": phase.status in WAITING,
        "question": phase.question,
        **spent_json(phase.spent),
    }


def summary(flow: Workflow) -> dict[str, Any]:
    """A workflow in brief."""
    phases = zip(flow.plan.phases, flow.phases, strict=True)
    return {
        "id": flow.id,
        "workflow": flow.plan.name,
        "task": flow.task if len(flow.task) <= SHOWN else f"{flow.task[: SHOWN - 1]}…",
        "status": flow.status.value,
        "active": not flow.status.final,
        "waits_for_person": flow.status is Status.WAITING
        or any(phase.status in WAITING for phase in flow.phases),
        "reason": flow.reason,
        "created_at": flow.created_at,
        "ended_at": flow.ended_at,
        "by": flow.by,
        "home": flow.home,
        "cwd": flow.cwd,
        "isolation": flow.plan.isolation,
        "branch": flow.place.get("branch") or None,
        "conflicts": list(flow.place.get("conflicts") or ()),
        "kept": flow.place.get("kept") or None,
        "budget_usd": flow.plan.budget_usd,
        "budget_tokens": flow.plan.budget_tokens,
        "budget_warned": flow.warned,
        **spent_json(flow.spent),
        "phases": [_phase(flow, number, plan, phase) for number, (plan, phase) in enumerate(phases)],
    }


def by_role(flows: Iterable[Workflow]) -> dict[str, dict[str, Any]]:
    """The usage of each role in these workflows."""
    spent: dict[str, Spent] = {}
    runs: dict[str, int] = {}
    for flow in flows:
        for plan, phase in zip(flow.plan.phases, flow.phases, strict=True):
            if phase.attempt:
                spent[plan.role] = spent.get(plan.role, Spent()) + phase.spent
                runs[plan.role] = runs.get(plan.role, 0) + phase.spent.priced + phase.spent.unpriced
    return {role: {"runs": runs[role], **spent_json(spent[role])} for role in sorted(spent)}


def listing(flows: Sequence[Workflow], *, active: bool, offset: int, limit: int) -> dict[str, Any]:
    """A page of the workflows, of all or only the active ones, with totals."""
    wanted = [flow for flow in flows if not active or not flow.status.final]
    page = wanted[offset : offset + limit]
    return {
        "workflows": [summary(flow) for flow in page],
        "count": len(page),
        "total": len(wanted),
        "active": sum(not flow.status.final for flow in flows),
        "waiting": sum(flow.status is Status.WAITING for flow in flows),
        "roles": by_role(wanted),
    }


def working_roles(broker: Broker) -> set[str]:
    """The roles that have a live worker. Raises BrokerError."""
    return {role for view in broker.workers.all(alive_only=True) for role in view.worker.roles}


def whole(flow: Workflow, working: Collection[str]) -> dict[str, Any]:
    """A workflow with all its results. ``working``: the roles that have a live worker."""
    view = summary(flow)
    for plan, phase, shown in zip(flow.plan.phases, flow.phases, view["phases"], strict=True):
        shown |= {
            "reason": phase.reason or _idle(plan, phase, working),
            "text": phase.text,
            "data": phase.data,
            "error": phase.error,
            "outcome": phase.outcome,
            "session": phase.session or None,
            "denials": list(phase.denials),
            "verify": plan.verify or None,
            "verify_code": phase.verify_code,
            "when": plan.when or None,
            "approve": plan.approve,
            "history": [
                {"attempt": run.attempt, "outcome": run.outcome, **spent_json(run.spent)}
                for run in phase.history
            ],
        }
    return view | {
        "task": flow.task,
        "place": dict(flow.place),
        "roles": by_role([flow]),
        "due": sorted(type(one).__name__ for one in due(flow)),
    }


def _idle(plan: PhasePlan, phase: Phase, working: Collection[str]) -> str:
    """Why no worker takes the phase, if known; else empty."""
    queued = phase.status is PhaseStatus.QUEUED
    return f"no worker is alive for {plan.role}" if queued and plan.role not in working else ""


def result(flow: Workflow) -> dict[str, Any]:
    """The result: text and JSON of the last phase done without a ``when``, else of the last one done."""
    done = [(plan, phase) for plan, phase in zip(flow.plan.phases, flow.phases, strict=True)
            if phase.status == "done"]  # fmt: skip
    ranked = [one for one in done if not one[0].when] or done
    plan, phase = ranked[-1] if ranked else (None, None)
    return {
        "id": flow.id,
        "status": flow.status.value,
        "reason": flow.reason,
        "phase": plan.name if plan else None,
        "text": phase.text if phase else "",
        "data": phase.data if phase else None,
        "branch": flow.place.get("branch") or None,
        "commit": flow.place.get("commit") or None,
        "kept": flow.place.get("kept") or None,
        **spent_json(flow.spent),
        "phases": [
            {"name": plan.name, "status": phase.status.value, "reason": phase.reason, "text": phase.text,
             "data": phase.data}
            for plan, phase in zip(flow.plan.phases, flow.phases, strict=True)
        ],
    }  # fmt: skip
