"""Workflows: how soon after ``ask`` an agent is at work, and how long it takes from one phase to the next.

The agents are shell scripts that ring as the first and as the last thing they do: measured is what paneview adds, not
what an agent program takes to load.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.floor import bare_python
from tests.bench.place import PANEVIEW, Project, project
from tests.bench.settings import Settings
from tests.bench.table import Reference, Row, measured, percentile
from tests.harness import wait_until

WORKERS = 3
MANY = 200
PHASES = ("one", "two")
AGENT = 0.2  # seconds that each takes: longer than its shim takes to load, as real agents do

FILE = f"""
[runners.bell]
argv = ["/bin/sh", "-c", 'BELL begin; cat; sleep {AGENT}; BELL end']

[workers.hand]
role = "hand"
replicas = {WORKERS}

[roles.hand]
runner = "bell"
permissions = "edit"

[workflows.pair]
[[workflows.pair.phases]]
name = "one"
role = "hand"
prompt = "{{{{task}}}}"
[[workflows.pair.phases]]
name = "two"
role = "hand"
prompt = "{{{{task}}}}"
"""


def rows(settings: Settings) -> Iterator[Row]:
    """From asking to the agent's process, from a phase's end to the next one's agent, and many at once."""
    with project(FILE) as ours:
        ours.cli("start")
        wait_until(lambda: len(ours.cli("workers")["workers"]) == WORKERS)
        begins, nexts = _one_at_a_time(ours, settings.runs(50))
        bare = percentile([bare_python() for _ in range(settings.runs(20))], 0.5)
        yield measured(
            "ask, all idle → the agent's process runs",
            begins,
            "ms",
            references=[Reference("bare Python", bare, "of which there are two: the command and the shim")],
            reach=150,
        )
        yield measured("a phase's agent ends → the next one's runs", nexts, "ms", reach=100,
                       references=[Reference("bare Python", bare, "the shim is one")])  # fmt: skip
        yield _many(ours, settings.runs(MANY))


def _one_at_a_time(ours: Project, count: int) -> tuple[list[float], list[float]]:
    bell = ours.place.bell
    begins, nexts = [], []
    for number in range(count + 1):
        began = time.perf_counter()
        ours.place.spawn(PANEVIEW, "ask", "--no-wait", "--workflow", "pair", "do it", cwd=ours.folder)
        first, _ = bell.wait(lambda line: line.startswith("begin"))
        ended, _ = bell.wait(lambda line: line.startswith("end"))
        second, _ = bell.wait(lambda line: line.startswith("begin"))
        bell.wait(lambda line: line.startswith("end"))
        _wait_idle(ours)
        if number:  # the first one is a warm-up
            begins.append(1000 * (first - began))
            nexts.append(1000 * (second - ended))
    return begins, nexts


def _many(ours: Project, count: int) -> Row:
    began = time.perf_counter()
    for _ in range(count):
        ours.ask("ask", text="do it", workflow="pair", cwd=str(ours.folder))
    ours.place.bell.count(2 * count * len(PHASES), 600.0)
    _wait_idle(ours)
    took = time.perf_counter() - began
    found = ours.ask("workflows", limit=count)["workflows"]
    assert {flow["status"] for flow in found} == {"done"}
    note = f"{count} workflows, {WORKERS} workers, {count / took:.1f} workflows a second"
    alone = Reference("the agents alone", 1000 * AGENT / WORKERS)
    return Row(
        "a phase, of many at once", 1000 * took / (count * len(PHASES)), "ms", references=[alone], note=note
    )


def _wait_idle(ours: Project) -> None:
    wait_until(lambda: ours.ask("workflows", active=True)["active"] == 0, 60.0, 0.02)
