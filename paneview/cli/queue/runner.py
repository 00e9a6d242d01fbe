"""``runner``: show the agent runners and which are paused, and let paused ones go on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from paneview.cli.output import Cell, Column, clean, print_json, print_table
from paneview.cli.queue.jobs import print_done
from paneview.cli.queue.opening import opened, place_of, read_only
from paneview.cli.times import stamp
from paneview.worker.pauses import WAITING, Pause, paused, resume
from paneview.worker.phases import read_agents

if TYPE_CHECKING:
    from paneview.cli.parser import Call
    from paneview.config.workflows.roles import Agents


def listed(call: Call) -> int:
    """The project's runners, and others that are paused."""
    where = place_of(call)
    agents: Agents | None = None
    if where.file is not None:
        agents, _ = read_agents(where.file, os.environ)
    with read_only(call) as broker:
        pauses = paused(broker)
        waiting = [flag.get("runner") for flag in broker.flags.all(WAITING).values()]
    names = dict.fromkeys([*(agents.runners if agents else ()), *pauses])
    shown = [_row(name, agents, pauses.get(name), waiting.count(name)) for name in names]
    if call.json:
        print_json({"ok": True, "runners": shown, "count": len(shown)})
        return 0
    columns = [
        Column("NAME"), Column("PRESET", drop=1), Column("MODEL", drop=2), Column("STATE"),
        Column("WAITING", right=True, drop=3), Column("WHY", flex=True),
    ]  # fmt: skip
    rows = [
        [
            Cell(one["name"]), Cell(one["preset"] or "-"), Cell(one["model"] or "-"),
            Cell(_state(one), "red" if one["paused"] else None), Cell(one["jobs"]), Cell(clean(one["reason"] or "")),
        ]
        for one in shown
    ]  # fmt: skip
    print_table(columns, rows)
    return 0


def _row(name: str, agents: Agents | None, pause: Pause | None, jobs: int) -> dict[str, Any]:
    known = agents.runners.get(name) if agents else None
    return {
        "name": name,
        "preset": known.preset or None if known else None,
        "model": known.model or None if known else None,
        "max_concurrent": known.max_concurrent or None if known else None,
        "paused": pause is not None,
        "status": pause.status if pause else None,
        "reason": pause.reason if pause else None,
        "since": pause.since if pause else None,
        "until": pause.until if pause else None,
        "jobs": jobs,
    }


def _state(one: dict[str, Any]) -> str:
    if not one["paused"]:
        return "ready"
    if one["until"] is None:
        return f"paused: {one['status']}"
    return f"paused until {stamp(one['until'])}"


def resumed(call: Call) -> int:
    """Let paused runners go on."""
    results: list[dict[str, Any]] = []
    with opened(call) as broker:
        for name in call.words:
            there, jobs = resume(broker, name)
            if there:
                results.append({"ok": True, "id": name, "action": "resumed", "jobs": len(jobs)})
            else:
                results.append(
                    {"ok": False, "id": name, "action": "none", "error": f"runner {name} is not paused"}
                )
    return print_done(call, results)
