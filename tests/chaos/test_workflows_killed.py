"""kill -9 of supervisors, workers, the tmux server and Redis while workflows run: all end, nothing counts twice."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.broker.servers import RedisServer, redis_server
from tests.chaos.world import World
from tests.cli.support import run
from tests.harness import Sandbox, marked, wait_until, words_of

SHORT, LONG = (3, 4, 2), (200, 30, 3)  # workflows, kills, workers
PHASES = ("one", "two", "three")
WRITERS = PHASES[1:]  # the first may only read
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
        _ordeal(World(sandbox, 52), 60, 20, 3, server=server)


def _ordeal(world: World, count: int, kills: int, workers: int, server: RedisServer | None) -> None:
    broker = f'broker = "redis://127.0.0.1:{server.port}/0"\n' if server else ""
    (world.folder / "paneview.toml").write_text(
        f'name = "world"\n{FILE.format(broker=broker, workers=workers)}'
    )
    (world.folder / "done").mkdir()
    world.cli("start")
    asked: dict[str, str] = {}
    struck: Counter[str] = Counter()
    victims = _victims(world, server)
    every = max(1, 2 * count // kills)  # half of the blows fall while it is being asked for more
    for number in range(count):
        name, mark = _ask(world, number)
        asked[name] = mark
        if number % every == 0:
            struck[_strike(world, server, next(victims))] += 1
    while struck.total() < kills:
        world.pause(count / 40)
        struck[_strike(world, server, next(victims))] += 1
    print(f"killed: {dict(struck)}")
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
        text = "\n".join(
            f"demo@{name}: append done/{mark}.{name} here\ndemo@{name}: sleep 0.3" for name in PHASES
        )
        words = ("ask", "--no-wait", "--workflow", "chaos", "--json", f"workflow {mark}\n{text}")
        asked = run(*words, cwd=world.folder)
        if asked.status == 0:
            return str(asked.json["workflow"]["id"]), mark
    raise AssertionError(f"it could not be asked for: {asked.out}")


def _victims(world: World, server: RedisServer | None) -> Iterator[str]:
    """Who may die, in random order, and nobody twice as often as another but the workers."""
    all_of_them = ["supervisor", "worker", "worker", "tmux"] + (["redis"] if server else [])
    while True:
        yield from world.dice.sample(all_of_them, len(all_of_them))


def _strike(world: World, server: RedisServer | None, victim: str) -> str:
    """kill -9 of this one, or of one of these; which it was."""
    world.pause(0.5)
    if server and victim == "redis":
        server.kill()
        server.start()
    else:
        found = _pids(world, victim)
        if not found:  # somebody above it was killed before: life goes on
            world.cli("start")
            found = wait_until(lambda: _pids(world, victim), 30.0)
        with suppress(ProcessLookupError):
            os.kill(world.dice.choice(found), signal.SIGKILL)
    return victim


def _pids(world: World, victim: str) -> list[int]:
    if victim == "tmux":
        pid = world.sandbox.tmux_server_pid()
        return [] if pid is None else [pid]
    word = {"supervisor": "--serve", "worker": "worker"}[victim]
    return [one.pid for one in marked(world.sandbox.marker) if {word, "-m"} <= set(words_of(one))]


def _wait_all(world: World, seconds: float) -> None:
    def over() -> bool:
        done = run("workflows", "--active", "--count", "1000", "--json", cwd=world.folder)
        return done.status == 0 and done.json["active"] == 0

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
    assert {f"{mark}.{name}" for mark in asked.values() for name in WRITERS} <= set(files)
