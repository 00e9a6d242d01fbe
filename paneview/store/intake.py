"""One task as the ingest sees it: its streams and notes that wait to be stored, and what is to be kept of it.

Its numbering, which is durable, is the writer's (`paneview.store.writer.TaskLog`); all of this is made anew by the next
ingest.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct, field

from paneview.store.limits import LogLimits
from paneview.store.spool import Key, end_of
from paneview.store.stream import NEVER, Stream
from paneview.store.textlog import TextLog
from paneview.store.writer import TaskLog

NO_LIMITS = LogLimits(max_bytes=None)


class Note(Struct, frozen=True):
    """Lines that do not come from the pipe, and the place in a run's spool after which they belong."""

    run: int
    data: bytes
    ts: float
    place: tuple[Key, int]
    behind: int
    """The run of that place: a later one than its own, if that has printed something in the meantime."""


class Intake(Struct):
    """What waits of one task, what to keep of it, and its text file."""

    name: str
    streams: list[Stream] = []  # by run
    notes: deque[Note] = field(default_factory=deque)
    limits: LogLimits = NO_LIMITS
    trimming: bool = True  # there may be chunks to delete
    text: TextLog | None = None
    text_behind: bool = True
    text_retry: float = 0.0  # monotonic: when to try again to write the text file
    stored_end: int = 0  # one past the newest line in the database

    def limit(self, limits: LogLimits) -> None:
        """Apply these limits from now on."""
        if limits.text != self.limits.text:
            self.close_text()
            self.text_behind, self.text_retry = True, 0.0
        self.limits, self.trimming = limits, True

    def append(self, run: int, data: bytes, ts: float, place: tuple[Key, int]) -> None:
        """Append whole lines behind the run's output up to `place`, or behind a later run's up to now.

        What a later run has printed has its numbers already.
        """
        last = max(self.streams, key=lambda stream: stream.run, default=None)
        behind = run
        if last is not None and last.run > run:
            behind, place = last.run, end_of(last.files.folder, last.run)
        whole = data if data.endswith(b"\n") else data + b"\n"
        self.notes.append(Note(run, whole, ts, place, behind))

    def is_due(self, now: float) -> bool:
        """Whether something must be stored by `now` (monotonic); with `NEVER`, whether there is anything to store."""
        if self.notes or any(stream.store_by <= now < NEVER for stream in self.streams):
            return True
        # What a run has printed must be stored before anything of the next one.
        return any(stream.seen for stream in self.streams[:-1]) or (
            now == NEVER and any(stream.dirty or stream.store_by < NEVER for stream in self.streams)
        )

    def seen_end(self, task: TaskLog) -> tuple[int, bool]:
        """The line after the last whole one, stored or only seen, and whether an unfinished line follows."""
        line, inside = task.next, task.part > 0
        holder = (task.run, task.segment)
        for stream in self.streams:
            if stream.seen:
                if inside and holder != (stream.run, stream.segment):
                    line += 1
                line, inside = line + stream.seen_lines, stream.seen_open
                holder = (stream.run, stream.segment)
        return line, inside

    def close_text(self) -> None:
        """Close the text file, if there is one."""
        text, self.text = self.text, None
        if text is not None:
            text.close()
