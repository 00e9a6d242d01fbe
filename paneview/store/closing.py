"""When a finished run is really over: no process can write to its spool any more.

A run's process may be gone while its last output is still on its way through tmux and `split`. A lease on
the newest spool file tells whether a process has it open for writing; before there is a file, the command
lines of all processes are searched for the writer. Reading them takes milliseconds, so it is done once soon,
for all such runs together, and again only after two seconds of silence: the writer of a run that has printed
nothing lives as long as tmux keeps the pane. Where neither works, silence has to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path

from paneview.store import spool
from paneview.store.stream import Stream

QUIET = 2.0  # seconds without a byte after which a finished run counts as drained in any case
SHORTEST, LONGEST = 0.01, 1.0  # seconds between two checks
TOGETHER = 0.25  # seconds; searches for writers without a file happen at multiples of this


class Drains:
    """Who waits until everything of a run is stored."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[Future[None]]] = {}

    def add(self, run: int, done: Future[None]) -> None:
        """Resolve `done` together with the run."""
        self._waiting.setdefault(run, []).append(done)

    def resolve(self, run: int) -> None:
        """Tell all who wait for this run."""
        for done in self._waiting.pop(run, ()):
            if done.set_running_or_notify_cancel():
                done.set_result(None)

    def cancel(self) -> None:
        """Tell all who wait that they wait in vain."""
        for done in [done for waiting in self._waiting.values() for done in waiting]:
            done.cancel()


def look_for_writers(streams: Iterable[Stream], folder: Path, now: float) -> list[int]:
    """Check each stream that is due and mark those without a writer. Returns the runs not worth waiting for."""
    lines: list[bytes] | None = None
    quiet: list[int] = []
    for stream in streams:
        if not stream.closing or stream.writerless or stream.dirty or stream.check_at > now:
            continue
        exists, silent = stream.files.exists(stream.key), now - stream.quiet_since >= QUIET
        if not exists and not stream.check_at:
            stream.check_at = _together(now)
            continue
        writer = stream.files.has_writer(stream.key) if exists else None
        if writer is None and lines is None:
            lines = spool.command_lines()
        if writer is None and lines is not None:
            writer = spool.is_named(spool.prefix(folder, stream.run), lines)
        if _is_writerless(stream, writer, silent=silent):
            stream.writerless = stream.dirty = True
            stream.next_look = 0.0
            continue
        if silent:
            quiet.append(stream.run)
        if exists:
            stream.check_wait = min(max(stream.check_wait * 2, SHORTEST), LONGEST)
            stream.check_at = now + stream.check_wait
        else:
            stream.check_at = _together(now if silent else stream.quiet_since + QUIET)
    return quiet


def _together(after: float) -> float:
    return (after // TOGETHER + 1) * TOGETHER


def _is_writerless(stream: Stream, writer: bool | None, *, silent: bool) -> bool:
    """Whether the stream can be taken to have no writer left."""
    if writer is None:
        return silent
    if writer:
        return False
    # Between two files split has none open, so a file of a round size is checked twice.
    round_size = stream.offset > 0 and stream.offset % 4096 == 0
    surely = not round_size or stream.suspect_rotation
    stream.suspect_rotation = True
    return surely
