"""Requests about a task's pane: reading what it shows, and typing into it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from paneview.control.errors import ControlError
from paneview.control.session import ClientInfo
from paneview.supervisor.runs.live import Live
from paneview.supervisor.tasks.supervisor import Supervisor
from paneview.supervisor.terminal import Terminal
from paneview.tmux.errors import TmuxError

Args = dict[str, Any]
Reply = dict[str, Any]


class Panes:
    """Answers requests about panes."""

    def __init__(self, supervisor: Supervisor, terminal: Terminal) -> None:
        self._supervisor = supervisor
        self._terminal = terminal

    async def handle(self, do: str, args: Args, client: ClientInfo) -> Reply:
        """Answer one request. Raises ControlError, UnknownTask."""
        try:
            return await HANDLERS[do](self, args, client)
        except (TmuxError, ValueError) as error:
            raise ControlError(str(error), "failed") from error

    async def capture(self, args: Args, _client: ClientInfo) -> Reply:
        """All text that the task's pane still holds."""
        unit = self._supervisor.unit(args["task"])
        pane = (unit.live and unit.live.pane_id) or (unit.row and unit.row.pane_id)
        if not pane:
            raise ControlError(f"{unit.name} has no pane", "failed")
        session = await self._terminal.ready_with(pane, unit.name)
        return {"task": unit.name, "pane_id": pane, "text": await session.capture(pane)}

    async def screen(self, args: Args, _client: ClientInfo) -> Reply:
        """The rows of a running task's pane, with colours, and the cursor's position."""
        live = self._live(args["task"])
        session = await self._terminal.ready_with(live.pane_id, args["task"])
        lines, column, row = await session.screen(live.pane_id)
        return {"task": args["task"], "lines": lines, "column": column, "row": row}

    async def send_keys(self, args: Args, client: ClientInfo) -> Reply:
        """Type into a task's pane: named keys, or literal characters."""
        live = self._live(args["task"])
        session = await self._terminal.ready_with(live.pane_id, args["task"])
        await session.send_keys(live.pane_id, *args["keys"], literal=args["literal"])
        return {"task": args["task"], "keys": len(args["keys"]), "by": client.actor}

    async def paste(self, args: Args, client: ClientInfo) -> Reply:
        """Paste text into a task's pane, as a terminal would."""
        live = self._live(args["task"])
        session = await self._terminal.ready_with(live.pane_id, args["task"])
        await session.paste(live.pane_id, args["text"])
        return {"task": args["task"], "by": client.actor}

    def _live(self, task: str) -> Live:
        unit = self._supervisor.unit(task)
        if unit.live is None:
            raise ControlError(f"{unit.name} does not run", "failed")
        return unit.live


HANDLERS: dict[str, Callable[[Panes, Args, ClientInfo], Awaitable[Reply]]] = {
    "capture": Panes.capture,
    "screen": Panes.screen,
    "send_keys": Panes.send_keys,
    "paste": Panes.paste,
}
