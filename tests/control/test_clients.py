"""Both clients, the asyncio one and the blocking one, against a real server."""

from __future__ import annotations

import _thread
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from paneview.control import blocking
from paneview.control.client import ControlClient
from paneview.control.errors import ControlError, Disconnected, NoSupervisor
from tests.control.support import STATUS, serving
from tests.harness import eventually

if TYPE_CHECKING:
    from pathlib import Path


async def test_calls_and_pushes_come_in_order(path: Path) -> None:
    pushes: list[dict[str, Any]] = []
    async with serving(path) as (server, handler):
        client = ControlClient(path, name="screen", on_push=pushes.append)
        await client.connect()
        await client.subscribe("state", "events")
        server.audience.publish_tasks([{"name": "web", "state": "stopping"}])
        server.audience.publish_event({"id": 1})
        assert await client.call("status") == STATUS
        # everything published before the reply has been seen before the call returns
        assert [push["push"] for push in pushes] == ["snapshot", "tasks", "event"]
        assert handler.clients[0].name == "screen"
        await client.close()
        assert not client.connected


async def test_an_error_reply_is_raised_where_it_was_asked(path: Path) -> None:
    async with serving(path):
        client = ControlClient(path)
        await client.connect()
        with pytest.raises(ControlError, match="ghost") as caught:
            await client.call("inspect", task="ghost")
        assert caught.value.code == "not_found"
        assert caught.value.extra == {"results": [{"error_code": "E200"}]}
        with pytest.raises(ControlError, match="no argument 'colour'"):
            await client.call("inspect", task="web", colour="red")
        await client.close()


async def test_what_is_no_json_is_refused_where_it_is_asked(path: Path) -> None:
    tower: list[Any] = []
    for _ in range(100_000):
        tower = [tower]
    async with serving(path):
        client = ControlClient(path)
        await client.connect()
        for value in (float("nan"), 10**5000, tower):
            with pytest.raises(ControlError, match="inspect: this cannot be sent") as caught:
                await client.call("inspect", task=value)
            assert caught.value.code == "bad_request"
        assert await client.call("status") == STATUS
        await client.close()


async def test_a_call_can_give_up_waiting_and_the_connection_stays_good(path: Path) -> None:
    async with serving(path) as (_, handler):
        client = ControlClient(path)
        await client.connect()
        with pytest.raises(ControlError) as caught:
            await client.call("restart", timeout=0.01)
        assert caught.value.code == "timeout"
        handler.gate.set()
        assert await client.call("status") == STATUS
        await client.close()


async def test_the_reason_of_a_lost_connection_is_told_and_reconnecting_subscribes_again(path: Path) -> None:
    pushes: list[dict[str, Any]] = []
    reasons: list[str] = []
    client = ControlClient(path, on_push=pushes.append, on_disconnect=reasons.append)
    with pytest.raises(NoSupervisor):
        await client.connect()
    async with serving(path):
        await client.connect()
        await client.subscribe("state")
        waiting = asyncio.create_task(client.call("restart", timeout=None))
        await asyncio.sleep(0)
    with pytest.raises(ControlError):
        await waiting
    await eventually(lambda: reasons == ["the test is over"])
    assert client.reason == "the test is over"
    with pytest.raises(Disconnected, match="the test is over"):
        await client.call("status")
    with pytest.raises(NoSupervisor):
        await client.reconnect(timeout=0.1)
    again = asyncio.create_task(client.reconnect())
    await asyncio.sleep(0)
    async with serving(path) as (server, _):
        await again
        assert server.audience.subscribers("state") == 1
        await eventually(lambda: [push["push"] for push in pushes] == ["snapshot", "bye", "snapshot"])
        await client.close()
    assert reasons == ["the test is over"]


async def test_a_supervisor_that_accepts_nobody_is_no_connection(path: Path) -> None:
    """asyncio takes a Unix socket for connected that the kernel has sent away, as the queue of clients is full."""
    path.parent.mkdir()
    reasons: list[str] = []
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(os.fspath(path))
        listener.listen(0)
        waiting.connect(os.fspath(path))
        client = ControlClient(path, on_disconnect=reasons.append)
        for _ in range(2):  # trying again works, too
            await client.connect()
            with pytest.raises(ControlError) as caught:
                await client.call("status", timeout=5)
            assert caught.value.code != "timeout"
            assert not client.connected
        await client.close()


async def test_a_call_fails_when_the_supervisor_dies_under_it(path: Path) -> None:
    path.parent.mkdir()
    taken: list[asyncio.StreamWriter] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        await reader.readline()
        writer.write(b'{"id":1,"ok":tr')
        writer.close()

    async with await asyncio.start_unix_server(take, path):
        client = ControlClient(path)
        await client.connect()
        with pytest.raises(Disconnected):
            await client.call("status")
        await client.close()
        with pytest.raises(Disconnected):
            await asyncio.to_thread(blocking.call, path, "status")


async def test_a_defect_in_a_callback_does_not_end_the_connection(path: Path) -> None:
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))

    def fail(_: dict[str, Any]) -> None:
        raise ZeroDivisionError

    async with serving(path):
        client = ControlClient(path, on_push=fail)
        await client.connect()
        await client.subscribe("state")
        assert await client.call("status") == STATUS
        assert [type(problem["exception"]) for problem in problems] == [ZeroDivisionError]
        await client.close()


async def test_who_is_cancelled_while_closing_is_cancelled(path: Path) -> None:
    """As a screen that is left while it connects again: it would go on for ever."""
    async with serving(path):
        client = ControlClient(path)
        await client.connect()
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await client.close()


async def test_a_blocking_call_returns_the_reply_or_raises_its_error(path: Path) -> None:
    async with serving(path) as (_, handler):
        assert await asyncio.to_thread(blocking.call, path, "status") == STATUS
        assert handler.clients[0].name == "cli"
        with pytest.raises(ControlError, match="ghost") as caught:
            await asyncio.to_thread(blocking.call, path, "inspect", {"task": "ghost"})
        assert caught.value.code == "not_found"
        with pytest.raises(ControlError) as late:
            await asyncio.to_thread(blocking.call, path, "restart", timeout=0.05)
        assert late.value.code == "timeout"


async def test_a_result_can_be_had_as_the_text_it_came_as(path: Path) -> None:
    def ask(do: str) -> bytes:
        with blocking.Connection(path) as connection:
            return connection.call_text(do)

    async with serving(path) as (_, handler):
        assert json.loads(await asyncio.to_thread(ask, "status")) == STATUS
        handler.status = {"text": "}}\n é", "big": "x" * 200_000}
        assert json.loads(await asyncio.to_thread(ask, "status")) == handler.status
        with pytest.raises(ControlError, match="ghost"):
            await asyncio.to_thread(ask, "down")
        with pytest.raises(ControlError, match="needs the argument"):
            await asyncio.to_thread(ask, "inspect")


def test_draining_does_not_wait_for_more_whatever_the_timeout(path: Path) -> None:
    """It did, for a whole timeout after each push: who followed a log that never pauses saw none of it."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        for timeout in (None, 0.1):
            with blocking.Connection(path, timeout=timeout) as connection:
                with server.accept()[0] as other:
                    other.sendall(b'{"push": "heads"}\n')
                    connection.drain()  # the end of the timeout would be a Disconnected
                    assert connection._socket.gettimeout() == timeout
                with pytest.raises(Disconnected, match="ended the connection"):
                    connection.drain()


async def test_blocking_pushes_end_with_the_good_bye(path: Path) -> None:
    def follow() -> list[str]:
        with blocking.Connection(path) as connection:
            connection.call("subscribe", {"topics": ["state", "events"]})
            connection.call("status")
            asked.set()
            return [push["push"] for push in connection.pushes()]

    asked = threading.Event()
    async with serving(path) as (server, _):
        following = asyncio.create_task(asyncio.to_thread(follow))
        await eventually(asked.is_set)
        server.audience.publish_event({"id": 1})
    assert await following == ["snapshot", "event", "bye"]


class HeardError(Exception):
    """The signal was heard."""


def test_a_signal_that_comes_just_before_a_wait_is_heard(path: Path) -> None:
    def hear(_number: int, _frame: object) -> None:
        raise HeardError

    path.parent.mkdir()
    before = signal.signal(signal.SIGUSR1, hear)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
            with blocking.Connection(path) as connection, server.accept()[0] as other:
                # Marks the signal as come without ending a system call: so it is if it comes just before one.
                threading.Timer(0.2, _thread.interrupt_main, [signal.SIGUSR1]).start()
                late = threading.Event()
                end = threading.Timer(20.0, lambda: (late.set(), other.shutdown(socket.SHUT_RDWR)))
                end.start()
                with pytest.raises(HeardError):
                    list(connection.pushes())
                end.cancel()
                assert not late.is_set(), "it was heard when the wait ended, not during it"
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_who_comes_when_too_many_wait_already_waits_as_well(path: Path) -> None:
    path.parent.mkdir()
    answers: list[dict[str, Any]] = []
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(os.fspath(path))
        listener.listen(0)
        listener.settimeout(5)
        first.connect(os.fspath(path))
        asking = threading.Thread(target=lambda: answers.append(blocking.call(path, "status", timeout=10)))
        asking.start()
        asking.join(0.05)  # it would have failed by now
        with listener.accept()[0], listener.accept()[0] as other:
            assert b"status" in other.recv(1024)
            other.sendall(b'{"id":1,"ok":true,"result":{"late":true}}\n')
            asking.join()
        assert answers == [{"late": True}]
        with socket.socket(socket.AF_UNIX) as third:
            third.connect(os.fspath(path))
            with pytest.raises(ControlError, match="cannot connect"):
                blocking.call(path, "status", timeout=0.02)


def test_nobody_there_is_told_from_what_is_wrong(path: Path) -> None:
    with pytest.raises(NoSupervisor):
        blocking.call(path, "status")
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NoSupervisor):
        blocking.call(path, "status")
    path.unlink()
    path.write_text("")
    with pytest.raises(NoSupervisor):
        blocking.call(path, "status")


def test_a_forbidden_socket_is_an_error_of_its_own(path: Path) -> None:
    me = os.geteuid()
    path.parent.mkdir(mode=0o000)
    if me == 0:  # root may enter every folder
        os.seteuid(65534)
    try:
        with pytest.raises(ControlError, match="Permission") as refused:
            blocking.call(path, "status")
    finally:
        os.seteuid(me)
        path.parent.chmod(0o700)
    assert "another user has started it" in refused.value.extra["hint"]


def test_the_blocking_client_imports_nothing_heavy() -> None:
    code = "import sys, paneview.control.blocking; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {
        "asyncio",
        "typing",
        "dataclasses",
        "pathlib",
        "enum",
        "re",
        "json",
        "socket",
        "logging",
    }
