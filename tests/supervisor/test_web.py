"""The WebSocket API of a real supervisor: what clients receive, and how it follows the file."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from websockets.sync.client import ClientConnection, connect

from paneview.config import paths
from paneview.control.errors import ControlError
from tests.harness import can_connect, free_port, free_ports, wait_until
from tests.supervisor.project import Project

TASKS = """
    [tasks.db]
    command = "echo hello; exec sleep 600"
    [tasks.web]
    command = "exec sleep 600"
    depends_on = ["db"]
"""
Make = Callable[..., Project]


def client(p: Project, port: int) -> ClientConnection:
    """A client with the project's token."""
    return connect(f"ws://127.0.0.1:{port}/?token={paths.token_file(p.state_dir).read_text().strip()}")


def ask(ws: ClientConnection, command: str, **params: Any) -> dict[str, Any]:
    """The reply to one command."""
    ws.send(json.dumps({"command": command, "params": params}))
    return next_of(ws, lambda message: "type" not in message)


def next_of(ws: ClientConnection, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The next message of this kind."""
    while True:
        message: dict[str, Any] = json.loads(ws.recv(20))
        if wanted(message):
            return message


def test_everything_taskmux_had_and_what_it_had_not(project: Make) -> None:
    port = free_port()
    p = project(f"websocket.port = {port}\n{TASKS}").serve()
    p.wait("web", "running")
    wait_until(lambda: can_connect(port))
    with client(p, port) as ws:
        status = ask(ws, "status")
        assert (status["session"], status["running"], status["active_tasks"]) == ("proj", True, 2)
        wait_until(lambda: ask(ws, "logs", task="db", lines=50)["logs"] == ["hello"])
        first = p.task("db")["run"]
        assert ask(ws, "restart", task="db")["message"] == "Restarted db"
        assert p.task("db")["run"] > first
        assert ask(ws, "kill", task="web") | {"results": 0} == {
            "success": True,
            "message": "Killed web",
            "results": 0,
        }
        assert p.task("web")["manual_stop"]
        assert ask(ws, "start", task="web")["message"] == "Started web"
        assert ask(ws, "stop", tasks=["web"])["success"]
        wait_until(lambda: ask(ws, "health")["healthy_count"] == 1)
        events = ask(ws, "events", task="web", kind="task_killed")
        assert (events["count"], events["events"][0]["actor"]) == (1, "user:websocket")
        for command in ("start", "stop", "restart", "kill", "logs"):
            assert ask(ws, command, task="ghost")["success"] is False
        for command in ("restart", "kill"):
            assert ask(ws, command)["error"] == "Task name required"
        assert ask(ws, "stop")["message"] == "Stopped db, web"


def test_a_subscriber_sees_what_happens(project: Make) -> None:
    port = free_port()
    p = project(f"websocket.port = {port}\n{TASKS}").serve()
    p.wait("web", "running")
    wait_until(lambda: can_connect(port))
    with client(p, port) as ws, client(p, port) as old:
        assert ask(ws, "subscribe")["success"]
        snapshot = next_of(ws, lambda message: message["type"] == "snapshot")
        assert [task["name"] for task in snapshot["status"]["tasks"]] == ["db", "web"]
        p.call("kill", tasks=["web"])
        killed = next_of(
            ws, lambda message: message["type"] == "event" and message["event"]["event"] == "task_killed"
        )
        assert killed["event"]["task"] == "web"
        told = next_of(old, lambda message: message["type"] == "health_check")
        assert [task["healthy"] for task in told["data"]["tasks"]] == [True, False]
        p.end_supervisor()
        assert "SIGTERM" in next_of(ws, lambda message: message["type"] == "bye")["reason"]


def test_a_port_in_use_is_an_event_and_the_tasks_run_and_it_follows_the_file(project: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        p = project(f"websocket.port = {port}\n{TASKS}").serve()
        p.wait("web", "running")
        told = wait_until(lambda: p.events("websocket_failed"))[0]
        assert f"port {port} is in use" in told["cause"]
        with pytest.raises(ControlError, match=f"port {port} is in use"):
            p.call("websocket", port=port)
    p.call("reload")
    wait_until(lambda: p.call("websocket")["url"] == f"ws://127.0.0.1:{port}/")

    p.write(TASKS)
    p.call("reload")
    wait_until(lambda: p.call("websocket")["url"] is None)
    first, second = free_ports(2)
    for port in (first, second):
        p.write(f"websocket.port = {port}\n{TASKS}")
        p.call("reload")
        wait_until(lambda port=port: can_connect(port))  # type: ignore[misc]
    wait_until(lambda: not can_connect(first))
    stopped = len(p.events("websocket_stopped"))
    with client(p, second) as ws:
        p.write(TASKS)
        p.call("reload")
        assert next_of(ws, lambda message: message.get("type") == "bye")
    wait_until(lambda: not can_connect(second))
    wait_until(lambda: len(p.events("websocket_stopped")) > stopped)
    assert not p.events("task_stopped")


def test_a_port_asked_for_by_hand_is_on_the_loopback_alone_and_holds_when_a_supervisor_takes_over(
    project: Make,
) -> None:
    port = free_port()
    p = project(TASKS).serve()
    assert p.call("websocket", port=port)["url"] == f"ws://127.0.0.1:{port}/"
    assert p.process
    listening = psutil.Process(p.process.pid).net_connections("tcp")
    assert [tuple(one.laddr) for one in listening if one.status == psutil.CONN_LISTEN] == [
        ("127.0.0.1", port)
    ]
    token = paths.token_file(p.state_dir).read_text()
    p.kill_supervisor()
    p.serve()
    wait_until(lambda: can_connect(port))
    assert paths.token_file(p.state_dir).read_text() == token
    p.call("down")
