"""Where the WebSocket API is to be: what ``paneview daemon --port`` asked for, else what the file says, else nowhere.

The port asked for by hand holds until the project is taken down, also when a new supervisor takes over; it is
remembered with the session.
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
    """The API of this supervisor. ``changed`` is called when there is another port to remember."""

    def __init__(
        self, hub: ControlServer, folder: Path, journal: Journal, changed: Callable[[], object]
    ) -> None:
        self.port: int | None = None
        self._api = WebSocketApi(hub, paths.token_file(folder), journal.note)
        self._settings: WebSocketSettings | None = None
        self._changed = changed

    async def follow(self, settings: WebSocketSettings | None) -> None:
        """Be where the file says. A port that cannot be had is an event."""
        self._settings = settings
        with suppress(ControlError):  # told by an event
            await self._api.apply(self._wanted())

    async def serve(self, port: int | None, by: str) -> dict[str, Any]:
        """Be at ``port`` from now on; None only asks where the API is. Raises ControlError."""
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
        """Say good-bye to every client."""
        await self._api.close(reason)

    def _wanted(self) -> Address | None:
        settings = self._settings
        if self.port is None and settings is None:
            return None
        host = settings.host if settings else WebSocketSettings().host
        return Address(host, self.port or (settings or WebSocketSettings()).port)
