"""Runs as jobs: submitting them, and reading their outcomes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paneview.agents import strays
from paneview.agents.folder import run_folder
from paneview.agents.model import RunOutcome, Tokens
from paneview.broker import Broker, Job, NewJob, Target
from paneview.rules.workflow import Spent, Workflow, effects, events, money
from paneview.workflow import git, prompts
from paneview.workflow.git import GitError
from paneview.workflow.home import Home
from paneview.workflow.views import job_id

KIND = "phase"
_LEAVE_LITTLE = 0.01  # dollars: an agent's budget can't be 0


def folder_of(flow: Workflow) -> str:
    """The folder in which the workflow's agents and commands run."""
    return str(flow.place.get("cwd") or flow.cwd)


def root_of(flow: Workflow) -> Path | None:
    """The work tree it works in; None if there is none. Raises `GitError` if git can't be trusted with it any more.

    If an agent has removed the `.git` of its worktree, git would go on in any repository around the state folder. And
    where an agent may write to the repository itself, its filters must be those from when the workflow was asked for.
    """
    if path := flow.place.get("path"):
        git.need_worktree(Path(str(path)), str(flow.place["root"]))
        return Path(str(path))
    root = git.top(folder_of(flow))
    known = flow.place.get("programs")  # None: it was asked for with an earlier version
    if root is not None and known is not None and git.programs(root) != known:
        raise GitError(f"the filters in the configuration of {root} are not those it had at the beginning")
    return root


def beginning(flow: Workflow, state: Path) -> dict[str, str]:
    """What must be known of the folder before anything is changed in it, if changes are shown or counted there.

    There is no branch to compare with, so it is the tree that the folder has now.
    """
    plans = flow.plan.phases
    shown = any(map(prompts.needs_diff, plans))
    if not shown and not any(_is_counted(flow, number) for number in range(len(plans))):
        return {}
    known = {"programs": ""}
    with suppress(GitError):  # without a tree, changes are not shown
        if root := git.top(flow.cwd):
            known["programs"] = git.programs(root)
            if shown:
                known["tree"] = git.snapshot(root, state)
    return known


def submit(broker: Broker, home: Home, flow: Workflow, run: effects.Run) -> bool:
    """Submit a phase's job, unless it was submitted before; returns whether it is new. Raises BrokerError."""
    plan, phase = flow.plan.phases[run.phase], flow.phases[run.phase]
    name = job_id(flow.id, run.phase, run.attempt)
    seen = _look(flow, run.phase, home.folder)
    left = money.left_usd(flow)
    payload = {
        "workflow": flow.id,
        "phase": plan.name,
        "attempt": run.attempt,
        "prompt": prompts.prompt(flow, run.phase, seen.diff, home.masker.text),
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
            meta={
                "workflow": flow.id,
                "phase": plan.name,
                "tree": phase.tree or seen.tree,
                "uncounted": home.masker.text(seen.uncounted),
            },
            submitted_by=f"workflow:{flow.plan.name}",
            id=name,
        )
    ).created


def _host(home: Home, hosts: tuple[str, ...]) -> str:
    """The host for a phase's job: this one, where its folder is; empty if no other host shares the queue."""
    here = home.project.queue.here
    if hosts and here not in hosts:
        return hosts[0]
    return here if home.shared else ""


@dataclass(frozen=True, slots=True)
class _Seen:
    """The state of the folder before a run."""

    tree: str = ""
    """Its tree; empty if it is not needed or could not be made."""
    diff: str = "(nothing was changed)"
    """What was changed so far, for the prompt."""
    uncounted: str = ""
    """Why there is no tree although it is needed."""


def _look(flow: Workflow, number: int, state: Path) -> _Seen:
    """The tree before the run, if changes are counted, and what was changed so far, if the prompt shows that."""
    plan, folder = flow.plan.phases[number], folder_of(flow)
    wanted = prompts.needs_diff(plan)
    counted = plan.edits and _is_counted(flow, number)
    if not wanted and (not counted or flow.phases[number].tree):
        return _Seen()
    try:
        root = root_of(flow)
        if root is None:  # changes are never counted there
            return _Seen(diff=_unknown(f"{folder} is in no git repository"))
        tree = git.snapshot(root, state, flow.plan.copy)
        base = _base(flow, root) if wanted else ""
        if not wanted or (base and base == tree):
            return _Seen(tree)
        return _Seen(
            tree, git.diff(root, base, tree) if base else _unknown("there is nothing to compare with")
        )
    except (GitError, OSError) as error:
        return _Seen(diff=_unknown(str(error)), uncounted=str(error) if counted else "")


def _unknown(why: str) -> str:
    return f"(what was changed is not known: {why}; look at the files yourself)"


def _is_counted(flow: Workflow, number: int) -> bool:
    """Whether a later prompt or condition needs to know how much this phase has changed."""
    name = flow.plan.phases[number].name
    return any(
        prompts.needs_diff(plan) or f"{name}.{what}" in plan.when or f"{name}.{what}" in plan.prompt
        for plan in flow.plan.phases[number:]
        for what in ("lines", "files")
    )


def _base(flow: Workflow, root: Path) -> str:
    """The tree against which its changes are counted; empty if not known."""
    known = str(flow.place.get("tree") or flow.place.get("base") or "")
    return git.run(root, "rev-parse", f"{known}^{{tree}}").strip() if known else ""


def stray(home: Home, job: Job) -> Path | None:
    """The folder of a run that goes on although its job is over without the run's outcome; None if there is none."""
    if job.result is None or isinstance(job.result.output, dict):
        return None
    folder = run_folder(home.folder, job.id)
    return folder if strays.is_stray(folder) else None


def collect(home: Home, flow: Workflow, run: effects.Run, job: Job) -> events.Ran | None:
    """The event for a run that is over; None if it is not over."""
    result = job.result
    if result is None:
        return None
    tree = str(job.meta.get("tree") or "")
    if not isinstance(result.output, dict):
        status = "cancelled" if result.status == "cancelled" else "lost"
        words = home.masker.text(result.error or "")
        used = strays.used(run_folder(home.folder, job.id))
        spent = Spent() if used is None else _spent(used)
        return events.Ran(run.phase, run.attempt, status, error=words, spent=spent, tree=tree)
    try:
        outcome = RunOutcome.from_json(result.output)
        return _ran(home, flow, run, outcome, job.meta)
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # a worker may deliver anything
        why = f"its result can't be read: {error}"
        return events.Ran(run.phase, run.attempt, "failed", error=why, tree=tree)


def _ran(
    home: Home, flow: Workflow, run: effects.Run, outcome: RunOutcome, meta: Mapping[str, Any]
) -> events.Ran:
    masker, uncounted = home.masker, str(meta.get("uncounted") or "")
    changed = _changed(flow, str(meta.get("tree") or ""), home.folder)
    return events.Ran(
        run.phase,
        run.attempt,
        outcome.status.value,
        text=masker.text(outcome.text),
        data=masker.json(outcome.data),
        error=masker.text(outcome.error),
        session=outcome.session,
        session_gone=outcome.session_gone,
        denials=tuple(dict.fromkeys(denial.tool for denial in outcome.denials)),
        question=masker.text(outcome.question),
        resumed=outcome.resumed > 0,
        reset_at=outcome.reset_at,
        lines=changed.lines if isinstance(changed, git.Changes) else None,
        files=changed.files if isinstance(changed, git.Changes) else None,
        uncounted=masker.text(changed if isinstance(changed, str) else uncounted),
        tree=str(meta.get("tree") or ""),
        spent=_spent(outcome),
        session_spent=None if outcome.session_tokens is None else _tokens(outcome.session_tokens),
    )


def _spent(outcome: RunOutcome) -> Spent:
    cost = outcome.cost_usd
    return replace(
        _tokens(outcome.tokens),
        cost_usd=cost or 0.0,
        priced=int(cost is not None),
        unpriced=int(cost is None),
        turns=outcome.turns or 0,
        seconds=outcome.earlier + max(0.0, outcome.ended - outcome.started),
    )


def _tokens(told: Tokens) -> Spent:
    return Spent(input=told.input or 0, output=told.output or 0, cached=told.cached or 0)


def _changed(flow: Workflow, before: str, state: Path) -> git.Changes | str | None:
    """How much was changed since the tree ``before``, or why that is unknown; None if it is not needed."""
    if not before:
        return None
    folder = folder_of(flow)
    try:
        root = root_of(flow)
        if root is None:
            return f"{folder} is in no git repository any more"
        return git.changes(root, before, git.snapshot(root, state, flow.plan.copy))
    except (GitError, OSError) as error:
        return str(error)
