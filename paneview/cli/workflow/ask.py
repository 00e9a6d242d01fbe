"""``ask``: turn a sentence into a workflow. Nothing heavy is imported, so that the workflow begins at once."""

from __future__ import annotations

import os
import sys
import time

from paneview.cli import place
from paneview.cli.errors import FAILED, CliError, UsageError
from paneview.cli.output import INKS, again, clean, colourful, complain, paint, print_json
from paneview.cli.stdin import text_of
from paneview.control.errors import Disconnected, NoSupervisor
from paneview.control.looks import PHASES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from paneview.cli.parser import Call
    from paneview.control.blocking import Connection

DEFAULT_WAIT = 600.0  # seconds
RECONNECT = 0.2  # seconds between two attempts to reach the next supervisor


def ask(call: Call) -> int:
    """Begin a workflow, and wait for its end unless told otherwise."""
    text = text_of(call.words)
    if not text.strip():
        raise UsageError("there is nothing to do: the text is empty")
    if call.flag("wait") and call.flag("no-wait"):
        raise UsageError("--wait and --no-wait exclude each other")
    args = {
        "text": text,
        "workflow": call.text("workflow") or "default",
        "cwd": os.path.abspath(call.text("working-dir") or os.getcwd()),
        "budget_usd": budget_usd(call),
        "by": _me(),
    }
    limit = _seconds(call)
    here = place.find(call, hint=place.FOR_WORKFLOWS)
    watch = Watch(_connected(here), here)
    try:
        if not call.flag("no-wait"):
            watch.subscribe()
        reply = watch.connection.call("ask", args)
        flow = reply["workflow"]
        _warn(call, reply["without_worker"])
        if call.flag("no-wait"):
            return _print_begun(call, reply)
        if not call.json:
            print(f"workflow {flow['id']}", file=sys.stderr)
        progress = Progress(call)
        flow = watch.follow(flow, time.monotonic() + limit, progress.show)
        return _print_end(call, watch.connection, flow, limit)
    finally:
        watch.connection.close()


def _connected(here: place.Place) -> Connection:
    """A connection to the project's supervisor, which is started if there is none."""
    try:
        return here.connect()
    except NoSupervisor:
        from paneview.cli.launch import start_supervisor  # noqa: PLC0415

        start_supervisor(here, idle=False)
        return here.connect()


def budget_usd(call: Call) -> float | None:
    """The ``--budget`` in dollars; None if it is not given. Raises UsageError unless it is a number above 0."""
    text = call.text("budget")
    if text is None:
        return None
    from paneview.control.flowmodel import dollars  # noqa: PLC0415 - only where a budget was given

    if (value := dollars(text)) is None:
        raise UsageError(f"--budget needs a number above 0, not {text!r}")
    return value


def _seconds(call: Call) -> float:
    text = call.text("timeout")
    if text is None:
        return DEFAULT_WAIT
    from paneview.cli.queue.opening import seconds  # noqa: PLC0415 - only where a time was given

    return seconds(call, "timeout") or DEFAULT_WAIT


def _me() -> str:
    return os.environ.get("USER") or os.environ.get("LOGNAME") or "user"


def _warn(call: Call, missing: list[str]) -> None:
    if missing and not call.json:
        words = f"no worker is alive for {', '.join(missing)}: 'paneview workflow-setup' starts some"
        complain(again(call, words))


def _print_begun(call: Call, reply: dict[str, Any]) -> int:
    if call.json:
        print_json({"ok": True, **reply})
    else:
        print(reply["workflow"]["id"])
    return 0


class Watch:
    """Follows workflows, from one supervisor to the next if need be."""

    def __init__(self, connection: Connection, here: place.Place) -> None:
        self.connection = connection
        self._here = here

    def subscribe(self) -> None:
        """Subscribe to the changes of workflows."""
        self.connection.call("subscribe", {"topics": ["workflows"]})

    def follow(
        self, flow: dict[str, Any], end: float, show: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Show each change until the workflow or the time is over; returns its last state. ``end``: monotonic time."""
        show(flow)
        while flow["active"] and (left := end - time.monotonic()) > 0:
            try:
                push = self.connection.next_push(left)
            except Disconnected:
                if not self._again(end):
                    break
                flow = self.connection.call("workflow", {"id": flow["id"]})["workflow"]
                show(flow)
                continue
            if push and push.get("push") == "workflow" and push["workflow"]["id"] == flow["id"]:
                flow = push["workflow"]
                show(flow)
        return flow

    def every(self, show: Callable[[dict[str, Any]], None]) -> None:
        """Show every change of any workflow, for ever."""
        while True:
            try:
                push = self.connection.next_push(3600.0)
            except Disconnected:
                self._again(float("inf"))
                continue
            if push and push.get("push") == "workflow":
                show(push["workflow"])

    def _again(self, end: float) -> bool:
        """Connect to the next supervisor; False if there is none by ``end``."""
        self.connection.close()
        while time.monotonic() < end:
            try:
                self.connection = self._here.connect()
                self.subscribe()
            except (NoSupervisor, Disconnected):
                time.sleep(RECONNECT)
            else:
                return True
        return False


class Progress:
    """Prints to standard error, once each: a phase's changes; and what needs a person, which no script may miss."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._silent = call.json
        self._brief = not (sys.stderr.isatty() or call.flag("verbose"))
        self._verbose = call.flag("verbose")
        self._colour = colourful(sys.stderr)
        self._seen: dict[str, tuple[Any, ...]] = {}

    def show(self, flow: dict[str, Any]) -> None:
        """Print what has changed since the last call."""
        if self._silent:
            return
        for phase in () if self._brief else flow["phases"]:
            key = (phase["status"], phase["attempt"], phase["reason"])
            seen = self._seen.get(phase["name"], ("pending", 0, ""))
            if seen != key and phase["attempt"] >= seen[1]:  # a push may be older than the reply before it
                self._seen[phase["name"]] = key
                print(phase_line(phase, self._colour, verbose=self._verbose), file=sys.stderr, flush=True)
        if flow["budget_warned"] and " budget" not in self._seen:
            self._seen[" budget"] = ()
            words = f"most of its budget is spent: {flow['tokens']['total']} tokens, {money(flow)}"
            print(paint(words, "yellow", self._colour), file=sys.stderr, flush=True)
        if flow["status"] == "waiting" and self._seen.get("") != (flow["reason"],):
            self._seen[""] = (flow["reason"],)
            words = f"waits for you: {flow['reason']}; {again(self._call, _way_on(flow))}"
            print(paint(clean(words), "yellow", self._colour), file=sys.stderr, flush=True)


def _way_on(flow: dict[str, Any]) -> str:
    """The commands that let a waiting workflow go on: a person's decision, or a new budget."""
    waiting = [phase for phase in flow["phases"] if phase["waits_for_person"]]
    if any(phase.get("question") for phase in waiting):
        return f"'paneview workflow approve {flow['id']} --answer TEXT' or reject"
    if waiting:
        return f"'paneview workflow approve {flow['id']}' or reject"
    most = flow["budget_tokens"]
    more = "--tokens N" if most is not None and flow["tokens"]["total"] >= most else "--budget USD"
    return f"'paneview workflow resume {flow['id']} {more}' or cancel"


def phase_line(phase: dict[str, Any], colour: bool, *, verbose: bool = False) -> str:
    """A phase on one line: glyph and word, time, tokens, money, and why."""
    glyph, role = PHASES[phase["status"]]
    parts = [f"{glyph} {phase['name']:<12} {phase['status'].replace('_', ' ')}"]
    if phase["runs"] > 1:
        parts.append(f"run {phase['runs']}")
    if phase["ended_at"] and phase["queued_at"]:
        parts.append(f"{phase['ended_at'] - phase['queued_at']:.1f} s")
    if phase["tokens"]["total"]:
        parts.append(f"{phase['tokens']['total']} tokens")
        parts.append(money(phase))
    if phase["lines"]:
        lines, files = phase["lines"], phase["files"]
        parts.append(f"{lines} line{'s' * (lines != 1)} in {files} file{'s' * (files != 1)}")
    if verbose and phase["job"]:
        parts.append(f"job {phase['job']}")
    if phase["reason"]:
        parts.append(phase["reason"])
    return paint(clean("  ".join(parts)), INKS[role], colour)


def money(view: dict[str, Any]) -> str:
    """The cost as text: never 0 for what has no price."""
    cost, unpriced = view["cost_usd"], view["unpriced"]
    if cost is None:
        return "unpriced"
    return f"${cost:.2f}{' + unpriced' if unpriced else ''}"


def _print_end(call: Call, connection: Connection, flow: dict[str, Any], limit: float) -> int:
    name = flow["id"]
    if flow["active"]:
        hint = f"'paneview workflow status {name}' shows how it goes on"
        message = f"{name} is not over after {limit:g} s: {flow['status']}"
        if flow["status"] == "waiting":
            message, hint = f"{message} for you: {flow['reason']}", _way_on(flow)
        raise CliError(message, FAILED, hint, code="pending", id=name, state=flow["status"])
    return print_result(call, connection.call("workflow_result", {"id": name}))


def print_result(call: Call, brought: dict[str, Any]) -> int:
    """Print the result of a workflow; returns the exit status."""
    done = brought["status"] == "done"
    if call.json:
        failed = {} if done else {"error": brought["reason"] or brought["status"]}
        print_json({"ok": done, **failed, "result": brought})
        return 0 if done else FAILED
    for line in str(brought["text"]).splitlines():
        print(clean(line.expandtabs()))
    if not done:
        print(f"{brought['id']} {brought['status']}: {clean(brought['reason'])}", file=sys.stderr)
    where = [f"on branch {brought['branch']}"] if brought["branch"] else []
    where += [brought["kept"]] if brought["kept"] else []
    told = "; ".join([f"{brought['tokens']['total']} tokens, {money(brought)}", *where])
    print(paint(clean(told), "dim", colourful(sys.stderr)), file=sys.stderr)
    return 0 if done else FAILED
