"""Readiness and health: a deep graph from cold, an unhealthy task, the cost of a hundred probes, a long history."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from paneview.config.paths import control_socket
from paneview.control.blocking import Connection
from paneview.store.rows import Change, EventRow, RunRow
from paneview.store.state import StateStore
from tests.bench.bench_answers import status_ms
from tests.bench.place import PANEVIEW, Project, project, sleepers
from tests.bench.settings import Settings
from tests.bench.table import Reference, Row, measured, percentile
from tests.bench.usage import cost
from tests.harness import free_port, free_ports

LEVELS, WIDTH = 5, 20
WARM_UP = 0.5  # seconds until a task of the graph listens
LISTENER = "import socket, time; server = socket.create_server(('127.0.0.1', {port}), backlog=64); time.sleep(100000)"
RESTARTS = 10_000


def rows(settings: Settings) -> Iterator[Row]:
    """The figures of issue 3."""
    yield _cold_start(settings)
    yield _sick(settings)
    yield _probes(settings)
    yield _long_history(settings)


def _listen(port: int) -> str:
    return f'sleep {WARM_UP}; exec {sys.executable} -IS -c "{LISTENER.format(port=port)}"'


def _graph(ports: list[list[int]]) -> str:
    """Every task of a level waits for three of the level before."""
    text = ""
    for level, row in enumerate(ports):
        for index, port in enumerate(row):
            needs = [f"l{level - 1}n{(index + step) % WIDTH}" for step in range(3)] if level else []
            text += f"[tasks.l{level}n{index}]\ncommand = '''{_listen(port)}'''\n"
            text += f"health_tcp = {port}\ndepends_on = {needs}\n"
    return text


def _cold_start(settings: Settings) -> Row:
    times, chains = [], []
    found = free_ports(LEVELS * WIDTH)
    ports = [found[level * WIDTH :][:WIDTH] for level in range(LEVELS)]
    with project(_graph(ports)) as ours:
        for _ in range(settings.runs(5)):
            chains.append(_chain([row[0] for row in ports]))
            # By events, not by polling: a hundred tasks' status every few milliseconds would be a load of its own.
            with Connection(str(control_socket(ours.state_dir())), timeout=60) as link:
                link.call("subscribe", {"topics": ["events"]})
                began = time.perf_counter()
                ours.place.spawn(PANEVIEW, "start", cwd=ours.folder)
                ready = (push for push in link.pushes() if push["push"] == "event" and _is_ready(push))
                for _ in range(LEVELS * WIDTH):
                    next(ready)
                times.append(time.perf_counter() - began)
            ours.cli("stop")
    chain = Reference("one chain by itself", percentile(chains, 0.5))
    return measured(
        "cold start of 100 tasks, 5 levels, TCP-ready", times, "s", references=[chain], ratio_reach=1.3
    )


def _is_ready(push: dict[str, Any]) -> bool:
    return bool(push["event"]["event"] == "task_ready")


def _chain(ports: list[int]) -> float:
    """Seconds for one task of each level, each started the moment the one before it listens."""
    processes = []
    began = time.perf_counter()
    for port in ports:
        processes.append(subprocess.Popen(["sh", "-c", _listen(port)]))
        while not _connects(port):
            time.sleep(0.001)
    took = time.perf_counter() - began
    for process in processes:
        process.kill()
        process.wait()
    return took


def _connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _sick(settings: Settings) -> Row:
    interval, retries = 0.2, 3
    toml = (
        "[tasks.sick]\ncommand = 'rm -f sick; BELL sick; exec sleep 100000'\nrestart_policy = 'always'\n"
        "max_restarts = 1000\nrestart_backoff = 0\n"
        f"health_check = 'test ! -e sick'\nhealth_interval = {interval}\nhealth_retries = {retries}\n"
    )
    times = []
    with project(toml) as ours:
        ours.cli("start")
        ours.place.bell.wait(lambda _line: True)
        for _ in range(settings.runs(20)):
            while not all(task["healthy"] for task in ours.running().values()):
                time.sleep(0.05)
            time.sleep(3 * interval)  # until the frequent probes of a task's first moments are over
            (ours.folder / "sick").touch()
            began = time.perf_counter()
            again, _ = ours.place.bell.wait(lambda _line: True)
            times.append(1000 * (again - began))
    return measured(
        "health failing → restarted, every 0.2 s, 3 times",
        times,
        "ms",
        worst_reach=1000 * interval * retries + 100,
    )


def _probes(settings: Settings) -> Row:
    port = free_port()
    number = 100
    with socket.create_server(("127.0.0.1", port), backlog=1024) as server:
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        toml = sleepers(number, f"health_tcp = {port}\nhealth_interval = 1.0")
        with project(toml) as ours:
            ours.cli("start")
            ours.wait_running(number)
            time.sleep(10)  # until probes are rare
            found = cost([ours.supervisor_pid()], 5 if settings.quick else 20)
    return Row(
        f"{number} tasks probed every second by TCP: CPU of the supervisor", found.cpu_percent, "%", reach=5
    )


def _accept(server: socket.socket) -> None:
    """Take every connection, or the backlog is full after ten seconds."""
    with suppress(OSError):
        while True:
            server.accept()[0].close()


def _long_history(settings: Settings) -> Row:
    with project(sleepers(5)) as ours:
        ours.cli("start")
        before = _statuses(ours, settings)
        ours.kill_supervisor()
        asyncio.run(_write_history(ours))
        ours.serve()
        ours.wait_running(5)
        after = _statuses(ours, settings)
    fresh = Reference("without", percentile(before, 0.5))
    return measured(
        f"status --json with {RESTARTS:,} restarts behind it",
        after,
        "ms",
        references=[fresh],
        ratio_reach=1.2,
    )


def _statuses(ours: Project, settings: Settings) -> list[float]:
    return [status_ms(ours) for _ in range(settings.runs(40))]


async def _write_history(ours: Project) -> None:
    """Write what 10,000 restarts leave behind: a run and three events each."""
    store = await StateStore.open(ours.state_dir() / "state.db")
    loaded = await store.load()
    runs, events = [], []
    for number in range(RESTARTS):
        task, run, when = f"t{number % 5 + 1}", loaded.next_run + number, time.time() - RESTARTS + number
        runs.append(RunRow(run, task, when, when + 0.5, exit_code=1, end_reason="exit code 1", pid=1))
        for offset, kind in enumerate(("task_started", "task_exited", "auto_restart")):
            events.append(EventRow(loaded.next_event + 3 * number + offset, when, kind, task, run, "bench"))
    await store.put(Change(runs=runs, events=events))
    await store.close()
