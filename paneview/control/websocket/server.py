"""A listening WebSocket: admits or refuses clients, serves them, and sends all of them the tasks' health."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from contextlib import ExitStack, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import Server, ServerConnection, serve

from paneview.control.protocol import encode_fragment
from paneview.control.websocket import access
from paneview.control.websocket.client import MEMBERS_MESSAGE, WebClient

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from websockets.http11 import Request, Response

    from paneview.control.server import ControlServer

MAX_CLIENTS = 100
HEALTH_EVERY = 30.0  # seconds, as in taskmux
HEALTH_PAUSE = 0.25  # least seconds between two of these
GRACE = 1.0  # seconds for requests in flight and for good-byes
OPEN_WITHIN = 5.0  # seconds from the connection to the end of its first request
BACKLOG = 64

# The library's messages about connections of scanners and curious browsers are of no use in our log.
_quiet = logging.getLogger("paneview.websockets")
_quiet.setLevel(logging.CRITICAL)


class WebSocketServer:
    """Serves the API at one address, from `start` to `close`."""

    def __init__(self, hub: ControlServer, token: str) -> None:
        self._hub = hub
        self._token = token
        self._servers: list[Server] = []
        self._clients: dict[WebClient, asyncio.Task[None]] = {}
        self._requests: set[asyncio.Task[None]] = set()
        self._health = _HealthWatch(hub)
        self._telling: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError, with a message for people, if the port cannot be used."""
        for listener in _listeners(host, port):
            self._servers.append(
                await serve(
                    self._connected,
                    sock=listener,
                    backlog=1,  # how often asyncio tries when no descriptor is left (see `acceptor`)
                    process_request=self._let_in,
                    compression=None,  # on the loopback interface it only costs time
                    ping_interval=None,  # see `client`
                    open_timeout=OPEN_WITHIN,
                    close_timeout=GRACE,
                    max_size=MEMBERS_MESSAGE,
                    max_queue=4,
                    server_header=None,
                    logger=_quiet,
                )
            )
            listener.listen(BACKLOG)
        self._telling = asyncio.create_task(self._tell_health())

    async def close(self, reason: str, *, cancel: bool) -> None:
        """Say good-bye to every client and stop listening; `cancel`: also cancel their requests, after a moment."""
        if self._telling:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
        for server in self._servers:
            server.close(close_connections=False)
        if cancel and self._requests:
            await asyncio.wait(set(self._requests), timeout=GRACE)
            for task in self._requests:
                task.cancel()
            await asyncio.gather(*self._requests, return_exceptions=True)
        clients = dict(self._clients)
        for client in clients:
            client.bye(reason)
        if clients:
            await asyncio.wait(set(clients.values()), timeout=GRACE)
        for client, task in clients.items():
            if not task.done():
                client.abort()
        with suppress(TimeoutError):  # a connection without its first request ends by its own time limit
            async with asyncio.timeout(GRACE):
                for server in self._servers:
                    await server.wait_closed()

    def _let_in(self, connection: ServerConnection, request: Request) -> Response | None:
        headers = request.headers
        reason = access.refusal(headers.get_all("Host"), headers.get_all("Origin"))
        if reason:
            return connection.respond(HTTPStatus.FORBIDDEN, f"{reason}\n")
        tokens = access.tokens_in(request.path, headers.get_all("Authorization"))
        if not all(access.is_token(token, self._token) for token in tokens):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "the token is wrong\n")
        if len(self._clients) >= MAX_CLIENTS:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "too many clients\n")
        return None

    async def _connected(self, connection: ServerConnection) -> None:
        assert connection.request
        headers = connection.request.headers
        tokens = access.tokens_in(connection.request.path, headers.get_all("Authorization"))
        client = WebClient(connection, self._hub, self._token, self._spawn)
        task = asyncio.current_task()
        assert task
        self._clients[client] = task
        self._health.look(on=True)
        try:
            await client.run(admitted=bool(tokens))  # a wrong one did not get here
        finally:
            del self._clients[client]
            self._health.look(on=bool(self._clients))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _tell_health(self) -> None:
        while True:
            if push := await self._health.news():
                for client in list(self._clients):
                    client.tell(push)
            await asyncio.sleep(HEALTH_PAUSE)


class _HealthWatch:
    """Watches the tasks' state for clients that are only told when a task's health changes."""

    def __init__(self, hub: ControlServer) -> None:
        self.topics = frozenset({"state"})
        self.outbox = hub.audience.new_outbox()
        self._hub = hub
        self._changed = asyncio.Event()
        self._looking = False
        self._told: dict[str, bool] = {}
        self._due = asyncio.get_running_loop().time() + HEALTH_EVERY

    def look(self, *, on: bool) -> None:
        """Watch for changes, or stop, since there is no client to tell."""
        if on == self._looking:
            return
        self._looking = on
        if on:
            self._told = _health_of(self._hub.status())
            self._hub.audience.join(self)
        else:
            self._hub.audience.leave(self)

    def wake(self) -> None:
        """Something has changed; `news` reads what it was from the whole status."""
        while self.outbox:
            self.outbox.take(1)
        self._changed.set()

    def cut(self, reason: str) -> None:
        """Never happens, because the outbox is always read at once."""

    async def news(self) -> bytes | None:
        """The push to send, once a task's health has changed or the time is up; None after any other change."""
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._due):
                await self._changed.wait()
        self._changed.clear()
        over = loop.time() >= self._due
        if over:
            self._due = loop.time() + HEALTH_EVERY
        if not self._looking:
            return None
        status = self._hub.status()
        health = _health_of(status)
        if health == self._told and not over:
            return None
        self._told = health
        return b'{"push":"health_check","data":%b}\n' % encode_fragment(status)


def _health_of(status: dict[str, Any]) -> dict[str, bool]:
    return {task["name"]: bool(task.get("healthy")) for task in status["tasks"]}


def _listeners(host: str, port: int) -> list[socket.socket]:
    """Listening sockets at `host`; ``localhost`` is both loopback addresses, or IPv4 alone if there is no IPv6."""
    hosts = ("127.0.0.1", "::1") if host == "localhost" else (host,)
    found: list[socket.socket] = []
    with ExitStack() as opened:
        for address in hosts:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            try:
                listener = socket.create_server((address, port), family=family, backlog=BACKLOG)
            except OSError as error:
                if found and error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                    continue  # no IPv6 here
                raise OSError(error.errno, _explain(error, address, port)) from None
            opened.callback(listener.close)
            listener.setblocking(False)
            found.append(listener)
        opened.pop_all()
    return found


def _explain(error: OSError, address: str, port: int) -> str:
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use by another program (at {where})"
    return f"cannot listen at {where}: {error.strerror or error}"
