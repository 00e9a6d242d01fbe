"""Runs as jobs: submitting them, and reading what came of them."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from paneview.agents.model import RunOutcome
from paneview.broker import Broker, Job, NewJob, Target
from paneview.rules.workflow import Spent, Workflow, happenings, money
from paneview.workflow import git, prompts
from paneview.workflow.git import GitError
from paneview.workflow.home import Home
from paneview.workflow.views import job_id

KIND = "phase"
_LEAVE_LITTLE = 0.01  # dollars: an agent's budget can't be nothing


def folder_of(flow: Workflow) -> str:
    """Where its agents and commands run."""
    return str(flow.place.get("cwd") or flow.cwd)


def submit(broker: Broker, home: Home, flow: Workflow, run: happenings.Run) -> bool:
    """Have a phase done, unless that was submitted before; whether it is new. Raises BrokerError."""
    plan, phase = flow.plan.phases[run.phase], flow.phases[run.phase]
    name = job_id(flow.id, run.phase, run.attempt)
    before, diff = _look(flow, run.phase)
    left = money.left_usd(flow)
    payload = {
        "workflow": flow.id,
        "phase": plan.name,
        "attempt": run.attempt,
        "prompt": prompts.prompt(flow, run.phase, diff, home.masker.text),
        "cwd": folder_of(flow),
        "resume": phase.session if phase.feedback else "",
        "schema": plan.schema if plan.output == "json" else None,
        "budget_usd": None if left is None else max(left, _LEAVE_LITTLE),
        "allow": list(phase.allow),
    }
    return broker.submit(
        NewJob(
            kind=KIND,
            payload=payload,
            target=Target(role=plan.role, host=_host(home, plan.hosts)),
            delay=max(0.0, phase.not_before - time.time()) if phase.not_before else 0.0,
            timeout=home.timeout(plan),
            group=flow.id,
            meta={"workflow": flow.id, "phase": plan.name, "tree": before},
            submitted_by=f"workflow:{flow.plan.name}",
            id=name,
        )
    ).created


def _host(home: Home, hosts: tuple[str, ...]) -> str:
    """A phase's folder is on this host; where no other host shares the queue, that needs no saying."""
    here = home.project.queue.here
    if hosts and here not in hosts:
        return hosts[0]
    return here if home.shared else ""


def _look(flow: Workflow, number: int) -> tuple[str, str]:
    """The tree before the run, if it may change it, and what was changed so far, if its prompt shows that."""
    plan, folder = flow.plan.phases[number], folder_of(flow)
    wanted = prompts.needs_diff(plan)
    counted = plan.edits and _is_counted(flow, number)
    if not wanted and not counted:
        return "", ""
    with suppress(GitError):
        root = git.top(folder)
        if root is None:
            return "", ""
        tree = git.snapshot(root, flow.plan.copy)
        base = _base(flow, root)
        return tree, git.diff(root, base, tree) if wanted and base and base != tree else ""
    return "", ""


def _is_counted(flow: Workflow, number: int) -> bool:
    """Whether somebody wants to know how much this phase has changed."""
    name = flow.plan.phases[number].name
    return any(
        word in text
        for plan in flow.plan.phases[number:]
        for text in (plan.when, plan.prompt)
        for word in (f"{name}.lines", f"{name}.files", "{{diff}}", "{{ diff }}")
    )


def _base(flow: Workflow, root: Path) -> str:
    """What its changes are counted from."""
    known = str(flow.place.get("tree") or flow.place.get("base") or "")
    return git.run(root, "rev-parse", f"{known}^{{tree}}").strip() if known else ""


def collect(home: Home, flow: Workflow, run: happenings.Run, job: Job) -> happenings.Ran | None:
    """What came of a run; None: it is not over."""
    result = job.result
    if result is None:
        return None
    if not isinstance(result.output, dict):
        status = "cancelled" if result.status == "cancelled" else "lost"
        words = home.masker.text(result.error or "")
        return happenings.Ran(run.phase, run.attempt, status, error=words)
    try:
        outcome = RunOutcome.from_json(result.output)
    except (ValueError, TypeError, KeyError) as error:
        return happenings.Ran(run.phase, run.attempt, "failed", error=f"its result can't be read: {error}")
    masker = home.masker
    changed = _changed(flow, str(job.meta.get("tree") or ""))
    return happenings.Ran(
        run.phase,
        run.attempt,
        outcome.status.value,
        text=masker.text(outcome.text),
        data=masker.json(outcome.data),
        error=masker.text(outcome.error),
        session=outcome.session,
        denials=tuple(dict.fromkeys(denial.tool for denial in outcome.denials)),
        resumed=outcome.resumed > 0,
        reset_at=outcome.reset_at,
        lines=changed.lines if changed else None,
        files=changed.files if changed else None,
        spent=_spent(outcome),
    )


def _spent(outcome: RunOutcome) -> Spent:
    tokens, cost = outcome.tokens, outcome.cost_usd
    return Spent(
        input=tokens.input or 0,
        output=tokens.output or 0,
        cached=tokens.cached or 0,
        cost_usd=cost or 0.0,
        priced=int(cost is not None),
        unpriced=int(cost is None),
        turns=outcome.turns or 0,
        seconds=max(0.0, outcome.ended - outcome.started),
    )


def _changed(flow: Workflow, before: str) -> git.Changes | None:
    if not before:
        return None
    with suppress(GitError):
        root = git.top(folder_of(flow))
        if root is not None:
            return git.changes(root, before, git.snapshot(root, flow.plan.copy))
    return None
