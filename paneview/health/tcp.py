"""Does a server accept connections? A TCP connection to any of a host's addresses.

All addresses are tried at once, and the first that answers wins: a development server may listen on ``::1``
only, and trying one address after the other's timeout would find it too late. This is the cheapest and most
frequent probe (100 tasks, each second), so the sockets are driven by hand: no asyncio task, no stream and, for
`localhost`, no resolver.

On the loopback interface a socket can connect to itself: the kernel may give the client the very port it is
connecting to, and TCP allows both ends to be one. Such a connection counts as refused (and if kept, it would
occupy the port).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from threading import Thread

from paneview.health.result import ProbeFailed, ProbeResult
from paneview.health.specs import TcpProbe
from paneview.proc import SCARCE

Address = tuple[socket.AddressFamily, tuple[object, ...]]


async def probe_tcp(spec: TcpProbe) -> ProbeResult:
    """Connect and hang up. Raises ProbeFailed, OSError if resources are short."""
    connection = await connect(spec.host, spec.port)
    connection.close()
    return ProbeResult(True, f"accepts connections on {place(spec.host, spec.port)}")


def answer_at_once(spec: TcpProbe) -> ProbeResult | None:
    """The result, if this machine can answer immediately; None if the answer takes time or comes from elsewhere.

    A task that is getting ready is probed a dozen times, and a hundred tasks every second: without an asyncio task, a
    timer and an exception, a probe costs a third.
    """
    refused = False
    for family, address in _loopback(spec.host, spec.port):
        try:
            connection, code = _begin(family, address)
        except OSError as error:  # no IPv6 in this kernel, or no descriptor left
            if error.errno in SCARCE:
                return None
            continue
        connection.close()
        if code is None:
            return None
        if not code:
            return ProbeResult(True, f"accepts connections on {place(spec.host, spec.port)}")
        refused = refused or code == errno.ECONNREFUSED
    return ProbeResult(False, f"connection refused on {place(spec.host, spec.port)}") if refused else None


def _begin(family: socket.AddressFamily, address: tuple[object, ...]) -> tuple[socket.socket, int | None]:
    """Begin to connect; returns the socket, and 0, the error number, or None if pending. Raises OSError."""
    connection = socket.socket(family, socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0))
    connection.setblocking(False)
    code = connection.connect_ex(address)
    if code in (errno.EINPROGRESS, errno.EINTR):
        # On the loopback interface the answer is there already, which saves a trip through the event loop.
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not code and not _is_connected(connection):
            return connection, None
    return connection, code or _own_end(connection)


def place(host: str, port: int) -> str:
    """``host:port`` for people."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def connect(host: str, port: int) -> socket.socket:
    """A connected, non-blocking socket. Raises ProbeFailed, OSError if resources are short."""
    attempt = _Attempt(await _addresses(host, port))
    try:
        return await attempt.outcome
    except OSError as error:
        if error.errno in SCARCE:
            raise
        raise ProbeFailed(_words(error, place(host, port))) from error
    except asyncio.CancelledError:
        attempt.hang_up()
        raise
    finally:
        attempt.close()


def _loopback(host: str, port: int) -> list[Address]:
    """The machine's own addresses under this name; empty for other hosts."""
    if host.lower() == "localhost":
        return [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port))]
    if host == "127.0.0.1":
        return [(socket.AF_INET, (host, port))]
    return []


async def _addresses(host: str, port: int) -> list[Address]:
    if addresses := _loopback(host, port):
        return addresses
    found = _resolved(host, port, socket.AI_NUMERICHOST) or await _looked_up(host, port)
    if not found:
        raise ProbeFailed(f"host {host!r} not found")
    return found


def _resolved(host: str, port: int, flags: int = 0) -> list[Address]:
    """The addresses under this name; empty if there are none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError):
        return []
    return [(family, address) for family, _, _, _, address in found]


_Lookup = tuple[asyncio.AbstractEventLoop, str, int]
_lookups: dict[_Lookup, asyncio.Future[list[Address]]] = {}


async def _looked_up(host: str, port: int) -> list[Address]:
    """The addresses that the system finds, on a thread of its own; all who ask meanwhile share it.

    Where a name server does not answer, that takes half a minute and cannot be ended. asyncio's few threads, which the
    supervisor needs for much else, would soon all wait for it, and the supervisor's end as well.
    """
    lookup = asyncio.get_running_loop(), host, port
    if lookup not in _lookups:
        _lookups[lookup] = lookup[0].create_future()
        try:
            Thread(target=_look_up, args=lookup, name=f"lookup of {host}", daemon=True).start()
        except RuntimeError as error:  # no thread can be started
            del _lookups[lookup]
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
    return await asyncio.shield(_lookups[lookup])


def _look_up(loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
    found = _resolved(host, port)
    try:
        loop.call_soon_threadsafe(lambda: _lookups.pop((loop, host, port)).set_result(found))
    except RuntimeError:  # the loop is closed, and nobody waits any more
        del _lookups[loop, host, port]


class _Attempt:
    """Connections under way to several addresses; `outcome` gets the first connected socket, or an error."""

    def __init__(self, addresses: list[Address]) -> None:
        self.loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[socket.socket] = self.loop.create_future()
        self.pending: set[socket.socket] = set()
        self.errors: list[OSError] = []
        for family, address in addresses:
            if not self.outcome.done():
                self._begin(family, address)
        self._check_all_failed()

    def _begin(self, family: socket.AddressFamily, address: tuple[object, ...]) -> None:
        try:
            connection, code = _begin(family, address)
        except OSError as error:  # no IPv6 in this kernel, or no descriptor left
            self.errors.append(error)
            return
        if code is None:
            self.pending.add(connection)
            self.loop.add_writer(connection.fileno(), self._ready, connection)
        else:
            self._settle(connection, code)

    def _ready(self, connection: socket.socket) -> None:
        self.loop.remove_writer(connection.fileno())
        self.pending.discard(connection)
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._settle(connection, code or _own_end(connection))
        self._check_all_failed()

    def _settle(self, connection: socket.socket, code: int) -> None:
        if code:
            self.errors.append(OSError(code, os.strerror(code)))
        elif not self.outcome.done():
            self.outcome.set_result(connection)
            return
        connection.close()

    def _check_all_failed(self) -> None:
        if self.pending or self.outcome.done():
            return
        # If one could not be tried, the others' errors are not conclusive. Otherwise a refusal says more than
        # "no such address", which only means that there is no IPv6 here.
        unasked = [error for error in self.errors if error.errno in SCARCE]
        refusals = [error for error in self.errors if error.errno == errno.ECONNREFUSED]
        self.outcome.set_exception((unasked or refusals or self.errors)[0])

    def hang_up(self) -> None:
        """Close a socket that was connected just when the waiter was cancelled."""
        if self.outcome.done() and not self.outcome.cancelled() and self.outcome.exception() is None:
            self.outcome.result().close()

    def close(self) -> None:
        """End the attempts still under way."""
        for connection in self.pending:
            self.loop.remove_writer(connection.fileno())
            connection.close()
        self.pending.clear()


def _is_connected(connection: socket.socket) -> bool:
    try:
        connection.getpeername()
    except OSError:
        return False
    return True


def _own_end(connection: socket.socket) -> int:
    """The code of a refusal if a socket is connected to itself, else 0."""
    try:
        return errno.ECONNREFUSED if connection.getsockname() == connection.getpeername() else 0
    except OSError:  # the other side has hung up already, so it was not our own end
        return 0


def _words(error: OSError, where: str) -> str:
    if error.errno == errno.ECONNREFUSED:
        return f"connection refused on {where}"
    if error.errno == errno.ETIMEDOUT:
        return f"no answer from {where}"
    reason = error.strerror or str(error)
    return f"{where} can't be reached: {reason[:1].lower()}{reason[1:]}"
