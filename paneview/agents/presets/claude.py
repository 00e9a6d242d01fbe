"""Claude Code: ``claude -p`` with its stream of JSON events.

Permissions: for "read", the tools that change files are disallowed, and the shell's questions are never answered, so
only its harmless commands run; for "edit", edits are accepted without asking. Denials appear only in the final event's
``permission_denials``. Failures of the API come as ``subtype: success`` with ``is_error``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from paneview.agents.model import Denial, RunRequest, RunStatus, Tokens
from paneview.agents.parsing import (
    Event,
    Parser,
    Shown,
    call_text,
    count_of,
    dict_of,
    dicts_of,
    number_of,
    priced,
    text_of,
)
from paneview.config.workflows.roles import Runner

ENV: dict[str, str] = {}
RESUMES = True
LOG = ""
_MODES = {"read": "default", "edit": "acceptEdits", "full": "bypassPermissions"}
_CHANGING = "Edit,MultiEdit,Write,NotebookEdit"


def argv(runner: Runner, request: RunRequest) -> list[str]:
    """The program and its arguments."""
    words = [*(runner.argv or ("claude",)), "-p", "--output-format=stream-json", "--verbose"]
    words.append(f"--permission-mode={_MODES[request.permissions]}")
    if request.permissions == "read":
        words.append(f"--disallowedTools={_CHANGING}")
    if request.allow:
        words.append(f"--allowedTools={','.join(request.allow)}")
    if runner.model:
        words.append(f"--model={runner.model}")
    if runner.max_turns:
        words.append(f"--max-turns={runner.max_turns}")
    if request.budget_usd is not None:
        words.append(f"--max-budget-usd={request.budget_usd:g}")
    if request.schema is not None:
        words.append(f"--json-schema={json.dumps(dict(request.schema))}")
    if request.resume:
        words.append(f"--resume={request.resume}")
    return [*words, *runner.args]


class Reader(Parser):
    """Reads ``stream-json``."""

    def __init__(self) -> None:
        super().__init__()
        self._rejected_until: float | None = None

    def take(self, event: Event) -> list[Shown]:
        """Read an event."""
        self.session = text_of(event, "session_id") or self.session
        match text_of(event, "type"):
            case "assistant":
                return self._assistant(event)
            case "user":
                return self._results(event)
            case "system":
                return self._system(event)
            case "rate_limit_event":
                return self._limit(dict_of(event, "rate_limit_info"))
            case "result":
                return self._result(event)
        return []

    def _assistant(self, event: Event) -> list[Shown]:
        shown: list[Shown] = []
        for block in dicts_of(dict_of(event, "message"), "content"):
            if block.get("type") == "text":
                shown += self.say(text_of(block, "text"))
            elif block.get("type") == "tool_use":
                shown.append(Shown("tool", call_text(text_of(block, "name") or "tool", block.get("input"))))
        return shown

    def _results(self, event: Event) -> list[Shown]:
        failed = [
            block
            for block in dicts_of(dict_of(event, "message"), "content")
            if block.get("type") == "tool_result" and block.get("is_error") is True
        ]
        return [Shown("result", _plain(block.get("content"))) for block in failed]

    def _system(self, event: Event) -> list[Shown]:
        if text_of(event, "subtype") != "api_retry":
            return []
        wait = number_of(event, "retry_delay_ms") or 0.0
        self.patience = max(0.0, wait / 1000)
        number, most = count_of(event, "attempt"), count_of(event, "max_retries")
        reason = text_of(event, "error") or "the API failed"
        return [Shown("retry", f"{reason}; again in {wait / 1000:.0f} s ({number} of {most})")]

    def _limit(self, info: Event) -> list[Shown]:
        if text_of(info, "status") != "rejected":
            return []
        self._rejected_until = number_of(info, "resetsAt")
        return [Shown("warning", f"rate limit: {text_of(info, 'rateLimitType') or 'reached'}")]

    def _result(self, event: Event) -> list[Shown]:
        self.concluded = True
        self.text = text_of(event, "result") or self.text
        self.data = event.get("structured_output")
        self.turns = count_of(event, "num_turns")
        self.tokens = _tokens(event)
        self.cost = priced(number_of(event, "total_cost_usd"), self.tokens)
        denials = [
            Denial(text_of(one, "tool_name") or "a tool", one.get("tool_input"))
            for one in dicts_of(event, "permission_denials")
        ]
        questions = [list(_asked(one)) if one.tool == _ASKS else [] for one in denials]
        self.denials = tuple(one for one, asked in zip(denials, questions, strict=True) if not asked)
        self.question = "; ".join(question for asked in questions for question in asked)
        kind = text_of(event, "subtype")
        if kind in _LIMITS:
            self.status, self.error = _LIMITS[kind]
        elif kind == "success" and event.get("is_error") is not True:
            self.status = RunStatus.OK
        else:
            http = count_of(event, "api_error_status")
            errors = event.get("errors")
            listed = "; ".join(map(str, errors)) if isinstance(errors, list) else ""
            self.fail(text_of(event, "result") or listed or kind.replace("_", " "), http)
            if self.status is RunStatus.RATE_LIMITED and self.reset_at is None:
                self.reset_at = self._rejected_until
        return []


_ASKS = "AskUserQuestion"  # denied because nobody is there to answer, whatever is allowed


def _asked(denial: Denial) -> Iterator[str]:
    """The questions that it wanted to ask, with the answers that it offered."""
    given = denial.input if isinstance(denial.input, dict) else {}
    for one in dicts_of(given, "questions"):
        offered = [label for option in dicts_of(one, "options") if (label := text_of(option, "label"))]
        yield text_of(one, "question") + (f" ({' / '.join(offered)})" if offered else "")


_LIMITS = {
    "error_max_turns": (RunStatus.LIMIT, "it took as many turns as allowed"),
    "error_max_budget_usd": (RunStatus.BUDGET, "it spent as much as allowed"),
    "error_max_structured_output_retries": (RunStatus.NO_RESULT, "its result does not fit the schema"),
}


def _tokens(event: Event) -> Tokens:
    """The tokens of all models; ``usage`` is empty if a budget ended the run."""
    models = [one for one in dict_of(event, "modelUsage").values() if isinstance(one, dict)]
    if models:
        return Tokens(
            _sum(models, "inputTokens", "cacheCreationInputTokens"),
            _sum(models, "outputTokens"),
            _sum(models, "cacheReadInputTokens"),
        )
    usage = [dict_of(event, "usage")]
    return Tokens(
        _sum(usage, "input_tokens", "cache_creation_input_tokens"),
        _sum(usage, "output_tokens"),
        _sum(usage, "cache_read_input_tokens"),
    )


def _sum(rows: list[dict[str, Any]], *keys: str) -> int | None:
    found = [count for row in rows for key in keys if (count := count_of(row, key)) is not None]
    return sum(found) if found else None


def _plain(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(text_of(one, "text") for one in content if isinstance(one, dict))
    return content if isinstance(content, str) else ""
