"""A process that is stopped at the worst moment: while it is the one who may write to the SQLite file.

Nobody can take its lock away; but nobody waits for ever, questions and heartbeats go on, the one who is in the way is
named, and when it is killed or goes on everything does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from paneview.broker import JobFilter, JobState, NewJob, Outcome, Registration, Settings, UnavailableError
from paneview.broker.sqlite import database
from paneview.broker.sqlite.broker import SqliteBroker
from tests.broker.helpers import Later, state, submit, take, want
from tests.broker.labs import SETTINGS
from tests.harness import wait_until

PLACES = {
    "in the gate": "base._enter(time.monotonic() + 5); stop(); base._leave()",
    "in a transaction": 'with base.write() as step: step.sql("UPDATE jobs SET priority = 7"); stop()',
}
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from paneview.broker.sqlite.database import Database
base = Database(Path(sys.argv[1]))
def stop(): os.kill(os.getpid(), signal.SIGSTOP)
{place}
print("went on", flush=True)
"""
BOUND = (
    15.0  # seconds within which a call that gives up after 0.3 s has come back, however busy the machine is
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def broker(path: Path) -> Iterator[SqliteBroker]:
    with SqliteBroker(path, SETTINGS) as one:
        one.hurry(0.3)
        yield one


@pytest.fixture(params=PLACES)
def stopped(
    request: pytest.FixtureRequest, broker: SqliteBroker, path: Path
) -> Iterator[subprocess.Popen[str]]:
    """A process that is stopped while nobody else can write."""
    script = SCRIPT.format(place=PLACES[request.param])
    process = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True)
    wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    yield process
    process.kill()
    process.communicate()


def test_who_wants_to_write_is_told_who_is_in_the_way(
    broker: SqliteBroker, stopped: subprocess.Popen[str]
) -> None:
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=rf"process {stopped.pid} .*is stopped: kill -CONT") as told:
        submit(broker)
    assert told.value.stopped == stopped.pid
    assert time.monotonic() - began < BOUND
    stopped.send_signal(signal.SIGCONT)
    assert stopped.stdout
    assert stopped.stdout.readline() == "went on\n"
    assert submit(broker)


def test_questions_heartbeats_and_opening_wait_for_nobody(
    broker: SqliteBroker, path: Path, stopped: subprocess.Popen[str]
) -> None:
    holding = threading.Event()

    def write() -> None:
        broker._database.patience = 60.0
        holding.set()
        broker.submit(NewJob("test"))

    writing = Later(write)
    holding.wait()
    assert broker.jobs(JobFilter()) == []  # though another thread of this very object waits to write
    assert not broker.workers.beat("w1")
    with SqliteBroker(path, SETTINGS) as other:
        assert other.stats() == []
    stopped.kill()
    writing.result()
    assert broker.stats()[0].depth == 1


def test_closing_goes_on_without_it(broker: SqliteBroker, path: Path, stopped: subprocess.Popen[str]) -> None:
    other = SqliteBroker(path, SETTINGS)
    began = time.monotonic()
    other.close()
    assert time.monotonic() - began < database.CLOSING + BOUND


def test_only_the_silent_one_counts_as_lost(path: Path) -> None:
    """Nobody can write, but the others' heartbeats arrive; the one who is in the way sends none."""
    with SqliteBroker(path, SETTINGS) as broker:
        broker.hurry(0.2)
        for name in ("culprit", "other"):
            broker.workers.register(Registration(name, ttl=0.5))
        broker._database._enter(time.monotonic() + 5)
        try:
            wait_until(
                lambda: (
                    broker.workers.beat("other")
                    and [view.worker.id for view in broker.workers.all() if view.alive] == ["other"]
                )
            )
        finally:
            broker._database._leave()
        broker.workers.beat("other")
        assert broker.reap().workers_lost == ("culprit",)
        assert not broker.workers.beat("culprit")


def test_nothing_is_lost_when_it_is_killed(
    broker: SqliteBroker, path: Path, stopped: subprocess.Popen[str]
) -> None:
    waiting = [Later(lambda n=n: SqliteBroker(path, SETTINGS).submit(NewJob("test", n)).id) for n in range(3)]
    with pytest.raises(UnavailableError):
        submit(broker)
    os.kill(stopped.pid, signal.SIGKILL)
    jobs = [each.result() for each in waiting]
    for _ in jobs:
        lease = take(broker)
        assert lease.job.priority == 0, "what the killed one had not committed is undone"
        broker.finish(lease, Outcome())
    assert [state(broker, job) for job in jobs] == [JobState.DONE] * 3


@pytest.fixture
def job(broker: SqliteBroker) -> str:
    return submit(broker)


def test_who_waits_goes_on_looking(
    broker: SqliteBroker, path: Path, job: str, stopped: subprocess.Popen[str]
) -> None:
    """To hang up a bell is to write; while that is not possible, looking has to do."""
    with SqliteBroker(path, Settings(max_depth=None, look=60.0)) as other:
        began = time.monotonic()
        assert other.wait_result(job, timeout=1.0) is None
        assert time.monotonic() - began < BOUND
        waiting = Later(lambda: other.wait_result(job, timeout=60.0))
        assert other.claim(want(lanes=("r:nobody",)), wait=0.3) == []
        stopped.kill()
        broker._database.patience = 20.0
        broker.finish(take(broker), Outcome("ok", "done at last"))
        found = waiting.result()
        assert found
        assert found.output == "done at last"
