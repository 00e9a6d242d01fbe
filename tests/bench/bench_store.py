"""The store by itself: how fast output gets in, and how fast ten million lines answer."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from paneview.store.ingest import LogIngest
from paneview.store.limits import LogLimits
from paneview.store.match import Query
from paneview.store.reader import LogReader
from paneview.store.rows import Change, EventRow, RunRow
from paneview.store.search import Search, scan
from paneview.store.spool import path_of
from paneview.store.state import StateStore
from tests.bench.settings import Settings
from tests.bench.table import Reference, Row, measured

LINES = 10_000_000
FILE = 16 << 20  # bytes in a spool file, as `split` makes them
PLAIN = "2026-01-01 12:00:00,%07d INFO  server.http  GET /api/items/%07d 200 %3d bytes in %3d ms, worker %d ok\r\n"
COLOURED = (
    "\x1b[2m12:00:00.%07d\x1b[0m \x1b[32mINFO\x1b[0m \x1b[1mserver\x1b[0m GET /items/%07d %3d %3d %d\r\n"
)
RARE = "needle"
# Reads the whole log in a process of its own and prints how much memory that took.
THROUGH = """
import re, sys
from pathlib import Path
from paneview.store.reader import LogReader
from paneview.store.search import Search, scan
with LogReader(Path(sys.argv[1]) / "logs.db", Path(sys.argv[1]) / "spool") as reader:
    for _ in scan(reader, reader.tasks(), Search()):
        pass
print(int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


def rows(settings: Settings) -> Iterator[Row]:
    """Ingest, latency, reading, searching; then events and state."""
    lines = LINES // 10 if settings.quick else LINES
    with tempfile.TemporaryDirectory(prefix="pv-bench-") as folder:
        yield from _logs(Path(folder), settings, lines)
        yield from _latency(Path(folder) / "slow", settings)
        yield from asyncio.run(_state(Path(folder), settings))


def _logs(folder: Path, settings: Settings, lines: int) -> Iterator[Row]:
    text = folder / "text"
    size = _fill(folder / "spool", 1, lines, PLAIN)
    copied = _seconds(lambda: _copy(folder / "spool", text))
    size += _fill(folder / "spool", 2, lines // 10, COLOURED)
    took = _ingest(folder, lines)
    floor = Reference("cat of the same files", lines / copied / 1e6)
    yield Row(f"{lines / 1e6:g} M lines into the store", lines / took / 1e6, "M lines/s", references=[floor])
    stored = sum(path.stat().st_size for path in folder.glob("logs.db*"))
    yield Row("space in the store", stored / size, "of the output's size")
    with LogReader(folder / "logs.db", folder / "spool") as reader:
        yield from _reading(reader, settings, lines, text)
    yield from _memory(folder)


def _reading(reader: LogReader, settings: Settings, lines: int, text: Path) -> Iterator[Row]:
    def search(what: Search, task: str = "plain", first: int | None = None) -> Callable[[], int]:
        return lambda: sum(1 for _ in islice(scan(reader, [task], what), first))

    grep = Reference("grep -c", _seconds(lambda: _grep(text)))
    tail = [1000 * _seconds(lambda: reader.tail("plain", 1000)) for _ in range(settings.runs(50))]
    yield measured(f"last 1,000 of {lines / 1e6:g} M lines", tail, "ms", reach=20)
    middle = [
        1000 * _seconds(lambda: reader.lines("plain", lines // 2, 100)) for _ in range(settings.runs(50))
    ]
    yield measured("100 lines from the middle", middle, "ms")
    newest = search(Search(Query("worker 3"), newest_first=True), first=100)
    yield measured(
        "first 100 matches, newest first",
        [1000 * _seconds(newest) for _ in range(settings.runs(20))],
        "ms",
        reach=100,
    )
    searches = {
        "literal": (Query(RARE), grep, 3.0),
        "literal, ignoring case": (Query(RARE, ignore_case=True), None, None),
        "regular expression": (Query("need(le|ful)", regex=True), None, None),
    }
    for name, (query, reference, reach) in searches.items():
        values = [_seconds(search(Search(query))) for _ in range(settings.runs(3))]
        yield measured(
            f"whole log searched, {name}",
            values,
            "s",
            references=[reference] if reference else [],
            reach=reach,
        )
    values = [_seconds(search(Search(Query(RARE)), "coloured")) for _ in range(settings.runs(3))]
    yield measured(f"{lines / 1e7:g} M coloured lines searched, literal", values, "s")


def _memory(folder: Path) -> Iterator[Row]:
    if not sys.platform.startswith("linux"):
        return
    done = subprocess.run([sys.executable, "-c", THROUGH, folder], capture_output=True, text=True, check=True)
    yield Row("memory while every line is read", float(done.stdout), "MB RSS", reach=50)


def _latency(folder: Path, settings: Settings) -> Iterator[Row]:
    """From a write into the spool until progress is reported; a reader sees the line from then on."""
    folder.mkdir()
    ingest = LogIngest(folder / "logs.db", folder / "spool")
    told = threading.Event()
    ingest.on_progress(lambda _ends: told.set())
    ingest.start()
    ingest.attach(1, "slow", LogLimits())
    values = []
    with path_of(folder / "spool", 1, (0, 0)).open("wb", buffering=0) as pipe:
        for number in range(settings.runs(500)):
            time.sleep(0.02)
            told.clear()
            began = time.perf_counter()
            pipe.write(b"line %d\n" % number)
            told.wait()
            values.append(1000 * (time.perf_counter() - began))
    ingest.stop()
    yield measured("write → told to everyone", values, "ms")


async def _state(folder: Path, settings: Settings) -> list[Row]:
    events = 20_000 if settings.quick else 200_000
    store = await StateStore.open(folder / "state.db")
    began = time.perf_counter()
    for number in range(1, events + 1):
        done = store.put(
            Change(events=[EventRow(number, float(number), f"kind{number % 20}", f"task{number % 50}")])
        )
        if number % 1000 == 0:
            await done
    rate = events / (time.perf_counter() - began) / 1000
    put, asked = [], []
    for number in range(settings.runs(300)):
        began = time.perf_counter()
        await store.put(
            Change(
                {"task1": {"n": number}},
                [RunRow(number, "task1", 1.0)],
                [EventRow(events + number, 1.0, "kind")],
            )
        )
        put.append(1000 * (time.perf_counter() - began))
        began = time.perf_counter()
        await store.events(task=f"task{number % 50}", limit=100)
        asked.append(1000 * (time.perf_counter() - began))
    await store.close()
    return [
        Row("changes of state, queued by the thousand", rate, "k/s"),
        measured("one change durable (task, run and event)", put, "ms"),
        measured(f"newest 100 events of a task among {events // 1000} k", asked, "ms"),
    ]


def _fill(spool: Path, run: int, lines: int, form: str) -> int:
    """Write the spool files of a run; returns their size in bytes."""
    spool.mkdir(exist_ok=True)
    step, total, rest, key = 100_000, 0, b"", 0
    for start in range(0, lines, step):
        parts = [form % (n, n * 7 % lines, n % 999, n % 77, n % 13) for n in range(start, start + step)]
        rest += "".join(parts).encode()
        while len(rest) >= FILE or (rest and start + step >= lines):
            path_of(spool, run, (0, key)).write_bytes(rest[:FILE])
            total, rest, key = total + len(rest[:FILE]), rest[FILE:], key + 1
    return total


def _copy(spool: Path, target: Path) -> None:
    with target.open("wb") as out:
        subprocess.run(["cat", *sorted(spool.iterdir())], stdout=out, check=True)


def _ingest(folder: Path, lines: int) -> float:
    """Store the spool of both runs; returns the seconds that run 1 took."""
    ingest = LogIngest(folder / "logs.db", folder / "spool")
    ingest.start()
    began = time.perf_counter()
    ingest.recover({1: "plain"})
    ingest.drained(1).result()
    took = time.perf_counter() - began
    ingest.recover({2: "coloured"})
    ingest.drained(2).result()
    ingest.stop()
    with LogReader(folder / "logs.db", folder / "spool") as reader:
        assert reader.end("plain") == lines
    return took


def _grep(text: Path) -> None:
    subprocess.run(["grep", "-c", RARE, text], check=False, stdout=subprocess.DEVNULL)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
