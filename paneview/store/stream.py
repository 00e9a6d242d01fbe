"""One run's way from the spool into the log database, as the ingest thread sees it.

Seeing and storing are separate. Bytes are seen as they come: their time is noted and their lines are
counted, so that clients can be notified and readers find them in the spool. They are stored once enough have
gathered or half a second later, those of all tasks in one transaction: a single line would cost as much as a
thousand together.

While a task floods and nobody watches, its bytes are only timed, and stored once the flood is over or has lasted:
storing would compete with the task, and with the terminal that has to draw it, for the processor.

A line without a newline stays in the spool until it has one. It is stored unfinished only when it outgrows a
chunk, when its run is over, or when something else must be written after it. So chunks begin and end with
whole lines, and a prompt costs the database nothing.

Bytes that came while the spool went unwatched (a killed supervisor, a full disk, a stopped process) are a
backlog: their times are between the last look and the file's last change.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from msgspec import Struct

from paneview.store.chunks import CHUNK, full_chunks
from paneview.store.known import KnownTimes
from paneview.store.spool import Block, Key, RunFiles, files
from paneview.store.writer import RunState, When

BLOCK = 1024 * 1024  # bytes a stream may add to one transaction
AT_ONCE = 16 * 1024  # this many bytes are stored without waiting for more
DELAY = 0.5  # seconds that fewer bytes may wait
FLOOD = 256 * 1024  # this many new bytes at every look are a flood
POSTPONED = 1.5  # seconds for which an unwatched flood may wait
MOST_POSTPONED = 32 * BLOCK  # bytes of it that may
MOST_MARKS = 500
JUST_BEGUN = 1.0  # seconds a run may have lived before it was attached for its times to count as exact
EXACT = 0.2  # seconds; a bracket no wider than this counts as an exact time
# (new bytes seen, seconds until the next look): large steps cost less than small ones, and while a task floods,
# every core is busy with the flood itself. The longest wait is how late a line's time may be.
PACE = ((BLOCK, EXACT), (256 * 1024, 0.1), (64 * 1024, 0.05), (4 * 1024, 0.006), (1, 0.002))
NEVER = float("inf")


class Backlog(Struct):
    """Bytes that came between two times, of which `remaining` are not stored yet."""

    lower: float
    upper: float
    remaining: int
    approx: bool

    def take(self, size: int) -> When:
        """Take the share of the bracket that belongs to the next `size` bytes."""
        share = min(size / self.remaining, 1.0) if self.remaining else 1.0
        begin = self.lower
        self.lower += (self.upper - self.lower) * share
        self.remaining -= size
        return When(((0, begin),), self.lower if self.approx else None)


class Taken(Struct):
    """The part of a block to be stored now."""

    data: bytes
    key: Key  # position after it
    offset: int
    segment: int
    rest: int  # bytes after it that wait for their newline
    more: bool  # another look will find more at once
    again: bool  # another look is needed


class Stream(Struct):
    """A run whose output is still being stored. Times are epoch seconds unless noted otherwise."""

    run: int
    task: str
    files: RunFiles
    key: Key
    offset: int
    segment: int  # one more after each gap, which no line crosses
    dirty: bool = True
    next_look: float = 0.0  # monotonic
    store_by: float = NEVER  # monotonic
    postpone_until: float = 0.0  # monotonic: until then a flood may wait
    seen: int = 0  # bytes seen beyond the position
    counted: int = 0  # bytes of them whose lines are counted
    seen_lines: int = 0
    seen_open: bool = False  # they end inside a line
    burst: int = 0  # bytes stored since the last pause
    marks: list[tuple[int, float]] = []  # (offset, time): when the seen bytes from each offset on came
    last_look: float | None = None  # everything that came before this is stored or seen
    backlog: Backlog | None = None
    closing: bool = False  # the run is over
    check_at: float = 0.0  # monotonic: when to look for writers again
    check_wait: float = 0.0
    quiet_since: float = 0.0  # monotonic
    suspect_rotation: bool = False
    writerless: bool = False  # over, and nothing can write any more
    dropped: int = 0  # bytes that were given up and not reported in the log yet

    @classmethod
    def resume(
        cls,
        folder: Path,
        state: RunState,
        keys: Sequence[Key],
        last_look: float | None,
        attached: float | None,
    ) -> Stream:
        """Continue from the stored position in the files that exist; one that was removed unread is skipped.

        `last_look` is when the task's newest stored line came; `attached` is when a new run was announced.
        """
        key, offset, segment = state.key, state.offset, state.segment
        if keys and key not in keys and keys[-1] > key:
            key, offset, segment = next(other for other in keys if other > key), 0, segment + 1
        run_files = RunFiles(folder, state.id)
        stream = cls(state.id, state.task, run_files, key, offset, segment, last_look=last_look)
        if keys:
            stream.files.remove_before(key)
            modified = stream.files.modified(keys[-1]) or 0.0
            if last_look is None and attached is not None and modified > attached - JUST_BEGUN:
                stream.begin_backlog(attached)
            else:
                stream.begin_backlog(last_look)
        return stream

    def begin_backlog(self, lower: float | None) -> None:
        """Note that unseen bytes in the spool came between `lower` and its last change."""
        size, upper = self.files.backlog(self.key, self.offset)
        if size <= self.seen:
            return
        if self.marks:
            lower = self.marks[0][1]
        begin = upper if lower is None else lower
        upper = max(upper, begin)  # files have a coarser clock
        self.backlog = Backlog(begin, upper, size, approx=lower is None or upper - begin > EXACT)

    def unread(self) -> int:
        """Bytes in the spool that are not stored."""
        return self.files.backlog(self.key, self.offset)[0]

    def drop_file(self) -> bool:
        """Give up the oldest unread file, unless it is the newest; return whether that was possible."""
        keys = [key for key in files(self.files.folder).get(self.run, []) if key >= self.key]
        if len(keys) < 2:
            return False
        before = self.unread()
        self.files.remove_before(keys[1])
        self.key, self.offset, self.segment = keys[1], 0, self.segment + 1
        self._unsee(self.seen)
        self.dropped += before - self.unread()
        return True

    # Seeing

    def look(self, now: float, wall: float, *, watched: bool = True) -> bool:
        """See what the spool holds, and set when to store it; return whether there was anything new."""
        block = self.files.read(self.key, self.offset, AT_ONCE)
        if not (block.at_end or watched or self.closing) and now < self.postpone_until:
            size = self.unread()
            if size - self.seen >= FLOOD and size < MOST_POSTPONED:
                self.counted, self.seen_lines, self.seen_open = 0, 0, False
                self.store_by = self.postpone_until
                self.dirty = True  # if the next look finds little, the flood is over
                return self._see(size, now, wall)
        size = self.counted = len(block.data)
        self.seen_lines = block.data.count(b"\n")
        self.seen_open = size > 0 and not block.data.endswith(b"\n")
        self.dirty = False
        grown = self._see(size, now, wall)
        if size >= AT_ONCE or not block.at_end or block.following is not None or self.writerless:
            self.store_by = now
        elif self.seen_lines:
            self.store_by = min(self.store_by, now + DELAY)
        return grown

    def _see(self, size: int, now: float, wall: float) -> bool:
        """Note when the first `size` unstored bytes came; return whether some of them are new."""
        grown = size > self.seen
        if grown:
            if len(self.marks) < MOST_MARKS:
                self.marks.append((self.seen, wall))
            self.quiet_since, self.check_wait = now, 0.0
        self.next_look = now + _pause(size - self.seen)
        self.seen = max(size, self.seen)
        return grown

    def known(self) -> KnownTimes | None:
        """The times of the bytes that are not stored yet; None if they are only bracketed."""
        at = self.key, self.offset
        if self.backlog is None:
            return KnownTimes(at, tuple(self.marks), self.seen)
        if self.backlog.approx:
            return None
        size = self.backlog.remaining
        following = [(size, ts) for offset, ts in self.marks if offset <= size][-1:]
        following += [mark for mark in self.marks if mark[0] > size]
        return KnownTimes(at, ((0, self.backlog.lower), *following), self.seen)

    # Storing

    def read(self, stop: tuple[Key, int] | None = None) -> Block:
        """The next bytes, none of them beyond `stop`."""
        if stop is not None and stop <= (self.key, self.offset):
            return Block(b"", (), at_end=True, following=None, end=(self.key, self.offset), cut=True)
        block = self.files.read(self.key, self.offset, BLOCK)
        return block if stop is None else block.until(stop)

    def take(self, block: Block, *, everything: bool) -> Taken:
        """Whole lines; with `everything` (at the end of a run, or before something that must follow it) all bytes."""
        data = block.data
        size = len(data)
        over = block.at_end and (everything or block.following is not None)
        if not block.at_end:
            size = full_chunks(data)  # the next block fills the rest
        elif not over:
            size = data.rfind(b"\n") + 1 or len(data) - len(data) % CHUNK
        key, offset = block.position(size)
        gap = over and block.following is not None
        if over and block.following is not None:
            key, offset = block.following, 0
        rest = len(data) - size
        more = not block.at_end or rest >= CHUNK or gap
        stored = data if size == len(data) else data[:size]
        return Taken(stored, key, offset, self.segment + gap, rest, more, more or block.cut)

    def times(self, data: bytes, wall: float) -> list[tuple[bytes, When]]:
        """Split the next bytes into stretches, each with its times: the backlog's lines, and what came after it."""
        if self.backlog is None:
            return [(data, self._marked(0, len(data), wall))]
        last = self.backlog.remaining - 1
        size = len(data) if last >= len(data) else data.find(b"\n", max(last, 0)) + 1 or len(data)
        stretches = [(data[:size], self.backlog.take(size))]
        if self.backlog.remaining <= 0:
            self.backlog = None
        if size < len(data):
            stretches.append((data[size:], self._marked(size, len(data), wall)))
        return stretches

    def _marked(self, begin: int, end: int, wall: float) -> When:
        marks = [mark for mark in self.marks if mark[0] < end]
        if self.seen < end:
            marks.append((self.seen, wall))
        return When(tuple(marks)).piece(begin, end, end)

    def stored(self, taken: Taken, now: float, wall: float) -> None:
        """Advance past bytes that are now durable, and remove files that hold nothing else."""
        if taken.key != self.key:
            self.files.remove_before(taken.key)
        if len(taken.data) > self.seen:
            self.quiet_since, self.check_wait = now, 0.0
        self._unsee(len(taken.data))
        if taken.rest > self.seen:
            self.marks.append((self.seen, wall))
        if not taken.again:
            self.seen, self.seen_lines, self.seen_open = taken.rest, 0, taken.rest > 0
            self.counted = taken.rest
            self.last_look = wall
        self.key, self.offset, self.segment, self.dropped = taken.key, taken.offset, taken.segment, 0
        self.dirty = taken.again
        self.store_by = now if taken.more else NEVER
        self.burst += len(taken.data)
        self.next_look, self.postpone_until = now, 0.0
        if not taken.more:
            self.next_look += _pause(self.burst)
            self.postpone_until = now + POSTPONED
            self.burst = 0

    def _unsee(self, size: int) -> None:
        """Shift what was seen by the first `size` bytes, which are stored or dropped."""
        before = [ts for offset, ts in self.marks if offset <= size]
        self.marks = [(offset - size, ts) for offset, ts in self.marks if offset > size]
        self.seen = max(self.seen - size, 0)
        self.counted, self.seen_lines, self.seen_open = 0, 0, False
        if self.seen and before:
            self.marks.insert(0, (0, before[-1]))


def _pause(size: int) -> float:
    return next((wait for least, wait in PACE if size >= least), 0.0)


def keep_within(cap: int, streams: Collection[Stream]) -> None:
    """Give up the oldest file of the largest stream until all together have `cap` unread bytes, if that can be."""
    while sum((sizes := {stream.run: stream.unread() for stream in streams}).values()) > cap:
        if not any(stream.drop_file() for stream in sorted(streams, key=lambda one: -sizes[one.run])):
            return
