"""A demo agent: needs no account and no network, always does the same, and speaks claude's ``stream-json``.

    python -m paneview.agents.demo -p --output-format=stream-json --verbose < PROMPT

It does what lines of its prompt tell it, one after the other:

    demo: VERB …           for whoever reads it
    demo@NAME: VERB …      only in the phase, or the role, of this name

    say TEXT               say something
    tool NAME TEXT         claim to use a tool
    write FILE TEXT        write a file below the current folder, with \\n for a new line; not where it may only read
    append FILE TEXT       add a line to one; likewise
    sleep SECONDS          take its time
    result TEXT            end with this text (default: what it was asked)
    json VALUE             end with this as structured output (default: something that fits --json-schema)
    cost USD, tokens IN OUT, turns N    what it claims to have used; `cost none`: it does not say
    env NAME               say the value of an environment variable
    argv                   say its own arguments
    escape                 say something full of terminal escapes
    garbage                print lines that are no JSON, or not the expected one
    retry N SECONDS        announce N times that it waits before it asks its provider again, and wait
    spawn N [away|bare]    start N processes that sleep; away: in sessions of their own; bare: without its environment
    deny TOOL TEXT         want to use a tool, which is denied unless it is among --allowedTools
    ask QUESTION           ask a person
    fail rate_limit [SECONDS] | auth | max_turns | budget | error [TEXT]    end so, at once
    exit CODE, kill        end without a result: with this exit code, or by SIGKILL
    vanish                 end without a result, and with exit code 0
    hang [stubborn]        say nothing more; stubborn: nor end when told to
    stay [SECONDS]         give the result, but do not end
    once VERB …            only where it is not taken up again (--resume)
    first FILE VERB …      only if there is no such file, which there is from then on

Without any, it looks at the folder and says that it is done.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from typing import Any, NoReturn

from paneview.agents.fitting import example

DIRECTIVE = re.compile(r"^[ \t>|]*demo(?:@([\w.-]+))?:[ \t]*(.*?)[ \t]*$", re.MULTILINE)
MODEL = "demo-1"
GARBAGE = (
    b"warning: something",
    b'{"type": "assistant"',
    b'{"type": ["a"], "message": 5}',
    b"[1, 2]",
    b"\xff\xfe\0",
    b'{"type": "assistant", "message": {"content": [7, {"type": "text", "text": null}]}}',
    b"{}",
    b"null",
    b'{"type": "system", "subtype": "init", "session_id": 9}',
)
MOST_NAMES = 5  # of the folder's files that it lists


class Agent:
    """One run of the demo agent."""

    def __init__(self, options: dict[str, str], prompt: str) -> None:
        self.options = options
        self.prompt = prompt
        self.session = options.get("--resume") or options.get("--session-id") or str(uuid.uuid4())
        self.may_write = options.get("--permission-mode", "default") in ("acceptEdits", "bypassPermissions")
        self.text = ""
        self.data: Any = None
        self.cost: float | None = 0.01
        self.tokens = (len(prompt) // 4 + 1, 50)
        self.turns = 1
        self.denials: list[dict[str, Any]] = []
        self.stay = 0.0

    # What it prints

    def emit(self, **event: Any) -> None:
        """Print an event."""
        _print(json.dumps({**event, "session_id": self.session}))

    def say(self, text: str) -> None:
        """Say something."""
        self.emit(
            type="assistant", message={"role": "assistant", "content": [{"type": "text", "text": text}]}
        )

    def tool(self, name: str, given: dict[str, Any], result: str = "", *, failed: bool = False) -> None:
        """Use a tool."""
        call = f"toolu_{self.turns}"
        self.turns += 1
        block = {"type": "tool_use", "id": call, "name": name, "input": given}
        self.emit(type="assistant", message={"role": "assistant", "content": [block]})
        answer = {"type": "tool_result", "tool_use_id": call, "content": result, "is_error": failed}
        self.emit(type="user", message={"role": "user", "content": [answer]})

    def end(self, subtype: str = "success", *, error: str = "", http: int | None = None) -> NoReturn:
        """Give the result, and end."""
        known = not error and subtype == "success"
        usage = {
            "input_tokens": self.tokens[0],
            "output_tokens": self.tokens[1],
            "cache_read_input_tokens": 0,
        }
        models = {"inputTokens": self.tokens[0], "outputTokens": self.tokens[1], "cacheReadInputTokens": 0}
        event: dict[str, Any] = {
            "type": "result", "subtype": subtype, "is_error": not known, "api_error_status": http,
            "num_turns": self.turns, "usage": usage, "modelUsage": {MODEL: models},
            "permission_denials": self.denials, "terminal_reason": "completed" if known else "error",
        }  # fmt: skip
        if self.cost is not None:
            event["total_cost_usd"] = self.cost
        if subtype == "success":
            event["result"] = error or self.text
        if known and self.data is not None:
            event["structured_output"] = self.data
        self.emit(**event)
        time.sleep(self.stay)
        sys.exit(0 if known else 1)

    # What it does

    def run(self) -> NoReturn:
        """Do what the prompt says."""
        self.emit(
            type="system", subtype="init", cwd=os.getcwd(), model=MODEL, tools=["Read", "Write", "Bash"]
        )
        here = {os.environ.get("PANEVIEW_PHASE", ""), os.environ.get("PANEVIEW_ROLE", "")}
        told = [words for name, words in DIRECTIVE.findall(self.prompt) if not name or name in here]
        if not told:
            self._look()
        for words in told:
            self.do(words)
        self._limits()
        schema = self.options.get("--json-schema")
        if schema and self.data is None:
            self.data = example(json.loads(schema))
        if not self.text:
            task = next((line for line in self.prompt.splitlines() if line.strip()), "nothing")
            self.text = f"Done, as far as a demo can: {task.strip()[:200]}"
        if self.data is not None and schema:
            self.text = json.dumps(self.data)
        self.say(self.text)
        self.end()

    def do(self, words: str) -> None:
        """One directive. Unknown verbs are said."""
        verb, _, rest = words.partition(" ")
        rest = rest.strip()
        method = getattr(self, f"_do_{verb.replace('-', '_')}", None)
        if method is None:
            self.say(f"I do not know how to {verb!r}.")
        else:
            method(rest)

    def _look(self) -> None:
        names = sorted(name for name in os.listdir() if not name.startswith("."))
        shown = ", ".join(names[:MOST_NAMES]) + (", …" if len(names) > MOST_NAMES else "")
        self.tool("Bash", {"command": "ls"}, shown)
        self.say(f"I am the demo agent. I see {len(names)} files here: {shown or 'none'}.")

    def _limits(self) -> None:
        most, budget = self.options.get("--max-turns"), self.options.get("--max-budget-usd")
        if most and self.turns > int(most):
            self.end("error_max_turns")
        if budget and self.cost is not None and self.cost > float(budget):
            self.end("error_max_budget_usd")

    def _do_say(self, rest: str) -> None:
        self.say(rest)

    def _do_tool(self, rest: str) -> None:
        name, _, given = rest.partition(" ")
        self.tool(name, {"command": given}, "ok")

    def _do_write(self, rest: str) -> None:
        self._put(rest, "w")

    def _do_append(self, rest: str) -> None:
        self._put(rest, "a")

    def _put(self, rest: str, mode: str) -> None:
        name, _, text = rest.partition(" ")
        here = os.path.realpath(".")
        path = os.path.realpath(name)
        if not self.may_write:
            self.say(f"I would write {name}, but I may only read.")
        elif not path.startswith(here + os.sep):
            self.denials.append(
                {"tool_name": "Write", "tool_use_id": "toolu_0", "tool_input": {"file_path": name}}
            )
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, mode, encoding="utf-8") as file:
                file.write(text.replace("\\n", "\n") + "\n")
            self.tool("Write", {"file_path": name}, "written")

    def _do_sleep(self, rest: str) -> None:
        time.sleep(float(rest or 1))

    def _do_result(self, rest: str) -> None:
        self.text = rest.replace("\\n", "\n")

    def _do_json(self, rest: str) -> None:
        self.data = json.loads(rest)

    def _do_cost(self, rest: str) -> None:
        self.cost = None if rest == "none" else float(rest)

    def _do_tokens(self, rest: str) -> None:
        given, made = rest.split()
        self.tokens = int(given), int(made)

    def _do_turns(self, rest: str) -> None:
        self.turns = int(rest)

    def _do_env(self, rest: str) -> None:
        self.say(f"{rest} is {os.environ.get(rest, 'not set')}")
        self.text = f"{rest}={os.environ.get(rest, '')}"

    def _do_argv(self, _rest: str) -> None:
        self.text = json.dumps(sys.argv[1:])

    def _do_escape(self, _rest: str) -> None:
        self.say("\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\x1bP1$r\x1b\\ and \x9b5n plain\r\x07")

    def _do_garbage(self, _rest: str) -> None:
        os.write(1, b"\n".join(GARBAGE) + b"\n")

    def _do_retry(self, rest: str) -> None:
        count, _, seconds = rest.partition(" ")
        for number in range(1, int(count) + 1):
            wait = float(seconds or 1)
            self.emit(type="system", subtype="api_retry", attempt=number, max_retries=10,
                      retry_delay_ms=wait * 1000, error_status=429, error="rate_limit")  # fmt: skip
            time.sleep(wait)

    def _do_spawn(self, rest: str) -> None:
        count, _, how = rest.partition(" ")
        for _ in range(int(count)):
            child = subprocess.Popen(
                ["sleep", "600"],
                start_new_session=how in ("away", "bare"),
                env={"PATH": os.environ.get("PATH", "")} if how == "bare" else None,
                stdout=subprocess.DEVNULL if how else None,
            )
            self.say(f"started {child.pid}")

    def _do_deny(self, rest: str) -> None:
        name, _, given = rest.partition(" ")
        if name in self.options.get("--allowedTools", "").split(","):
            self.tool(name, {"command": given}, "ok")
            return
        self.denials.append({"tool_name": name, "tool_use_id": "toolu_0", "tool_input": {"command": given}})
        self.tool(name, {"command": given}, f"This needs approval: {name}", failed=True)

    def _do_ask(self, rest: str) -> None:
        given = {"questions": [{"question": rest}]}
        self.denials.append({"tool_name": "AskUserQuestion", "tool_use_id": "toolu_0", "tool_input": given})
        self.tool("AskUserQuestion", given, "nobody is there to answer", failed=True)

    def _do_fail(self, rest: str) -> None:
        kind, _, more = rest.partition(" ")
        match kind:
            case "rate_limit":
                info = {
                    "status": "rejected",
                    "resetsAt": int(time.time() + float(more or 60)),
                    "rateLimitType": "five_hour",
                }
                self.emit(type="rate_limit_event", rate_limit_info=info)
                words = f"You've hit your usage limit. Try again in {float(more or 60):g} seconds."
                self.end(error=words, http=429)
            case "auth":
                self.end(error="Invalid API key · Please run /login", http=401)
            case "max_turns" | "budget":
                self.end({"budget": "error_max_budget_usd"}.get(kind, "error_max_turns"))
            case _:
                self.end(error=more or "something broke", http=500)

    def _do_exit(self, rest: str) -> None:
        os.write(2, b"the demo agent gives up\n")
        sys.exit(int(rest or 1))

    def _do_kill(self, _rest: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _do_vanish(self, _rest: str) -> None:
        sys.exit(0)

    def _do_hang(self, rest: str) -> None:
        if rest == "stubborn":
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(1)  # not for ever: a signal just before the sleep is handled after it

    def _do_stay(self, rest: str) -> None:
        self.stay = float(rest or 600)

    def _do_once(self, rest: str) -> None:
        if "--resume" not in self.options:
            self.do(rest)

    def _do_first(self, rest: str) -> None:
        name, _, words = rest.partition(" ")
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        self.do(words)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(argv: list[str]) -> NoReturn:
    """Read the prompt, and do what it says."""
    if "--help" in argv or "-h" in argv:
        _print(str(__doc__))
        sys.exit(0)
    options = dict(word.partition("=")[::2] for word in argv if word.startswith("--"))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))  # as claude does: no result, and exit code 0
    Agent(options, sys.stdin.buffer.read().decode("utf-8", "replace")).run()


if __name__ == "__main__":
    main(sys.argv[1:])
