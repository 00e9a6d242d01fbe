"""One connected client on the server's side: a reader, a writer of its own, and its outbox.

The writer is a task per client, so that a client which stops reading holds up no other: what it has not read
stays in its bounded outbox. The reader stops reading while the client has too many requests in flight or too
many unread replies, so that the bound cannot be exceeded from that side either.

A request goes on when its client leaves: a ``stop`` typed and then interrupted with Ctrl-C still stops. Only
the reply is dropped.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paneview.control.errors import ControlError
from paneview.control.protocol import (
    MAX_LINE,
    STREAM,
    TOPICS,
    LineSplitter,
    Request,
    decode,
    encode,
    parse_request,
    request_id,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from paneview.control.outbox import Outbox

READ_SIZE = 64 * 1024
WRITE_SIZE = 256 * 1024
MAX_IN_FLIGHT = 256
MAX_UNREAD = 8 * 1024 * 1024  # bytes of replies a client may leave unread before its requests wait
MAX_NAME = 80
# Seconds that a client has, after a cut or a good-bye, to read what is left in the kernel's and our buffers.
LINGER = 2.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ClientInfo:
    """The client that a request comes from.

    A number that is never used again, the process at the other end, and the name it gave itself.
    """

    number: int
    pid: int | None
    uid: int | None
    name: str = "client"

    @property
    def actor(self) -> str:
        """How this client appears in the events it causes."""
        return f"user:{self.name}"


class Session:
    """Serves one client from `run` until it leaves, is cut off, or the server says good-bye."""

    def __init__(
        self,
        info: ClientInfo,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        answer: Callable[[Request, ClientInfo], Awaitable[dict[str, Any]]],
        snapshot: Callable[[], tuple[int, bytes]],
        outbox: Outbox,
        heard: Callable[[frozenset[str]], None],
    ) -> None:
        self.info = info
        self.topics: frozenset[str] = frozenset()
        self.outbox = outbox
        self._reader, self._writer = streams
        self._answer = answer
        self._snapshot = snapshot
        self._heard = heard
        self._in_flight: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()  # set: another request may be read
        self._work = asyncio.Event()  # set: the outbox may hold something
        self._closing = False
        self._deadline: asyncio.TimerHandle | None = None
        self._room.set()

    async def run(self) -> None:
        """Read, answer and write until the connection is over; closes it."""
        reading = asyncio.create_task(self._read())
        writing = asyncio.create_task(self._write())
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            if not writing.done():
                if not self.topics:
                    await self._answer_the_rest(writing)
                self.finish()
                await asyncio.wait({writing})
        finally:
            reading.cancel()
            writing.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)
            await self._close_connection()
        for task in (reading, writing):
            if not task.cancelled() and (error := task.exception()):
                raise error

    def wake(self) -> None:
        """Something was put into the outbox."""
        self._work.set()

    def finish(self) -> None:
        """Close once everything in the outbox is written, at the latest after `LINGER` seconds."""
        if not self._closing:
            self._closing = True
            self._work.set()
            self._room.set()
            self._deadline = asyncio.get_running_loop().call_later(LINGER, self._writer.transport.abort)

    def cut(self, reason: str) -> None:
        """Discard what waits for this client, tell it so, and close."""
        logger.warning("client %d (%s) is cut off: %s", self.info.number, self.info.name, reason)
        self.topics = frozenset()
        self.outbox.replace(encode({"push": "cut", "reason": reason}))
        self.finish()

    def bye(self, reason: str) -> None:
        """Tell the client that the server is ending, and close."""
        self.topics = frozenset()
        if not self._closing:
            self.outbox.put_reply(encode({"push": "bye", "reason": reason}))
        self.finish()

    def cancel_requests(self) -> None:
        """Cancel this client's requests in flight; each is answered with an error."""
        for task in self._in_flight:
            task.cancel()

    async def requests_done(self) -> None:
        """Wait until no request of this client is in flight."""
        while self._in_flight:
            await asyncio.wait(set(self._in_flight))

    async def _answer_the_rest(self, writing: asyncio.Task[None]) -> None:
        # A client may close only its sending half, as `nc -N` does: its requests are still answered.
        resting = asyncio.create_task(self.requests_done())
        try:
            await asyncio.wait({writing, resting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            resting.cancel()

    async def _close_connection(self) -> None:
        self._closing = True
        if self._deadline:
            self._deadline.cancel()
        self._writer.close()
        try:
            async with asyncio.timeout(LINGER):
                await self._writer.wait_closed()
        except TimeoutError:
            self._writer.transport.abort()
        except ConnectionError:
            pass  # it was gone already

    async def _read(self) -> None:
        splitter = LineSplitter(MAX_LINE)
        while not self._closing:
            try:
                data = await self._reader.read(READ_SIZE)
            except ConnectionError:
                return
            if not data:
                return
            for line in splitter.feed(data):
                self._take_line(line)
                await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        self._check_room()
        await self._room.wait()

    def _check_room(self) -> None:
        full = len(self._in_flight) >= MAX_IN_FLIGHT or self.outbox.reply_bytes > MAX_UNREAD
        if full and not self._closing:
            self._room.clear()
        else:
            self._room.set()

    def _take_line(self, line: bytes | None) -> None:
        if line is not None and not line.strip():
            return  # an empty line is no request and no error
        ident: int | str | None = None
        try:
            if line is None:
                raise ControlError(f"the line is longer than {MAX_LINE} bytes", "too_large")
            message = decode(line)
            ident = request_id(message)
            request = parse_request(message)
        except ControlError as error:
            self._reply(ident, error.to_json())
            return
        if request.client:
            self.info.name = request.client[:MAX_NAME]
        if request.do in STREAM:
            self._subscribe(request)
        else:
            task = asyncio.create_task(self._do(request))
            self._in_flight.add(task)
            task.add_done_callback(self._done)

    def _subscribe(self, request: Request) -> None:
        topics = frozenset(request.args.get("topics", ()))
        if unknown := sorted(topics - TOPICS):
            message = f"unknown topic {unknown[0]!r}: there are {', '.join(sorted(TOPICS))}"
            self._reply(request.id, ControlError(message, "bad_request").to_json())
            return
        self.topics = topics
        self._reply(request.id, {"ok": True, "result": {}})
        if "state" in topics:
            # In the same step as the subscription: what changes from here on is in the stream, what changed
            # before is in the snapshot.
            self.outbox.put_snapshot(*self._snapshot())
        self._heard(topics)

    async def _do(self, request: Request) -> None:
        try:
            self._reply(request.id, {"ok": True, "result": await self._answer(request, self.info)})
        except ControlError as error:
            self._reply(request.id, error.to_json())
        except asyncio.CancelledError:
            self._reply(request.id, ControlError("the supervisor is ending", "closing").to_json())
            raise
        except Exception as error:
            # One request's defect must not end the supervisor; it is logged with its traceback and reported to
            # the client.
            logger.exception("request %r failed", request.do)
            self._reply(request.id, ControlError(f"{type(error).__name__}: {error}", "internal").to_json())

    def _done(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._check_room()

    def _reply(self, ident: int | str | None, reply: dict[str, Any]) -> None:
        line = encode({"id": ident, **reply})
        if len(line) > MAX_LINE:
            error = ControlError(f"the reply is longer than {MAX_LINE} bytes: ask for less", "too_large")
            line = encode({"id": ident, **error.to_json()})
        if not self._closing:
            self.outbox.put_reply(line)
            self._work.set()

    async def _write(self) -> None:
        try:
            while True:
                if data := self.outbox.take(WRITE_SIZE):
                    self._writer.write(data)
                    await self._writer.drain()
                    self._check_room()
                elif self._closing:
                    return
                else:
                    self._work.clear()
                    await self._work.wait()
        except ConnectionError:
            return  # the client is gone
