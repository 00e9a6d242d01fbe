"""A run's transcript, fetched as it grows: its last part first, then only what is new, nothing once it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from paneview.control.errors import ControlError
from paneview.tui.text import clean
from paneview.tui.widgets.textpane import Line

LOOK = 0.3  # s between two fetches from a run that goes on
IDLE = 1.0  # s between two fetches from a run that has shown nothing yet
FIRST = 512 * 1024  # bytes at the end of a long transcript that are read
PAGE = 256 * 1024

_ROLES = {"●": "accent", "↻": "attention", "!": "attention", "↳": "dim", "·": "dim"}
Call = Callable[..., Awaitable[dict[str, Any]]]


class Transcript:
    """One run's transcript. ``told`` is called with new lines, and whether they are the first, until `close`."""

    def __init__(
        self, call: Call, flow: str, phase: str, attempt: int, told: Callable[[list[Line], bool], None]
    ) -> None:
        self.what = (flow, phase, attempt)
        self.over = False
        self._call = call
        self._told = told
        self._rest = ""
        self._task = asyncio.get_running_loop().create_task(self._read())

    def close(self) -> None:
        """Stop fetching."""
        self._task.cancel()

    async def _ask(self, offset: int, limit: int) -> dict[str, Any]:
        flow, phase, attempt = self.what
        return await self._call(
            "workflow_transcript", id=flow, phase=phase, attempt=attempt, offset=offset, limit=limit
        )

    async def _read(self) -> None:
        first, offset, begun = True, 0, False
        while True:
            try:
                if not begun:
                    size = int((await self._ask(0, 1)).get("size") or 0)
                    offset, begun = max(0, size - FIRST), True
                    skipped = offset > 0
                reply = await self._ask(offset, PAGE)
            except ControlError as error:
                if error.code != "disconnected":
                    self._told([Line(clean(error.message), "failed")], first)
                    return
                await asyncio.sleep(IDLE)
                continue
            text, offset = str(reply["text"]), int(reply["end"])
            if first and skipped:
                text = text.partition("\n")[2]
            more = offset < int(reply.get("size") or 0)
            self.over = bool(reply["over"]) and not more
            lines = self._lines(text)
            if first and skipped:
                lines.insert(0, Line("… what came before is left out here", "dim"))
            if lines or first:
                self._told(lines, first)
                first = False
            if self.over:
                return
            if not more:
                await asyncio.sleep(LOOK if offset else IDLE)

    def _lines(self, text: str) -> list[Line]:
        """The complete lines; an incomplete last one is held back, unless the run is over."""
        parts = (self._rest + text).split("\n")
        self._rest = "" if self.over else parts.pop()
        if self.over and not parts[-1]:
            parts.pop()
        return [Line(part, _role(part)) for part in parts]


def _role(part: str) -> str:
    """The role of a line, by the sign that it begins with."""
    return _ROLES.get(part.lstrip(" ")[:1], "")
