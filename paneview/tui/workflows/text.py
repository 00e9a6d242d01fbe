"""A workflow as lines to read: what was asked, where it is, what each phase produced, and its diff."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from paneview.control.flowmodel import FlowView, PhaseView
from paneview.text import person
from paneview.tui.widgets.textpane import Line, lines_of
from paneview.tui.words import dated, plural
from paneview.tui.workflows import words

MOST_OF_A_RESULT = 2000  # lines of a phase's text


def facts(flow: FlowView, now: float) -> Iterator[Line]:
    """The facts in short, what needs a person first."""
    look = words.flow_look(flow)
    reason = f" · {flow.reason}" if flow.reason else ""
    yield Line(f"{look.glyph} {look.word}{reason}", look.role, "state")
    if flow.waits_for_person and not flow.over:
        yield Line(what_to_press(flow), "accent", "")
    yield Line(
        f"{flow.workflow}, asked by {person(flow.by) or 'somebody'} at {dated(flow.created_at, now)}",
        "",
        "workflow",
    )
    budget = f" of ${flow.budget_usd:g}" if flow.budget_usd is not None else ""
    warned = " · most of the budget is spent" if flow.budget_warned else ""
    yield Line(f"{words.cost_in_full(flow.usage)}{budget}{warned}", "attention" if warned else "", "cost")
    yield Line(f"{flow.usage.tokens:,} tokens in {words.flow_time(flow, now)}", "", "used")
    yield Line(flow.cwd, "", "folder")
    if flow.branch:
        yield Line(flow.branch, "", "branch")
    for one in flow.conflicts:
        files = ", ".join(map(str, one.get("files") or ()))
        yield Line(
            f"with {one.get('branch') or one.get('workflow') or 'another'}: {files}", "attention", "conflict"
        )
    if flow.kept:
        yield Line(flow.kept, "attention", "worktree")


def what_to_press(flow: FlowView) -> str:
    """The keys for a workflow that waits."""
    if any(phase.status == "waiting_approval" for phase in flow.phases):
        return "A lets it begin, X rejects it and asks why"
    if any(phase.question and phase.waits_for_person for phase in flow.phases):
        return "A answers it, X rejects it and asks why"
    if any(phase.status == "waiting_person" for phase in flow.phases):
        return "A lets it go on (with what it was denied), X rejects it and asks why"
    return "A gives it a new budget, c cancels it"


def about(flow: FlowView, whole: dict[str, Any] | None, now: float) -> Iterator[Line]:
    """Everything; ``whole`` is the workflow in full from the supervisor, None until that has come."""
    yield from facts(flow, now)
    yield Line("")
    yield from lines_of(str(whole["task"]) if whole is not None else flow.task, "title", "asked")
    if whole is None:
        yield Line("loading…", "dim")
        return
    for raw in reversed(whole["phases"]):
        phase = PhaseView.from_json(raw)
        if phase.attempt or phase.reason:
            yield from phase_text(phase, raw, now)


def phase_text(phase: PhaseView, raw: dict[str, Any], now: float) -> Iterator[Line]:
    """What a phase has produced."""
    look = words.phase_look(phase, now)
    used = " · ".join(
        part
        for part in (
            words.phase_time(phase, now),
            f"{words.tokens(phase.usage)} tokens" if phase.usage.tokens else "",
            words.cost(phase.usage),
            plural(phase.runs, "run") if phase.runs > 1 else "",
            f"{plural(phase.lines, 'line')} changed" if phase.lines is not None else "",
        )
        if part
    )
    yield Line("")
    yield Line(f"{look.glyph} {phase.name}: {look.word}{f' · {used}' if used else ''}", look.role)
    if phase.reason:
        yield Line(f"  {phase.reason}", "attention" if phase.waits_for_person else "")
    denied = ", ".join(map(str, raw.get("denials") or ()))
    if denied not in phase.reason:
        yield Line(f"  it was denied: {denied}", "attention")
    if raw.get("error") and raw["error"] != phase.reason:
        yield from _indented(str(raw["error"]), "failed")
    if raw.get("text") and not _is_only_data(raw):
        yield from _indented(str(raw["text"]), "")
    if raw.get("data") is not None:
        yield from _indented(json.dumps(raw["data"], indent=2, ensure_ascii=False), "")


def _is_only_data(raw: dict[str, Any]) -> bool:
    """Whether the text is nothing but the data, which is shown laid out."""
    try:
        return raw.get("data") is not None and bool(json.loads(str(raw["text"])) == raw["data"])
    except (ValueError, RecursionError):  # a text, as usual
        return False


def diff(reply: dict[str, Any]) -> Iterator[Line]:
    """A diff with its colours."""
    if not reply["diff"]:
        yield Line("Nothing has been changed so far.", "dim")
    for one in str(reply["diff"]).splitlines():
        yield Line(one, _diff_role(one))


def _diff_role(one: str) -> str:
    if one.startswith(("diff ", "+++", "---", "index ", "new file", "deleted file", "rename ")):
        return "title"
    return {"+": "ok", "-": "failed", "@": "accent"}.get(one[:1], "")


def _indented(text: str, role: str) -> Iterator[Line]:
    texts = text.splitlines()
    for one in texts[:MOST_OF_A_RESULT]:
        yield Line(f"  {one}", role)
    if len(texts) > MOST_OF_A_RESULT:
        yield Line(
            f"  … {plural(len(texts) - MOST_OF_A_RESULT, 'line')} more: paneview workflow result ID", "dim"
        )
