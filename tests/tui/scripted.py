"""A supervisor played from recorded data: what it was asked is kept, what it pushes is decided by the test."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from paneview import __version__
from paneview.control.errors import ControlError, NoSupervisor

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
NOW = 1_800_000_000.0


def task(name: str, state: str = "running", **more: Any) -> dict[str, Any]:
    """A task object as the supervisor sends it."""
    running = state in ("running", "stopping")
    base: dict[str, Any] = {
        "name": name,
        "state": state,
        "health": "none",
        "ready": state in ("running", "done"),
        "running": running,
        "restarts": 0,
        "run": 1,
        "command": f"./{name}",
        "depends_on": [],
        "restart_policy": "on-failure",
        "max_restarts": 5,
        "cwd": "/home/ann/shop",
        "log_end": 0,
        "cause": more.get("reason", ""),
        "waits_for": [],
        "quarantined": False,
    }
    if running:
        base |= {"pid": 4000 + sum(map(ord, name)) % 5000, "started_at": NOW - 754.2, "processes": 2}
        base |= {"cpu_percent": 1.4, "rss_bytes": 48 << 20}
    return {**base, **more}


def event(number: int, kind: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    """An event object as the supervisor sends it."""
    return {"id": number, "ts": NOW - 600 + number, "event": kind, "task": name, "detail": {}, **more}


class Supervisor:
    """What the scripted supervisor knows. `make` is what `PaneviewApp` wants."""

    def __init__(
        self,
        tasks: list[dict[str, Any]],
        *,
        logs: dict[str, list[str]] | None = None,
        events: list[dict[str, Any]] | None = None,
        runs: dict[str, list[dict[str, Any]]] | None = None,
    ) -> None:
        self.tasks = {item["name"]: item for item in tasks}
        self.logs = logs or {}
        self.runs = runs or {}
        self.events = events or []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.keys: list[str] = []  # of what was asked with one, which says who asks again
        self.topics: tuple[str, ...] = ()
        self.session = "shop"
        self.answers: dict[str, dict[str, Any] | ControlError] = {}
        self.up = True
        self.delay = 0.0  # s that an answer takes
        self.first = 0
        self.leaves_at_once = False
        self._push: Callable[[dict[str, Any]], None] = lambda _: None
        self._cut: Callable[[str], None] = lambda _: None
        self._came_up = asyncio.Event()

    def make(self, push: Callable[[dict[str, Any]], None], cut: Callable[[str], None]) -> Supervisor:
        self._push, self._cut = push, cut
        return self

    # What the test does

    def change(self, name: str, **more: Any) -> None:
        self.tasks[name] = {**self.tasks[name], **more}
        self._push({"push": "tasks", "seq": 1, "tasks": [self.tasks[name]]})

    def happen(self, kind: str, name: str | None = None, **more: Any) -> None:
        raw = event(len(self.events) + 1, kind, name, **more)
        self.events.append(raw)
        self._push({"push": "event", "event": raw})

    def write(self, name: str, *lines: str) -> None:
        self.logs.setdefault(name, []).extend(lines)
        self._push({"push": "heads", "heads": {name: len(self.logs[name])}})

    def go(self, reason: str = "the supervisor ended") -> None:
        self.up = False
        self._came_up.clear()
        self._cut(reason)

    def come_back(self) -> None:
        self.up = True
        self._came_up.set()

    def tell_all(self) -> None:
        self._snapshot()

    def requests(self, do: str) -> list[dict[str, Any]]:
        return [args for asked, args in self.asked if asked == do]

    # What the screen calls

    async def reconnect(self, _timeout: float | None = None) -> None:
        if not self.up:
            await self._came_up.wait()
        if self._subscribed:
            self._snapshot()

    _subscribed = False
    file_problem: str | None = None

    async def subscribe(self, *topics: str) -> None:
        self._subscribed = True
        await asyncio.sleep(self.delay)
        self.topics = topics
        self._snapshot()

    async def close(self) -> None:
        self.up = False

    async def call(self, do: str, /, **args: Any) -> dict[str, Any]:
        args.pop("timeout", None)
        if not self.up:
            raise ControlError("the supervisor ended", "disconnected")
        if (key := args.pop("key", None)) is not None:
            self.keys.append(key)
        self.asked.append((do, args))
        await asyncio.sleep(self.delay)
        answer = self.answers.get(do)
        if isinstance(answer, ControlError):
            raise answer
        return answer if answer is not None else getattr(self, f"_{do}", self._acted)(**args)

    def _snapshot(self) -> None:
        self._push({"push": "snapshot", "seq": 0, "status": self._status()})

    def _status(self) -> dict[str, Any]:
        for name, item in self.tasks.items():
            item["log_end"] = len(self.logs.get(name, ()))
        status = {"session": self.session, "running": True, "file": "/home/ann/shop/paneview.toml"}
        status["file_problem"] = self.file_problem
        status |= {
            "supervisor": {"pid": 77, "uptime_s": 900.0, "version": "0"},
            "tasks": [*self.tasks.values()],
        }
        return status

    def _acted(self, tasks: list[str] | None = None, **_: Any) -> dict[str, Any]:
        return {"results": [{"ok": True, "task": name, "action": "done"} for name in tasks or self.tasks]}

    def _hello(self, **_: Any) -> dict[str, Any]:
        return {"version": __version__, "session": "shop", "pid": 77}

    def _events(self, limit: int) -> dict[str, Any]:
        latest = self.events[-limit:]
        return {"events": latest, "count": len(latest)}

    def _merged(self, names: str) -> list[tuple[int, str, str]]:
        """The lines of several logs, each a second after the one before."""
        return sorted(
            (at, name, text) for name in names.split("+") for at, text in enumerate(self.logs.get(name, ()))
        )

    def _log_info(self, task: str) -> dict[str, Any]:
        if "+" in task:
            return {"first": 0, "end": len(self._merged(task)), "runs": []}
        end = len(self.logs.get(task, ()))
        default = [{"run": 1, "first": 0, "end": end, "started_at": NOW - 754.2, "ended_at": None}]
        return {"first": self.first, "end": end, "runs": self.runs.get(task, default if end else [])}

    def _log_lines(self, task: str, first: int, count: int) -> dict[str, Any]:
        if "+" in task:
            merged = self._merged(task)
            some = [
                {"n": n, "run": 1, "ts": NOW - 700 + at, "approx": False, "text": text, "task": name}
                | {"unsettled": n >= len(merged) - 20}
                for n, (at, name, text) in enumerate(merged)
            ]
            return {"first": 0, "end": len(merged), "lines": some[max(0, first) : max(0, first) + count]}
        lines = self.logs.get(task, [])
        shown = [
            {"n": number, "run": self._run_of(task, number), "ts": NOW - 700 + number, "approx": False}
            | {"text": lines[number], "unsettled": number == len(lines) - 1}
            for number in range(max(first, self.first), min(first + count, len(lines)))
        ]
        return {"first": self.first, "end": len(lines), "lines": shown}

    def _run_of(self, task: str, number: int) -> int:
        begun = [mark["run"] for mark in self.runs.get(task, ()) if mark["first"] <= number]
        return begun[-1] if begun else 1

    def _log_find(
        self,
        task: str,
        pattern: str,
        start: int,
        direction: str,
        limit: int,
        *,
        regex: bool,
        ignore_case: bool,
    ) -> dict[str, Any]:
        merged = "+" in task
        lines = [line for *_, line in self._merged(task)] if merged else self.logs.get(task, [])
        more = {"settled": max(0, len(lines) - 20)} if merged else {}
        find = re.compile(
            pattern if regex else re.escape(pattern), re.IGNORECASE if ignore_case else 0
        ).search
        numbers = (
            range(min(start, len(lines) - 1), self.first - 1, -1)
            if direction == "back"
            else range(max(start, self.first), len(lines))
        )
        hits = []
        for number in numbers:
            if find(_COLOUR.sub("", lines[number])):
                hits.append(number)
                if len(hits) == limit:
                    following = number + (-1 if direction == "back" else 1)
                    more_of_it = following if self.first <= following < len(lines) else None
                    return {"hits": hits, "next": more_of_it, **more}
        return {"hits": hits, "next": None, **more}


def raise_no_supervisor() -> None:
    """A connection that is refused."""
    raise NoSupervisor("no supervisor listens")
