"""One WebSocket client: a reader, a writer with an outbox of its own, and its requests.

It gets the stream as a guest of the control server, so snapshot, order, coalescing and the bound past which a
client is cut off are the same for all. It is not pinged: on the loopback interface a peer that is gone is known
to be gone, and one that only reads slowly should be told so, not disconnected without a word.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed

from paneview.control.errors import ControlError
from paneview.control.protocol import MAX_LINE, encode
from paneview.control.websocket import commands
from paneview.control.websocket.access import is_token

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any

    from websockets.asyncio.server import ServerConnection

    from paneview.control.protocol import Request
    from paneview.control.server import ControlServer

MAX_IN_FLIGHT = 32
MAX_UNREAD = 8 * 1024 * 1024  # bytes of replies a client may leave unread before its requests wait
STRANGERS_MESSAGE = 64 * 1024  # bytes a client without a token may send at once
MEMBERS_MESSAGE = 16 * 1024 * 1024  # past commands.MAX_MESSAGE is an error, past this the connection ends
TOKEN_WITHIN = 10.0  # seconds
LINGER = 30.0  # seconds that a client has, before it is closed, to read what waits for it

LEFT, REFUSED, CUT, GOING = 1000, 1008, 1013, 1001  # close codes

logger = logging.getLogger(__name__)


class WebClient:
    """Serves one connection from `run` until the client leaves, is cut off, or the server says good-bye.

    `spawn` runs a request as a task that goes on when the client leaves: it is still carried out.
    """

    def __init__(
        self,
        connection: ServerConnection,
        hub: ControlServer,
        token: str,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self.topics: frozenset[str] = frozenset()
        self.outbox = hub.audience.new_outbox()
        self.admitted = False
        self._connection = connection
        self._hub = hub
        self._token = token
        self._spawn = spawn
        self._info = hub.introduce("websocket")
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._in_order = asyncio.Lock()
        self._work = asyncio.Event()  # set: the outbox may hold something
        self._sent = asyncio.Event()  # set: the outbox may hold less
        self._news = b""  # the newest of the pushes that may be dropped
        self._close: tuple[int, str] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    async def run(self, *, admitted: bool) -> None:
        """Serve the client; `admitted`: it has shown the token already."""
        self._admit(admitted=admitted)
        reading = asyncio.create_task(self._read())
        writing = asyncio.create_task(self._write())
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            if self._close:  # what was sent last, and the reason, must still reach the client
                await writing
        finally:
            self._hub.audience.leave(self)
            self._close = self._close or (LEFT, "")
            self._sent.set()
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)
            if self._deadline:
                self._deadline.cancel()
        for task in (reading, writing):
            if not task.cancelled() and (error := task.exception()):
                raise error

    def wake(self) -> None:
        """Something was put into the outbox."""
        self._work.set()

    def cut(self, reason: str) -> None:
        """Discard what waits for this client, tell it so, and close."""
        logger.warning("WebSocket client %d is cut off: %s", self._info.number, reason)
        self.outbox.replace(encode({"push": "cut", "reason": reason}))
        self._finish(CUT, reason)

    def bye(self, reason: str) -> None:
        """Tell the client that the server is ending, and close."""
        if not self._close:
            self.outbox.put_reply(encode({"push": "bye", "reason": reason}))
        self._finish(GOING, reason)

    def abort(self) -> None:
        """End the connection at once."""
        self._connection.transport.abort()

    def tell(self, push: bytes) -> None:
        """Send a push (an encoded line) when all else is sent; only the newest is kept for a slow reader."""
        if self.admitted and not self._close:
            self._news = push
            self._work.set()

    def _finish(self, code: int, reason: str) -> None:
        """Close once everything in the outbox is written, at the latest after `LINGER` seconds."""
        self.topics = frozenset()
        self._news = b""
        if not self._close:
            self._close = (code, reason[:100])
            self._deadline = asyncio.get_running_loop().call_later(LINGER, self.abort)
        self._work.set()

    def _admit(self, *, admitted: bool) -> None:
        self.admitted = admitted
        limit = MEMBERS_MESSAGE if admitted else STRANGERS_MESSAGE
        self._connection.protocol.max_message_size = limit
        if admitted:
            self._hub.audience.join(self)

    async def _read(self) -> None:
        try:
            if not self.admitted and not await self._introduce():
                return
            async for data in self._connection:
                await self._slots.acquire()
                if self._close:
                    return
                self._spawn(self._serve(data))
        except ConnectionClosed:
            return  # without a good-bye

    async def _introduce(self) -> bool:
        """Wait for the token in the client's first message; without it the connection is closed."""
        error = ControlError('the first message has to be {"token": …}', "unauthorized")
        try:
            async with asyncio.timeout(TOKEN_WITHIN):
                data = await self._connection.recv()
            if is_token(commands.read(data).get("token"), self._token):
                self._admit(admitted=True)
                self._reply(None, {"success": True, "message": "Welcome"})
                return True
        except TimeoutError:
            error = ControlError(f"no token came within {TOKEN_WITHIN:g} s", "unauthorized")
        except ControlError as reason:
            error = reason
        self._reply(None, commands.failure(error))
        self._finish(REFUSED, error.message)
        return False

    async def _serve(self, data: str | bytes) -> None:
        """Answer one message, in its turn if it has no id."""
        asked = commands.parse(data)
        try:
            async with self._in_order if asked.id is None else nullcontext():
                await self._do(asked)
            while self.outbox.reply_bytes > MAX_UNREAD and not self._close:
                self._sent.clear()
                await self._sent.wait()
        finally:
            self._slots.release()

    async def _do(self, asked: commands.Asked) -> None:
        try:
            if asked.command in {"subscribe", "unsubscribe"}:
                self._subscribe(asked)
            else:
                self._reply(asked.id, await commands.answer(asked, self._ask))
        except ControlError as error:
            self._reply(asked.id, commands.failure(error))
        except asyncio.CancelledError:
            self._reply(asked.id, commands.failure(ControlError("the supervisor is ending", "closing")))
            raise
        except Exception as error:
            # One request's defect must not end the connection; it is logged with its traceback and reported.
            logger.exception("command %r failed", asked.command)
            told = ControlError(f"{type(error).__name__}: {error}", "internal")
            self._reply(asked.id, commands.failure(told))

    async def _ask(self, request: Request) -> dict[str, Any]:
        return await self._hub.answer(request, self._info)

    def _subscribe(self, asked: commands.Asked) -> None:
        topics = commands.topics_of(asked) if asked.command == "subscribe" else frozenset[str]()
        self._reply(asked.id, {"success": True, "topics": sorted(topics)})
        if self._close:
            return
        self.topics = topics
        if "state" in topics:
            # In the same step as the subscription: what changes from here on is in the stream.
            self.outbox.put_snapshot(*self._hub.snapshot())
            self._work.set()

    def _reply(self, ident: int | str | None, reply: Mapping[str, Any]) -> None:
        line = encode({**({} if ident is None else {"id": ident}), **reply})
        if len(line) > MAX_LINE:
            error = ControlError(f"the reply is longer than {MAX_LINE} bytes: ask for less", "too_large")
            return self._reply(ident, commands.failure(error))
        if not self._close:
            self.outbox.put_reply(line)
            self._work.set()
        return None

    def _take_news(self) -> bytes:
        news, self._news = self._news, b""
        return news

    async def _write(self) -> None:
        try:
            while True:
                if line := self.outbox.take(1) or self._take_news():
                    await self._connection.send(_as_text(line))
                    self._sent.set()
                elif self._close:
                    await self._connection.close(*self._close)
                    return
                else:
                    self._work.clear()
                    await self._work.wait()
        except ConnectionClosed:
            return  # the client is gone


def _as_text(line: bytes) -> str:
    """A line of the control socket as a message here: its ``push`` becomes ``type``."""
    text = line[:-1].decode("ascii")
    return text.replace('{"push":', '{"type":', 1) if text.startswith('{"push":') else text
