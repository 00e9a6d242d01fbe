"""Random kill -9 of workers: whatever dies, every job comes to one end, and only one.

The short version is part of the suite; `-m chaos` runs 10,000 jobs and 500 kills. The test plays the supervisor: it
sees a worker die, tells the queue, and starts another.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter

import pytest

from paneview.broker import JobFilter, NewJob, Settings
from tests.harness import Sandbox, wait_until
from tests.worker.support import Farm, farm_in

HANDLERS = """
import os, random, time
from pathlib import Path
from paneview.worker import Failure, handler

@handler("work")
def work(command):
    with open("done.txt", "ab", buffering=0) as file:
        file.write(f"{command.id} {command.lease.token} {os.getpid()}\\n".encode())
    time.sleep(random.random() * command.payload["most"])
    if command.payload["fails"]:
        raise Failure("as told", retry_in=0.0)
    return command.lease.token
"""


def chaos(farm: Farm, jobs: int, kills: int, most: float, pause: float, seed: int) -> None:
    dice = random.Random(seed)
    farm.handlers(HANDLERS)
    new = [
        NewJob("work", {"most": most, "fails": dice.random() < 0.1}, max_attempts=6, key=f"k{number}")
        for number in range(jobs)
    ]
    for start in range(0, jobs, 500):
        farm.broker.submit_many(new[start : start + 500])
    cancelled = {job.id for job in dice.sample(new, jobs // 20)}
    for job in cancelled:
        farm.broker.cancel(job)
    workers = [farm.worker("--handlers", "mine") for _ in range(4)]
    killed = 0
    while True:
        left = sum(lane.depth + lane.leased for lane in farm.broker.stats())
        if left == 0:
            break
        if killed < kills and left > jobs // 20:
            victim = dice.randrange(4)
            wait_until(lambda victim=victim: farm.of(workers[victim].pid))
            time.sleep(dice.random() * pause)
            workers[victim] = replaced(farm, workers[victim])
            killed += 1
        else:
            time.sleep(0.02)
    assert killed == kills
    for process in workers:
        assert farm.end(process)[0] == 0
    check(farm, jobs, kills, cancelled)


def replaced(farm: Farm, process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    view = farm.of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if view is not None:
        farm.broker.release_owner(view.worker.id, "killed")
        farm.broker.workers.leave(view.worker.id, "killed")
    return farm.worker("--handlers", "mine")


def check(farm: Farm, jobs: int, kills: int, cancelled: set[str]) -> None:
    found = farm.broker.jobs(JobFilter(limit=jobs * 2))
    states = Counter(job.state.value for job in found)
    assert states["done"] + states["dead"] + states["cancelled"] == jobs == len(found), states
    assert states["cancelled"] == len(cancelled)
    for job in found:
        assert job.attempts <= job.max_attempts
        assert job.result is not None
        if job.state == "done":
            assert job.result.output == job.token == job.result.token  # of the last holder
        if job.payload["fails"] and job.id not in cancelled:
            assert job.state == "dead"
    began = [line.split() for line in (farm.folder / "done.txt").read_text().splitlines()]
    assert len({(job, token) for job, token, _ in began}) == len(began)  # no token was given twice
    again = len(began) - len({job for job, _, _ in began})
    failures = sum(len(job.errors) for job in found)
    assert again <= failures + kills
    with sqlite3.connect(farm.folder / "queue.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_killed_workers_lose_nothing(sandbox: Sandbox) -> None:
    with farm_in(sandbox.root / "farm", Settings(max_depth=None)) as farm:
        chaos(farm, jobs=400, kills=8, most=0.02, pause=0.1, seed=4)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_ten_thousand_jobs_and_five_hundred_kills(sandbox: Sandbox) -> None:
    with farm_in(sandbox.root / "farm", Settings(max_depth=None)) as farm:
        chaos(farm, jobs=10_000, kills=500, most=0.15, pause=0.3, seed=500)
