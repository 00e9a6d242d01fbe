"""Kills, stops and absences: a short version of each in every run, the long ones with ``-m chaos``."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from paneview.broker import JobState
from tests.broker.chaos import crew, run, some_jobs, unfinished, verify
from tests.broker.conftest import KINDS, make_lab
from tests.broker.helpers import job, submit
from tests.broker.labs import Lab, RedisLab, opened
from tests.broker.servers import redis_server
from tests.harness import wait_until


def kill_again_and_again(lab: Lab, folder: Path, jobs: int, kills: int, seed: int, between: float) -> None:
    """Submit, kill, wait for the end, verify."""
    dice = random.Random(seed)
    with crew(lab, folder) as workers:
        for _ in range(4 if kills > 50 else 3):
            workers.hire()
        submitted = some_jobs(jobs, dice)
        cancelled = run(workers, submitted, kills, dice, between)
        verify(workers, lab, submitted, cancelled)


def test_nothing_is_lost_or_done_twice_whoever_is_killed(lab: Lab, tmp_path: Path) -> None:
    kill_again_and_again(lab, tmp_path, 150, 10, seed=3, between=0.06)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_ten_thousand_jobs_five_hundred_kills(lab: Lab, tmp_path: Path) -> None:
    kill_again_and_again(lab, tmp_path, 10_000, 500, seed=4, between=0.1)


def test_a_paused_worker_can_do_no_harm(lab: Lab, tmp_path: Path) -> None:
    with crew(lab, tmp_path, seconds=0.5) as workers:
        paused = workers.hire()
        id_ = submit(workers.broker, payload={"n": 1, "seconds": 0.3}, max_attempts=9)
        wait_until(lambda: workers.lines("ran"))
        os.kill(paused, signal.SIGSTOP)
        began = time.monotonic()
        workers.hire()
        wait_until(lambda: unfinished(workers.broker) == 0, interval=0.05)
        assert time.monotonic() - began < 15
        os.kill(paused, signal.SIGCONT)
        wait_until(
            lambda: any(line[3] == workers.workers[paused] for line in workers.lines("stale", "accepted"))
        )
        verdicts = {line[3]: line[0] for line in workers.lines("stale", "accepted")}
        assert verdicts[workers.workers[paused]] == "stale"
        found = job(workers.broker, id_)
        assert found.state is JobState.DONE
        assert found.result
        assert found.result.worker != workers.workers[paused]


def test_a_worker_whose_clock_is_wrong_works_as_well(lab: Lab, tmp_path: Path) -> None:
    dice = random.Random(5)
    with crew(lab, tmp_path) as workers:
        workers.hire("late")
        workers.hire()
        submitted = some_jobs(40, dice)
        workers.broker.submit_many(submitted)
        wait_until(lambda: unfinished(workers.broker) == 0, interval=0.05)
        overruns = [
            a for each in submitted for a in job(workers.broker, each.id).errors if "no sign" in a.error
        ]
        assert not overruns, "nobody took a lease for older than it was"
        verify(workers, lab, submitted, set())


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[RedisLab]:
    """A Redis of this test's own, to be killed."""
    with redis_server("--appendfsync", "always") as server, opened(RedisLab(server)) as lab:
        assert isinstance(lab, RedisLab)
        yield lab


def kill_redis(lab: RedisLab, folder: Path, jobs: int, times: int, seed: int) -> None:
    """Jobs come and go while the server is killed; workers are, too."""
    dice = random.Random(seed)
    with crew(lab, folder) as workers:
        for _ in range(3):
            workers.hire()
        submitted = some_jobs(jobs, dice)
        cancelled: set[str] = set()
        share = len(submitted) // times + 1
        for start in range(0, len(submitted), share):
            workers.broker.submit_many(submitted[start : start + share])
            time.sleep(dice.random() * 0.1)
            lab.server.kill()
            if dice.random() < 0.5:
                workers.kill(dice.choice(list(workers.workers)), seen=False)
                workers.hire()
            lab.server.start()
        cancelled |= run(workers, submitted, workers.kills, dice)
        verify(workers, lab, submitted, cancelled)


def test_redis_is_killed_and_comes_back(own_lab: RedisLab, tmp_path: Path) -> None:
    kill_redis(own_lab, tmp_path, 90, 3, seed=6)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_redis_is_killed_fifty_times(own_lab: RedisLab, tmp_path: Path) -> None:
    kill_redis(own_lab, tmp_path, 5_000, 50, seed=7)


def test_every_kind_is_here(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    assert {type(make_lab(kind, tmp_path, request)).__name__ for kind in KINDS} == {
        "SqliteLab",
        "RedisLab",
        "DirectoryLab",
    }
