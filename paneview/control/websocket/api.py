"""Turns the WebSocket API on and off while the supervisor runs, and records how that went.

The API is a guest in the supervisor: a port that is in use is an event, never fatal. The library is loaded when the
API is first turned on, so that it costs nothing if it is not used.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from paneview.control.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from paneview.control.server import ControlServer
    from paneview.control.websocket.server import WebSocketServer


class Address(NamedTuple):
    """Where to listen: an address of the loopback interface and a port."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address as a client writes it, without the token."""
        return f"ws://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"


class WebSocketApi:
    """The API of one supervisor. `note` records an event: kind, cause, and ``by``, who caused it."""

    def __init__(self, hub: ControlServer, token_file: Path, note: Callable[..., object]) -> None:
        self.token_file = token_file
        self._hub = hub
        self._note = note
        self._lock = asyncio.Lock()
        self._server: WebSocketServer | None = None
        self._address: Address | None = None

    @property
    def url(self) -> str | None:
        """The API's address, None while it is off."""
        return self._address.url if self._address else None

    async def apply(self, wanted: Address | None, by: str = "supervisor") -> None:
        """Listen there and nowhere else; None turns the API off. Raises ControlError if the port cannot be used."""
        async with self._lock:
            if wanted == self._address:
                return
            await self._stop("the WebSocket API is turned off or goes elsewhere", cancel=False)
            if wanted is None:
                self._note("websocket_stopped", "turned off", by=by)
                return
            try:
                await self._start(wanted)
            except OSError as error:
                reason = f"no WebSocket API: {error.strerror or error}"
                self._note("websocket_failed", reason, by=by, host=wanted.host, port=wanted.port)
                raise ControlError(f"{reason}; free it and `paneview reload`, or choose another") from None
            self._note("websocket_started", wanted.url, by=by, host=wanted.host, port=wanted.port)

    async def close(self, reason: str) -> None:
        """Say good-bye to every client and cancel their requests."""
        async with self._lock:
            await self._stop(reason, cancel=True)

    async def _start(self, wanted: Address) -> None:
        from paneview.control.websocket.access import load_token  # noqa: PLC0415
        from paneview.control.websocket.server import WebSocketServer  # noqa: PLC0415

        server = WebSocketServer(self._hub, load_token(self.token_file))
        await server.start(*wanted)
        self._server, self._address = server, wanted

    async def _stop(self, reason: str, *, cancel: bool) -> None:
        if self._server:
            server, self._server, self._address = self._server, None, None
            await server.close(reason, cancel=cancel)
