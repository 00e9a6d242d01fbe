from __future__ import annotations

import asyncio
import resource
import socket
import sys
import time

import pytest

from paneview.health import Listening, listening
from tests.harness import free_port

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@linux
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_port_that_opens_is_noticed_long_before_the_time_is_over(host: str) -> None:
    ports, looking = free_port(), Listening()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    waiting = asyncio.create_task(looking.wait(ports, 60))
    other = asyncio.create_task(looking.wait(free_port(), 60))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    with socket.create_server((host, ports), family=family):
        async with asyncio.timeout(20):
            assert await waiting
    assert not other.done()
    other.cancel()
    looking.close()


@linux
async def test_many_listeners_are_told_apart() -> None:
    """More than fit one piece of the kernel's answer."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(400)]
    looking = Listening()
    try:
        async with asyncio.timeout(20):
            found = [await looking.wait(server.getsockname()[1], 20) for server in (servers[0], servers[-1])]
    finally:
        for server in servers:
            server.close()
        looking.close()
    assert found == [True, True]


async def test_a_port_that_nobody_opens_is_not_waited_for_longer() -> None:
    looking = Listening()
    assert not await looking.wait(free_port(), 0.05)
    looking.close()


@linux
async def test_a_connection_is_no_listener() -> None:
    looking = Listening()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert not await looking.wait(client.getsockname()[1], 0.1)
    looking.close()


async def test_a_kernel_that_does_not_tell_costs_nothing_but_the_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "_SOCK_DIAG", 31)  # a protocol that nobody speaks
    looking = Listening()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert [await looking.wait(port, 0.05) for _ in range(2)] == [False, False]


@linux
async def test_a_moment_without_a_free_descriptor_is_not_for_good() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    looking = Listening()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            assert not await looking.wait(port, 0.1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        async with asyncio.timeout(20):
            assert await looking.wait(port, 20)
    looking.close()


async def test_the_looks_grow_rarer_and_cost_little() -> None:
    """An hour into a wait there is a look a minute, not a hundred a second."""
    looking = Listening()
    before = time.process_time()
    await asyncio.gather(*(looking.wait(free_port(), 1.0, waited=3600) for _ in range(50)))
    assert time.process_time() - before < 0.5
    looking.close()
