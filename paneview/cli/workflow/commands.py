"""``workflow …`` and PaneBus's names for it: show workflows, and decide about them.

The supervisor is asked if one runs. Otherwise the queue is read and changed directly, and a supervisor acts on the
decision as soon as one runs.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paneview.cli import place
from paneview.cli.errors import CliError, UsageError
from paneview.cli.output import (
    INKS,
    Cell,
    Column,
    again,
    clean,
    colourful,
    paint,
    print_json,
    print_table,
)
from paneview.cli.times import stamp
from paneview.cli.workflow.ask import Watch, budget_usd, money, phase_line, print_result
from paneview.config import paths
from paneview.control.errors import NoSupervisor
from paneview.control.looks import FLOWS, PHASES

if TYPE_CHECKING:
    from paneview.cli.parser import Call

DEFAULT_LIMIT = 20
FOREVER = 10 * 365 * 86_400.0  # seconds


def listed(call: Call) -> int:
    """List workflows, the newest first."""
    count = call.count("count")
    limit = DEFAULT_LIMIT if count is None else count
    found = _ask(call, "workflows", {"active": call.flag("active"), "limit": limit})
    if call.json:
        print_json({"ok": True, **found})
    elif not found["workflows"]:
        none = "no workflow is active"
        none = none if call.flag("active") else again(call, "no workflows yet: 'paneview ask' begins one")
        print(clean(none))
    else:
        _print_list(found["workflows"])
        _print_roles(found["roles"])
    return 0


def status(call: Call) -> int:
    """Show one workflow, phase by phase."""
    found = _ask(call, "workflow", {"id": call.words[0]})
    if call.json:
        print_json({"ok": True, **found})
    else:
        _print_whole(found["workflow"])
    return 0


def result(call: Call) -> int:
    """Print what came of a workflow; exit status 1 if it is not done."""
    found = _ask(call, "workflow_result", {"id": call.words[0]})
    if found["status"] not in ("done", "failed", "cancelled"):
        raise CliError(f"{found['id']} is not over: {found['status']}", code="pending", state=found["status"])
    return print_result(call, found)


def cancel(call: Call) -> int:
    """Cancel a workflow."""
    return _act(call, "workflow_cancel", {"id": call.words[0], "why": call.text("why") or ""})


def retry(call: Call) -> int:
    """Run again what failed, or one phase and all that depends on it."""
    return _act(call, "workflow_retry", {"id": call.words[0], "phase": call.text("from")})


def approve(call: Call) -> int:
    """Let phases that wait for a person go on, perhaps with an answer: one, or all that wait."""
    return _act(call, "workflow_approve", {**_id_and_phase(call), "answer": call.text("answer") or ""})


def reject(call: Call) -> int:
    """Reject phases that wait for a person, so that they fail: one, or all that wait."""
    return _act(call, "workflow_reject", {**_id_and_phase(call), "why": call.text("why") or ""})


def resume(call: Call) -> int:
    """Let a workflow that has stopped go on, perhaps with a higher budget."""
    tokens = call.count("tokens")
    if tokens == 0:
        raise UsageError("--tokens needs a number above 0")
    args = {"id": call.words[0], "budget_usd": budget_usd(call), "budget_tokens": tokens}
    return _act(call, "workflow_resume", args)


def diff(call: Call) -> int:
    """Print what a workflow has changed."""
    found = _ask(call, "workflow_diff", {"id": call.words[0]})
    if call.json:
        print_json({"ok": True, "change": found})
    else:
        for line in found["diff"].splitlines():
            print(clean(line.expandtabs()))
    return 0


def watch(call: Call) -> int:
    """Print every change until Ctrl-C or, of a single workflow, until it is over."""
    here = place.find(call, hint=place.FOR_WORKFLOWS)
    seen = Watch(here.connect(), here)
    try:
        seen.subscribe()
        colour = colourful()
        if call.words:
            flow = seen.connection.call("workflow", {"id": call.words[0]})["workflow"]
            seen.follow(flow, time.monotonic() + FOREVER, lambda one: _print_change(call, one, colour))
            return 0
        seen.every(lambda one: _print_change(call, one, colour))
    except KeyboardInterrupt:
        pass
    finally:
        seen.connection.close()
    return 0


def _id_and_phase(call: Call) -> dict[str, Any]:
    return {"id": call.words[0], "phase": call.words[1] if len(call.words) > 1 else None}


def _ask(call: Call, do: str, args: dict[str, Any]) -> dict[str, Any]:
    here = None
    try:
        here = place.find(call, hint=place.FOR_WORKFLOWS)
        return here.ask(do, args, timeout=60.0)
    except NoSupervisor:
        pass
    except CliError:
        from paneview.cli.queue.opening import is_alone  # noqa: PLC0415 - without a project

        if not is_alone(call):
            raise
    from paneview.cli.workflow.offline import answer  # noqa: PLC0415 - opens the queue

    found = answer(call, do, args)
    if here is not None and not call.json:
        _tell_of_standstill(here, found)
    return found


def _tell_of_standstill(here: place.Place, found: dict[str, Any]) -> None:
    """Tell if workflows of this project are under way: nothing carries them on now, not even to their end."""
    flows = found.get("workflows") or [found.get("workflow")]  # of a result it is only a name
    ours = f":{paths.project_key(Path(here.file))}"
    if any(isinstance(flow, dict) and flow["active"] and flow["home"].endswith(ours) for flow in flows):
        words = "no supervisor is running: what is under way goes on with the next ('paneview start')"
        print(words, file=sys.stderr)


def _act(call: Call, do: str, args: dict[str, Any]) -> int:
    flow = _ask(call, do, args)["workflow"]
    if call.json:
        print_json({"ok": True, "workflow": flow})
    else:
        reason = f" ({clean(flow['reason'])})" if flow["reason"] else ""
        print(f"{flow['id']} is {flow['status']}{reason}")
    return 0


def _print_list(found: list[dict[str, Any]]) -> None:
    columns = [
        Column("ID"), Column("STATUS"), Column("PHASES", drop=2), Column("STARTED", drop=4),
        Column("TIME", right=True, drop=3), Column("TOKENS", right=True, drop=6), Column("COST", right=True, drop=5),
        Column("TASK", flex=True, drop=1),
    ]  # fmt: skip
    rows = [
        [
            Cell(flow["id"]),
            Cell(_state(flow), _ink(flow)),
            Cell(_marks(flow)),
            Cell(stamp(flow["created_at"])[:19]),
            Cell(_took(flow)),
            Cell(flow["tokens"]["total"] or ""),
            Cell(money(flow) if flow["tokens"]["total"] or flow["unpriced"] else ""),
            Cell(flow["task"].strip().partition("\n")[0]),
        ]
        for flow in found
    ]
    print_table(columns, rows)


def _state(flow: dict[str, Any]) -> str:
    return f"{FLOWS[flow['status']][0]} {flow['status']}"


def _ink(flow: dict[str, Any]) -> str:
    return INKS[FLOWS[flow["status"]][1]]


def _marks(flow: dict[str, Any]) -> str:
    return " ".join(f"{PHASES[phase['status']][0]}{phase['name']}" for phase in flow["phases"])


def _print_roles(roles: dict[str, Any]) -> None:
    """Print what each role has used."""
    colour = colourful()
    for role, used in roles.items():
        parts = [
            f"{used['runs']} run{'s' * (used['runs'] != 1)}",
            f"{used['agent_seconds']:.1f} s",
            f"{used['tokens']['total']} tokens",
        ]
        print(paint(clean(f"  as {role}: {', '.join([*parts, money(used)])}"), "dim", colour))


def _took(flow: dict[str, Any]) -> str:
    seconds = (flow["ended_at"] or time.time()) - flow["created_at"]
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _print_whole(flow: dict[str, Any]) -> None:
    colour = colourful()
    reason = f": {clean(flow['reason'])}" if flow["reason"] else ""
    head = f"{flow['id']} ({flow['workflow']}) {_state(flow)}{reason}"
    print(paint(head, _ink(flow), colour))
    print(f"  {clean(flow['task'].strip().partition(chr(10))[0])}")
    budget = f" of ${flow['budget_usd']:.2f}" if flow["budget_usd"] else ""
    print(
        f"  {_took(flow)}, {flow['tokens']['total']} tokens, {money(flow)}{budget}, in {clean(flow['cwd'])}"
    )
    if flow["branch"]:
        print(f"  branch {clean(flow['branch'])}")
    for conflict in flow["conflicts"]:
        words = f"  collides with {conflict['branch']} in {', '.join(conflict['files'])}"
        print(paint(clean(words), "yellow", colour))
    if flow["kept"]:
        print(paint(f"  {clean(flow['kept'])}", "yellow", colour))
    for phase in flow["phases"]:
        print(phase_line(phase, colour, verbose=True))
        for run in phase["history"] if len(phase["history"]) > 1 else ():
            words = f"    run {run['attempt']}: {run['outcome']}  {run['agent_seconds']:.1f} s"
            print(paint(f"{words}  {run['tokens']['total']} tokens  {money(run)}", "dim", colour))
        error = phase["error"] or ""
        for line in () if error == phase["reason"] else error.splitlines()[-5:]:
            print(paint(f"    {clean(line)}", "dim", colour))
    _print_roles(flow["roles"])


def _print_change(call: Call, flow: dict[str, Any], colour: bool) -> None:
    if call.json:
        print_json(flow)
        sys.stdout.flush()
        return
    words = f"{stamp(time.time())[11:19]} {flow['id']} {flow['status']:<9} {_marks(flow)}  {flow['reason']}"
    print(paint(clean(words.rstrip()), _ink(flow), colour), flush=True)
