"""The connection to the supervisor: made, kept, and made again for as long as the screen is open.

`Control` is all that the screen needs of it, so that tests can replay a supervisor from recorded data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from paneview import __version__
from paneview.control.errors import ControlError, NoSupervisor
from paneview.control.model import EventView
from paneview.tui.picture import KEPT_EVENTS, Picture

TOPICS = frozenset({"state", "events", "heads", "workflows"})
MOST_FLOWS = 500
RETRY = 0.5  # s between attempts if the system refuses a connection


class Control(Protocol):
    """The client side of the control socket (`paneview.control.client.ControlClient`)."""

    async def reconnect(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Connect as soon as a supervisor listens, and subscribe again."""

    async def call(self, do: str, /, *, timeout: float | None = 30.0, **args: Any) -> dict[str, Any]:  # noqa: ASYNC109
        """Send a request and return the reply's result. Raises ControlError."""

    async def subscribe(self, *topics: str) -> None:
        """Receive the pushes of these topics, and of no others."""

    async def close(self) -> None:
        """End the connection."""


Push = Callable[[dict[str, Any]], None]
MakeControl = Callable[[Push, Callable[[str], None]], Control]


class Link:
    """Feeds a picture from a supervisor."""

    def __init__(self, picture: Picture, make: MakeControl) -> None:
        self.picture = picture
        self.hello: dict[str, Any] = {}
        self._control = make(picture.take, self._lost)
        self._over = asyncio.Event()
        self._wanted = TOPICS
        self._holders: dict[str, set[object]] = {}
        self._heard: frozenset[str] = frozenset()
        self._subscribing = asyncio.Lock()

    async def run(self) -> None:
        """Keep connected until cancelled."""
        try:
            while True:
                self._over.clear()
                try:
                    await self._connect()
                except (ControlError, NoSupervisor) as error:
                    self._lost(str(error))
                    await asyncio.sleep(RETRY)
                else:
                    await self._over.wait()
        finally:
            await self._control.close()

    async def call(self, do: str, /, *, timeout: float | None = 30.0, **args: Any) -> dict[str, Any]:  # noqa: ASYNC109
        """Send a request to the supervisor. Raises ControlError, also if there is no connection."""
        return await self._control.call(do, timeout=timeout, **args)

    async def _connect(self) -> None:
        known = self.picture.newest_event
        await self._control.reconnect()
        await self._subscribe()
        self._met(await self._control.call("hello"))
        await self._fetch_events(known)
        await self.fetch_flows()

    def _met(self, hello: dict[str, Any]) -> None:
        version = hello.get("version")
        if version not in (__version__, self.hello.get("version")):
            self.picture.note(
                "version", f"the supervisor is paneview {version}, this screen is {__version__}"
            )
        self.hello = hello

    async def _fetch_events(self, known: int) -> None:
        """Fetch the latest events, ``known`` being the newest one of the connection before.

        If they cannot be read, that is told, and all else is shown.
        """
        try:
            # One more than is kept tells whether there are earlier ones.
            reply = await self._control.call("events", limit=KEPT_EVENTS + 1)
        except ControlError as error:
            if error.code == "disconnected":
                raise
            self.picture.note("refused", f"no events: {error.message}")
        else:
            self.picture.take_events([EventView.from_json(raw) for raw in reply.get("events", ())], known)

    async def fetch_flows(self) -> None:
        """Fetch all workflows; later changes are pushed."""
        self.picture.expect_flows()
        try:
            reply = await self._control.call("workflows", limit=MOST_FLOWS)
        except ControlError as error:
            self.picture.take_flows([], "" if error.code == "not_found" else error.message)
        else:
            self.picture.take_flows(list(reply.get("workflows", ())))

    async def hear(self, topic: str, holder: object, *, on: bool) -> None:
        """Subscribe to a topic while it has a holder; without a connection, as soon as there is one."""
        holders = self._holders.setdefault(topic, set())
        if on:
            holders.add(holder)
        else:
            holders.discard(holder)
        self._wanted = self._wanted | {topic} if holders else self._wanted - {topic}
        if self.picture.link.phase == "connected":
            await self._subscribe()

    async def _subscribe(self) -> None:
        """Subscribe to the wanted topics; on a new connection the control repeats its last subscription itself."""
        async with self._subscribing:  # the wanted topics may change while we wait for the reply
            while self._heard != self._wanted:
                wanted = self._wanted
                await self._control.subscribe(*sorted(wanted))
                self._heard = wanted

    def _lost(self, reason: str) -> None:
        if self.picture.link.phase == "connected":
            self.picture.set_link("lost", reason)
        self._over.set()
