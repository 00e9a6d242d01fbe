"""Whatever ends the connection to tmux, a run goes on as long as its terminal is there."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

import pytest

from paneview.supervisor.terminal import SessionSpec, Terminal
from paneview.tmux.session import TmuxSession
from tests.harness import Sandbox, alive, eventually, wait_until
from tests.supervisor.project import Project

TASKS = """
    [tasks.web]
    command = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.1; done"
    restart_policy = "always"
    [tasks.job]
    command = "until test -e go; do sleep 0.1; done; exit 3"
    restart_policy = "no"
    [tasks.old]
    command = "echo done"
"""


@pytest.fixture
def one(project: Callable[[str], Project]) -> Project:
    found = project(TASKS).serve()
    for name, state in (("web", "running"), ("job", "running"), ("old", "done")):
        found.wait(name, state)
    return found


def connection(sandbox: Sandbox) -> int:
    """The pid of the supervisor's tmux client."""
    return int(sandbox.tmux("list-clients", "-F", "#{client_pid}"))


def exchange(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> None:
    """Exchange two files atomically: there is no moment at which either does not exist."""
    names = os.fsencode(one), os.fsencode(other)
    here, flags = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    assert ctypes.CDLL(None).renameat2(here, names[0], here, names[1], flags) == 0


def outages(project: Project) -> int:
    return len(project.events("tmux_restored"))


def numbers(project: Project) -> list[int]:
    return [int(text.split()[1]) for text in project.lines("web")]


def by_detaching_all(sandbox: Sandbox) -> None:
    sandbox.tmux("detach-client", "-s", "proj")


def by_killing_it(sandbox: Sandbox) -> None:
    os.kill(connection(sandbox), signal.SIGKILL)


async def test_a_connection_that_ends_as_it_is_made_is_made_again(
    sandbox: Sandbox, tmux_socket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SessionSpec("proj", tmux_socket, "key", os.environ, sandbox.root, ("sleep", "1000"))
    terminal = Terminal(spec)
    connect, made = terminal._connect, list[TmuxSession]()

    async def connect_and_lose_the_first() -> TmuxSession:
        made.append(await connect())
        if len(made) == 1:
            by_killing_it(sandbox)
            await eventually(lambda: made[0].gone)
        return made[-1]

    monkeypatch.setattr(terminal, "_connect", connect_and_lose_the_first)
    try:
        await terminal.open()
        await eventually(lambda: not terminal.session.gone)
        assert await (await terminal.ready()).panes() == []
    finally:
        await terminal.destroy()
        await made[0].close()


def test_runs_outlive_the_connection(one: Project, sandbox: Sandbox) -> None:
    before = {name: one.task(name) for name in ("web", "job", "old")}
    ends = (by_detaching_all, by_detaching_all, by_killing_it, by_killing_it)
    for count, end in enumerate(ends, 1):
        end(sandbox)
        wait_until(lambda count=count: outages(one) == count)
    for name, was in before.items():
        now = one.task(name)
        same = ("state", "pid", "run", "pane_id", "restarts")
        assert [now[key] for key in same] == [was[key] for key in same]
    assert not one.events("task_lost")
    # They still have their panes, which can be looked at, stopped, and started in again.
    end_of_log = len(numbers(one))
    wait_until(lambda: len(numbers(one)) > end_of_log + 5)
    seen = numbers(one)
    assert seen == list(range(1, len(seen) + 1))
    assert "line" in one.call("capture", task="web")["text"]
    one.call("restart", tasks=["web", "old"])
    assert one.wait("web", "running")["pane_id"] == before["web"]["pane_id"]
    assert one.wait("old", "done")["pane_id"] == before["old"]["pane_id"]
    (one.folder / "go").touch()
    assert one.wait("job", "failed")["exit_code"] == 3


def test_what_ends_meanwhile_has_ended_by_itself(one: Project, sandbox: Sandbox) -> None:
    job, client = one.task("job"), connection(sandbox)
    folder = sandbox.root / "in-the-way"  # of any new connection
    folder.mkdir()
    exchange(folder, sandbox.tmux_socket)
    try:
        os.kill(client, signal.SIGKILL)
        wait_until(lambda: one.events("tmux_lost"))
        (one.folder / "go").touch()
        wait_until(lambda: not alive(job["pid"]))
    finally:
        exchange(folder, sandbox.tmux_socket)
    assert one.wait("job", "failed")["exit_code"] == 3
    assert one.task("web")["restarts"] == 0
    assert not one.events("task_lost")


def test_a_window_that_a_person_has_moved_is_the_tasks_all_the_same(one: Project, sandbox: Sandbox) -> None:
    sandbox.tmux("new-session", "-d", "-s", "mine", "sleep 600")
    web, job = one.task("web"), one.task("job")
    sandbox.tmux("move-window", "-s", web["window_id"], "-t", "mine:")
    sandbox.tmux("join-pane", "-s", job["pane_id"], "-t", "mine:0")
    by_detaching_all(sandbox)
    wait_until(lambda: outages(one) == 1)
    one.kill_supervisor()
    one.serve()
    assert [one.task(name)["pid"] for name in ("web", "job")] == [web["pid"], job["pid"]]
    one.call("restart", tasks=["web"])
    assert one.wait("web", "running")["pane_id"] == web["pane_id"]
    (one.folder / "go").touch()
    assert one.wait("job", "failed")["exit_code"] == 3
    one.call("down")
    assert one.process
    one.process.wait(20)
    left = sandbox.tmux("list-panes", "-a", "-F", "#{session_name} #{pane_current_command}")
    assert left == "mine sleep"


def test_the_log_goes_on_after_a_person_took_the_pipe(one: Project, sandbox: Sandbox) -> None:
    one.call("stop", tasks=["job"])
    for count, theirs in enumerate(([], ["exec cat > theirs"]), 1):  # none at all, and one of their own
        sandbox.tmux("pipe-pane", "-t", one.task("web")["pane_id"], *theirs)
        wait_until(lambda count=count: len(one.events("log_gap", "web")) >= count, 30)
        lines = len(one.lines("web"))
        wait_until(lambda lines=lines: len(one.lines("web")) > lines + 5)
    assert one.task("web")["restarts"] == 0


def test_a_session_that_is_closed_takes_its_runs_along(one: Project, sandbox: Sandbox) -> None:
    sandbox.tmux("new-session", "-d", "-s", "mine", "sleep 600")
    before = one.task("web")
    sandbox.tmux("kill-session", "-t", "=proj")
    now = one.wait("web", lambda task: task["state"] == "running" and task["run"] != before["run"])
    assert not alive(before["pid"])
    assert alive(now["pid"])
    assert [event["cause"] for event in one.events("task_lost", "web")] == ["its tmux session was closed"]
    assert sandbox.tmux("list-sessions", "-F", "#{session_name}").split() == ["mine", "proj"]
