"""The WebSocket API against real clients over the loopback: who is let in, what is answered, who is cut off."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import stat
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from paneview.control.errors import ControlError
from paneview.control.websocket import access, client, commands, server
from paneview.control.websocket.api import Address, WebSocketApi
from tests.control.support import STATUS, DemoHandler, serving
from tests.harness import can_connect, eventually, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from paneview.control.protocol import Request
    from paneview.control.server import ControlServer


class Api:
    """An API that is on, and what it has noted."""

    def __init__(self, hub: ControlServer, handler: DemoHandler, folder: Path) -> None:
        self.hub, self.handler = hub, handler
        self.notes: list[tuple[str, str]] = []
        self.api = WebSocketApi(
            hub, folder / "token", lambda kind, cause, **_: self.notes.append((kind, cause))
        )
        self.port = free_port()

    @property
    def token(self) -> str:
        return self.api.token_file.read_text().strip()

    def url(self, *, token: bool = True, host: str = "127.0.0.1") -> str:
        return f"ws://{host}:{self.port}/{f'?token={self.token}' if token else ''}"


@asynccontextmanager
async def api_on(path: Path, **bounds: int) -> AsyncIterator[Api]:
    async with serving(path, **bounds) as (hub, handler):
        one = Api(hub, handler, path.parent)
        await one.api.apply(Address("127.0.0.1", one.port))
        try:
            yield one
        finally:
            handler.gate.set()
            await one.api.close("the test is over")


async def ask(ws: ClientConnection, **message: Any) -> dict[str, Any]:
    await ws.send(json.dumps(message))
    return await read(ws)


async def read(ws: ClientConnection, *, news: bool = False) -> dict[str, Any]:
    """The next message; broadcasts of health only if they are what is waited for."""
    while True:
        message: dict[str, Any] = json.loads(await ws.recv())
        if news or message.get("type") != "health_check":
            return message


async def test_commands_have_the_shapes_of_taskmux(path: Path) -> None:
    async with api_on(path) as api, connect(api.url()) as ws:
        assert await ask(ws, command="status") == STATUS
        api.handler.gate.set()
        restarted = await ask(ws, command="restart", params={"task": "web"})
        assert (restarted["success"], restarted["message"]) == (True, "Restarted web")
        assert api.handler.asked[-1] == {"tasks": ["web"]}
        assert api.handler.clients[-1].actor == "user:websocket"
        ghost = await ask(ws, command="start", params={"task": "ghost"})
        assert (ghost["success"], ghost["error"]) == (False, "Task 'ghost' not found in config")
        assert await ask(ws, command="dance") == {"error": "Unknown command: dance"}


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill"])
async def test_a_list_of_no_task_means_none_and_not_all(verb: str) -> None:
    asked: list[list[str] | None] = []

    async def handle(request: Request) -> dict[str, Any]:
        asked.append(request.args["tasks"])
        return {"results": []}

    for params in ({"tasks": []}, {"tasks": [], "task": "web"}):
        reply = await commands.answer(commands.Asked(None, verb, params), handle)
        assert reply["success"]
        assert reply["message"].endswith(" web" if "task" in params else " no task")
    assert asked == [[], ["web"]]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("no JSON", "not JSON"),
        ("[1]", "is a JSON object"),
        ("{}", 'no "command"'),
        ('{"command": "kill"}', "Task name required"),
        ('{"command": "logs"}', "needs the argument 'task'"),
        ('{"command": "logs", "params": {"task": "web", "lines": -1}}', "0 or more"),
        ('{"command": "restart", "params": {"tsk": "web"}}', "did you mean 'task'"),
        ('{"command": "restart", "params": [1]}', "not an object"),
        ('{"command": "subscribe", "params": {"topics": ["weather"]}}', "unknown topic 'weather'"),
        ('{"command": "health"}', "ValueError"),
        ("[" * 100_000, "not JSON"),
        ("x" * (commands.MAX_MESSAGE + 1), "longer than 1048576 bytes"),
        (b"\x00\xff", "not JSON"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "bytes",
)
async def test_what_is_wrong_gets_an_error_and_harms_nobody(
    path: Path, message: str | bytes, words: str
) -> None:
    async with api_on(path) as api, connect(api.url()) as ws, connect(api.url()) as other:
        await ws.send(message)
        reply = await read(ws)
        assert reply["success"] is False
        assert words in reply["error"]
        assert await ask(ws, command="status") == STATUS
        assert await ask(other, command="status") == STATUS


async def test_a_monstrous_message_ends_its_own_connection_alone(path: Path) -> None:
    async with api_on(path) as api, connect(api.url()) as other:
        ws = await connect(api.url())
        with suppress(ConnectionClosed):  # it may be over before all is sent
            await ws.send(b"x" * (client.MEMBERS_MESSAGE + 1))
        with pytest.raises(ConnectionClosed):
            await ws.recv()
        assert await ask(other, command="status") == STATUS


async def test_requests_with_an_id_do_not_wait_for_each_other(path: Path) -> None:
    async with api_on(path) as api, connect(api.url()) as ws:
        await ws.send(json.dumps({"command": "restart", "params": {"task": "web"}, "id": "slow"}))
        assert await ask(ws, command="status", id=7) == {"id": 7, **STATUS}
        api.handler.gate.set()
        assert (await read(ws))["id"] == "slow"
        api.handler.gate.clear()
        await ws.send(json.dumps({"command": "restart", "params": {"task": "web"}}))
        await ws.send(json.dumps({"command": "status"}))
        await eventually(lambda: api.handler.started[-1] == "restart")
        api.handler.gate.set()
        assert (await read(ws))["message"] == "Restarted web"
        assert await read(ws) == STATUS


async def test_what_was_asked_is_done_when_the_client_leaves(path: Path) -> None:
    async with api_on(path) as api:
        async with connect(api.url()) as ws:
            await ws.send(json.dumps({"command": "restart", "params": {"task": "web"}}))
            await eventually(lambda: "restart" in api.handler.started)
        api.handler.gate.set()
        async with connect(api.url()) as ws:
            assert await ask(ws, command="status") == STATUS


async def test_the_token_by_header_address_or_first_message(path: Path) -> None:
    async with api_on(path) as api:
        found = api.api.token_file.stat()
        assert stat.S_IMODE(found.st_mode) == 0o600
        bearer = {"Authorization": f"Bearer {api.token}"}
        async with connect(api.url(token=False), additional_headers=bearer) as ws:
            assert await ask(ws, command="status") == STATUS
        async with connect(api.url(token=False)) as ws:
            assert (await ask(ws, token=api.token))["success"] is True
            assert await ask(ws, command="status") == STATUS


@pytest.mark.parametrize("first", ['{"command": "status"}', '{"token": "guess"}', '{"token": 1}', "junk"])
async def test_without_the_token_nothing_is_answered(path: Path, first: str) -> None:
    async with api_on(path) as api, connect(api.url(token=False)) as ws:
        await ws.send(first)
        assert (await read(ws))["success"] is False
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == client.REFUSED
        assert api.handler.started == []


async def test_a_stranger_may_not_send_much(path: Path) -> None:
    async with api_on(path) as api, connect(api.url(token=False)) as ws:
        await ws.send(json.dumps({"token": "x" * client.STRANGERS_MESSAGE}))
        with pytest.raises(ConnectionClosed):
            await ws.recv()


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:3000"])
async def test_a_page_of_this_machine_is_let_in(path: Path, origin: str) -> None:
    async with api_on(path) as api, connect(api.url(), additional_headers={"Origin": origin}) as ws:
        assert await ask(ws, command="status") == STATUS


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "https://localhost.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[not"}, 403),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic d3Jvbmc="}, 401),
    ],
)
async def test_who_is_not_let_in(path: Path, headers: dict[str, str], status: int) -> None:
    async with api_on(path) as api:
        with pytest.raises(InvalidStatus) as refused:
            await connect(api.url(), additional_headers=headers)
        assert refused.value.response.status_code == status


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "[::2]", "["]
)
async def test_a_name_that_only_resolves_to_this_machine_is_refused(path: Path, host: str) -> None:
    async with api_on(path) as api:
        request = http.client.HTTPConnection("127.0.0.1", api.port, timeout=10)
        headers = {
            "Host": host,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        answer = await asyncio.to_thread(_get, request, f"/?token={api.token}", headers)
        assert answer == 403


def _get(request: http.client.HTTPConnection, target: str, headers: dict[str, str]) -> int:
    request.putrequest("GET", target, skip_host=True)
    for name, value in headers.items():
        request.putheader(name, value)
    request.endheaders()
    status = request.getresponse().status
    request.close()
    return status


async def test_a_wrong_token_in_the_address_is_refused_at_the_door(path: Path) -> None:
    async with api_on(path) as api:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{api.url(token=False)}?token=guess")
        assert refused.value.response.status_code == 401


async def test_the_stream_begins_with_a_snapshot_and_leaves_no_event_out(path: Path) -> None:
    async with api_on(path) as api, connect(api.url()) as ws:
        assert await ask(ws, command="subscribe") == {"success": True, "topics": ["events", "state"]}
        snapshot = await read(ws)
        assert (snapshot["type"], snapshot["status"]) == ("snapshot", STATUS)
        for number in range(2_000):
            api.hub.audience.publish_event({"id": number})
        api.hub.audience.publish_tasks([{"name": "web", "state": "stopped"}])
        got = [await read(ws) for _ in range(2_001)]
        assert [message["event"]["id"] for message in got[:-1]] == list(range(2_000))
        assert (got[-1]["type"], got[-1]["tasks"]) == ("tasks", [{"name": "web", "state": "stopped"}])
        assert (await ask(ws, command="unsubscribe"))["topics"] == []
        api.hub.audience.publish_event({"id": -1})
        assert await ask(ws, command="status") == STATUS


async def test_a_client_that_does_not_read_is_cut_off_and_told(path: Path) -> None:
    async with api_on(path, max_events=500) as api, connect(api.url(), max_queue=1) as slow:
        async with connect(api.url()) as quick:
            for ws in (slow, quick):
                assert (await ask(ws, command="subscribe", params={"topics": ["events"]}))["success"]
            heard = 0
            padding = "x" * 10_000
            while api.hub.audience.subscribers("events") == 2:  # fills the system's buffers first
                api.hub.audience.publish_event({"id": heard, "padding": padding})
                assert (await read(quick))["event"]["id"] == heard
                heard += 1
            assert heard > 500
            api.hub.audience.publish_event({"id": heard})
            assert (await read(quick))["event"]["id"] == heard
        numbers = []
        while (message := await read(slow))["type"] == "event":
            numbers.append(message["event"]["id"])
        assert numbers == list(range(len(numbers))), "what it got before has no holes"
        assert (message["type"], message["reason"]) == ("cut", "too slow")
        with pytest.raises(ConnectionClosed) as closed:
            await slow.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == client.CUT


async def test_a_change_of_health_is_broadcast_to_everyone_with_a_token(path: Path) -> None:
    async with api_on(path) as api, connect(api.url()) as ws, connect(api.url(token=False)) as stranger:
        assert await ask(ws, command="status") == STATUS
        api.hub.audience.publish_tasks([{"name": "web", "state": "running"}])  # no other health
        api.handler.status["tasks"] = [{"name": "web", "state": "running", "healthy": True}]
        api.hub.audience.publish_tasks(api.handler.status["tasks"])
        told = await read(ws, news=True)
        assert (told["type"], told["data"]["tasks"][0]["healthy"]) == ("health_check", True)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await stranger.recv()


async def test_health_is_told_from_time_to_time_however_much_else_changes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEALTH_EVERY", 0.6)
    async with api_on(path) as api, connect(api.url()) as ws:
        assert await ask(ws, command="status") == STATUS

        async def change() -> None:
            while True:
                api.hub.audience.publish_tasks([{"name": "web", "state": "running"}])
                await asyncio.sleep(0.01)

        changing = asyncio.create_task(change())
        async with asyncio.timeout(20):
            for _ in range(2):
                assert (await read(ws, news=True))["type"] == "health_check"
        changing.cancel()


async def test_good_bye_is_said(path: Path) -> None:
    async with api_on(path) as api, connect(api.url()) as ws:
        assert await ask(ws, command="status") == STATUS
        await api.api.close("the supervisor ends")
        assert await read(ws) == {"type": "bye", "reason": "the supervisor ends"}
        with pytest.raises(ConnectionClosed):
            await ws.recv()
        assert not can_connect(api.port)


async def test_it_moves_and_goes_and_tells(path: Path) -> None:
    async with api_on(path) as api:
        other = free_port()
        await api.api.apply(Address("localhost", other))
        assert not can_connect(api.port)
        assert can_connect(other)
        await api.api.apply(None)
        assert not can_connect(other)
        assert api.api.url is None
        kinds = [kind for kind, _ in api.notes]
        assert kinds == ["websocket_started", "websocket_started", "websocket_stopped"]


async def test_a_port_in_use_is_told_and_can_be_had_later(path: Path) -> None:
    async with api_on(path) as api:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(ControlError, match=f"port {port} is in use"):
                await api.api.apply(Address("127.0.0.1", port))
            assert api.notes[-1][0] == "websocket_failed"
        await api.api.apply(Address("127.0.0.1", port))
        assert can_connect(port)


def test_the_token_is_kept_and_replaced_when_others_may_have_read_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    token = access.load_token(file)
    assert len(token) > 40
    assert access.load_token(file) == token
    for damaged in b"\0" * len(token), b"\xff" * len(token):
        file.write_bytes(damaged)
        token = access.load_token(file)
        assert token.isascii()
        assert token.isprintable()
        assert file.read_text().strip() == token
    file.chmod(0o644)
    other = access.load_token(file)
    assert other != token
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("")
    assert access.load_token(file)
