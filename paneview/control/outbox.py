"""What is still to be sent to one client: bounded, coalesced where that loses nothing, exact where it would.

Pure data, no I/O. Three kinds of things wait here:

* replies and events, in order, each exactly once. Events have a bound; past it the client is cut off and
  notified, since an event feed with silent holes is worse than none.
* the state of tasks: only the newest object of each task matters, so a client that reads slowly gets fewer
  and newer ones. The same for the end of each log, for the queue of jobs, and for each workflow.
* a snapshot, which makes all older waiting state superfluous.

Coalesced state is in the queue as a marker, at the place of its first change. So a reply never overtakes the
change it caused: a client that gets the reply to ``stop`` has already seen the task stopped.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from paneview.control.protocol import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_EVENTS = 10_000
MAX_EVENT_BYTES = 8 * 1024 * 1024


class _Marker(Enum):
    SNAPSHOT = 1
    STATE = 2
    HEADS = 3
    QUEUE = 4
    WORKFLOWS = 5


class _Event(bytes):
    """A line that counts towards the bound."""

    __slots__ = ()


class Outbox:
    """The lines that one client is to get. `take` empties it from the front."""

    def __init__(self, max_events: int = MAX_EVENTS, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_events = max_events
        self._max_event_bytes = max_event_bytes
        self._queue: deque[bytes | _Marker] = deque()
        self._snapshot = b""
        self._tasks: dict[str, bytes] = {}
        self._seq = 0
        self._heads: dict[str, int] = {}
        self._jobs = b""  # the newest push about the queue
        self._workflows: dict[str, bytes] = {}  # the newest push about each
        self.events = 0
        self.event_bytes = 0
        self.reply_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._queue)

    def put_reply(self, line: bytes) -> None:
        """Queue a line that answers a request; these are bounded by the number of requests in flight."""
        self._queue.append(line)
        self.reply_bytes += len(line)

    def put_event(self, line: bytes) -> bool:
        """Queue a line that must not be dropped. Returns False past the bound: the client must be cut off."""
        self.events += 1
        self.event_bytes += len(line)
        if self.events > self._max_events or self.event_bytes > self._max_event_bytes:
            return False
        self._queue.append(_Event(line))
        return True

    def put_snapshot(self, seq: int, status: bytes) -> None:
        """Queue the whole state (an encoded status object) in place of every change still waiting.

        It takes the place of the first of them, since a reply after that one may refer to the change.
        """
        self._tasks.clear()
        waiting = [marker for marker in (_Marker.STATE, _Marker.SNAPSHOT) if marker in self._queue]
        place = min((self._queue.index(marker) for marker in waiting), default=len(self._queue))
        for marker in waiting:
            self._queue.remove(marker)
        self._snapshot = b'{"push":"snapshot","seq":%d,"status":%b}\n' % (seq, status)
        self._queue.insert(place, _Marker.SNAPSHOT)

    def put_tasks(self, seq: int, tasks: Mapping[str, bytes]) -> None:
        """Add changed tasks (name → encoded object); only the newest of each is kept."""
        if not self._tasks:
            self._queue.append(_Marker.STATE)
        self._tasks.update(tasks)
        self._seq = seq

    def put_heads(self, heads: Mapping[str, int]) -> None:
        """Add new ends of logs (task → number of the line after the last)."""
        if not self._heads:
            self._queue.append(_Marker.HEADS)
        self._heads.update(heads)

    def put_queue(self, line: bytes) -> None:
        """Queue a push about the queue of jobs, in place of an older one that still waits."""
        if not self._jobs:
            self._queue.append(_Marker.QUEUE)
        self._jobs = line

    def put_workflow(self, name: str, line: bytes) -> None:
        """Queue a push about a workflow, in place of an older one about it that still waits."""
        if not self._workflows:
            self._queue.append(_Marker.WORKFLOWS)
        self._workflows[name] = line

    def replace(self, line: bytes) -> None:
        """Discard everything that waits; `line` is the last thing the client gets."""
        self._queue.clear()
        self._tasks.clear()
        self._heads.clear()
        self._workflows.clear()
        self._snapshot = self._jobs = b""
        self.events = self.event_bytes = self.reply_bytes = 0
        self._queue.append(line)

    def take(self, limit: int) -> bytes:
        """Remove and join lines from the front until there are `limit` bytes or none are left."""
        lines: list[bytes] = []
        size = 0
        while self._queue and size < limit:
            line = self._line(self._queue.popleft())
            lines.append(line)
            size += len(line)
        return b"".join(lines)

    def _line(self, item: bytes | _Marker) -> bytes:
        if isinstance(item, _Event):
            self.events -= 1
            self.event_bytes -= len(item)
            return item
        if isinstance(item, bytes):
            self.reply_bytes = max(0, self.reply_bytes - len(item))
            return item
        if item is _Marker.SNAPSHOT:
            line, self._snapshot = self._snapshot, b""
            return line
        if item is _Marker.HEADS:
            heads, self._heads = self._heads, {}
            return encode({"push": "heads", "heads": heads})
        return self._tasks_line() if item is _Marker.STATE else self._newest_line(item)

    def _newest_line(self, item: _Marker) -> bytes:
        if item is _Marker.QUEUE:
            line, self._jobs = self._jobs, b""
        else:
            line, self._workflows = b"".join(self._workflows.values()), {}
        return line

    def _tasks_line(self) -> bytes:
        changed = b",".join(self._tasks.values())
        self._tasks = {}
        return b'{"push":"tasks","seq":%d,"tasks":[%b]}\n' % (self._seq, changed)
