"""kill -9 of the supervisor during a start, stop or restart: one instance at most, and what was told holds."""

from __future__ import annotations

import subprocess

import pytest

from tests.chaos.world import World
from tests.cli.support import supervise
from tests.harness import Sandbox, wait_until

SHORT, LONG = 4, 60
NAMES = tuple(f"t{number}" for number in range(8))


@pytest.mark.parametrize("seed", [2])
def test_a_few_interruptions(sandbox: Sandbox, tmux_socket: str, seed: int) -> None:
    _ordeal(World(sandbox, seed), SHORT)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [21, 22, 23])
def test_many_interruptions(sandbox: Sandbox, tmux_socket: str, seed: int) -> None:
    _ordeal(World(sandbox, seed), LONG)


def _ordeal(world: World, rounds: int) -> None:
    for name in NAMES:
        world.task(name, "exec sleep 100000", restart_policy="always", restart_backoff=0)
    world.cli("daemon")
    for number in range(rounds):
        command = world.dice.choice(["start", "stop", "restart", "kill"])
        chosen = world.dice.sample(NAMES, world.dice.randint(1, len(NAMES)))
        supervisor = world.supervisor()
        asked = world.spawn(command, *chosen)
        world.pause(0.25)
        world.kill(supervisor)
        told = _outcome(asked)
        # A `start` that was interrupted may have begun another.
        supervise(world.folder, unless_there_is_one=True)
        _check(world, f"round {number}, {command} {chosen} told {told}")
        if told == 0 and command in {"stop", "kill"}:
            assert not [name for name in chosen if world.running(name)], "told it was stopped"
    world.cli("start", *NAMES)
    for name in NAMES:
        world.wait_state(name, "running")
        assert len(world.running(name)) == 1
    world.cli("down")
    world.wait_empty()


def _outcome(asked: subprocess.Popen[str]) -> int:
    asked.communicate(timeout=40)
    return asked.returncode


def _check(world: World, when: str) -> None:
    """What is said agrees with what is: soon, since a stop that was under way goes on."""

    def agrees() -> bool:
        said = world.tasks()
        if any(task["state"] in {"starting", "stopping", "waiting", "backoff"} for task in said.values()):
            return False
        return all(len(world.running(name)) == int(said[name]["running"]) for name in NAMES)

    try:
        wait_until(agrees, 30, 0.05)
    except AssertionError:
        said = {name: task["state"] for name, task in world.tasks().items()}
        raise AssertionError(f"{when}: {said}, really {[world.running(name) for name in NAMES]}") from None
