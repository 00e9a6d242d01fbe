"""Workers that are killed, stopped, lied to about the time, cut off or out of space, on each of the three brokers.

The short versions are part of the suite; ``-m chaos`` runs 10,000 jobs and 500 kills.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from paneview.broker import Backoff, JobFilter, NewJob, Settings, Target, UnavailableError, open_broker
from tests.broker.labs import DirectoryLab, Lab, RedisLab, SqliteLab, opened
from tests.broker.servers import redis_server
from tests.chaos.crowd import HANDLERS, LEASE, Crowd, nothing_is_stuck, some_jobs, submitted, verify
from tests.harness import Sandbox, wait_until
from tests.supervisor.project import Project
from tests.worker.support import Farm, farm_in

SLOW = """
import os, time
from paneview.worker import handler

@handler("slow")
def slow(command):
    time.sleep(command.payload or 0)
    return os.getpid()
"""
SETTINGS = Settings(max_depth=None, lease=LEASE, backoff=Backoff(base=0.05, longest=0.2))


@pytest.fixture
def farm(lab: Lab, sandbox: Sandbox) -> Iterator[Farm]:
    """A queue of each kind in turn."""
    with farm_in(sandbox.root / "farm", SETTINGS, lab.url) as made:
        yield made


def chaos(farm: Farm, jobs: int, kills: int, stops: int, most: float, pause: float, seed: int) -> None:
    """Kill and stop until both are done, while jobs are; then see that all of them came to their ends."""
    crowd = Crowd(farm, seed, 4 if kills > 50 else 3)
    new = some_jobs(crowd.dice, jobs, most)
    cancelled = submitted(farm, new, crowd.dice)
    while crowd.kills < kills or crowd.stops < stops:
        time.sleep(crowd.dice.random() * pause)
        if crowd.kills < kills:
            crowd.kill_one()
        if crowd.stops * max(1, kills) < stops * max(1, crowd.kills):
            crowd.stop_one()
    nothing_is_stuck(crowd, 600)
    crowd.end()
    verify(crowd, new, cancelled)


def test_killed_and_stopped_workers_lose_nothing(farm: Farm) -> None:
    chaos(farm, jobs=120, kills=4, stops=1, most=0.04, pause=0.1, seed=4)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_ten_thousand_jobs_and_five_hundred_kills(farm: Farm) -> None:
    chaos(farm, jobs=10_000, kills=500, stops=20, most=0.1, pause=0.2, seed=500)


def test_a_worker_whose_clock_is_an_hour_ahead(farm: Farm) -> None:
    """Leases are the broker's to judge: nobody's are taken, and its own run out no later."""
    late = farm.folder / "late"
    late.mkdir()
    (late / "sitecustomize.py").write_text(
        "import time\n_real = time.time\ntime.time = lambda: _real() + 3600\n"
    )
    crowd = Crowd(farm, 5, 1)
    crowd.workers.append(crowd.hire(PYTHONPATH=str(late)))
    for process in crowd.workers:
        wait_until(lambda process=process: farm.of(process.pid))
    new = some_jobs(crowd.dice, 40, 0.03)
    cancelled = submitted(farm, new, crowd.dice)
    nothing_is_stuck(crowd)
    crowd.end()
    verify(crowd, new, cancelled)
    jobs = farm.broker.jobs(JobFilter(limit=100))
    assert not [error for job in jobs for error in job.errors if "no sign" in error.error]
    assert {job.result.worker for job in jobs if job.result and job.state == "done"} >= {
        farm.broker.workers.all()[0].worker.id,
        farm.broker.workers.all()[1].worker.id,
    }


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own; skips where that is not allowed."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", folder], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("NOT TESTED: a full disk needs a mount, which is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("kind", ["sqlite", "redis", "directory"])
def test_a_full_disk_is_waited_out(kind: str, sandbox: Sandbox) -> None:
    with ExitStack() as stack:
        # Redis needs room for its first append-only files.
        disk = stack.enter_context(small_disk(sandbox.root / "disk", 6))
        lab = stack.enter_context(opened(lab_on(kind, disk, stack)))
        farm = stack.enter_context(farm_in(sandbox.root / "farm", SETTINGS, lab.url))
        crowd = Crowd(farm, 6, 2)
        new = some_jobs(crowd.dice, 60, 0.05)
        cancelled = submitted(farm, new[:40], crowd.dice)
        wait_until((farm.folder / "ran").exists)
        filler = disk / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        refused = wait_until(lambda: is_refused(farm), 30)
        assert "cannot be" in refused or "Redis at" in refused, "in words"
        filler.unlink()
        wait_until(lambda: not is_refused(farm), 30)
        farm.broker.submit_many(new[40:])
        nothing_is_stuck(crowd)
        crowd.end()
        verify(crowd, new, cancelled)
        (ping,) = farm.broker.jobs(JobFilter(kind="ping"))
        assert ping.state == "done", "what was refused was not submitted all the same"


def lab_on(kind: str, disk: Path, stack: ExitStack) -> Lab:
    """A queue of this kind with all its files there."""
    if kind == "redis":
        return RedisLab(stack.enter_context(redis_server("--dir", str(disk))))
    return SqliteLab(disk) if kind == "sqlite" else DirectoryLab(disk)


def is_refused(farm: Farm) -> str:
    """What the queue says to a job of some size; empty if it takes it.

    Redis still takes the first that it cannot put on its disk, and refuses what comes after; not what changes nothing,
    as a job that it has already.
    """
    try:
        farm.submit("ping", {"text": "x" * 20_000}, key="the same each time")
        farm.broker.events.note("looked")
    except UnavailableError as error:
        return str(error)
    return ""


@contextmanager
def other_host() -> Iterator[tuple[str, str, str]]:
    """A network namespace and its link to ours: its name, the link's on our side, our address; else skips."""
    name = f"pv{uuid.uuid4().hex[:6]}"
    near, net = f"{name}a", f"10.213.{int(name[2:4], 16)}"
    if shutil.which("ip") is None:
        pytest.skip("NOT TESTED: two hosts need network namespaces, and those the package iproute2")
    steps = (
        f"ip netns add {name}",
        f"ip link add {near} type veth peer name {name}b netns {name}",
        f"ip addr add {net}.1/24 dev {near}",
        f"ip link set {near} up",
        f"ip -n {name} addr add {net}.2/24 dev {name}b",
        f"ip -n {name} link set {name}b up",
    )
    try:
        for step in steps:
            done = subprocess.run(step.split(), capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"NOT TESTED: two hosts need network namespaces: {done.stderr.strip()}")
        yield name, near, f"{net}.1"
    finally:
        for step in (f"ip link del {near}", f"ip netns del {name}"):
            subprocess.run(step.split(), capture_output=True, check=False)


def test_a_host_that_is_cut_off_for_longer_than_a_lease(sandbox: Sandbox) -> None:
    with ExitStack() as stack:
        far, link, address = stack.enter_context(other_host())
        server = stack.enter_context(redis_server("--bind", "127.0.0.1", address, "--protected-mode", "no"))
        lab = stack.enter_context(opened(RedisLab(server)))
        farm = stack.enter_context(farm_in(sandbox.root / "farm", SETTINGS, lab.url))
        farm.handlers(SLOW)
        there = farm.worker(
            "--handlers", "mine", "--role", "far",
            within=("ip", "netns", "exec", far),
            PANEVIEW_BROKER=farm.url.replace("127.0.0.1", address),
            PANEVIEW_LEASE=str(LEASE),
        )  # fmt: skip
        wait_until(lambda: farm.of(there.pid))
        job = farm.submit("slow", 2.0)
        farm.running(job)
        subprocess.run(["ip", "link", "set", link, "down"], check=True)
        here = farm.ready("--handlers", "mine", PANEVIEW_LEASE=str(LEASE))
        done = farm.over(job, 40)
        assert done.result
        assert (done.result.output, done.token) == (here.pid, 2)
        assert "no sign" in done.errors[0].error
        subprocess.run(["ip", "link", "set", link, "up"], check=True)
        wait_until(lambda: '"returned"' in farm.said(there), 60)  # its own result was refused
        assert farm.broker.need(job) == done
        again = farm.submit("slow", 0.0, Target(role="far"))
        assert farm.over(again, 60).result.output == there.pid  # type: ignore[union-attr]


def test_the_supervisor_is_killed_and_a_worker_meanwhile(sandbox: Sandbox) -> None:
    """Workers go on without it; what died while it was away is seen to by the next one."""
    project = Project(
        sandbox,
        '[workers.helper]\nreplicas = 2\nhandlers = ["mine"]\n[queue]\nlease = 1.0\nmax_attempts = 9\n',
    )
    (project.folder / "mine.py").write_text(HANDLERS)
    try:
        project.serve()
        with open_broker("sqlite:", project_dir=project.state_dir, settings=SETTINGS) as broker:
            wait_until(lambda: len(broker.workers.all(alive_only=True)) == 2)
            jobs = [NewJob("work", {"most": 0.2, "fails": False}) for _ in range(40)]
            broker.submit_many(jobs)
            project.kill_supervisor()
            os.kill(broker.workers.all()[0].worker.pid, signal.SIGKILL)
            before = sum(lane.depth for lane in broker.stats())
            wait_until(lambda: sum(lane.depth for lane in broker.stats()) < before)
            project.serve()
            wait_until(lambda: not broker.stats(), 40)
            wait_until(lambda: len(broker.workers.all(alive_only=True)) == 2, 40)
            found = [broker.need(job.id) for job in jobs]
            assert [job.state for job in found] == ["done"] * len(jobs)
            assert all(job.result and job.result.output == job.token for job in found)
    finally:
        project.close()
