"""Workers that are killed again and again, and what must hold after it all."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from paneview.broker import Broker, Job, JobFilter, JobState, NewJob, Target, UnavailableError
from tests.broker.labs import Lab
from tests.broker.workshop import SETTINGS, expected
from tests.harness import wait_until

LEASE = 1.0


class Crew:
    """Workers of one queue, forked by a `workshop`."""

    def __init__(self, lab: Lab, folder: Path, seconds: float = LEASE) -> None:
        self.broker = lab.open(SETTINGS)
        self.diary = folder / "diary"
        self.diary.touch()
        self.workers: dict[int, str] = {}  # owner by pid
        self.kills = 0
        self._shop = subprocess.Popen(
            [sys.executable, "-m", "tests.broker.workshop", lab.url, self.diary, str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def hire(self, *options: str) -> int:
        """One more worker; its pid."""
        assert self._shop.stdin
        assert self._shop.stdout
        owner = f"w-{uuid.uuid4().hex[:12]}"
        self._shop.stdin.write(" ".join([owner, *options]) + "\n")
        pid = int(self._shop.stdout.readline())
        self.workers[pid] = owner
        return pid

    def kill(self, pid: int, *, seen: bool) -> None:
        """SIGKILL. If somebody has seen it, what it held is released at once, else its lease must run out."""
        os.kill(pid, signal.SIGKILL)
        owner = self.workers.pop(pid)
        self.kills += 1
        if seen:
            with suppress(UnavailableError):  # then its leases run out
                self.broker.release_owner(owner, "killed by signal 9")

    def lines(self, *kinds: str) -> list[list[str]]:
        """The diary's lines of these kinds, in words."""
        lines = (line.split() for line in self.diary.read_text().splitlines())
        return [line for line in lines if line[0] in kinds]

    def close(self) -> None:
        """End everybody."""
        for pid in list(self.workers):
            os.kill(pid, signal.SIGKILL)
        assert self._shop.stdin
        assert self._shop.stdout
        self._shop.stdin.close()
        self._shop.stdout.close()
        self._shop.wait()


@contextmanager
def crew(lab: Lab, folder: Path, seconds: float = LEASE) -> Iterator[Crew]:
    """A crew for the time of a block."""
    one = Crew(lab, folder, seconds)
    try:
        yield one
    finally:
        one.close()


def some_jobs(number: int, dice: random.Random) -> list[NewJob]:
    """Plain ones, some that always fail, some in chains, some delayed, all for the role or anybody."""
    jobs: list[NewJob] = []
    for n in range(number):
        payload: dict[str, object] = {"n": n}
        kind = dice.random()
        if kind < 0.02:
            payload["fail"] = True
        elif kind < 0.1:
            payload["seconds"] = dice.choice([0.01, 0.05])
        after = (jobs[-1].id,) if jobs and 0.2 < kind < 0.25 else ()
        jobs.append(
            NewJob(
                "chaos",
                payload,
                Target(role="work") if dice.random() < 0.5 else Target(),
                priority=dice.choice([0, 0, 0, 1, -1]),
                delay=dice.choice([0.0] * 9 + [0.05]),
                key=f"key {n}",
                after=after,
            )
        )
    return jobs


def unfinished(broker: Broker) -> int:
    """How many jobs are not over."""
    return sum(lane.depth + lane.leased for lane in broker.stats())


def run(crew_: Crew, jobs: list[NewJob], kills: int, dice: random.Random, between: float = 0.03) -> set[str]:
    """Submit while workers are killed; returns when everything is over. The jobs somebody wanted cancelled."""
    broker = crew_.broker
    waiting = list(jobs)
    cancelled: set[str] = set()
    while crew_.kills < kills:
        share = max(1, len(jobs) // max(1, kills // 2))
        batch, waiting = waiting[:share], waiting[share:]
        with suppress(UnavailableError):
            if batch:
                broker.submit_many(batch)
        if dice.random() < 0.3 and batch:
            victim = dice.choice(batch).id
            cancelled.add(victim)
            with suppress(UnavailableError):
                broker.cancel(victim, "chaos")
        time.sleep(dice.random() * between)
        crew_.kill(dice.choice(list(crew_.workers)), seen=dice.random() < 0.5)
        crew_.hire()
    if waiting:
        broker.submit_many(waiting)
    # Where the server was killed under a submission, nobody was told: it may be repeated, and changes nothing then.
    for start in range(0, len(jobs), 200):
        broker.submit_many(jobs[start : start + 200])
    wait_until(lambda: unfinished(broker) == 0, 600, 0.1)
    return cancelled


def verify(crew_: Crew, lab: Lab, submitted: list[NewJob], cancelled: set[str]) -> None:
    """The invariants of a queue."""
    broker = crew_.broker
    jobs = {job.id: job for job in broker.jobs(JobFilter(limit=10**9))}
    assert set(jobs) == {job.id for job in submitted}, "none lost, none made up, one per key"
    states = Counter(job.state for job in jobs.values())
    assert sum(states.values()) == states[JobState.DONE] + states[JobState.DEAD] + states[JobState.CANCELLED]
    for job in jobs.values():
        _verify_job(job, cancelled)
    _verify_diary(crew_, jobs)
    _verify_events(broker, jobs)
    lab.check()


def _verify_job(job: Job, cancelled: set[str]) -> None:
    result = job.result
    assert result is not None, job
    assert job.attempts <= job.max_attempts
    assert len(job.errors) <= job.token
    if job.state is JobState.DONE:
        assert (result.status, result.token) == ("ok", job.token)
        assert result.output == expected(job.payload, job.token)
        assert not job.payload.get("fail")
    elif job.state is JobState.DEAD:
        assert job.attempts == job.max_attempts
        assert [attempt.number for attempt in job.errors] == list(range(1, job.max_attempts + 1))
    else:
        assert job.id in cancelled or job.after, "only what somebody wanted cancelled, and what needed that"


def _verify_diary(crew_: Crew, jobs: dict[str, Job]) -> None:
    ran, accepted = Counter[str](), Counter[str]()
    done: set[str] = set()
    for kind, job, *_ in crew_.lines("ran", "accepted", "already", "stale"):
        if kind == "ran":
            ran[job] += 1
        if kind == "accepted":
            accepted[job] += 1
            done.add(job)
    for job in jobs.values():
        assert ran[job.id] <= job.token
        if job.state is JobState.DONE:
            assert ran[job.id] >= 1
            assert accepted[job.id] <= 1
    fails = sum(len(job.errors) for job in jobs.values() if job.payload.get("fail"))
    again = sum(ran.values()) - len(ran)
    overruns = sum("no sign" in attempt.error for job in jobs.values() for attempt in job.errors)
    assert again <= crew_.kills + fails + overruns, "nothing is done again without a reason"


def _verify_events(broker: Broker, jobs: dict[str, Job]) -> None:
    told: dict[str, Counter[str]] = {}
    numbers, cursor = [], ""
    while (page := broker.events.read(cursor)).events:
        cursor = page.cursor
        for event in page.events:
            numbers.append(event.id)
            told.setdefault(event.job, Counter())[event.kind] += 1
    if broker.url.startswith("dir"):
        return  # its events are written beside what they tell: a kill may fall between
    assert [int(number) for number in numbers] == list(range(1, len(numbers) + 1))
    for job in jobs.values():
        seen = told[job.id]
        assert seen["job_submitted"] == 1
        assert seen["job_claimed"] == job.token
        assert seen[f"job_{job.state.value}"] == 1
