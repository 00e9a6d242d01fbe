"""What is stored of one task in a transaction, and in which order.

Runs are stored one after another, and each note exactly after what had been printed when it was written.
Nothing here changes the ingest's own state: the portions are applied to the streams only once the transaction
is durable.
"""

from __future__ import annotations

from typing import NamedTuple

from paneview.store.intake import Intake, Note
from paneview.store.spool import Key
from paneview.store.stream import Stream, Taken
from paneview.store.upkeep import Upkeep
from paneview.store.writer import NOTE, LogWriter, TaskLog, When

SPAN = 0.25  # share of the maximum age by which a line may exceed it, since whole chunks are deleted


class Portion(NamedTuple):
    """What a transaction took from a stream."""

    stream: Stream
    taken: Taken
    finished: bool


class Storing:
    """Works inside the writer's transactions."""

    def __init__(self, writer: LogWriter, upkeep: Upkeep) -> None:
        self._writer = writer
        self._upkeep = upkeep

    def store(self, intake: Intake, horizon: float, wall: float) -> tuple[list[Portion], int]:
        """Write what is due by `horizon` (monotonic); returns what was taken and how many notes were written."""
        task = self._writer.task(intake.name)
        task.span = None if intake.limits.max_age is None else intake.limits.max_age * SPAN
        note = intake.notes[0] if intake.notes else None
        portions: list[Portion] = []
        for index, stream in enumerate(intake.streams):
            if note and stream.run > note.behind:
                break
            followed = index + 1 < len(intake.streams)
            if not (note or (followed and (stream.dirty or stream.seen)) or stream.store_by <= horizon):
                continue
            stop = note.place if note and note.behind == stream.run else None
            portions.append(
                self._take(task, stream, wall, everything=followed or note is not None, stop=stop)
            )
            if portions[-1].taken.more:
                note = None
                break
        written = 0
        if note:
            written = self._notes(task, intake, note)
        if intake.limits.max_bytes is not None and task.bytes > intake.limits.max_bytes:
            self._upkeep.trim(intake, task)
        return portions, written

    def _notes(self, task: TaskLog, intake: Intake, first: Note) -> int:
        """Write the first note and those that follow it at the same place; returns how many."""
        written = 0
        for note in intake.notes:
            if (note.behind, note.place) != (first.behind, first.place):
                break
            self._writer.note_run(note.run, task)
            self._writer.add(task, note.run, NOTE, note.data, When.at(note.ts))
            written += 1
        return written

    def _take(
        self,
        task: TaskLog,
        stream: Stream,
        wall: float,
        *,
        everything: bool,
        stop: tuple[Key, int] | None,
    ) -> Portion:
        over = stream.closing and stream.writerless and stop is None
        if stream.dropped:
            told = f"[paneview] {stream.dropped} bytes of output are missing here: they could not be stored\n"
            self._writer.add(task, stream.run, NOTE, told.encode(), When.at(wall))
        taken = stream.take(stream.read(stop), everything=everything or over)
        finished = over and not taken.more and not taken.rest
        for data, when in stream.times(taken.data, wall) if taken.data else ():
            self._writer.add(task, stream.run, stream.segment, data, when)
        if finished or (taken.key, taken.offset) != (stream.key, stream.offset):
            self._writer.set_position(stream.run, taken.key, taken.offset, taken.segment, finished=finished)
        return Portion(stream, taken, finished)
