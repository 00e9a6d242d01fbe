"""The queue and its workers: how soon a worker has a job, how many a second, what a death and a backlog cost."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paneview.broker import Broker, Claim, Outcome, open_broker
from tests.bench.queue_peers import PEERS, Figures, measure, references
from tests.bench.queue_staff import UNLIMITED, deaths, drained, fill, latencies, outlived
from tests.bench.settings import Settings
from tests.bench.table import Reference, Row, measured, percentile
from tests.broker.labs import SqliteLab
from tests.broker.servers import RedisServer, redis_server

LEASE = 1  # seconds, for rows in which a lease has to run out


def rows(settings: Settings) -> Iterator[Row]:
    """The broker's figures of issue 4."""
    with redis_server() as server, tempfile.TemporaryDirectory(prefix="pvq-", dir="/tmp") as folder:
        place = Path(folder)
        jobs, stamps = settings.runs(20_000), settings.runs(100)
        figures = {name: measure(name, settings.folder, server.port, jobs // 4, stamps) for name in PEERS}
        server.forget()
        urls = {
            "SQLite": f"sqlite://{place}/queue.db",
            "Redis": f"redis://127.0.0.1:{server.port}",
            "directory": f"dir://{place}/shared",
        }
        yield from _latencies(settings, urls, place, figures)
        yield from _throughputs(jobs, urls, place, figures)
        yield _four(urls["SQLite"], place, jobs)
        for name, url in urls.items():
            yield from _deaths(settings, name, url, place)
        yield from _depths(settings, place, server)


def _latencies(
    settings: Settings, urls: dict[str, str], place: Path, figures: dict[str, Figures]
) -> Iterator[Row]:
    reaches = {"SQLite": (2.0, 8.0), "Redis": (1.5, 6.0), "directory": (3.0, 12.0)}
    peers = {"SQLite": ["huey SQLite"], "Redis": ["huey Redis", "taskiq stream", "RQ"], "directory": []}
    for name, url in urls.items():
        yield measured(
            f"submit → an idle worker has it, {name}",
            latencies(url, place / "staff", settings.runs(400)),
            "ms",
            references=references(figures, "latency", *peers[name]),
            reach=reaches[name][0],
            worst_reach=reaches[name][1],
        )


def _throughputs(jobs: int, urls: dict[str, str], place: Path, figures: dict[str, Figures]) -> Iterator[Row]:
    peers = {"SQLite": ["huey SQLite"], "Redis": ["taskiq stream", "huey Redis", "RQ"], "directory": []}
    reaches = {"SQLite": 1 / 2, "Redis": 1 / 1.5, "directory": None}
    for name, url in urls.items():
        number = jobs // 10 if name == "directory" else jobs  # two fsync each
        yield measured(
            f"a job that does nothing, one worker, {name}",
            [drained(url, place / "staff", number, 1) for _ in range(3)],
            "µs",
            references=references(figures, "job", *peers[name]),
            ratio_reach=reaches[name],
            note=f"{number} jobs",
        )


def _four(url: str, place: Path, jobs: int) -> Row:
    # In turn, so that both see the machine in the same state.
    pairs = [[drained(url, place / "staff", jobs, count) for count in (1, 4)] for _ in range(3)]
    return measured(
        "the same, 4 workers on one SQLite file, all together",
        [four for _, four in pairs],
        "µs",
        references=[Reference("one worker", statistics.median(one for one, _ in pairs))],
        ratio_reach=1.0,
        note=f"{jobs} jobs; a complaint of any worker ends the run",
    )


def _deaths(settings: Settings, name: str, url: str, place: Path) -> Iterator[Row]:
    number = settings.runs(50)
    seen = deaths(url, number)
    yield Row(
        f"worker killed here → another has its job, {name}",
        statistics.median(seen),
        "ms",
        worst=percentile(seen, 0.99),
        worst_is="p99",
        worst_reach=50,
        note=f"{number} kills, under a supervisor",
    )
    unseen = [outlived(url, place / "staff", LEASE) - 1000 * LEASE for _ in range(max(3, number // 10))]
    yield measured(
        f"host gone → another has its job, beyond the lease, {name}", unseen, "ms", worst_reach=1000
    )


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
            fill(broker, 1000)
            few = _claim(url, number)
            _finished(name, url, broker, done, place, server)
            fill(broker, deep - 1000)
        yield measured(
            f"claim, {deep:,} waiting and {done:,} finished, {name}",
            [_claim(url, number) for _ in range(3)],
            "µs",
            references=[Reference("1,000 waiting", few)],
            ratio_reach=1.5,
        )


def _claim(url: str, number: int) -> float:
    """Microseconds of a claim, the median."""
    argv = [sys.executable, "-m", "tests.bench.queue_loop", url, str(number)]
    told = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
    return statistics.median(json.loads(told.stdout))


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
        fill(broker, number)
        mine = Claim("past", ("any",), 500)
        while number > 0:
            for lease in broker.claim(mine):
                broker.finish(lease, Outcome())
                number -= 1
