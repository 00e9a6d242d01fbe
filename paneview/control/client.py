"""The asyncio client of the control socket, for the screen and for anything else that runs an event loop.

Pushes go to a plain callback on the reader's task, in the order in which they came, and before any reply that
was sent after them: when `call("stop", …)` returns, the callback has already seen the task stopped. A client
object outlives its connection: it says when and why that ended, and `reconnect` waits for the next supervisor
and subscribes again.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from paneview.control.errors import ControlError, Disconnected, NoSupervisor
from paneview.control.protocol import LineSplitter, decode, encode

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

READ_SIZE = 256 * 1024
FIRST_DELAY = 0.02  # seconds between attempts to reconnect, doubled up to LAST_DELAY
LAST_DELAY = 0.5


class ControlClient:
    """A client of the supervisor that listens at `path`.

    `name` is how this client appears in events. `on_push` gets every push (``snapshot``, ``tasks``,
    ``event``, ``heads``, ``queue``, ``workflow``, ``bye``, ``cut``); `on_disconnect` gets the reason, once per
    connection that ended by itself. Both are plain functions, called on the event loop.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "client",
        on_push: Callable[[dict[str, Any]], None] | None = None,
        on_disconnect: Callable[[str], None] | None = None,
    ) -> None:
        self.path = path
        self.name = name
        self.reason: str | None = "not connected yet"
        self._on_push = on_push
        self._on_disconnect = on_disconnect
        self._topics: tuple[str, ...] = ()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether requests can be sent; if not, `reason` says why."""
        return self.reason is None

    async def connect(self) -> None:
        """Connect. Raises NoSupervisor if nothing listens there, ControlError if the system refuses."""
        await self.close()
        try:
            reader, self._writer = await asyncio.open_unix_connection(self.path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            raise NoSupervisor(f"no supervisor listens at {self.path}") from None
        except OSError as error:
            raise ControlError(f"cannot connect to {self.path}: {error.strerror or error}") from None
        self.reason = None
        self._reading = asyncio.create_task(self._read(reader))

    async def reconnect(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - spans several attempts
        """Connect as soon as a supervisor listens, then repeat the last subscription.

        Raises NoSupervisor if none does within `timeout` seconds (None: wait for ever).
        """
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        delay = FIRST_DELAY
        while True:
            try:
                await self.connect()
                if self._topics:
                    await self.subscribe(*self._topics)
            except (NoSupervisor, Disconnected):
                if end is not None and loop.time() + delay > end:
                    raise NoSupervisor(f"no supervisor listens at {self.path}") from None
                await asyncio.sleep(delay)
                delay = min(2 * delay, LAST_DELAY)
            else:
                return

    async def call(self, do: str, /, *, timeout: float | None = 30.0, **args: Any) -> dict[str, Any]:  # noqa: ASYNC109
        """Send a request and return the reply's result.

        `timeout` is in seconds, None for requests such as ``stop`` that may take any time. Raises ControlError
        for a refusal or failure (code ``timeout`` if no reply came in time; the request goes on), and
        Disconnected if the connection is over.
        """
        if self._writer is None or not self.connected:
            raise Disconnected(self.reason or "not connected")
        number = next(self._numbers)
        try:
            line = encode({"id": number, "do": do, "client": self.name, "args": args})
        except (ValueError, RecursionError) as error:  # infinity, or nesting that is too deep
            raise ControlError(f"{do}: this cannot be sent: {error}", "bad_request") from None
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._writer.write(line)
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise ControlError(f"{do}: no answer within {timeout:g} s", "timeout") from None
        finally:
            self._waiting.pop(number, None)

    async def subscribe(self, *topics: str) -> None:
        """Subscribe to `topics` (of `protocol.TOPICS`), in place of earlier ones.

        ``state`` starts with a snapshot push.
        """
        await self.call("subscribe", topics=list(topics))
        self._topics = topics

    async def close(self) -> None:
        """End the connection; `on_disconnect` is not called. Requests already sent are still carried out."""
        reading, self._reading = self._reading, None
        self._end("closed")
        if reading:
            reading.cancel()
            # Not the task itself: our own cancellation must not be taken for its.
            await asyncio.wait({reading})

    async def _read(self, reader: asyncio.StreamReader) -> None:
        splitter = LineSplitter()
        reason = "the supervisor ended"
        try:
            while data := await reader.read(READ_SIZE):
                for line in splitter.feed(data):
                    reason = self._take(line) or reason
        except OSError as error:
            # Not only ConnectionError: where too many clients wait to be accepted, asyncio takes a socket for connected
            # that is not, and reading it is invalid.
            reason = error.strerror or str(error)
        except ControlError as error:
            reason = f"the supervisor sent something that is not a message: {error}"
        self._end(reason)
        if self._on_disconnect:
            self._on_disconnect(reason)

    def _take(self, line: bytes | None) -> str | None:
        """Process one line; returns the reason if it announces the end of the connection."""
        if line is None:
            raise ControlError("a line that is too long")
        message = decode(line)
        push = message.get("push")
        if push is None:
            self._settle(message)
            return None
        if self._on_push:
            try:
                self._on_push(message)
            except Exception as error:  # noqa: BLE001 - handed on
                # A defect in a view must not end the connection; asyncio's handler shows or logs it.
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"the handler of a {push!r} push failed", "exception": error}
                )
        if push == "cut":
            return f"cut off: {message.get('reason')}"
        return str(message.get("reason")) if push == "bye" else None

    def _settle(self, reply: dict[str, Any]) -> None:
        number = reply.get("id")
        future = self._waiting.get(number) if isinstance(number, int) else None
        if future is None or future.done():
            return  # its caller has given up
        if reply.get("ok"):
            future.set_result(reply.get("result") or {})
        else:
            future.set_exception(ControlError.from_json(reply))

    def _end(self, reason: str) -> None:
        if self.reason is None:
            self.reason = reason
        if self._writer:
            self._writer.close()
            self._writer = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Disconnected(reason))
