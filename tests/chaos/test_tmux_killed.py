"""kill -9 of the tmux server, with the supervisor alive and without: told, swept up, brought back by policy."""

from __future__ import annotations

import time

import pytest

from tests.chaos.world import World
from tests.harness import Sandbox, alive, wait_until

SHORT, LONG = 2, 20


@pytest.mark.parametrize("seed", [3])
def test_a_few_kills(sandbox: Sandbox, tmux_socket: str, seed: int) -> None:
    _ordeal(World(sandbox, seed), SHORT)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [31, 32])
def test_many_kills(sandbox: Sandbox, tmux_socket: str, seed: int) -> None:
    _ordeal(World(sandbox, seed), LONG)


def _ordeal(world: World, rounds: int) -> None:
    always = {"restart_policy": "always", "restart_backoff": 0, "max_restarts": 100000}
    world.task("plain", "echo began; exec sleep 100000", **always)
    # Outlives its terminal: nobody but the supervisor can end it.
    world.task("deaf", "trap '' HUP; exec sleep 100000", **always)
    world.task("byhand", "exec sleep 100000", **always)
    world.task("leave", "exec sleep 100000", restart_policy="no")
    world.cli("start")
    world.cli("stop", "byhand")
    for number in range(rounds):
        _blow(world, with_supervisor=world.dice.random() < 0.4)
        for name in ("plain", "deaf"):
            wait_until(lambda name=name, count=number + 2: len(world.lives(name)) >= count)  # type: ignore[misc]
            world.wait_state(name, "running")
            assert len(world.lives(name)) == number + 2, f"round {number}: {name} lived again once"
            assert len(world.running(name)) == 1, f"round {number}: {name} has one instance"
        after = world.tasks()
        assert after["byhand"]["state"] == "stopped"
        assert after["leave"]["state"] == "failed"
        assert not world.running("leave")
        wait_until(lambda count=number + 2: world.log("plain").count("began") == count)  # type: ignore[misc]
    world.cli("down")
    world.wait_empty()


def _blow(world: World, *, with_supervisor: bool) -> None:
    server = world.sandbox.tmux_server_pid()
    assert server
    world.pause(0.5)
    if with_supervisor:
        world.kill(world.supervisor())
    world.kill(server)
    struck = time.time()
    if with_supervisor:
        world.cli("daemon")
        return
    events = wait_until(
        lambda: world.cli("events", "--kind", "tmux_lost", "--since", f"{struck - 0.5:.3f}")["events"]
    )
    assert events[-1]["ts"] - struck < 1.0
    assert not alive(server)
