"""What expressions and prompts see of earlier phases, and what in them counts as a risk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from paneview.config.workflows.plans import Json
from paneview.rules.workflow.model import Phase, PhaseStatus, Workflow

_RISKY = ("high", "yes", "true")


def values(flow: Workflow) -> dict[str, Any]:
    """What ``when`` may ask for, by the name of the phase."""
    return {plan.name: _of(phase) for plan, phase in zip(flow.plan.phases, flow.phases, strict=True)}


def _of(phase: Phase) -> dict[str, Json]:
    return {
        "status": phase.status.value,
        "done": phase.status is PhaseStatus.DONE,
        "skipped": phase.status is PhaseStatus.SKIPPED,
        "failed": phase.status is PhaseStatus.FAILED,
        "text": phase.text,
        "data": phase.data,
        "lines": phase.lines,
        "files": phase.files,
        "attempts": phase.runs,
        "retries": phase.failures,
        "verify": phase.verify_code,
        "tokens": phase.spent.tokens,
        "cost_usd": phase.spent.known_cost,
        "turns": phase.spent.turns,
        "seconds": phase.spent.seconds,
    }


def risk(flow: Workflow, number: int) -> str:
    """Why a person should look before this phase begins; empty: no reason.

    Its role may do anything; or a phase before it was refused a tool, or says in its JSON that there is a risk.
    """
    plan = flow.plan.phases[number]
    if plan.dangerous:
        return f"the role {plan.role} may do anything"
    for before in earlier(flow, number):
        phase, name = flow.phases[before], flow.plan.phases[before].name
        if phase.denials:
            return f"{name} was refused {', '.join(phase.denials)}"
        said = phase.data.get("risk") if isinstance(phase.data, Mapping) else None
        if said is True or (isinstance(said, str) and said.strip().lower() in _RISKY):
            return f"{name} says that there is a risk"
    return ""


def uncounted(flow: Workflow, paths: Iterable[str]) -> str:
    """Why a condition on these paths can't be judged: it asks how much was changed, and that could not be counted.

    A person has to judge it instead: skipping the phase may be skipping the review of changes that nobody has seen.
    """
    for path in paths:
        name, _, what = path.partition(".")
        number = flow.index(name)
        if number is not None and what in ("lines", "files") and (why := flow.phases[number].uncounted):
            return f"{path} is not known: {why}"
    return ""


def earlier(flow: Workflow, number: int) -> list[int]:
    """The phases that this one needs, and what those need, in order."""
    numbers = {plan.name: each for each, plan in enumerate(flow.plan.phases)}
    found: set[int] = set()
    wanted = [number]
    while wanted:
        for name in flow.plan.phases[wanted.pop()].needs:
            needed = numbers[name]
            if needed not in found:
                found.add(needed)
                wanted.append(needed)
    return sorted(found)


def later(flow: Workflow, number: int) -> set[int]:
    """The phases that need this one, directly or not."""
    return {other for other in range(len(flow.phases)) if number in earlier(flow, other)}
