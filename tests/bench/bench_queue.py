"""The queue below its workers: how soon a job is somebody's, how many a second, what a death and a backlog cost."""

from __future__ import annotations

import json
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from paneview.broker import Broker, Claim, JobFilter, JobState, NewJob, Outcome, open_broker
from tests.bench.queue_loop import UNLIMITED
from tests.bench.queue_peers import PEERS, Figures, measure, references
from tests.bench.settings import Settings
from tests.bench.table import Reference, Row, measured, percentile
from tests.broker.labs import SqliteLab
from tests.broker.servers import RedisServer, redis_server

LEASE = 1  # seconds, where a lease has to run out
PAYLOAD = {"text": "x" * 200}


class Loop:
    """A process of `queue_loop`."""

    def __init__(self, url: str, what: str, number: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.queue_loop", url, what, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.told()

    def told(self) -> Any:
        """The next thing it prints."""
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def go(self) -> None:
        """Let it begin."""
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


@contextmanager
def loops(url: str, what: str, number: int, count: int = 1) -> Iterator[list[Loop]]:
    """Some processes, ended with the block."""
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(Loop(url, what, number))
            stack.callback(made[-1].close)
        yield made


def rows(settings: Settings) -> Iterator[Row]:
    """The broker's figures of issue 4."""
    with redis_server() as server, tempfile.TemporaryDirectory(prefix="pvq-", dir="/tmp") as folder:
        place = Path(folder)
        jobs, stamps = settings.runs(20_000), settings.runs(100)
        figures = {name: measure(name, server.port, jobs // 4, stamps) for name in PEERS}
        server.forget()
        urls = {
            "SQLite": f"sqlite://{place}/queue.db",
            "Redis": f"redis://127.0.0.1:{server.port}",
            "directory": f"dir://{place}/shared",
        }
        yield from _latencies(settings, urls, figures)
        yield from _throughputs(jobs, urls, figures)
        yield _four(urls["SQLite"], jobs)
        for name, url in urls.items():
            yield from _deaths(settings, name, url)
        yield from _depths(settings, place, server)


def _latencies(settings: Settings, urls: dict[str, str], figures: dict[str, Figures]) -> Iterator[Row]:
    reaches = {"SQLite": (2.0, 8.0), "Redis": (1.5, 6.0), "directory": (3.0, 12.0)}
    peers = {"SQLite": ["huey SQLite"], "Redis": ["huey Redis", "taskiq stream", "RQ"], "directory": []}
    number = settings.runs(400)
    for name, url in urls.items():
        with loops(url, "latency", number) as (worker,), open_broker(url, settings=UNLIMITED) as broker:
            for _ in range(number):
                time.sleep(0.02)  # so that it sleeps
                broker.submit(NewJob("bench", time.monotonic()))
            found = worker.told()
        yield measured(
            f"submit → an idle worker has it, {name}",
            found,
            "ms",
            references=references(figures, "latency", *peers[name]),
            reach=reaches[name][0],
            worst_reach=reaches[name][1],
        )


def _fill(broker: Broker, number: int) -> None:
    for start in range(0, number, 500):
        broker.submit_many([NewJob("bench", PAYLOAD) for _ in range(min(500, number - start))])


def _drained(url: str, number: int, count: int) -> float:
    """Microseconds per job that does nothing, of so many processes together."""
    with open_broker(url, settings=UNLIMITED) as broker:
        _fill(broker, number)
    with loops(url, "drain", 1, count) as workers:
        for worker in workers:
            worker.go()
        told = [worker.told() for worker in workers]
    assert sum(each["done"] for each in told) == number, told
    return 1e6 * (max(each["ended"] for each in told) - min(each["began"] for each in told)) / number


def _throughputs(jobs: int, urls: dict[str, str], figures: dict[str, Figures]) -> Iterator[Row]:
    peers = {"SQLite": ["huey SQLite"], "Redis": ["taskiq stream", "huey Redis", "RQ"], "directory": []}
    reaches = {"SQLite": 1 / 2, "Redis": 1 / 1.5, "directory": None}
    for name, url in urls.items():
        number = jobs // 10 if name == "directory" else jobs  # two fsync each
        yield measured(
            f"a job that does nothing: its result and the next claim, {name}",
            [_drained(url, number, 1) for _ in range(3)],
            "µs",
            references=references(figures, "job", *peers[name]),
            ratio_reach=reaches[name],
            note=f"{number} jobs",
        )


def _four(url: str, jobs: int) -> Row:
    one = statistics.median(_drained(url, jobs, 1) for _ in range(3))
    return measured(
        "the same, 4 processes on one SQLite file, all together",
        [_drained(url, jobs, 4) for _ in range(3)],
        "µs",
        references=[Reference("one process", one)],
        ratio_reach=1.0,
        note=f"{jobs} jobs; an error of any process ends the run",
    )


def _deaths(settings: Settings, name: str, url: str) -> Iterator[Row]:
    number = settings.runs(50)
    seen = [_death(url, told=True) for _ in range(number)]
    yield Row(
        f"worker killed here → another has its job, {name}",
        statistics.median(seen),
        "ms",
        worst=percentile(seen, 0.99),
        worst_is="p99",
        worst_reach=50,
        note=f"{number} runs, by pidfd",
    )
    unseen = [_death(url, told=False) - 1000 * LEASE for _ in range(max(3, number // 10))]
    yield measured(
        f"host gone → another has its job, beyond the lease, {name}", unseen, "ms", worst_reach=1000
    )


def _death(url: str, *, told: bool) -> float:
    """Milliseconds from a worker's death to another's claim of its job."""
    with (
        open_broker(url, settings=UNLIMITED) as broker,
        loops(url, "hold", 60 if told else LEASE) as (holder,),
    ):
        broker.submit(NewJob("bench", 0.0))
        holder.told()
        (held,) = (lane for lane in broker.stats() if lane.leased)
        assert held.leased == 1
        owner = broker.jobs(_leased())[0].owner
        with loops(url, "latency", 1) as (heir,):
            descriptor = os.pidfd_open(holder.process.pid)
            died = time.monotonic()
            holder.process.send_signal(signal.SIGKILL)
            if told:
                select.select([descriptor], [], [])
                broker.release_owner(owner, "killed")
            (since_boot,) = heir.told()
            os.close(descriptor)
        return float(since_boot) - 1000 * died


def _leased() -> Any:
    return JobFilter(states=frozenset({JobState.LEASED}), limit=1)


def _depths(settings: Settings, place: Path, server: RedisServer) -> Iterator[Row]:
    number = settings.runs(300)
    deep, finished = (10_000, 20_000) if settings.quick else (100_000, 1_000_000)
    for name in ("SQLite", "Redis", "directory"):
        (place / name).mkdir()
        server.forget()
        url = {
            "SQLite": f"sqlite://{place}/{name}/queue.db",
            "Redis": f"redis://127.0.0.1:{server.port}",
            "directory": f"dir://{place}/{name}/shared",
        }[name]
        done = finished // 50 if name == "directory" else finished
        with open_broker(url, settings=UNLIMITED) as broker:
            _fill(broker, 1000)
            few = _claim(url, number)
            _finished(name, url, broker, done, place, server)
            _fill(broker, deep - 1000)
        yield measured(
            f"claim, {deep:,} waiting and {done:,} finished, {name}",
            [_claim(url, number) for _ in range(3)],
            "µs",
            references=[Reference("1,000 waiting", few)],
            ratio_reach=1.5,
        )


def _claim(url: str, number: int) -> float:
    with loops(url, "look", number) as (worker,):
        return statistics.median(worker.told())


_PAST = """
local B, number = KEYS[1], tonumber(ARGV[1])
local any = redis.call('ZRANGE', B .. 'over:done', 0, 0)[1]
local like = redis.call('HGETALL', B .. 'job:' .. any)
for n = 1, number do
  local seq = redis.call('INCR', B .. 'seq')
  redis.call('HSET', B .. 'job:past' .. seq, unpack(like))
  redis.call('ZADD', B .. 'over:done', seq, 'past' .. seq)
  redis.call('ZADD', B .. 'jobs', seq, 'past' .. seq)
end
"""


def _finished(name: str, url: str, broker: Broker, number: int, place: Path, server: RedisServer) -> None:
    """A long history: copies of a job that is done."""
    del url
    if name == "Redis":
        with server.client as client:
            for _ in range(number // 1000):
                client.eval(_PAST, 1, "{paneview}:", 1000)
    elif name == "SQLite":
        lab = SqliteLab(place / name)
        own: Any = lab.open(UNLIMITED)
        columns = ", ".join(
            row[1] for row in own._database.rows("PRAGMA table_info(jobs)") if row[1] not in ("seq", "id")
        )
        with own._database.write() as step:
            step.sql(
                f"INSERT INTO jobs (id, {columns}) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                f"WHERE i < {number}) SELECT 'past' || i, {columns} FROM n, "
                "(SELECT * FROM jobs WHERE state = 'done' LIMIT 1)"
            )
        lab.close()
    else:
        _fill(broker, number)
        mine = Claim("past", ("any",), 500)
        while number > 0:
            for lease in broker.claim(mine):
                broker.finish(lease, Outcome())
                number -= 1
