from __future__ import annotations

from paneview.control.model import EventView, LineView, StatusView, TaskView

TASK = {
    "name": "web",
    "state": "running",
    "health": "healthy",
    "ready": True,
    "pid": 12,
    "exit_code": None,
    "restarts": 2,
    "started_at": 100.0,
    "running": True,
    "depends_on": ["db"],
    "from_the_future": 1,
}


def test_a_task_keeps_what_it_knows_and_has_defaults_for_the_rest() -> None:
    task = TaskView.from_json(TASK)
    assert (task.name, task.state, task.pid, task.depends_on) == ("web", "running", 12, ("db",))
    assert (task.exit_code, task.max_restarts) == (None, 5)
    assert TaskView.from_json(dict(TASK)) == task


def test_uptime_is_of_now() -> None:
    task = TaskView.from_json(TASK)
    assert task.uptime(130.5) == 30.5
    assert task.uptime(99.0) == 0.0
    assert TaskView.from_json({**TASK, "running": False}).uptime(130.5) is None


def test_a_status_holds_its_tasks_in_order() -> None:
    status = StatusView.from_json(
        {
            "session": "demo",
            "running": True,
            "active_tasks": 1,
            "file": "/x/paneview.toml",
            "supervisor": {"pid": 5, "uptime_s": 1.5, "version": "0.1.0", "more": 1},
            "tasks": [TASK, {"name": "db"}],
        }
    )
    assert [task.name for task in status.tasks] == ["web", "db"]
    assert (status.supervisor.pid, status.file) == (5, "/x/paneview.toml")
    assert StatusView.from_json({"session": "demo", "tasks": None}).tasks == ()


def test_an_event_and_a_line() -> None:
    event = EventView.from_json(
        {"id": 3, "ts": 1.5, "event": "task_exited", "task": "web", "run": 7, "detail": {"exit_code": 3}}
    )
    assert (event.kind, event.detail, event.cause) == ("task_exited", {"exit_code": 3}, None)
    line = LineView.from_json({"n": 4, "run": 7, "ts": 1.5, "approx": True, "text": "hi"})
    assert (line.number, line.run, line.approx, line.text) == (4, 7, True, "hi")
