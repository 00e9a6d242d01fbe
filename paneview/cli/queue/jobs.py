"""Showing jobs and changing them: ``jobs``, ``job``, ``result``, ``cancel``, ``dlq``, ``queue``."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from paneview.broker import JobFilter, JobState, UnavailableError
from paneview.cli.errors import FAILED, CliError, UsageError
from paneview.cli.output import Cell, Column, clean, complain, print_json, print_table
from paneview.cli.queue.opening import Outage, opened, read_only, seconds
from paneview.cli.times import stamp
from paneview.worker import fates
from paneview.worker.joining import shown_url
from paneview.worker.views import WORDS, job_json, lane_json, state_word, what_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paneview.broker import Broker, Job, Result
    from paneview.cli.parser import Call

DEFAULT_LIMIT = 50
DEFAULT_WAIT = 60.0  # seconds
DEFAULT_AGE = 7 * 86_400.0  # seconds
STEP = 30.0  # seconds of one wait; a longer one takes several
_COLOURS = {"done": "green", "dead": "red", "leased": "cyan", "cancelled": "dim", "delayed": "yellow"}


def jobs(call: Call) -> int:
    """List jobs, the newest first."""
    wanted = JobFilter(
        states=_states(call.texts("state")),
        role=call.text("role") or "",
        host=call.text("host") or "",
        task=call.text("task") or "",
        kind=call.text("kind") or "",
        limit=_limit(call),
    )
    with read_only(call) as broker:
        return _print_jobs(call, broker.jobs(wanted), broker.warnings, "no jobs")


def job(call: Call) -> int:
    """Show everything about one job."""
    with read_only(call) as broker:
        found = broker.need(call.words[0])
    if call.json:
        print_json({"ok": True, "job": job_json(found)})
    else:
        _print_whole(found)
    return 0


def result(call: Call) -> int:
    """Print the result of a job; exit status 1 if it failed, was cancelled, or is not over."""
    limit = seconds(call, "timeout") if call.flag("timeout") else DEFAULT_WAIT
    with opened(call) if call.flag("wait") else read_only(call) as broker:
        name = call.words[0]
        found = wait_for(call, broker, name, limit) if call.flag("wait") else broker.result(name)
        if found is None:
            state = broker.need(name).state.value
            raise CliError(f"{name} is not over: {state_word(state)}", code="pending", state=state)
    return print_result(call, name, found)


def wait_for(call: Call, broker: Broker, name: str, limit: float | None) -> Result | None:
    """The job's result as soon as there is one; None after ``limit`` seconds (None: no limit). Raises BrokerError.

    An outage of the queue is told, and waited out.
    """
    end = None if limit is None else time.monotonic() + limit
    outage = Outage(quiet=call.json)
    while True:
        left = STEP if end is None else min(STEP, end - time.monotonic())
        try:
            found = broker.wait_result(name, max(0.0, left))
        except UnavailableError as error:
            if end is not None and time.monotonic() >= end:
                raise
            outage.wait(error)
            continue
        outage.over()
        if found is not None or (end is not None and time.monotonic() >= end):
            return found


def print_result(call: Call, name: str, found: Result | None) -> int:
    """Print a result; returns the exit status."""
    assert found
    if call.json:
        failed = {} if found.status == "ok" else {"error": found.error or found.status}
        print_json({"ok": found.status == "ok", **failed, "id": name, "result": found.as_json()})
    elif found.status == "ok":
        _print_output(found.output)
    else:
        fate = "was cancelled" if found.status == "cancelled" else "failed"
        complain(f"{name} {fate}: {found.error or ''}")
    return 0 if found.status == "ok" else FAILED


def cancel(call: Call) -> int:
    """Cancel jobs; exit status 1 if one of them was over or unknown."""
    with opened(call) as broker:
        return print_done(call, fates.cancel(broker, call.words, call.text("reason") or ""))


def dead(call: Call) -> int:
    """List the dead letters."""
    with read_only(call) as broker:
        return _print_jobs(call, broker.dead(_limit(call)), broker.warnings, "no dead letters")


def dead_shown(call: Call) -> int:
    """Show dead letters in full."""
    with read_only(call) as broker:
        found = [broker.need(name) for name in call.words]
    if call.json:
        print_json({"ok": True, "jobs": [job_json(one) for one in found], "count": len(found)})
    else:
        for one in found:
            _print_whole(one)
    return 0


def dead_retried(call: Call) -> int:
    """Queue dead letters again."""
    return _settle_dead(call, fates.retry)


def dead_purged(call: Call) -> int:
    """Delete dead letters."""
    return _settle_dead(call, fates.purge)


def _settle_dead(call: Call, settle: Callable[[Broker, list[str] | None], list[dict[str, Any]]]) -> int:
    if bool(call.words) == call.flag("all"):
        raise UsageError(f"'{call.verb.name}' needs ids, or --all")
    with opened(call) as broker:
        results = settle(broker, call.words or None)
    if not results and not call.json:
        print("no dead letters")
        return 0
    return print_done(call, results)


def lanes(call: Call) -> int:
    """Show how full each lane is."""
    with read_only(call) as broker:
        found = [lane_json(lane) for lane in broker.stats()]
        warnings, url = list(broker.warnings), broker.url
    if call.json:
        print_json({"ok": True, "broker": shown_url(url), "lanes": found, "warnings": warnings})
        return 0
    _print_lanes(found)
    for warning in warnings:
        print(f"! {clean(warning)}")
    return 0


def cleaned(call: Call) -> int:
    """Forget old jobs."""
    age = seconds(call, "older-than") if call.flag("older-than") else DEFAULT_AGE
    with read_only(call) as broker:
        count = broker.clean(age or 0.0)
    if call.json:
        print_json({"ok": True, "action": "cleaned", "count": count})
    else:
        print(f"{count} job{'' if count == 1 else 's'} forgotten")
    return 0


def _states(names: Sequence[str]) -> frozenset[JobState]:
    """The states of these names, ours, people's or claude-queue's. Raises UsageError."""
    found: set[JobState] = set()
    for name in names:
        known = {
            state for state in JobState if name in (state.value, state_word(state.value), WORDS[state.value])
        }
        if name == "failed":
            known = {JobState.DEAD}
        if not known:
            raise UsageError(
                f"there is no state {name!r}",
                f"there are {', '.join(state_word(state.value) for state in JobState)}",
            )
        found |= known
    return frozenset(found)


def _limit(call: Call) -> int:
    limit = call.count("limit")
    return DEFAULT_LIMIT if limit is None else limit


def _print_jobs(call: Call, found: list[Job], warnings: Sequence[str], nothing: str) -> int:
    if call.json:
        warned = {"warnings": list(warnings)} if warnings else {}
        print_json({"ok": True, "jobs": [job_json(one) for one in found], "count": len(found), **warned})
        return 0
    for warning in warnings:
        print(f"! {clean(warning)}", file=sys.stderr)
    if not found:
        print(nothing)
        return 0
    columns = [
        Column("ID"), Column("KIND"), Column("STATE"), Column("FOR", drop=2), Column("TRIES", right=True, drop=3),
        Column("SUBMITTED", drop=4), Column("WHAT", flex=True, drop=1),
    ]  # fmt: skip
    rows = [_row(one) for one in found]
    print_table(columns, rows)
    return 0


def _row(one: Job) -> list[Cell]:
    failed = one.errors and one.state is not JobState.DONE
    shown = one.errors[-1].error if failed else what_of(one)
    return [
        Cell(one.id),
        Cell(one.kind),
        Cell(state_word(one.state.value), _COLOURS.get(one.state.value)),
        Cell(str(one.target)),
        Cell(f"{one.attempts}/{one.max_attempts}"),
        Cell(stamp(one.submitted_at)[:19]),
        Cell(shown[:200]),
    ]


def _print_whole(found: Job) -> None:
    for key, value in job_json(found).items():
        if key in ("errors", "result") or value in (None, "", [], {}):
            continue
        shown = stamp(value) if key.endswith(("_at", "_before", "_until")) else value
        shown = state_word(shown) if key == "state" else shown
        print(f"{key + ':':15} {clean(shown if isinstance(shown, str) else json.dumps(shown))}")
    for attempt in found.errors:
        print(
            f"attempt {attempt.number}:      {stamp(attempt.at)} {clean(attempt.worker)}: {clean(attempt.error)}"
        )
    if found.result is not None:
        print(
            f"result:         {found.result.status} by {clean(found.result.worker)} on {clean(found.result.host)}"
        )
        if found.result.status == "ok":
            _print_output(found.result.output)
        else:
            print(clean(found.result.error or ""))


def _print_output(output: Any) -> None:
    if isinstance(output, str):
        for line in output.splitlines():
            print(clean(line.expandtabs()))
    elif output is not None:
        print(json.dumps(output, indent=2))


def print_done(call: Call, results: list[dict[str, Any]]) -> int:
    """Print each result, failures to standard error; returns the exit status."""
    failed = [one for one in results if not one["ok"]]
    if call.json:
        error = {"error": "; ".join(str(one["error"]) for one in failed)} if failed else {}
        print_json({"ok": not failed, **error, "results": results})
    else:
        for one in results:
            name, problem = str(one["id"]), str(one.get("error"))
            if one["ok"]:
                print(clean(f"{name}: {one['action']}"))
            else:
                complain(problem if name in problem else f"{name}: {problem}")
    return FAILED if failed else 0


def _print_lanes(lanes: list[dict[str, Any]]) -> None:
    if not lanes:
        print("the queue is empty")
        return
    columns = [
        Column("FOR"), Column("QUEUED", right=True), Column("DELAYED", right=True, drop=2),
        Column("BLOCKED", right=True, drop=3), Column("RUNNING", right=True), Column("OLDEST", right=True, drop=1),
    ]  # fmt: skip
    rows = [
        [
            Cell(lane["target"]), Cell(lane["queued"]), Cell(lane["delayed"]), Cell(lane["blocked"]),
            Cell(lane["leased"]), Cell("" if lane["oldest_age_s"] is None else f"{lane['oldest_age_s']:.1f} s"),
        ]
        for lane in lanes
    ]  # fmt: skip
    print_table(columns, rows)
