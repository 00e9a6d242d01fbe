"""An agent's prompt: the phase's template with earlier results filled in, fenced as data.

Everything that is filled in is put between marks with a random number chosen after the data is known: no text can
contain its own end mark, so none can pose as part of the prompt itself. Secrets are masked first.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from typing import Any

from paneview.config.workflows.expression import lookup
from paneview.config.workflows.templates import PLACEHOLDER, placeholders
from paneview.rules.workflow import Phase, PhasePlan, Workflow
from paneview.rules.workflow.results import earlier, values

Mask = Callable[[str], str]


def needs_diff(plan: PhasePlan) -> bool:
    """Whether the phase's prompt shows what was changed."""
    return "diff" in placeholders(plan.prompt)


def prompt(flow: Workflow, number: int, diff: str, mask: Mask) -> str:
    """The prompt of a run: the whole template, or only the feedback if a session is resumed.

    ``diff``: what was changed so far, or in parentheses why there is none.
    """
    plan, phase = flow.plan.phases[number], flow.phases[number]
    if phase.feedback and phase.session:
        return _again(flow, phase, mask)
    text = _fill(flow, number, plan.prompt, diff, mask)
    if phase.feedback:
        text = f"{text.rstrip()}\n\n{_again(flow, phase, mask)}"
    return text


def _again(flow: Workflow, phase: Phase, mask: Mask) -> str:
    words = "The work is not done yet. This is what came of it:"
    return f"{words}\n{fence('last run', phase.feedback, mask)}\n\nGo on, and finish it.{_ports(flow)}"


def _fill(flow: Workflow, number: int, template: str, diff: str, mask: Mask) -> str:
    known = values(flow)

    def found(match: re.Match[str]) -> str:
        word = match[1]
        if word == "task":
            return fence("task", flow.task, mask)
        if word == "diff":
            return fence("diff", diff, mask)
        if word == "results":
            return results(flow, number, mask)
        return _value(word, lookup(known, word), mask)

    return PLACEHOLDER.sub(found, template) + _ports(flow)


def _value(word: str, value: Any, mask: Mask) -> str:
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)
    return fence(word, text, mask)


def results(flow: Workflow, number: int, mask: Mask) -> str:
    """The results of each phase before this one."""
    parts = []
    for place in earlier(flow, number):
        phase, name = flow.phases[place], flow.plan.phases[place].name
        text = phase.text
        if phase.data is not None:
            text = f"{text}\n{json.dumps(phase.data, indent=1, ensure_ascii=False)}".lstrip()
        state = f"{phase.status.value}{f': {phase.reason}' if phase.reason else ''}"
        parts.append(f"{name} ({mask(state)})\n{fence(name, text or '(nothing)', mask)}")
    return "\n\n".join(parts) or "(there was nothing before)"


def fence(name: str, text: str, mask: Mask) -> str:
    """The text, with secrets masked but otherwise unchanged, between marks that it cannot contain."""
    text = mask(text)
    while (number := secrets.token_hex(8)) in text:
        pass
    return f"--- data {name} {number} ---\n{text}\n--- end of data {number} ---"


def _ports(flow: Workflow) -> str:
    ports = flow.place.get("ports") or {}
    if not ports:
        return ""
    listed = ", ".join(f"{name}={port}" for name, port in ports.items())
    return f"\n\nPorts that are free for this work: {listed}"
