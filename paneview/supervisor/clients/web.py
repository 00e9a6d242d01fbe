"""Where the WebSocket API listens: at the port from ``paneview daemon --port``, else as the file says, else nowhere.

A port set by hand holds until the project is taken down, even when a new supervisor takes over; it is stored with the
session.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from paneview.config import paths
from paneview.config.models import WebSocketSettings
from paneview.control.errors import ControlError
from paneview.control.server import ControlServer
from paneview.control.websocket.api import Address, WebSocketApi
from paneview.supervisor.journal import Journal


class Web:
    """The WebSocket API of this supervisor. ``changed`` is called when there is a new port to store."""

    def __init__(
        self, hub: ControlServer, folder: Path, journal: Journal, changed: Callable[[], object]
    ) -> None:
        self.port: int | None = None
        self._api = WebSocketApi(hub, paths.token_file(folder), journal.note)
        self._settings: WebSocketSettings | None = None
        self._changed = changed

    async def follow(self, settings: WebSocketSettings | None) -> None:
        """Listen where the file says, unless a port was set by hand. An event records a port that is not available."""
        self._settings = settings
        with suppress(ControlError):  # it is recorded as an event
            await self._api.apply(self._wanted())

    async def serve(self, port: int | None, by: str) -> dict[str, Any]:
        """Listen on ``port`` from now on; None only returns where the API is. Raises ControlError."""
        if port is not None:
            before, self.port = self.port, port
            try:
                await self._api.apply(self._wanted(), by)
            except ControlError:
                self.port = before
                await self.follow(self._settings)
                raise
            self._changed()
        return {"url": self._api.url, "token_file": str(self._api.token_file)}

    async def close(self, reason: str) -> None:
        """Close the connection of every client, with this reason."""
        await self._api.close(reason)

    def _wanted(self) -> Address | None:
        settings = self._settings
        if self.port is None and settings is None:
            return None
        host = settings.host if settings else WebSocketSettings().host
        return Address(host, self.port or (settings or WebSocketSettings()).port)
