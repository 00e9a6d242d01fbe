"""OpenAI's Codex: ``codex exec --json``.

Its sandbox enforces the permissions, and it never asks. Usage is that of the whole thread, with all earlier turns; cost
is never reported. Only ``turn.failed`` is a failure: an ``error`` before may be a connection that recovers.
"""

from __future__ import annotations

import json
import os

from paneview.agents.model import RunRequest, RunStatus, Tokens
from paneview.agents.parsing import Event, Parser, Shown, call_text, count_of, dict_of, dicts_of, text_of
from paneview.config.workflows.roles import Runner

ENV: dict[str, str] = {}
RESUMES = True
LOG = ""
_SANDBOX = {"read": ["--sandbox=read-only"], "edit": ["--sandbox=workspace-write"],
            "full": ["--dangerously-bypass-approvals-and-sandbox"]}  # fmt: skip
SCHEMA = "schema.json"


def argv(runner: Runner, request: RunRequest) -> list[str]:
    """The program and its arguments; a schema is written to the run's folder, because it must be a file."""
    words = [*(runner.argv or ("codex",)), "exec", "--json", "--skip-git-repo-check"]
    words += [*_SANDBOX[request.permissions], f"--cd={request.cwd}"]
    if runner.model:
        words.append(f"--model={runner.model}")
    if request.schema is not None:
        file = request.folder / SCHEMA
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as out:
            json.dump(dict(request.schema), out)
        words.append(f"--output-schema={file}")
    words += runner.args
    if request.resume:
        words += ["resume", request.resume]
    return [*words, "-"]


class Reader(Parser):
    """Reads Codex's events."""

    CUMULATIVE = True

    def take(self, event: Event) -> list[Shown]:
        """Read an event."""
        match text_of(event, "type"):
            case "thread.started":
                self.session = text_of(event, "thread_id")
            case "item.started" | "item.completed" as kind:
                return self._item(dict_of(event, "item"), done=kind == "item.completed")
            case "error":
                return [Shown("warning", text_of(event, "message"))]
            case "turn.completed":
                self._done(dict_of(event, "usage"))
            case "turn.failed":
                self.fail(text_of(dict_of(event, "error"), "message"))
        return []

    def _item(self, item: Event, *, done: bool) -> list[Shown]:
        kind = text_of(item, "type") or text_of(item, "item_type")
        if kind in ("agent_message", "assistant_message"):
            return self.say(text_of(item, "text")) if done else []
        if kind == "error":
            return [Shown("warning", text_of(item, "message"))]
        if kind == "command_execution":
            if not done:
                return [Shown("tool", call_text("shell", text_of(item, "command")))]
            code = count_of(item, "exit_code")
            return [Shown("result", f"exit code {code}")] if code else []
        return self._small(kind, item, done=done)

    def _small(self, kind: str, item: Event, *, done: bool) -> list[Shown]:
        if kind == "file_change" and done:
            changed = [text_of(one, "path") for one in dicts_of(item, "changes")]
            return [Shown("tool", call_text("edit", ", ".join(changed)))]
        if kind in ("mcp_tool_call", "web_search") and not done:
            return [Shown("tool", call_text(text_of(item, "tool") or kind, text_of(item, "query")))]
        return []

    def _done(self, usage: Event) -> None:
        self.concluded = True
        self.status, self.error = RunStatus.OK, ""
        given, cached = count_of(usage, "input_tokens"), count_of(usage, "cached_input_tokens")
        fresh = None if given is None else max(0, given - (cached or 0))
        self.tokens = Tokens(fresh, count_of(usage, "output_tokens"), cached)
