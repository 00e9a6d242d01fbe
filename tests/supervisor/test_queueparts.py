"""The parts for the queue are loaded when there is one, and answer as if they had always been there."""

from __future__ import annotations

import asyncio
import errno
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from paneview.broker import Broker, UnavailableError
from paneview.broker.redis import opening
from paneview.config.load import load_project
from paneview.config.queue import QueueSettings
from paneview.control import protocol
from paneview.control.session import ClientInfo
from paneview.supervisor.clients import panes, requests
from paneview.supervisor.queue import desk, pushing, workflows
from paneview.supervisor.queue import parts as queueparts
from paneview.supervisor.queue.link import QueueLink
from paneview.worker.joining import connect
from paneview.workflow import asking
from tests.harness import Sandbox, eventually
from tests.supervisor.inprocess import supervising
from tests.supervisor.project import Project
from tests.supervisor.test_queue_requests import listening

LOADED = "import sys, paneview.supervisor.serve; print(*sys.modules)"
QUEUE = ("paneview.broker", "paneview.worker", "paneview.workflow", "paneview.agents")
LATER = (*QUEUE, "psutil", "textual", "websockets")


def test_a_supervisor_starts_without_what_only_a_queue_or_the_websocket_needs() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.split() if name.startswith(LATER)] == []


def test_every_request_has_the_handler_that_the_table_says() -> None:
    """The table is known before the parts are loaded."""
    assert requests.HANDLERS.keys() == protocol.TASKS.keys()
    assert panes.HANDLERS.keys() == protocol.PANES.keys()
    assert desk.HANDLERS.keys() == protocol.QUEUE.keys()
    assert workflows.HANDLERS.keys() | asking.CHANGES.keys() == protocol.WORKFLOWS.keys()


def test_a_queue_that_comes_into_use_later_is_looked_after(project: Callable[[str], Project]) -> None:
    ours = project('[tasks.web]\ncommand = "exec sleep 1000"\n').serve()
    assert ours.call("status")["queue"] is None
    with listening(ours) as heard:
        assert heard(lambda queue: not queue["in_use"])["waiting"] == 0
        ours.call("job_dispatch", target="role:cook", kind="ping", payload={})
        assert heard(lambda queue: queue["in_use"])["waiting"] == 1
    assert ours.call("status")["queue"]["waiting"] == 1
    assert ours.call("workflows")["count"] == 0


async def test_a_failure_to_load_is_over_when_somebody_asks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(_name: str) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    (tmp_path / "paneview.toml").write_text('[tasks.web]\ncommand = "true"\n')
    supervisor = SimpleNamespace(project=load_project(tmp_path / "paneview.toml", {}), units={})
    parts = queueparts.QueueParts(supervisor, None, SimpleNamespace(), tmp_path, {})  # type: ignore[arg-type]
    with monkeypatch.context() as trouble:
        trouble.setattr(queueparts, "import_module", scarce)
        with pytest.raises(OSError, match="Too many"):
            await parts.handle("queue", {}, None)  # type: ignore[arg-type]
    assert (await parts.handle("queue", {}, None))["in_use"] is False  # type: ignore[arg-type]
    await parts.stop()
    await parts.close()


async def test_a_call_that_is_given_up_ends_also_while_the_queue_s_settings_change(tmp_path: Path) -> None:
    """Otherwise whoever watches the queue would go on when the supervisor ends, which waits for it."""
    called, answers = asyncio.Event(), threading.Event()
    loop, link = asyncio.get_running_loop(), QueueLink(tmp_path, lambda: None)
    old, new = (QueueSettings(broker=f"sqlite://{tmp_path}/{name}.db") for name in ("old", "new"))

    def slow(_broker: object) -> None:
        loop.call_soon_threadsafe(called.set)
        answers.wait(20)

    asking = asyncio.create_task(link.call(old, slow))
    try:
        await called.wait()
        await link.open(new)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    finally:
        answers.set()
        await link.close()


async def test_a_defect_does_not_end_the_watching_of_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "PAUSE", 0.01)
    looks = iter([RuntimeError("can't start new thread"), None])
    told: list[dict[str, object]] = []

    async def look() -> dict[str, object]:
        if (defect := next(looks)) is not None:
            raise defect
        return {"in_use": False}

    desk: Any = SimpleNamespace(
        look=look, in_use=False, troubled=lambda problem: {"in_use": True, "problem": problem}
    )
    audience: Any = SimpleNamespace(subscribers=lambda _topic: 1, publish_queue=told.append)
    pushes = pushing.QueuePushes(desk, audience)
    pushes.heard(frozenset({"queue"}))
    await eventually(lambda: told[-1:] == [{"in_use": False}])
    assert "can't start new thread" in str(told[0]["problem"])
    await pushes.close()


async def test_a_connection_that_was_given_up_is_not_taken_after_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings were changed while it was being made, and back again: another one is on its way by then."""
    go_on = threading.Event()

    def slow(settings: QueueSettings, folder: Path) -> Broker:
        go_on.wait(20)
        return connect(settings, folder)

    monkeypatch.setattr("paneview.supervisor.queue.link.connect", slow)
    link = QueueLink(tmp_path, lambda: None)
    one, other = (QueueSettings(broker=f"sqlite://{tmp_path}/{name}.db") for name in ("one", "other"))
    opening = []
    for settings in (one, other, one):
        opening.append(asyncio.ensure_future(link.open(settings)))
        await asyncio.sleep(0)  # it begins
    go_on.set()
    made = await asyncio.gather(*opening, return_exceptions=True)
    assert [isinstance(each, UnavailableError) for each in made] == [True, True, False]
    await link.close()


async def test_a_queue_that_does_not_answer_holds_up_nothing_but_requests_about_it(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "PATIENCE", 0.1)
    client = ClientInfo(1, None, None)
    silent = socket.create_server(("127.0.0.1", 0))  # it takes connections, and says nothing
    broker = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
    text = f"queue.broker = '{broker}'\n[tasks.t]\ncommand = 'exec sleep 617'\n"
    async with supervising(sandbox, text) as host:
        try:
            about = {"active": False, "offset": 0, "limit": 10}
            asked = [
                asyncio.ensure_future(host._requests.handle("workflows", about, client)) for _ in range(12)
            ]
            await asyncio.sleep(0)  # all are under way
            host.project.file.write_text(host.project.file.read_text() + "description = 'new'\n")
            await asyncio.wait_for(host._requests.handle("reload", {}, client), 3)
            assert not any(one.done() for one in asked)
        finally:
            silent.close()
            await asyncio.gather(*asked, return_exceptions=True)
