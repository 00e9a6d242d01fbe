"""When a finished run is really over: nobody can write to its spool any more.

A run's process may be gone while its last output is still on its way through tmux and `split`. Whoever
holds the newest spool file open for writing is asked for by a lease; before there is a file, by the command
lines of the processes that live. To read them all takes milliseconds, so that is done soon, for all such
runs together, and then not before two seconds of silence: the writer of a run that has printed nothing lives
as long as tmux keeps the pane. Where neither can be told, silence has to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from paneview.store import spool
from paneview.store.stream import Stream

QUIET = 2.0  # seconds without a byte after which a finished run counts as drained, come what may
SHORTEST, LONGEST = 0.01, 1.0  # seconds between two looks
TOGETHER = 0.25  # seconds: the grid of times at which writers without a file are looked for


def look_for_writers(streams: Iterable[Stream], folder: Path, now: float) -> list[int]:
    """Ask for each stream that is due; mark those without writer. Says which runs need not be waited for."""
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
        if _judge(stream, writer, silent=silent):
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


def _judge(stream: Stream, writer: bool | None, *, silent: bool) -> bool:
    """Whether nobody can write any more."""
    if writer is None:
        return silent
    if writer:
        return False
    # Between two files split has none open: a file of a round size is looked at twice.
    round_size = stream.offset > 0 and stream.offset % 4096 == 0
    surely = not round_size or stream.suspect_rotation
    stream.suspect_rotation = True
    return surely
