"""kill -9 of the supervisor at any instant: nothing restarts, nothing is doubled, nothing is forgotten."""

from __future__ import annotations

import pytest

from tests.chaos.world import World
from tests.harness import Sandbox

SHORT, LONG = 2, 60


@pytest.mark.parametrize("seed", [1])
def test_a_few_kills(sandbox: Sandbox, tmux_socket: str, seed: int) -> None:
    _ordeal(World(sandbox, seed), SHORT)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_many_kills(sandbox: Sandbox, tmux_socket: str, seed: int) -> None:
    _ordeal(World(sandbox, seed), LONG)


def _ordeal(world: World, rounds: int) -> None:
    world.counter("count")
    world.task("steady", "exec sleep 100000")
    world.task(
        "crash",
        "sleep 0.$(($$ % 5))3; exit 3",
        restart_policy="always",
        restart_backoff=0,
        max_restarts=100000,
    )
    world.task("byhand", "exec sleep 100000", restart_policy="always", restart_backoff=0)
    world.task("once", "until test -e finish; do sleep 0.1; done; exit 7", restart_policy="no")
    world.cli("start")
    world.cli("stop", "byhand")
    before = {name: task for name, task in world.tasks().items() if name in {"count", "steady", "once"}}
    for number in range(rounds):
        _blow(world)
        if number == rounds // 2:
            (world.folder / "finish").touch()
        after = world.tasks()
        for name in ("count", "steady"):
            assert after[name]["pid"] == before[name]["pid"], f"round {number}: {name} is another process"
            assert after[name]["restarts"] == 0
            assert after[name]["uptime_s"] >= before[name]["uptime_s"]
        assert after["byhand"]["state"] == "stopped", f"round {number}: the manual stop was forgotten"
        assert after["byhand"]["manual_stop"] is True
        running = world.running("crash")
        assert len(running) <= 1, f"round {number}: two instances, {running}: {world.story('crash')}"
    _settled(world)


def _blow(world: World) -> None:
    """Kill the supervisor at a random instant, and let two successors race to take over."""
    pid = world.supervisor()
    world.pause(0.3)
    world.kill(pid)
    world.pause(0.2)
    for contender in [world.spawn("daemon"), world.spawn("daemon")]:
        _, errors = contender.communicate(timeout=40)
        assert contender.returncode == 0, errors
    assert world.supervisor() != pid


def _settled(world: World) -> None:
    """Everything that happened is known, once."""
    once = world.wait_state("once", "failed")
    assert once["exit_code"] == 7
    world.cli("stop", "crash")
    lives, exits = world.lives("crash"), world.exits("crash")
    assert not world.running("crash")
    # A stop that comes between two runs ends neither, and is told of none.
    exited = exits[:-1] if exits[-1]["event"] == "task_stopped" else exits
    assert {(event["event"], event["detail"]["exit_code"]) for event in exited} == {("task_exited", 3)}
    assert len({event["run"] for event in exits}) == len(exits), "each run ends once"
    # The last may have been stopped before its command had written anything.
    assert len(lives) in (len(exits), len(exits) - 1), "each life is one run"
    assert len(world.lives("count")) == len(world.lives("steady")) == len(world.lives("byhand")) == 1
    last = world.halt("count")
    assert world.log("count") == [*(f"line {number}" for number in range(last)), f"last {last}"]
    world.cli("down")
    world.wait_empty()
