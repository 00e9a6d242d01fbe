"""Events: lines in ``logs/HOST_DATE.log``, the log files of claude-queue.

Each host writes only to its own file, a line per system call, so writers never interfere. A cursor is the position
in each file up to which its reader has read. Lines in any other form, such as claude-queue's, are events, too.
"""

from __future__ import annotations

import errno
import heapq
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime

from paneview.broker.directory.disk import GONE, HOST, NO_FILE, explained, names, open_file
from paneview.broker.interface import Feed
from paneview.broker.jsontext import to_json
from paneview.broker.model import Event, EventPage, Json
from paneview.broker.waiting import Bells

_LINE = re.compile(r"(\S+) - (\w+) job=(\S*) worker=(\S*) (\{.*\})")
_FOREIGN = re.compile(r"(\S+) - (.*)")
# Seconds. Recent files are opened to find new lines, which makes NFS ask the server. For older files, and there is one
# per day and host, the size that this host knows must do.
RECENT = 2 * 86_400.0
_TAIL = 64 * 1024  # bytes read from a file's end at first


class DirectoryFeed(Feed):
    """See `Feed`."""

    def __init__(self, root: str, bells: Bells, look: float) -> None:
        self._root = root
        self._folder = f"{root}/logs"
        self._waiting = bells, look

    def tell(
        self, kind: str, job: str = "", worker: str = "", detail: Mapping[str, Json] | None = None
    ) -> None:
        """Add an event about something that has happened; errors such as a full disk are ignored."""
        with suppress(OSError):
            self._write(kind, job, worker, detail or {})

    def note(
        self, kind: str, *, job: str = "", worker: str = "", detail: Mapping[str, Json] | None = None
    ) -> None:
        """Add an event."""
        with explained(self._root):
            self._write(kind, job, worker, detail or {})

    def _write(self, kind: str, job: str, worker: str, detail: Mapping[str, Json]) -> None:
        now = time.time()
        moment = datetime.fromtimestamp(now).astimezone().isoformat()
        holder = "".join(worker.split())
        line = f"{moment} - {kind} job={job} worker={holder} {to_json('an event', dict(detail))}\n"
        path = f"{self._folder}/{HOST}_{time.strftime('%Y%m%d', time.localtime(now))}.log"
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o666
        )
        try:
            os.write(descriptor, line.encode("utf-8", "replace"))
        finally:
            os.close(descriptor)

    def read(self, after: str = "", limit: int = 1000) -> EventPage:
        """The events after a cursor."""
        places: dict[str, int] = json.loads(after) if after else {}
        with explained(self._root):
            recent = time.strftime("%Y%m%d", time.localtime(time.time() - RECENT))
            streams = [
                self._events(name, places.get(name, 0))
                for name in sorted(names(self._folder))
                if name.endswith(".log") and (name[-12:] > recent or self._has_grown(name, places))
            ]
            events = []
            for _, name, end, event in heapq.merge(*streams, key=lambda item: item[0]):
                places[name] = end
                events.append(event)
                if len(events) == limit:
                    break
        return EventPage(tuple(events), to_json("a cursor", places))

    def _has_grown(self, name: str, places: Mapping[str, int]) -> bool:
        return _size(f"{self._folder}/{name}") > places.get(name, 0)

    def tail(self, limit: int = 20) -> EventPage:
        """The newest events."""
        places: dict[str, int] = {}
        found: list[tuple[float, str, int, Event]] = []
        with explained(self._root):
            for name in sorted(name for name in names(self._folder) if name.endswith(".log")):
                events, places[name] = self._end_of(name, limit)
                found += events
        found.sort(key=lambda item: item[0])
        return EventPage(tuple(event for *_, event in found[-limit:]), to_json("a cursor", places))

    def _end_of(self, name: str, limit: int) -> tuple[list[tuple[float, str, int, Event]], int]:
        size = _size(f"{self._folder}/{name}")
        reach = _TAIL
        while True:
            start = max(0, size - reach)
            events = list(self._events(name, start))
            if start > 0:
                events = events[1:]  # it began inside a line
            if len(events) >= limit or start == 0:
                return events[-limit:], events[-1][2] if events else start
            reach *= 4

    def _events(self, name: str, start: int) -> Iterator[tuple[float, str, int, Event]]:
        """Complete lines from a position on: time (never decreasing), file, end position, event."""
        latest = 0.0
        try:
            if (descriptor := open_file(f"{self._folder}/{name}")) is None:
                return
            with open(descriptor, "rb") as file:
                file.seek(start)
                at = start
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    begun, at = at, at + len(line)
                    event = _event(f"{name}:{begun}", line.decode("utf-8", "replace").rstrip("\n"))
                    latest = max(latest, event.ts)
                    yield latest, name, at, event
        except OSError as error:
            if error.errno not in (*GONE, errno.EACCES):
                raise

    def _bells(self) -> tuple[Bells, float]:
        return self._waiting


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        if error.errno in (*GONE, *NO_FILE):
            return 0
        raise


def _event(place: str, line: str) -> Event:
    if found := _LINE.fullmatch(line):
        with suppress(ValueError):
            return Event(place, _seconds(found[1]), found[2], found[3], found[4], json.loads(found[5]))
    if found := _FOREIGN.fullmatch(line):
        with suppress(ValueError):
            return Event(place, _seconds(found[1]), "log", detail={"text": found[2]})
    return Event(place, 0.0, "log", detail={"text": line})


def _seconds(moment: str) -> float:
    """Epoch seconds; a time without a zone is local, as claude-queue writes it. Raises ValueError."""
    return datetime.fromisoformat(moment).timestamp()
