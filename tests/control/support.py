"""A small handler and a running server for the tests of both ends of the control socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from paneview.control.audience import Audience
from paneview.control.errors import ControlError
from paneview.control.server import ControlServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from paneview.control.session import ClientInfo

STATUS = {
    "session": "demo",
    "running": True,
    "active_tasks": 1,
    "tasks": [{"name": "web", "state": "running"}],
}


class DemoHandler:
    """Answers a few requests; `restart` waits until `gate` is set, `reload` has a defect."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.started: list[str] = []
        self.clients: list[ClientInfo] = []
        self.asked: list[dict[str, Any]] = []
        self.status: dict[str, Any] = dict(STATUS)

    def snapshot(self) -> dict[str, Any]:
        return self.status

    async def handle(self, do: str, args: dict[str, Any], client: ClientInfo) -> dict[str, Any]:
        self.started.append(do)
        self.clients.append(client)
        self.asked.append(args)
        if do == "status":
            return self.status
        if do == "restart":
            await self.gate.wait()
            return {"results": [{"ok": True, "task": "web", "action": "restarted"}]}
        if do == "reload":
            raise ZeroDivisionError("a defect")
        if do == "job":
            return {"bytes": len(args["job"].encode())}
        if do == "capture":
            return {"text": "x" * 17 * 1024 * 1024}
        if do == "health":
            return {"load": float("nan")}
        raise ControlError("Task 'ghost' not found in config", "not_found", results=[{"error_code": "E200"}])


@asynccontextmanager
async def serving(path: Path, **bounds: int) -> AsyncIterator[tuple[ControlServer, DemoHandler]]:
    """A server at `path` with a `DemoHandler`, closed at the end."""
    handler = DemoHandler()
    server = ControlServer(handler, Audience(**bounds), path)
    await server.start()
    try:
        yield server, handler
    finally:
        handler.gate.set()
        await server.close("the test is over")
