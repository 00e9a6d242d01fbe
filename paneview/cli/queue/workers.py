"""The queue's workers: ``workers`` (or ``panes``), ``hosts`` and ``unquarantine``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from paneview.cli.output import Cell, Column, clean, print_json, print_table
from paneview.cli.queue.jobs import print_done
from paneview.cli.queue.opening import opened, place_of, read_only
from paneview.config.queue import teller
from paneview.tui.words import quarantine_text
from paneview.worker.joining import shown_url
from paneview.worker.views import hosts_json, worker_json

if TYPE_CHECKING:
    from paneview.cli.parser import Call


def workers(call: Call) -> int:
    """List the workers: those that have left only with ``--all``, quarantined ones always."""
    with read_only(call) as broker:
        quarantine = broker.workers.quarantined()
        views = broker.workers.all(role=call.text("role") or "", host=call.text("host") or "")
    shown: list[dict[str, Any]] = []
    for view in views:
        if view.alive or call.flag("all") or view.quarantined:
            found = worker_json(view, quarantine)
            before = ((one["name"], one["host"]) for one in shown)
            if not found["quarantined"] or (found["name"], found["host"]) not in before:
                shown.append(found)
    if call.json:
        print_json({"ok": True, "workers": shown, "count": len(shown), "quarantined": quarantine})
        return 0
    _print_workers(shown)
    for name, flag in quarantine.items():
        print(f"{clean(quarantine_text(name, flag))}")
    return 0


def hosts(call: Call) -> int:
    """List every host that has or had workers."""
    with read_only(call) as broker:
        found = hosts_json(broker.workers.all())
    if call.json:
        print_json({"ok": True, "hosts": found, "count": len(found)})
    elif not found:
        print("no host has workers")
    else:
        columns = [
            Column("HOST"),
            Column("ALIVE", right=True),
            Column("JOBS", right=True),
            Column("ROLES", flex=True),
        ]
        rows = [
            [Cell(one["host"]), Cell(one["alive"]), Cell(one["jobs"]), Cell(", ".join(one["roles"]))]
            for one in found
        ]
        print_table(columns, rows)
    return 0


def unquarantine(call: Call) -> int:
    """Release workers; this project's supervisor, if it runs, starts its own ones again."""
    results = _by_supervisor(call)
    return print_done(call, _by_queue(call) if results is None else results)


def _by_supervisor(call: Call) -> list[dict[str, Any]] | None:
    """Have the supervisor release them; None: there is none, or another queue is meant. Raises ControlError."""
    from paneview.cli.place import Place  # noqa: PLC0415 - only where a project is
    from paneview.control.errors import ControlError, NoSupervisor  # noqa: PLC0415 - as above

    file = place_of(call).file
    if file is None or call.text("broker"):
        return None
    place = Place(str(file))
    results: list[dict[str, Any]]
    try:
        if teller("broker", os.environ, {}) and not _is_meant(call, place.ask("queue")["broker"]):
            return None
        results = place.ask("unquarantine", {"names": list(call.words)})["results"]
    except NoSupervisor:
        return None
    except ControlError as refused:
        if "results" not in refused.extra:
            raise
        results = refused.extra["results"]
    return results


def _is_meant(call: Call, url: str) -> bool:
    """Whether this is the queue that the environment names, which its supervisor need not see."""
    with opened(call) as broker:
        return shown_url(broker.url) == url


def _by_queue(call: Call) -> list[dict[str, Any]]:
    """Remove their marks from the queue; a supervisor that keeps one of them down notices."""
    with opened(call) as broker:
        return [
            {"ok": True, "id": name, "action": "released"}
            if broker.workers.unquarantine(name)
            else {"ok": False, "id": name, "action": "none", "error": f"{name} is not quarantined"}
            for name in call.words
        ]


def _print_workers(shown: list[dict[str, Any]]) -> None:
    if not shown:
        print("no workers")
        return
    columns = [
        Column("NAME", flex=True), Column("STATE"), Column("ROLES", drop=1, flex=True), Column("HOST", drop=2),
        Column("PID", right=True, drop=4), Column("BEAT", right=True, drop=3), Column("JOB", flex=True),
    ]  # fmt: skip
    rows = []
    for one in shown:
        state, ink = ("idle", None) if not one["jobs"] else ("busy", "cyan")
        if one["quarantined"]:
            state, ink = "quarantined", "red"
        elif not one["alive"]:
            state, ink = "gone", "dim"
        rows.append(
            [
                Cell(one["name"]), Cell(state, ink), Cell(", ".join(one["roles"])), Cell(one["host"]), Cell(one["pid"]),
                Cell(f"{one['heartbeat_age_s']:.0f} s"), Cell(", ".join(one["jobs"])),
            ]
        )  # fmt: skip
    print_table(columns, rows)
