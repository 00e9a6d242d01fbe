"""Real ``paneview worker`` processes that are killed and stopped at random, and what must hold after it all.

The test plays the supervisor: it sees a worker die, tells the queue, and starts another. Now and then it says nothing,
as if the whole host had gone: then the lease has to run out.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from paneview.broker import JobFilter, NewJob, UnavailableError
from tests.harness import wait_until
from tests.worker.support import Farm, Worker

LEASE = 1.0
# What a job does to the world is a line: job, token, process. It cannot be undone, as little as a sent letter.
HANDLERS = """
import os, random, time
from paneview.worker import Failure, handler

@handler("work")
def work(command):
    with open("ran", "ab", buffering=0) as file:
        file.write(f"{command.id} {command.lease.token} {os.getpid()}\\n".encode())
    time.sleep(random.random() * command.payload["most"])
    if command.payload["fails"]:
        raise Failure("as told", retry_in=0.0)
    return command.lease.token
"""


class Crowd:
    """Some workers of a farm."""

    def __init__(self, farm: Farm, seed: int, size: int = 3) -> None:
        farm.handlers(HANDLERS)
        self.farm = farm
        self.dice = random.Random(seed)
        self.kills = 0
        self.stops = 0
        self.workers = [self.hire() for _ in range(size)]

    def hire(self, **env: str) -> Worker:
        """One more."""
        return self.farm.worker("--handlers", "mine", PANEVIEW_LEASE=str(LEASE), **env)

    def kill_one(self) -> None:
        """kill -9 to one that has begun to work; another takes its place."""
        place = self.dice.randrange(len(self.workers))
        victim = self.workers[place]
        view = self._begun(victim)
        victim.kill()
        victim.wait()
        self.kills += 1
        if self.dice.random() < 0.8:
            with suppress(UnavailableError):  # then its lease runs out
                self.farm.broker.release_owner(view.worker.id, "killed")
                self.farm.broker.workers.leave(view.worker.id, "killed")
        self.workers[place] = self.hire()

    def _begun(self, worker: Worker) -> Any:
        """It, as the queue lists it, once it does."""
        try:
            found = wait_until(lambda: worker.poll() is not None or self.farm.of(worker.pid), 40)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said {self.farm.said(worker)[-2000:]}") from error
        assert worker.returncode is None, self.farm.said(worker)[-2000:]
        return found

    def stop_one(self) -> None:
        """SIGSTOP for longer than a lease, then SIGCONT."""
        victim = self.dice.choice(self.workers)
        self._begun(victim)
        victim.send_signal(signal.SIGSTOP)
        end = time.monotonic() + LEASE * 1.3
        wait_until(lambda: time.monotonic() > end, interval=0.05)
        victim.send_signal(signal.SIGCONT)
        self.stops += 1

    def left(self) -> int:
        """Jobs that are not over."""
        return sum(lane.depth + lane.leased for lane in self.farm.broker.stats())

    def end(self) -> None:
        """Each ends in order when told."""
        for process in self.workers:
            self._begun(process)  # before that, a signal ends it as it does any program
            status, _ = self.farm.end(process)
            assert status == 0, self.farm.said(process)[-2000:]


def some_jobs(dice: random.Random, number: int, most: float) -> list[NewJob]:
    """One in ten fails, always."""
    return [
        NewJob("work", {"most": most, "fails": dice.random() < 0.1}, max_attempts=9, key=f"k{each}")
        for each in range(number)
    ]


def submitted(farm: Farm, jobs: list[NewJob], dice: random.Random) -> set[str]:
    """Submit them; cancel one in twenty, and say which of those still waited."""
    for start in range(0, len(jobs), 500):
        farm.broker.submit_many(jobs[start : start + 500])
    return {
        job.id
        for job in dice.sample(jobs, len(jobs) // 20)
        if farm.broker.cancel(job.id, "by the test") == "cancelled"
    }


def nothing_is_stuck(crowd: Crowd, seconds: float = 60.0) -> None:
    """The jobs come to an end, and none is held for longer than its lease and the reaper's second."""
    wait_until(lambda: crowd.left() == 0, seconds, 0.05)


def verify(crowd: Crowd, jobs: list[NewJob], cancelled: set[str]) -> None:
    """Every job came to one end; every done one has the result of its last holder, and nobody had its token twice."""
    found = crowd.farm.broker.jobs(JobFilter(kind="work", limit=len(jobs) * 2))
    states = Counter(job.state.value for job in found)
    assert states["done"] + states["dead"] + states["cancelled"] == len(jobs) == len(found), states
    assert {job.id for job in found} == {job.id for job in jobs}
    # One that was running heard of it, and could end either way.
    assert cancelled <= {job.id for job in found if job.state == "cancelled"}
    assert all(job.cancel for job in found if job.state == "cancelled")
    for job in found:
        assert job.attempts <= job.max_attempts
        assert job.result is not None
        if job.state == "done":
            assert job.result.output == job.token == job.result.token, job
        if job.payload["fails"]:
            assert job.state == "dead" or job.cancel, job
    began = [line.split() for line in (crowd.farm.folder / "ran").read_text().splitlines()]
    assert len({(job, token) for job, token, _ in began}) == len(began), "no token was given twice"
    again = len(began) - len({job for job, _, _ in began})
    failures = sum(len(job.errors) for job in found)
    assert again <= failures + crowd.kills, "nothing is done again without a reason"
