"""The server against raw sockets.

What a client may send, and what a client that does not read must not cause.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from typing import TYPE_CHECKING, Any

import pytest

from paneview.control import session, socketfile
from paneview.control.audience import Audience
from paneview.control.protocol import MAX_LINE, encode
from paneview.control.server import ControlServer
from paneview.control.socketfile import UnsafeSocket
from tests.control.support import STATUS, DemoHandler, serving
from tests.harness import eventually

if TYPE_CHECKING:
    from pathlib import Path


class Raw:
    """A client that sends and reads bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, path: Path) -> Raw:
        return cls(*await asyncio.open_unix_connection(path, limit=64 * 1024 * 1024))

    async def ask(self, line: bytes | dict[str, Any]) -> dict[str, Any]:
        self.send(line)
        return await self.read()

    def send(self, line: bytes | dict[str, Any]) -> None:
        self.writer.write(encode(line) if isinstance(line, dict) else line)

    async def read(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.reader.readline())
        return message

    def close(self) -> None:
        self.writer.close()


async def test_a_request_is_answered_under_its_id(path: Path) -> None:
    async with serving(path):
        raw = await Raw.connect(path)
        assert await raw.ask({"id": 7, "do": "status"}) == {"id": 7, "ok": True, "result": STATUS}
        assert await raw.ask({"id": "x", "do": "inspect", "args": {"task": "ghost"}}) == {
            "id": "x",
            "ok": False,
            "error": "Task 'ghost' not found in config",
            "code": "not_found",
            "results": [{"error_code": "E200"}],
        }
        raw.close()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"\x00\xff nonsense\n", "bad_request"),
        (b"[1,2]\n", "bad_request"),
        (b"[" * 200_000 + b"\n", "bad_request"),
        (b'{"id":1,"do":"dance"}\n', "unknown_request"),
        (b'{"id":1,"do":"stop","args":{"tasks":7}}\n', "bad_request"),
        (b'{"id":1,"do":"log_find","args":{"task":"a","pattern":"b","direction":[]}}\n', "bad_request"),
        (b'{"id":{},"do":"subscribe","args":{"topics":["weather"]}}\n', "bad_request"),
        (b"x" * (MAX_LINE + 2) + b"\n", "too_large"),
        (b'{"id":1,"do":"reload"}\n', "internal"),
        (b'{"id":1,"do":"job","args":{"job":"a\\udcff"}}\n', "bad_request"),
        (b'{"id":1,"do":"health"}\n', "internal"),
        (b'{"id":1,"do":"capture","args":{"task":"web"}}\n', "too_large"),
    ],
)
async def test_a_bad_line_gets_an_error_and_harms_nobody(
    path: Path, line: bytes, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(path):
        bad, good = await Raw.connect(path), await Raw.connect(path)
        reply = await bad.ask(line)
        assert (reply["ok"], reply["code"]) == (False, code)
        assert reply["error"]
        for client in (bad, good):
            assert (await client.ask({"id": 2, "do": "status"}))["ok"]
            client.close()
        assert ("a defect" in caplog.text) == (b"reload" in line)


async def test_requests_of_one_client_are_handled_side_by_side(path: Path) -> None:
    async with serving(path) as (_, handler):
        raw = await Raw.connect(path)
        raw.send({"id": 1, "do": "restart"})
        raw.send(b"\n\n")
        assert (await raw.ask({"id": 2, "do": "status"}))["id"] == 2
        handler.gate.set()
        assert (await raw.read())["id"] == 1
        raw.close()


async def test_a_request_goes_on_when_its_client_leaves(path: Path) -> None:
    async with serving(path) as (_, handler):
        raw = await Raw.connect(path)
        raw.send({"id": 1, "do": "restart", "client": "cli"})
        await eventually(lambda: handler.started == ["restart"])
        raw.close()
        await raw.writer.wait_closed()
        handler.gate.set()
        other = await Raw.connect(path)
        assert (await other.ask({"id": 1, "do": "status"}))["ok"]
        assert handler.clients[0].actor == "user:cli"
        assert handler.clients[0].pid == os.getpid()
        other.close()


async def test_a_client_that_closed_its_sending_half_is_answered(path: Path) -> None:
    async with serving(path) as (_, handler):
        raw = await Raw.connect(path)
        raw.send({"id": 1, "do": "restart"})
        raw.writer.write_eof()
        await eventually(lambda: handler.started == ["restart"])
        handler.gate.set()
        assert (await raw.read())["ok"]
        assert await raw.reader.read() == b""
        raw.close()


async def test_the_stream_begins_where_the_snapshot_ends(path: Path) -> None:
    async with serving(path) as (server, handler):
        raw = await Raw.connect(path)
        publishing = True

        async def change() -> None:
            version = 0
            while publishing:
                version += 1
                handler.status = {"session": "demo", "tasks": [{"name": "web", "v": version}]}
                server.audience.publish_tasks(handler.status["tasks"])
                await asyncio.sleep(0)

        changing = asyncio.create_task(change())
        assert (await raw.ask({"id": 1, "do": "subscribe", "args": {"topics": ["state"]}}))["ok"]
        first = await raw.read()
        assert first["push"] == "snapshot"
        version, seq = first["status"]["tasks"][0]["v"], first["seq"]
        for _ in range(20):
            push = await raw.read()
            assert push["push"] == "tasks"
            assert push["seq"] > seq
            assert push["tasks"][0]["v"] > version
            version, seq = push["tasks"][0]["v"], push["seq"]
        publishing = False
        await changing
        raw.close()


async def test_topics_are_told_apart(path: Path) -> None:
    async with serving(path) as (server, _):
        raw = await Raw.connect(path)
        await raw.ask({"id": 1, "do": "subscribe", "args": {"topics": ["events", "heads"]}})
        assert [server.audience.subscribers(topic) for topic in ("state", "events", "heads")] == [0, 1, 1]
        server.audience.publish_tasks([{"name": "web"}])
        server.audience.publish_snapshot(STATUS)
        server.audience.publish_event({"id": 1, "event": "task_started"})
        server.audience.publish_heads({"web": 12})
        assert [await raw.read() for _ in range(2)] == [
            {"push": "event", "event": {"id": 1, "event": "task_started"}},
            {"push": "heads", "heads": {"web": 12}},
        ]
        assert (await raw.ask({"id": 2, "do": "unsubscribe"}))["ok"]
        server.audience.publish_event({"id": 2})
        assert (await raw.ask({"id": 3, "do": "status"}))["id"] == 3
        raw.close()


async def test_a_client_that_stops_reading_is_cut_off_and_the_others_lose_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LINGER", 0.2)
    async with serving(path, max_events=500) as (server, _):
        stuck, good = await Raw.connect(path), await Raw.connect(path)
        for client in (stuck, good):
            await client.ask({"id": 1, "do": "subscribe", "args": {"topics": ["state", "events"]}})
        assert (await good.read())["push"] == "snapshot"
        stuck.writer.transport.pause_reading()
        padding = "x" * 2000
        for number in range(3000):
            server.audience.publish_event({"id": number, "padding": padding})
            server.audience.publish_tasks([{"name": "web", "v": number}])
            push = await good.read()
            assert push["event"]["id"] == number
            assert (await good.read())["tasks"][0]["v"] == number
        await eventually(lambda: server.audience.subscribers("events") == 1)
        stuck.writer.transport.resume_reading()
        received = await stuck.reader.read()
        assert b'"id":2999' not in received
        stuck.close()
        good.close()


async def test_a_slow_reader_that_comes_back_in_time_is_told_that_it_was_cut(path: Path) -> None:
    async with serving(path, max_events=10) as (server, _):
        slow = await Raw.connect(path)
        await slow.ask({"id": 1, "do": "subscribe", "args": {"topics": ["events"]}})
        for number in range(11):  # in one step: the writer has no chance to take any
            server.audience.publish_event({"id": number})
        assert await slow.read() == {"push": "cut", "reason": "too slow"}
        assert await slow.reader.read() == b""
        slow.close()


async def test_a_client_that_never_reads_its_replies_is_not_buffered_for(path: Path) -> None:
    async with serving(path) as (_, handler):
        handler.status = {"padding": "x" * 300_000}
        greedy, good = await Raw.connect(path), await Raw.connect(path)
        greedy.writer.transport.pause_reading()
        for number in range(2000):
            greedy.send({"id": number, "do": "status"})
        for _ in range(20):
            assert (await good.ask({"id": 1, "do": "status"}))["ok"]
        assert len(handler.started) < 20 + session.MAX_IN_FLIGHT + 50
        greedy.writer.transport.abort()
        good.close()


async def test_closing_says_good_bye_and_answers_what_is_in_flight(path: Path) -> None:
    handler = DemoHandler()
    server = ControlServer(handler, Audience(), path)
    await server.start()
    raw = await Raw.connect(path)
    raw.send({"id": 1, "do": "restart"})
    await eventually(lambda: handler.started == ["restart"])
    await server.close("down", grace=0.01)
    assert (await raw.read())["code"] == "closing"
    assert await raw.read() == {"push": "bye", "reason": "down"}
    assert await raw.reader.read() == b""
    assert not os.path.lexists(path)  # noqa: ASYNC240 - a test may
    raw.close()


def test_the_socket_is_private(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    with socketfile.listen(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_stale_socket_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(path):
        raw = await Raw.connect(path)
        assert (await raw.ask({"id": 1, "do": "status"}))["ok"]
        raw.close()


async def test_closing_leaves_the_socket_of_a_successor_alone(path: Path) -> None:
    first = ControlServer(DemoHandler(), Audience(), path)
    await first.start()
    async with serving(path):
        await first.close("replaced")
        raw = await Raw.connect(path)
        assert (await raw.ask({"id": 1, "do": "status"}))["ok"]
        raw.close()


def test_what_is_no_socket_is_not_removed(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(UnsafeSocket, match="not a socket"):
        socketfile.listen(path)
    assert path.read_text() == "precious"


def test_a_folder_of_someone_else_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(UnsafeSocket, match="belongs to user"):
        socketfile.listen(path)


def test_a_symlink_in_place_of_the_folder_is_refused(path: Path) -> None:
    elsewhere = path.parent.with_name("elsewhere")
    elsewhere.mkdir()
    path.parent.symlink_to(elsewhere)
    with pytest.raises(UnsafeSocket, match="not a folder"):
        socketfile.listen(path)


async def test_a_process_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socketfile, "peer", lambda _: (1, os.geteuid() + 1))
    async with serving(path) as (_, handler):
        raw = await Raw.connect(path)
        raw.send({"id": 1, "do": "status"})
        with pytest.raises((ConnectionError, json.JSONDecodeError)):
            await raw.read()
        assert handler.started == []
        raw.close()


async def test_a_server_that_is_about_to_end_takes_nothing_new(path: Path) -> None:
    """Whoever was told "started" by a supervisor that is ending would be left with none."""
    async with serving(path) as (server, _):
        raw = await Raw.connect(path)
        assert (await raw.ask({"id": 1, "do": "status"}))["ok"]
        server.retire()
        refused = await raw.ask({"id": 2, "do": "status"})
        assert (refused["ok"], refused["code"]) == (False, "closing")
        with pytest.raises(FileNotFoundError):
            await Raw.connect(path)
        raw.close()
