"""All receivers of what a supervisor publishes: clients of the control socket, and those that came another way.

`publish_…` are plain calls from the event loop's thread, never wait, and cost the same whether a client reads fast,
slowly or not at all (see `outbox`). Each thing published is encoded once, however many clients there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from paneview.control.outbox import MAX_EVENT_BYTES, MAX_EVENTS, Outbox
from paneview.control.protocol import encode, encode_fragment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


class Subscriber(Protocol):
    """A receiver of what is published: a session of the control socket, or a client that came another way."""

    topics: frozenset[str]
    outbox: Outbox

    def wake(self) -> None:
        """Something was put into the outbox."""
        ...

    def cut(self, reason: str) -> None:
        """The client has too much unread: notify it, and end the connection."""
        ...


class Audience:
    """The subscribers that have joined.

    `max_events` and `max_event_bytes` bound the events that wait for a client which reads too slowly. `listeners`
    are called with the topics of a client that has just subscribed, one after another.
    """

    def __init__(self, *, max_events: int = MAX_EVENTS, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._bounds = (max_events, max_event_bytes)
        self._seq = 0
        self._all: set[Subscriber] = set()
        self.listeners: list[Callable[[frozenset[str]], None]] = []

    def new_outbox(self) -> Outbox:
        """An outbox with the bounds of this audience."""
        return Outbox(*self._bounds)

    def subscribers(self, topic: str) -> int:
        """How many clients are subscribed to `topic`; without any, a push need not be prepared."""
        return sum(1 for _ in self._hearing(topic))

    def join(self, one: Subscriber) -> None:
        """Publish to `one` as well from now on."""
        self._all.add(one)

    def leave(self, one: Subscriber) -> None:
        """Stop publishing to `one`."""
        self._all.discard(one)

    def has_heard(self, topics: frozenset[str]) -> None:
        """A client has just subscribed to these topics."""
        for listener in self.listeners:
            listener(topics)

    def numbered(self, status: Mapping[str, Any]) -> tuple[int, bytes]:
        """The whole state's number in the stream, and the state, encoded."""
        self._seq += 1
        return self._seq, encode_fragment(status)

    def publish_tasks(self, tasks: Iterable[Mapping[str, Any]]) -> None:
        """Publish changed task objects, each with its ``name``; only a snapshot says which tasks there are."""
        if not self.subscribers("state"):
            return
        self._seq += 1
        encoded = {str(task["name"]): encode_fragment(task) for task in tasks}
        for subscriber in self._hearing("state"):
            subscriber.outbox.put_tasks(self._seq, encoded)
            subscriber.wake()

    def publish_snapshot(self, status: Mapping[str, Any]) -> None:
        """Publish the whole state anew, as after a reload that changed the order or set of the tasks."""
        if self.subscribers("state"):
            seq, encoded = self.numbered(status)
            for subscriber in self._hearing("state"):
                subscriber.outbox.put_snapshot(seq, encoded)
                subscriber.wake()

    def publish_event(self, event: Mapping[str, Any]) -> None:
        """Publish an event. A client with too many unread events is cut off."""
        hearing = list(self._hearing("events"))
        if not hearing:
            return
        line = encode({"push": "event", "event": event})
        for subscriber in hearing:
            if subscriber.outbox.put_event(line):
                subscriber.wake()
            else:
                subscriber.cut("too slow")

    def publish_heads(self, heads: Mapping[str, int]) -> None:
        """Publish where logs end now (task → number of the line after the last)."""
        for subscriber in self._hearing("heads"):
            subscriber.outbox.put_heads(heads)
            subscriber.wake()

    def publish_queue(self, queue: Mapping[str, Any]) -> None:
        """Publish the queue of jobs as it is now; of several unread ones a client gets only the newest."""
        line = encode({"push": "queue", "queue": queue})
        for subscriber in self._hearing("queue"):
            subscriber.outbox.put_queue(line)
            subscriber.wake()

    def publish_workflow(self, name: str, workflow: Mapping[str, Any]) -> None:
        """Publish a workflow as it is now; of several unread ones a client gets only the newest."""
        hearing = list(self._hearing("workflows"))
        if hearing:
            line = encode({"push": "workflow", "workflow": workflow})
            for subscriber in hearing:
                subscriber.outbox.put_workflow(name, line)
                subscriber.wake()

    def _hearing(self, topic: str) -> Iterator[Subscriber]:
        return (one for one in self._all if topic in one.topics)
