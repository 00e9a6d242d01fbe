"""``start --wait``: until all that was started is ready, or one of it is not going to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paneview.cli.errors import CliError
from paneview.cli.output import clean, print_json

if TYPE_CHECKING:
    from paneview.cli.parser import Call
    from paneview.control.blocking import Connection

_LOST = ("failed", "stopped")


def wait(call: Call, connection: Connection, reply: dict[str, Any]) -> int:
    """Wait for the tasks of a `start`, whose reply was ``reply``, and tell of it. Raises CliError if one failed."""
    names = set(reply["tasks"])
    tasks = _settled(connection, names)
    lost = {name: task["reason"] for name, task in tasks.items() if is_lost(task)}
    if lost:
        results = [_result(name, task) for name, task in tasks.items()]
        told = "; ".join(f"{name}: {reason}" for name, reason in lost.items())
        raise CliError(told, code="failed", results=results)
    if call.json:
        print_json({"ok": True, **{key: value for key, value in reply.items() if key != "waiting"}})
    elif tasks:
        print(f"ready: {', '.join(clean(name) for name in tasks)}")
    return 0


def _settled(connection: Connection, names: set[str]) -> dict[str, Any]:
    """These tasks, as far as they are still there, once all are ready or one is lost."""
    # Only now: the snapshot that comes first is newer than the start, so no earlier failure is taken for one of it.
    connection.call("subscribe", {"topics": ["state"]})
    tasks: dict[str, Any] = {}
    for push in connection.pushes():
        if push["push"] == "snapshot":
            tasks = {task["name"]: task for task in push["status"]["tasks"] if task["name"] in names}
        elif push["push"] == "tasks":
            tasks.update((task["name"], task) for task in push["tasks"] if task["name"] in tasks)
        if all(map(_is_ready, tasks.values())) or any(map(is_lost, tasks.values())):
            return tasks
    raise CliError("the supervisor has ended before all was ready", code="no_supervisor")


def is_lost(task: dict[str, Any]) -> bool:
    """Whether it is not going to be ready; unhealthy ones that run are those that nothing restarts."""
    sick = task["state"] == "running" and task["health"] == "unhealthy" and not task["ready"]
    return sick or task["state"] in _LOST


def _is_ready(task: dict[str, Any]) -> bool:
    """Idle: its schedule starts it."""
    return task["state"] in ("done", "idle") or (task["state"] == "running" and task["ready"])


def _result(name: str, task: dict[str, Any]) -> dict[str, Any]:
    wrong = {} if _is_ready(task) else {"error": task["reason"]}
    return {"ok": not wrong, "task": name, "action": "started", **wrong}
