"""How workflows and phases are written on the screen: glyph and word, time, money; pure functions of the views."""

from __future__ import annotations

from collections.abc import Iterable

from paneview.control import looks
from paneview.control.flowmodel import FlowView, PauseView, PhaseView, Usage
from paneview.tui.text import clean
from paneview.tui.words import Look, duration, plural

# Of what waits for a person the word says what for.
_WORDS = {"waiting": "needs you", "waiting_approval": "approve?", "waiting_person": "needs you"}
FLOW_LOOKS = {name: Look(glyph, _WORDS.get(name, name), role) for name, (glyph, role) in looks.FLOWS.items()}
PHASE_LOOKS = {
    name: Look(glyph, _WORDS.get(name, name), role) for name, (glyph, role) in looks.PHASES.items()
}
_LIMITED = "↻"
_UNTIL = {"rate_limited": "rate limit", "auth": "not logged in"}


def flow_look(flow: FlowView) -> Look:
    """How a workflow is shown. It needs a person if one of its phases does, even while others run."""
    if flow.waits_for_person and not flow.over:
        return FLOW_LOOKS["waiting"]
    return FLOW_LOOKS.get(flow.status) or Look("?", clean(flow.status), "attention")


def phase_look(phase: PhaseView, now: float) -> Look:
    """How a phase is shown; one that was rate-limited says how long it still waits."""
    if phase.status == "pending" and phase.not_before is not None and phase.not_before > now:
        return Look(_LIMITED, f"limited {duration(phase.not_before - now)}", "attention")
    return PHASE_LOOKS.get(phase.status) or Look("?", clean(phase.status), "attention")


def flow_time(flow: FlowView, now: float) -> str:
    """How long it has taken so far, or took."""
    return duration(max(0.0, (flow.ended_at or now) - flow.created_at))


def phase_time(phase: PhaseView, now: float) -> str:
    """How long its last run has taken or, if it is queued, how long it has waited; empty before that."""
    begun = phase.started_at or phase.queued_at
    if begun is None or phase.status in ("pending", "skipped", "waiting_approval"):
        return ""
    return duration(max(0.0, (phase.ended_at or now) - begun))


def tokens(usage: Usage) -> str:
    """Tokens in at most five characters: 812 14.2k 3.1M; empty if none were used."""
    count = usage.tokens
    if not count:
        return ""
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if count >= size * 0.9995:
            return f"{count / size:.1f}{unit}" if count < size * 99.95 else f"{count / size:.0f}{unit}"
    return str(count)


def cost(usage: Usage) -> str:
    """Dollars. What has no known price is "unpriced", never 0; ``+?`` says that some runs had no price."""
    if usage.cost_usd is None:
        return "unpriced"
    if not usage.cost_usd:
        return "unpriced" if usage.unpriced else ("$0.00" if usage.tokens else "")
    shown = f"${usage.cost_usd:.2f}" if usage.cost_usd >= 0.005 else "<$0.01"
    return f"{shown}+?" if usage.unpriced else shown


def cost_in_full(usage: Usage) -> str:
    """The cost as a phrase."""
    if usage.unpriced and usage.cost_usd:
        return f"${usage.cost_usd:.4g}, and {plural(usage.unpriced, 'run')} without a known price"
    return cost(usage) or "nothing yet"


def asked(flow: FlowView) -> str:
    """The first line of what was asked."""
    return clean(flow.task.strip().partition("\n")[0])


def brief(flow: FlowView) -> str:
    """A workflow in one line: what was asked and, if it waits, failed or was cancelled, why."""
    task = asked(flow)
    if flow.reason and (flow.waits_for_person or flow.status in ("failed", "cancelled")):
        return f"{task} · {clean(flow.reason)}"
    return task


def matter(flow: FlowView) -> str:
    """Why it is as it is; if it waits for a person, for what."""
    waiting = [f"{phase.name}: {phase.reason}" for phase in flow.phases if phase.waits_for_person]
    return clean(flow.reason or ("" if flow.over else "; ".join(waiting)))


def rank(flow: FlowView) -> tuple[int, float]:
    """Sort key: what needs a person first, then what is under way, then the rest, the newest first."""
    urgency = 0 if flow.waits_for_person and not flow.over else 2 if flow.over else 1
    return urgency, -flow.created_at


def pauses(paused: Iterable[PauseView], now: float) -> str:
    """Which runners are paused, why, and for how long; empty if none is."""
    told = []
    for one in paused:
        if one.until is not None and one.until <= now:
            continue
        why = _UNTIL.get(one.status, one.status.replace("_", " "))
        detail = f": {one.reason}" if one.reason else ""
        ends = (
            f"goes on in {duration(one.until - now)}"
            if one.until is not None
            else f"'paneview runner resume {one.runner}' once that is mended"
        )
        told.append(f"{one.runner} is paused, {why}{detail} ({ends})")
    return clean("; ".join(told))


def news(before: FlowView | None, flow: FlowView) -> tuple[str, bool] | None:
    """The message on a change and whether it is bad, if a person is needed or it is over; else None."""
    name = f"{flow.workflow} “{_short(flow)}”"
    if flow.over:
        if before is None or before.over:
            return None
        reason = f": {flow.reason}" if flow.reason and flow.status != "done" else ""
        ended = "failed" if flow.status == "failed" else f"is {flow.status}"
        return clean(f"{name} {ended}{reason}"), flow.status == "failed"
    known = before.waiting if before is not None else ()
    if any(one not in known for one in flow.waiting):
        waiting = [f"{phase.name}: {phase.reason}" for phase in flow.phases if phase.waits_for_person]
        return clean(f"{name} needs you on 4: {'; '.join(waiting) or flow.reason}"), False
    return None


def _short(flow: FlowView, width: int = 40) -> str:
    text = asked(flow)
    return text if len(text) <= width else f"{text[: width - 1]}…"
