"""Without a descriptor left, no run counts as gone or unhealthy, and tasks can be stopped."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from socket import create_connection

import psutil
import pytest

from paneview.config import paths
from paneview.control.acceptor import RESERVE, RETRY
from paneview.control.blocking import Connection
from tests.harness import alive, free_port, wait_until
from tests.supervisor.project import Project

TASKS = """
    [tasks.web]
    command = "exec sleep 611"
    health_check = "true"
    health_interval = 0.1
    health_retries = 1
    restart_policy = "always"
    [tasks.slow]
    command = "exec sleep 612"
    health_check = "false"
    health_interval = 0.1
    [tasks.api]
    command = "exec sleep 613"
"""


@contextmanager
def no_descriptors(project: Project) -> Iterator[Callable[[], None]]:
    """Within the block, the supervisor can open no file, not even in place of descriptors it keeps back for clients.

    Yields a function that also takes descriptors freed since, as by a probe that was under way.
    """
    assert project.process
    supervisor = psutil.Process(project.process.pid)
    before = supervisor.rlimit(psutil.RLIMIT_NOFILE)

    def tighten() -> None:
        taken = descriptors(supervisor)
        first_free = next(number for number in range(len(taken) + 1) if number not in taken)
        supervisor.rlimit(psutil.RLIMIT_NOFILE, (first_free, before[1]))

    tighten()
    try:
        yield tighten
    finally:
        supervisor.rlimit(psutil.RLIMIT_NOFILE, before)


def descriptors(process: psutil.Process) -> set[int]:
    """The descriptors of a process."""
    return {int(name) for name in os.listdir(f"/proc/{process.pid}/fd")}


def kept_back(process: psutil.Process) -> int:
    """How many descriptors are placeholders for others that may be needed, or its standard input."""
    kept = 0
    for number in descriptors(process):
        with suppress(FileNotFoundError):  # closed meanwhile
            kept += os.readlink(f"/proc/{process.pid}/fd/{number}") == os.devnull
    return kept


def rest(seconds: float) -> None:
    """Wait for a time in which something that must not happen would."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > until)


@contextmanager
def connected(project: Project) -> Iterator[Connection]:
    """A client that was served before."""
    with Connection(str(paths.control_socket(project.state_dir)), timeout=20) as client:
        client.call("status")
        yield client


def test_who_cannot_be_asked_is_not_ill_and_who_cannot_be_looked_at_is_not_gone(
    project: Callable[[str], Project],
) -> None:
    one = project(TASKS).serve()
    web, api = one.wait("web", lambda task: task["health"] == "healthy"), one.wait("api", "running")
    with connected(one) as client, no_descriptors(one) as tighten:

        def is_told() -> bool:
            tighten()
            tasks = client.call("status")["tasks"]
            return "Too many open files" in next(task["reason"] for task in tasks if task["name"] == "slow")

        wait_until(is_told)
        rest(1)  # long enough for several probes of the other one
        client.call("stop", {"tasks": ["api"]})
        assert not alive(api["pid"])
    assert (one.task("web")["health"], one.task("web")["run"]) == ("healthy", web["run"])
    assert one.task("api")["exit_code"] == 130
    assert not {"task_unhealthy", "internal_error"} & {event["event"] for event in one.events()}


def test_a_few_are_served_all_the_same_and_who_has_to_wait_holds_up_nobody(
    project: Callable[[str], Project],
) -> None:
    one = project("tasks.api.command = 'exec sleep 613'\n").serve()
    one.wait("api", "running")
    assert one.process
    supervisor = psutil.Process(one.process.pid)
    room, for_others = max(descriptors(supervisor)) + 1, kept_back(supervisor) - RESERVE
    supervisor.rlimit(psutil.RLIMIT_NOFILE, (room, room))
    with ExitStack() as open_:
        served = []
        while len(descriptors(supervisor)) < room or kept_back(supervisor) > for_others:
            served.append(open_.enter_context(connected(one)))
        assert len(served) >= RESERVE
        socket = str(paths.control_socket(one.state_dir))
        waiting = [open_.enter_context(Connection(socket, timeout=20)) for _ in range(3)]
        rest(3 * RETRY)
        for client in served:
            assert client.call("status")["running"]
        for left, client in zip(served, waiting, strict=False):
            left.close()
            assert client.call("status")["running"]
    one.call("stop", tasks=["api"])


def test_browsers_that_have_to_wait_hold_up_nobody(project: Callable[[str], Project]) -> None:
    one = project(TASKS).serve()
    port = free_port()
    one.call("websocket", port=port)
    with connected(one) as client, no_descriptors(one), ExitStack() as open_:
        for _ in range(3):
            open_.enter_context(create_connection(("127.0.0.1", port), 20))
        rest(4)
        assert client.call("status")["running"]


ROOM = """
import logging, resource, sys
from paneview.supervisor.process.descriptors import make_room
logging.basicConfig(stream=sys.stdout, format="%(message)s")
soft, hard, tasks = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
make_room(tasks)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "tasks", "told"),
    [
        (256, 4096, 10, "256\n"),
        (256, 4096, 200, "928\n"),
        (256, 512, 200, "200 tasks may need 928 open files, and 512 are allowed: raise `ulimit -n`\n512\n"),
    ],
)
def test_as_many_as_the_tasks_may_need(soft: int, hard: int, tasks: int, told: str) -> None:
    argv = [sys.executable, "-c", ROOM, str(soft), str(hard), str(tasks)]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == told
