"""A supervisor with a queue, played from recorded data, for the tests and pictures of the queue's screens."""

from __future__ import annotations

from typing import Any

from paneview.control.errors import ControlError
from tests.tui.scripted import NOW, Supervisor, task


def job(
    number: int, state: str = "queued", target: str = "role:reviewer", kind: str = "prompt", **more: Any
) -> dict[str, Any]:
    """A job object as the supervisor sends it, whole."""
    ended = state in ("done", "dead", "cancelled")
    base: dict[str, Any] = {
        "id": f"18000000{number:02}_abcdef{number:06}",
        "kind": kind,
        "state": state,
        "target": target,
        "lane": target,
        "priority": 0,
        "attempts": 1 if state in ("leased", "done", "dead") else 0,
        "max_attempts": 3,
        "timeout": 300.0,
        "submitted_at": NOW - 600 + number,
        "submitted_by": "ann@laptop",
        "not_before": None,
        "owner": "w1" if state == "leased" else None,
        "leased_at": NOW - 95 if state == "leased" else None,
        "ended_at": NOW - 30 if ended else None,
        "cancel": None,
        "payload": {"text": f"Review change {number}"},
        "errors": [],
        "result": None,
        "what": f"Review change {number}",
        "error": "",
    }
    return {**base, **more}


def worker(number: int, name: str, **more: Any) -> dict[str, Any]:
    base = {
        "id": f"w{number}", "name": name, "host": "laptop", "pid": 4000 + number, "pane": f"%{number}",
        "roles": ["reviewer"], "kinds": ["ping", "prompt", "shutdown", "resize"], "concurrency": 1, "alive": True,
        "started_at": NOW - 4000, "heartbeat_age_s": 3.2, "ttl": 60.0, "jobs": [], "quarantined": False, "reason": None,
    }  # fmt: skip
    return {**base, **more}


class QueueSupervisor(Supervisor):
    """A supervisor whose project has a queue."""

    def __init__(self, jobs: list[dict[str, Any]], workers: list[dict[str, Any]], **more: Any) -> None:
        tasks = [
            task("web", health="healthy"),
            task("reviewer.1", group="workers"),
            task("reviewer.2", "failed", group="workers"),
        ]
        super().__init__(tasks)
        self.jobs = {one["id"]: one for one in jobs}
        self.workers = workers
        self.about = {
            "in_use": True,
            "broker": "sqlite:",
            "problem": None,
            "warnings": [],
            "quarantined": {},
            "host": "laptop",
            **more,
        }
        self.changes = 1

    # What the test does

    def put(self, *jobs: dict[str, Any]) -> None:
        self.jobs |= {one["id"]: one for one in jobs}
        self.changed()

    def changed(self) -> None:
        self.changes += 1
        if "queue" in self.topics:
            self._push({"push": "queue", "queue": self._queue()})

    topics: tuple[str, ...] = ()

    # What the screen calls

    async def subscribe(self, *topics: str) -> None:
        await super().subscribe(*topics)
        self.topics = topics
        if "queue" in topics:
            self._push({"push": "queue", "queue": self._queue()})

    def _queue(self) -> dict[str, Any]:
        lanes: dict[str, dict[str, Any]] = {}
        for one in self.jobs.values():
            if one["state"] in ("queued", "delayed", "blocked", "leased"):
                zero = dict.fromkeys(("queued", "delayed", "blocked", "leased", "depth"), 0)
                lane = lanes.setdefault(
                    one["target"],
                    {"lane": one["lane"], "target": one["target"], **zero, "oldest_age_s": None},
                )
                lane[one["state"]] += 1
                lane["depth"] += one["state"] != "leased"
                if one["state"] == "queued":
                    lane["oldest_age_s"] = max(lane["oldest_age_s"] or 0.0, NOW - one["submitted_at"])
        return {
            **self.about,
            "lanes": list(lanes.values()),
            "waiting": sum(lane["depth"] for lane in lanes.values()),
            "running": sum(lane["leased"] for lane in lanes.values()),
            "dead": sum(one["state"] == "dead" for one in self.jobs.values()),
            "oldest_age_s": None,
            "workers": self.workers,
            "changes": self.changes,
        }

    def _jobs(self, states: list[str], target: str | None, limit: int) -> dict[str, Any]:
        found = [
            one
            for one in reversed(self.jobs.values())
            if (not states or one["state"] in states) and target in (None, one["target"])
        ]
        brief = [
            {name: value for name, value in one.items() if name not in ("payload", "errors", "result")}
            for one in found
        ]
        return {"jobs": brief[:limit], "count": len(brief[:limit]), "more": len(found) > limit}

    def _job(self, job: str) -> dict[str, Any]:
        if job not in self.jobs:
            raise ControlError(f"there is no job {job}", "queue")
        return {"job": self.jobs[job]}

    def _job_dispatch(self, target: str, kind: str, payload: Any) -> dict[str, Any]:
        made = job(len(self.jobs) + 1, target=target, kind=kind, payload=payload, what=str(payload))
        self.put(made)
        return {"id": made["id"], "created": True, "target": target}

    def _job_cancel(self, jobs: list[str]) -> dict[str, Any]:
        self.put(*[{**self.jobs[one], "state": "cancelled", "ended_at": NOW} for one in jobs])
        return {"results": [{"ok": True, "id": one, "action": "cancelled"} for one in jobs]}

    def _job_retry(self, jobs: list[str]) -> dict[str, Any]:
        self.put(*[{**self.jobs[one], "state": "queued", "errors": []} for one in jobs])
        return {"results": [{"ok": True, "id": one, "action": "retried"} for one in jobs]}

    def _job_purge(self, jobs: list[str]) -> dict[str, Any]:
        for one in jobs:
            del self.jobs[one]
        self.changed()
        return {"results": [{"ok": True, "id": one, "action": "purged"} for one in jobs]}

    def _unquarantine(self, names: list[str]) -> dict[str, Any]:
        self.about["quarantined"] = {}
        for one in self.workers:
            one["quarantined"] = False
        self.changed()
        return {"results": [{"ok": True, "id": name, "action": "started"} for name in names]}


BURNT = {
    "number": 1,
    "token": 1,
    "worker": "w1",
    "error": "exit code 1\nclaude: not logged in",
    "at": NOW - 90,
}


def office() -> QueueSupervisor:
    """Jobs in every state, workers in every condition."""
    done = {
        "job": "", "status": "ok", "output": "All good.\n\n- 日本語 is fine", "error": None, "worker": "w1",
        "host": "laptop", "token": 1, "attempt": 1, "started_at": NOW - 60, "finished_at": NOW - 30,
    }  # fmt: skip
    jobs = [
        job(1, "done", result=done),
        job(2, "dead", errors=[BURNT, {**BURNT, "number": 2}], attempts=3, error="exit code 1\nclaude: not logged in",
            result={**done, "status": "error", "output": None, "error": "exit code 1"}),
        job(3, "leased"),
        job(4, "cancelled", cancel="not needed", result=None),
        job(5, "delayed", not_before=NOW + 240),
        job(6, "blocked", "any"),
        job(7, kind="resize", target="host:pi-1", payload={"width": 640, "files": ["a.png", "b.png"]},
            what='{"width": 640, "files": ["a.png", "b.png"]}'),
        *[job(number, priority=number % 3) for number in range(8, 20)],
        job(20, "dead", "any", "shutdwon", what="", error="this worker has no handler for 'shutdwon'"),
    ]  # fmt: skip
    workers = [
        worker(1, "reviewer.1", jobs=[jobs[2]["id"]]),
        worker(2, "reviewer.2", alive=False, quarantined=True, heartbeat_age_s=400.0,
               reason="5 respawns in 300 s: exit code 1"),
        worker(3, "worker", host="pi-1", roles=["worker", "resizer"], heartbeat_age_s=42.0),
        worker(4, "%17", roles=["planner"]),
    ]  # fmt: skip
    quarantined = {"reviewer.2": {"reason": "5 respawns in 300 s: exit code 1"}}
    return QueueSupervisor(jobs, workers, quarantined=quarantined)


def away() -> QueueSupervisor:
    supervisor = office()
    supervisor.about["problem"] = "Redis at queue.example:6379 does not answer: Connection refused"
    return supervisor


def no_queue() -> QueueSupervisor:
    return QueueSupervisor([], [], in_use=False)
