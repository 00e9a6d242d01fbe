"""Parts of the store's tests: a pipe writer as `split` is one, an engine driven step by step, and a log read whole."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType

from paneview.store import log_schema
from paneview.store.database import connect, prepare
from paneview.store.engine import IngestEngine
from paneview.store.limits import LogLimits
from paneview.store.reader import Line, LogReader
from paneview.store.spool import next_attach, path_of
from paneview.store.writer import LogWriter, When

EVERYTHING = LogLimits(max_bytes=None)


class Pipe:
    """Writes a run's spool files, as the writer behind `pipe-pane` does; `rotate` begins the next file."""

    def __init__(self, folder: Path, run: int) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder, self._run = folder, run
        self._key = (0, 0)
        self._descriptor: int | None = None
        self.written = b""

    def write(self, data: bytes) -> None:
        if self._descriptor is None:
            path = path_of(self._folder, self._run, self._key)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(self._descriptor, data)
        self.written += data

    def rotate(self) -> None:
        if self._descriptor is not None:
            self.close()
            self._key = (self._key[0], self._key[1] + 1)

    def attach_again(self) -> None:
        self.close()
        self._key = (next_attach(self._folder, self._run), 0)

    def jump(self) -> None:
        """The other way to attach again: a higher number."""
        self.close()
        self._key = (self._key[0], (self._key[1] // 1000 + 1) * 1000)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Pipe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def settle(engine: IngestEngine) -> None:
    """Let the engine store all there is, and finish what is over."""
    engine.mark(None)
    for later in (10, 20, 30):  # a file of a round size is asked twice for its writer
        while engine.has_work():
            engine.turn(time.monotonic(), rush=True)
        engine.check_writers(time.monotonic() + later)


def read_all(reader: LogReader, task: str) -> list[Line]:
    """Every line of the task, uncut."""
    first, end = reader.bounds(task)
    lines = reader.lines(task, first, end - first, max_bytes=1 << 30)
    assert [line.number for line in lines] == list(range(first, end))
    return lines


class Filled:
    """A log database filled step by step: what is written is stored at once, at a time of one's own choosing."""

    def __init__(self, folder: Path) -> None:
        self.path, self.spool = folder / "logs.db", folder / "spool"
        prepare(self.path, log_schema.MIGRATIONS, pragmas=log_schema.PRAGMAS)
        self.reader = LogReader(self.path, self.spool)
        self._database = connect(self.path)
        self._writer = LogWriter(self._database)

    def write(
        self, task: str, data: bytes, ts: float = 1.0, run: int = 1, until: float | None = None
    ) -> None:
        """Store bytes; with `until` as bytes that came at some time between the two."""
        with self._writer.transaction():
            self._writer.open_run(run, task)
            when = When(((0, ts),), until)
            self._writer.add(self._writer.task(task), run, 0, data, when)

    @property
    def writer(self) -> LogWriter:
        """The writer underneath."""
        return self._writer

    def close(self) -> None:
        """Close all."""
        self.reader.close()
        self._database.close()
