from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from paneview.health import TcpProbe
from paneview.health.tcp import connect
from tests.harness import free_port
from tests.health.support import ask, serve, silent


@pytest.mark.parametrize(
    ("listening", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        ("::1", "localhost"),
        ("::1", "::1"),
        ("127.0.0.1", "LOCALHOST"),
    ],
)
async def test_someone_there(listening: str, asked: str) -> None:
    async with serve(silent, listening) as port:
        result = await ask(TcpProbe(5, asked, port))
    assert result.ok, result.detail
    assert result.detail.startswith("accepts connections on ")


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("::1", "[::1]")]
)
async def test_nobody_there(host: str, shown: str) -> None:
    port = free_port()
    result = await ask(TcpProbe(5, host, port))
    assert (result.ok, result.detail) == (False, f"connection refused on {shown}:{port}")


async def test_unknown_host() -> None:
    result = await ask(TcpProbe(5, "no-such-host.invalid", 80))
    assert (result.ok, result.detail) == (False, "host 'no-such-host.invalid' not found")


async def test_a_lookup_needs_no_thread_that_others_need() -> None:
    """It may take half a minute, so it must not keep them busy; here it is the others who do."""
    over = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    other = loop.run_in_executor(None, over.wait)
    probe = TcpProbe(2, "no-such-host.invalid", 80)
    try:
        details = {result.detail for result in await asyncio.gather(ask(probe), ask(probe))}
    finally:
        over.set()
        await other
    assert details == {"host 'no-such-host.invalid' not found"}


async def test_no_answer_in_time() -> None:
    """A listener whose queue is full lets connections wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        try:
            for client in waiting:
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", port))
            result = await ask(TcpProbe(0.2, "127.0.0.1", port))
        finally:
            for client in waiting:
                client.close()
    assert (result.ok, result.detail) == (False, f"no answer within 0.2 s from 127.0.0.1:{port}")


async def test_a_connection_to_itself_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client socket that is bound to the port it connects to meets itself."""
    port = free_port()
    original = socket.socket

    class Bound(original):  # type: ignore[misc, valid-type]
        def connect_ex(self, address: tuple[str, int]) -> int:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.bind(address)
            return int(super().connect_ex(address))

    monkeypatch.setattr(socket, "socket", Bound)
    result = await ask(TcpProbe(5, "127.0.0.1", port))
    assert (result.ok, result.detail) == (False, f"connection refused on 127.0.0.1:{port}")


async def test_cancelled_at_any_moment_nothing_is_left_open() -> None:
    async with serve(silent) as port:
        for steps in range(6):
            attempt = asyncio.create_task(connect("localhost", port))
            for _ in range(steps):
                await asyncio.sleep(0)
            attempt.cancel()
            (outcome,) = await asyncio.gather(attempt, return_exceptions=True)
            if isinstance(outcome, socket.socket):
                outcome.close()


async def test_a_hundred_probes_a_second_are_cheap() -> None:
    """Issue: under 5 % of a core. The server's half of the work is in this process too; the bound is generous."""
    async with serve(silent) as port:
        before = time.process_time()
        for _ in range(5):
            results = await asyncio.gather(*(ask(TcpProbe(20, "localhost", port)) for _ in range(100)))
            assert all(result.ok for result in results)
        used = (time.process_time() - before) / 5
    assert used < 0.5
