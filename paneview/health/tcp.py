"""Is anyone there? A TCP connection to a host by any of its addresses.

All addresses are tried at once, and the first that answers wins: a development server may listen on ``::1``
only, and one that is tried after the other's time-out would be found too late. This is the cheapest and the
most frequent probe (100 tasks, each second), so the sockets are driven by hand: no task, no stream and, for
`localhost`, no resolver.

On the loopback interface a connection can meet itself: the kernel gives the client the very port it asks for,
and TCP lets the two ends be one. That is nobody, and such a connection counts as refused (and would, kept,
take the port away).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket

from paneview.health.result import ProbeFailed, ProbeResult
from paneview.health.specs import TcpProbe
from paneview.proc import SCARCE

Address = tuple[socket.AddressFamily, tuple[object, ...]]


async def probe_tcp(spec: TcpProbe) -> ProbeResult:
    """Connect, and hang up. Raises ProbeFailed."""
    connection = await connect(spec.host, spec.port)
    connection.close()
    return ProbeResult(True, f"accepts connections on {place(spec.host, spec.port)}")


def answer_at_once(spec: TcpProbe) -> ProbeResult | None:
    """What the machine itself answers while one asks; None if the answer takes its time, or comes from elsewhere.

    A task that is getting ready is asked a dozen times, a hundred of them each second: without a task, a timer and an
    exception each it costs a third.
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
    """Begin to connect: 0, the error's number, or None if that is not known yet. Raises OSError without a socket."""
    connection = socket.socket(family, socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0))
    connection.setblocking(False)
    code = connection.connect_ex(address)
    if code in (errno.EINPROGRESS, errno.EINTR):
        # On the loopback interface the answer is there by now, which saves the trip through the event loop.
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not code and not _is_connected(connection):
            return connection, None
    return connection, code or _own_end(connection)


def place(host: str, port: int) -> str:
    """``host:port`` for people."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def connect(host: str, port: int) -> socket.socket:
    """A connected, non-blocking socket. Raises ProbeFailed, OSError where none can be had for now."""
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
    """The addresses of the machine itself under this name, none if it is another's."""
    if host.lower() == "localhost":
        return [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port))]
    if host == "127.0.0.1":
        return [(socket.AF_INET, (host, port))]
    return []


async def _addresses(host: str, port: int) -> list[Address]:
    if addresses := _loopback(host, port):
        return addresses
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ProbeFailed(f"host {host!r} not found") from error
    return [(family, address) for family, _, _, _, address in found]


class _Attempt:
    """Connections under way to several addresses; `outcome` gets the first socket that is through, or an
    error."""

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
        # Where one could not be asked, the others' word is not all. Else the refusal tells more than "no such address",
        # which only says that there is no IPv6 here.
        unasked = [error for error in self.errors if error.errno in SCARCE]
        refusals = [error for error in self.errors if error.errno == errno.ECONNREFUSED]
        self.outcome.set_exception((unasked or refusals or self.errors)[0])

    def hang_up(self) -> None:
        """Close what was connected in the instant that nobody wanted it any more."""
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
    """The code of a refusal where a connection has met itself, else 0."""
    try:
        return errno.ECONNREFUSED if connection.getsockname() == connection.getpeername() else 0
    except OSError:  # the other side has hung up again: it was someone
        return 0


def _words(error: OSError, where: str) -> str:
    if error.errno == errno.ECONNREFUSED:
        return f"connection refused on {where}"
    if error.errno == errno.ETIMEDOUT:
        return f"no answer from {where}"
    reason = error.strerror or str(error)
    return f"{where} can't be reached: {reason[:1].lower()}{reason[1:]}"
