"""The supervisor's side of the control socket: listens, hands requests to a handler, tells subscribers what
changes.

The server decides nothing. It belongs to one event loop; `publish_…` are plain calls from that loop's thread,
never wait, and cost the same whether a client reads fast, slowly or not at all (see `outbox`). Each thing
published is encoded once, however many clients there are.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from paneview.control import socketfile
from paneview.control.acceptor import Acceptor
from paneview.control.errors import ControlError
from paneview.control.outbox import MAX_EVENT_BYTES, MAX_EVENTS, Outbox
from paneview.control.protocol import encode, encode_fragment
from paneview.control.session import LINGER, ClientInfo, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from paneview.control.protocol import Request

logger = logging.getLogger(__name__)


class Handler(Protocol):
    """What the supervisor gives the server.

    Requests come checked against `protocol.REQUESTS`, defaults filled in.
    """

    async def handle(self, do: str, args: dict[str, Any], client: ClientInfo) -> dict[str, Any]:
        """Do what is asked and return the reply's result.

        Raises ControlError for a failure the asker is told.
        """
        ...

    def snapshot(self) -> dict[str, Any]:
        """The status object, at once: what a new subscriber gets before the stream."""
        ...


class Subscriber(Protocol):
    """Whoever hears what is published: a session of the control socket, or a client that came another way."""

    topics: frozenset[str]
    outbox: Outbox

    def wake(self) -> None:
        """The outbox got something."""
        ...

    def cut(self, reason: str) -> None:
        """It has too much unread: end it, and tell it so."""
        ...


class ControlServer:
    """One listening socket and its clients.

    `max_events` and `max_event_bytes` bound the events that wait for a client which reads too slowly. `listeners`
    are called with the topics of a client that has just subscribed, one after another.
    """

    def __init__(
        self,
        handler: Handler,
        path: Path,
        *,
        max_events: int = MAX_EVENTS,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        self.path = path
        self._handler = handler
        self._bounds = (max_events, max_event_bytes)
        self._numbers = itertools.count(1)
        self._seq = 0
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._guests: set[Subscriber] = set()
        self.listeners: list[Callable[[frozenset[str]], None]] = []
        self._acceptor: Acceptor | None = None
        self._retired = False
        self._inode = 0

    async def start(self) -> None:
        """Listen. Raises UnsafeSocket or OSError (see `socketfile.listen`)."""
        self._listen()

    def listen_again(self) -> None:
        """Listen anew if the socket's file was taken away: clients that are connected notice nothing.

        Raises as `start`.
        """
        if self._retired or self.path.exists():
            return
        if self._acceptor:
            self._acceptor.close()
            self._acceptor = None
        self._listen()

    def retire(self) -> None:
        """Take nothing new from now on: what is asked is refused as ``closing``, to be asked of the next supervisor.

        Requests in flight and what is published go on until `close`.
        """
        self._retired = True
        if self._acceptor:
            self._acceptor.close()
            socketfile.remove(self.path, self._inode)
            self._acceptor = None

    async def close(self, reason: str, grace: float = 1.0) -> None:
        """Stop listening, give requests in flight `grace` seconds, say good-bye to every client, and close.

        Not to be awaited by a handler's request: that would wait for itself.
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

    def subscribers(self, topic: str) -> int:
        """How many clients hear of `topic`: what nobody hears of need not be worked out."""
        return sum(1 for _ in self._hearing(topic))

    def join(self, guest: Subscriber) -> None:
        """From now on publish to `guest`, too; it speaks to its client itself."""
        self._guests.add(guest)

    def leave(self, guest: Subscriber) -> None:
        """Publish to `guest` no longer."""
        self._guests.discard(guest)

    def introduce(self, name: str) -> ClientInfo:
        """A number and a name for a client that did not come through the socket."""
        return ClientInfo(next(self._numbers), None, None, name)

    def new_outbox(self) -> Outbox:
        """An outbox with this server's bounds."""
        return Outbox(*self._bounds)

    async def answer(self, request: Request, client: ClientInfo) -> dict[str, Any]:
        """The result of a request that was checked. Raises ControlError."""
        if self._retired:
            raise ControlError("the supervisor is ending", "closing")
        try:
            return await self._handler.handle(request.do, request.args, client)
        except UnicodeEncodeError as error:
            odd = error.object[error.start : error.end]
            if odd.isprintable():  # a text of ours
                raise
            raise ControlError(f"what was given is not UTF-8 text: {odd!r}", "bad_request") from None

    def status(self) -> dict[str, Any]:
        """The status object as it is now."""
        return self._handler.snapshot()

    def snapshot(self) -> tuple[int, bytes]:
        """The whole state, encoded, and its number in the stream."""
        self._seq += 1
        return self._seq, encode_fragment(self._handler.snapshot())

    def publish_tasks(self, tasks: Iterable[Mapping[str, Any]]) -> None:
        """Tell of changed task objects, each with its ``name``; which tasks there are is told by a snapshot."""
        if not self.subscribers("state"):
            return
        self._seq += 1
        encoded = {str(task["name"]): encode_fragment(task) for task in tasks}
        for session in self._hearing("state"):
            session.outbox.put_tasks(self._seq, encoded)
            session.wake()

    def publish_snapshot(self) -> None:
        """Send the whole state anew, as after a reload that changed the order or set of the tasks."""
        if self.subscribers("state"):
            seq, status = self.snapshot()
            for session in self._hearing("state"):
                session.outbox.put_snapshot(seq, status)
                session.wake()

    def publish_event(self, event: Mapping[str, Any]) -> None:
        """Tell of an event. A client that has too many of them unread is cut off."""
        hearing = list(self._hearing("events"))
        if not hearing:
            return
        line = encode({"push": "event", "event": event})
        for session in hearing:
            if session.outbox.put_event(line):
                session.wake()
            else:
                session.cut("too slow")

    def publish_heads(self, heads: Mapping[str, int]) -> None:
        """Tell where logs end now (task → number of the line after the last)."""
        for session in self._hearing("heads"):
            session.outbox.put_heads(heads)
            session.wake()

    def publish_queue(self, queue: Mapping[str, Any]) -> None:
        """Tell what the queue of jobs is like now; of several that a client has not read the newest is enough."""
        line = encode({"push": "queue", "queue": queue})
        for session in self._hearing("queue"):
            session.outbox.put_queue(line)
            session.wake()

    def publish_workflow(self, name: str, workflow: Mapping[str, Any]) -> None:
        """Tell how a workflow is now; of several that a client has not read the newest is enough."""
        hearing = list(self._hearing("workflows"))
        if hearing:
            line = encode({"push": "workflow", "workflow": workflow})
            for session in hearing:
                session.outbox.put_workflow(name, line)
                session.wake()

    def _listen(self) -> None:
        listener = socketfile.listen(self.path)
        self._inode = self.path.lstat().st_ino
        self._acceptor = Acceptor(listener, self._connected)

    def _has_heard(self, topics: frozenset[str]) -> None:
        for listener in self.listeners:
            listener(topics)

    def _hearing(self, topic: str) -> Iterator[Subscriber]:
        hearers = chain(self._sessions, self._guests)
        return (subscriber for subscriber in hearers if topic in subscriber.topics)

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
            self.new_outbox(),
            self._has_heard,
        )
        task = asyncio.current_task()
        assert task is not None
        self._sessions[session] = task
        try:
            await session.run()
        finally:
            del self._sessions[session]
