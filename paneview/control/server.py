"""The supervisor's side of the control socket: listens, passes requests to a handler, adds clients to the audience.

The server decides nothing. It belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from typing import TYPE_CHECKING, Any, Protocol

from paneview.control import socketfile
from paneview.control.acceptor import Acceptor
from paneview.control.errors import ControlError
from paneview.control.session import LINGER, ClientInfo, Session

if TYPE_CHECKING:
    from pathlib import Path

    from paneview.control.audience import Audience
    from paneview.control.protocol import Request

logger = logging.getLogger(__name__)


class Handler(Protocol):
    """What the server needs of the supervisor.

    Requests have been checked against `protocol.REQUESTS`, with defaults filled in.
    """

    async def handle(self, do: str, args: dict[str, Any], client: ClientInfo) -> dict[str, Any]:
        """Carry out a request and return the reply's result.

        Raises ControlError for a failure that is reported to the client.
        """
        ...

    def snapshot(self) -> dict[str, Any]:
        """The status object, without waiting: what a new subscriber gets before the stream."""
        ...


class ControlServer:
    """One listening socket and its clients, which join the audience."""

    def __init__(self, handler: Handler, audience: Audience, path: Path) -> None:
        self.path = path
        self.audience = audience
        self._handler = handler
        self._numbers = itertools.count(1)
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._acceptor: Acceptor | None = None
        self._retired = False
        self._inode = 0

    async def start(self) -> None:
        """Listen. Raises UnsafeSocket or OSError (see `socketfile.listen`)."""
        self._listen()

    def listen_again(self) -> None:
        """Listen anew if the socket's file was removed; connected clients notice nothing.

        Raises what `start` raises.
        """
        if self._retired or self.path.exists():
            return
        if self._acceptor:
            self._acceptor.close()
            self._acceptor = None
        self._listen()

    def retire(self) -> None:
        """Refuse new requests from now on, as ``closing``: the client can repeat them to the next supervisor.

        Requests in flight and publishing go on until `close`.
        """
        self._retired = True
        if self._acceptor:
            self._acceptor.close()
            socketfile.remove(self.path, self._inode)
            self._acceptor = None

    async def close(self, reason: str, grace: float = 1.0) -> None:
        """Stop listening, give requests in flight `grace` seconds, say good-bye to every client, and close.

        Must not be awaited by a request's handler, which would wait for itself.
        """
        self.retire()
        sessions = list(self._sessions)
        resting = [asyncio.create_task(session.requests_done()) for session in sessions]
        if resting:
            await asyncio.wait(resting, timeout=grace)
        for session in sessions:
            session.cancel_requests()
        for task in resting:
            await task
        for session in list(self._sessions):
            session.bye(reason)
        if running := list(self._sessions.values()):
            _, late = await asyncio.wait(running, timeout=2 * LINGER)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def introduce(self, name: str) -> ClientInfo:
        """A number and a name for a client that did not come through the socket."""
        return ClientInfo(next(self._numbers), None, None, name)

    async def answer(self, request: Request, client: ClientInfo) -> dict[str, Any]:
        """The result of a checked request. Raises ControlError."""
        if self._retired:
            raise ControlError("the supervisor is ending", "closing")
        try:
            return await self._handler.handle(request.do, request.args, client)
        except UnicodeEncodeError as error:
            odd = error.object[error.start : error.end]
            if odd.isprintable():  # a text of our own
                raise
            raise ControlError(f"what was given is not UTF-8 text: {odd!r}", "bad_request") from None

    def status(self) -> dict[str, Any]:
        """The status object as it is now."""
        return self._handler.snapshot()

    def snapshot(self) -> tuple[int, bytes]:
        """The whole state's number in the stream, and the state, encoded."""
        return self.audience.numbered(self._handler.snapshot())

    def _listen(self) -> None:
        listener = socketfile.listen(self.path)
        self._inode = self.path.lstat().st_ino
        self._acceptor = Acceptor(listener, self._connected)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid, uid = socketfile.peer(writer.get_extra_info("socket"))
        if uid not in {None, 0, os.geteuid()}:
            logger.warning("a process of user %s was refused", uid)
            writer.transport.abort()
            return
        info = ClientInfo(next(self._numbers), pid, uid)
        session = Session(
            info,
            (reader, writer),
            self.answer,
            self.snapshot,
            self.audience.new_outbox(),
            self.audience.has_heard,
        )
        task = asyncio.current_task()
        assert task is not None
        self._sessions[session] = task
        self.audience.join(session)
        try:
            await session.run()
        finally:
            self.audience.leave(session)
            del self._sessions[session]
