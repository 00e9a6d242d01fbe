"""kill -9 of supervisors, workers, the tmux server and Redis while workflows run: all end, nothing counts twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from contextlib import suppress

import pytest

from tests.broker.servers import RedisServer, redis_server
from tests.chaos.world import PANEVIEW, World
from tests.harness import Sandbox, marked, wait_until, words_of

SHORT, LONG = (6, 5), (200, 30)  # workflows, kills
WORKERS = 3
PHASES = ("one", "two", "three")
FILE = """
[queue]
{broker}lease = 3.0
heartbeat_interval = 0.5
heartbeat_ttl = 4.0
max_attempts = 100
max_queue_depth = 0
respawn_limit = 1000

[runners.demo]
[workers.hand]
role = ["reviewer", "worker"]
replicas = {workers}

[workflows.chaos]
[[workflows.chaos.phases]]
name = "one"
role = "reviewer"
prompt = "{{{{task}}}}"
[[workflows.chaos.phases]]
name = "two"
role = "worker"
prompt = "{{{{task}}}}"
verify = "sleep 0.2"
[[workflows.chaos.phases]]
name = "three"
role = "worker"
prompt = "{{{{task}}}}"
"""


@pytest.mark.timeout(180)
def test_a_few_kills(sandbox: Sandbox, tmux_socket: str) -> None:
    _ordeal(World(sandbox, 5), *SHORT, server=None)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [51])
def test_many_kills(sandbox: Sandbox, tmux_socket: str, seed: int) -> None:
    _ordeal(World(sandbox, seed), *LONG, server=None)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_many_kills_of_redis_too(sandbox: Sandbox, tmux_socket: str) -> None:
    with redis_server("--appendfsync", "always") as server:
        _ordeal(World(sandbox, 52), 60, 20, server=server)


def _ordeal(world: World, count: int, kills: int, server: RedisServer | None) -> None:
    broker = f'broker = "redis://127.0.0.1:{server.port}/0"\n' if server else ""
    (world.folder / "paneview.toml").write_text(
        f'name = "world"\n{FILE.format(broker=broker, workers=WORKERS)}'
    )
    (world.folder / "done").mkdir()
    world.cli("start")
    asked: dict[str, str] = {}
    for number in range(count):
        name, mark = _ask(world, number)
        asked[name] = mark
        if number % max(1, count // kills) == 0:
            _strike(world, server)
    for _ in range(max(0, kills - count)):
        world.pause(1.0)
        _strike(world, server)
    world.cli("start")
    _wait_all(world, 60 + 3 * count)
    _check(world, asked)
    world.cli("down")
    world.wait_empty()


def _ask(world: World, number: int) -> tuple[str, str]:
    """A new workflow, whose phases each add a line to a file of their own; its id and its files' name.

    An asker who was not answered does not know whether it was heard: the next try has another name.
    """
    for again in range(20):
        mark = f"{number}-{again}"
        text = "\n".join(f"demo@{name}: append done/{mark}.{name} here" for name in PHASES)
        asked = world.spawn("ask", "--no-wait", "--workflow", "chaos", f"workflow {mark}\n{text}")
        out, _ = asked.communicate(timeout=60)
        if asked.returncode == 0:
            return str(json.loads(out)["workflow"]["id"]), mark
    raise AssertionError(f"it could not be asked for: {out}")


def _strike(world: World, server: RedisServer | None) -> None:
    """kill -9 of one of those who may die."""
    world.pause(0.5)
    victims = ["supervisor", "worker", "worker", "tmux"] + (["redis"] if server else [])
    match world.dice.choice(victims):
        case "supervisor":
            _kill(world, "--serve")
        case "worker":
            _kill(world, "worker")
        case "tmux":
            pid = world.sandbox.tmux_server_pid()
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        case _:
            assert server is not None
            server.kill()
            server.start()


def _kill(world: World, word: str) -> None:
    found = [
        one.pid for one in marked(world.sandbox.marker) if word in words_of(one) and "-m" in words_of(one)
    ]
    if found:
        with suppress(ProcessLookupError):
            os.kill(world.dice.choice(found), signal.SIGKILL)


def _wait_all(world: World, seconds: float) -> None:
    def over() -> bool:
        process = subprocess.run(
            [PANEVIEW, "workflows", "--active", "--count", "1000", "--json"],
            cwd=world.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return process.returncode == 0 and json.loads(process.stdout)["active"] == 0

    wait_until(over, seconds, 0.5)


def _check(world: World, asked: dict[str, str]) -> None:
    found = {flow["id"]: flow for flow in world.cli("workflows", "--count", "1000")["workflows"]}
    assert set(asked) <= set(found)
    assert {found[name]["status"] for name in asked} == {"done"}, Counter(
        (flow["status"], flow["reason"]) for flow in found.values()
    )
    assert {phase["attempt"] for name in asked for phase in found[name]["phases"]} == {1}
    files = {file.name: file.read_text().split() for file in (world.folder / "done").iterdir()}
    twice = {name: lines for name, lines in files.items() if lines != ["here"]}
    assert not twice, f"written more than once: {twice}"
    assert {f"{mark}.{name}" for mark in asked.values() for name in PHASES} <= set(files)
