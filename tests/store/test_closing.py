"""When writers of runs that are over are looked for, and which."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from paneview.store.closing import look_for_writers
from paneview.store.spool import command_lines, is_named, prefix
from paneview.store.stream import Stream
from paneview.store.writer import RunState
from tests.harness import wait_until
from tests.store.helpers import Pipe

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="silence has to do")


def over(folder: Path, run: int, ended: float) -> Stream:
    """A run that ended then and had printed nothing that is not stored."""
    stream = Stream.resume(folder, RunState(run, "web", (0, 0), 0, 0, False), [], None, 0.0)
    stream.closing, stream.quiet_since, stream.dirty = True, ended, False
    return stream


@linux
def test_runs_that_printed_nothing_are_looked_for_together(spool: Path) -> None:
    streams = [over(spool, 1, 100.01), over(spool, 2, 100.1), over(spool, 3, 100.2)]
    split = subprocess.Popen(
        ["split", "-b", "16m", "-a", "6", "-d", "-", prefix(spool, 3)], stdin=subprocess.PIPE
    )
    with split:
        wait_until(lambda: is_named(prefix(spool, 3), command_lines() or []))
        for stream in streams:
            look_for_writers(streams, spool, stream.quiet_since)
        assert {stream.check_at for stream in streams} == {100.25}
        assert not any(stream.writerless for stream in streams)
        assert not look_for_writers(streams, spool, 100.25)
        assert [stream.writerless for stream in streams] == [True, True, False]
        # tmux keeps the last one as long as the pane: nobody asks before it has been silent for long enough.
        assert streams[2].check_at == 102.25
        assert look_for_writers(streams, spool, 102.25) == [3]
    look_for_writers(streams, spool, streams[2].check_at)
    assert streams[2].writerless


@linux
def test_a_run_with_a_file_is_looked_at_at_once(spool: Path) -> None:
    stream = over(spool, 1, 100.01)
    with Pipe(spool, 1) as pipe:
        pipe.write(b"x")
        assert not look_for_writers([stream], spool, 100.01)
        assert not stream.writerless
        assert 100.01 < stream.check_at < 100.05
    look_for_writers([stream], spool, 100.05)
    assert stream.writerless
