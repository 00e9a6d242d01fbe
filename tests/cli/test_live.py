"""The commands against a real supervisor, tmux and processes: what they do, and the shape of what they print."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from paneview.cli import lifecycle
from paneview.cli.place import Place
from paneview.cli.ready import is_lost
from paneview.config import paths
from tests.cli.support import COMMAND, apart, ask, run, supervise
from tests.harness import alive, marked, wait_until, words_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness import Sandbox

pytestmark = pytest.mark.timeout(120)


def task(project: Path, name: str) -> dict[str, Any]:
    """A task's status."""
    return next(one for one in ask(project, "status")["tasks"] if one["name"] == name)


def runs(project: Path, name: str) -> dict[str, Any]:
    """The status of a started task, once it runs and has a process."""

    def there() -> dict[str, Any] | None:
        found = task(project, name)
        return found if found["state"] == "running" and found["pid"] else None

    return wait_until(there) or {}


def supervisors(sandbox: Sandbox) -> list[int]:
    """The processes that supervise in this sandbox."""
    found = []
    for one in marked(sandbox.marker):
        with suppress(psutil.NoSuchProcess):
            found += [one.pid] if "--serve" in one.cmdline() else []
    return found


def test_one_file_with_two_state_homes_is_two_projects(live: Path, sandbox: Sandbox) -> None:
    """Each counts its runs from one, and must not take the other's processes for left-overs."""
    supervise(live)
    ask(live, "start", "db", "web")
    mine = [runs(live, name)["pid"] for name in ("db", "web")]
    other = {
        "PANEVIEW_HOME": str(sandbox.root / "other"),
        "PANEVIEW_TMUX_SOCKET": str(sandbox.root / "other.sock"),
    }

    def ended() -> int:
        return run("events", cwd=live, env=other).out.count("task_exited")

    try:
        for times in (1, 2):
            assert run("start", "job", "--no-deps", cwd=live, env=other).status == 0
            wait_until(partial(lambda times: ended() >= times, times))
    finally:
        run("down", cwd=live, env=other)
    assert [task(live, name)["pid"] for name in ("db", "web")] == mine
    assert all(map(alive, mine))


def test_every_command_prints_its_shape(live: Path) -> None:
    """Those that the README does not name are run as processes of their own.

    `tests/test_readme.py` does so with those that it names, and `tests/cli/test_apart.py` with those that need nothing
    running.
    """
    typed = partial(ask, live, how=apart)
    started = ask(live, "start")
    assert (started["session"], started["action"], started["tasks"]) == ("demo", "started", ["db", "web"])
    again = ask(live, "start", "job", "--no-deps")
    assert (again["tasks"], again["task"], again["action"]) == (["job"], "job", "started")
    wait_until(lambda: task(live, "job")["state"] == "done")
    status = ask(live, "status")
    assert (status["running"], status["active_tasks"]) == (True, 2)
    assert [(one["name"], one["running"]) for one in status["tasks"]][:2] == [("db", True), ("web", True)]
    stopped = ask(live, "stop", "db")
    assert stopped["results"] == [{"ok": True, "task": "db", "action": "stopped"}]
    assert (task(live, "db")["state"], task(live, "db")["manual_stop"]) == ("stopped", True)
    assert ask(live, "restart", "db")["results"] == [{"ok": True, "task": "db", "action": "restarted"}]
    killed = ask(live, "kill", "db")
    assert (killed["ok"], killed["task"], killed["action"]) == (True, "db", "killed")
    health = typed("health")
    assert (health["healthy_count"], health["total_count"]) == (1, 3)
    inspected = ask(live, "inspect", "web")
    assert (inspected["name"], inspected["health_check"], inspected["runs"][0]["task"]) == (
        "web",
        None,
        "web",
    )
    events = ask(live, "events", "--task", "db")
    kinds = [event["event"] for event in events["events"]]
    assert {"task_started", "task_stopped", "task_killed"} <= set(kinds)
    assert events["count"] == len(kinds)
    assert {one["event"] for one in ask(live, "events", "--kind", "task_killed")["events"]} == {"task_killed"}
    assert ask(live, "logs", "web")["lines"] == []
    assert typed("logs-clean", "web")["results"][0]["action"] == "cleaned"
    attached = ask(live, "attach", "web")
    assert attached["window_id"] == task(live, "web")["window_id"]
    assert attached["window_id"] in attached["command"][-1]
    assert typed("daemon")["action"] == "running"
    assert ask(live, "check")["tasks"] == ["db", "web", "job"]
    added = typed("add", "late", "sleep 500", "--description", "comes late")
    assert (added["task"], added["action"], added["reloaded"]) == ("late", "added", True)
    wait_until(lambda: task(live, "late")["running"])
    removed = typed("remove", "late")
    assert (removed["task"], removed["action"]) == ("late", "removed")
    assert "late" not in [one["name"] for one in ask(live, "status")["tasks"]]
    assert ask(live, "logs-clean", "late")["results"][0]["task"] == "late", "its log is there still"
    assert {one["task"] for one in ask(live, "logs-clean")["results"]} == {"db", "web", "job", "late"}
    ask(live, "logs-clean", "never", status=1)
    assert typed("reload")["changed"] == []
    exported = ask(live, "export", "--output", "out.jsonl")
    assert exported["records"] == len((live / "out.jsonl").read_text().splitlines()) > 5
    assert typed("completion", "bash")["shell"] == "bash"
    assert typed("down")["tasks"] == ["web"]
    assert ask(live, "status")["running"] is False
    assert ask(live, "events")["events"][-1]["event"] == "supervisor_stopped"
    assert ask(live, "logs")["task"] is None
    ask(live, "stop", status=3)


def test_a_reload_names_what_has_other_settings(live: Path) -> None:
    supervise(live)
    file = live / "paneview.toml"
    file.write_text(file.read_text().replace("auto_start = false", "auto_start = false\nrestart_backoff = 1"))
    assert run("reload", cwd=live).out == "reloaded; settings: job\n"
    file.write_text("auto_start = false\n" + file.read_text() + '[hooks]\nafter_stop = "true"\n')
    assert ask(live, "reload")["project_settings"] == ["auto_start", "hooks"]
    assert run("reload", cwd=live).out == "reloaded; nothing changed\n"
    assert "for the project" in run("start", cwd=live).out


def test_failures_print_their_shape(live: Path) -> None:
    supervise(live)
    ask(live, "daemon")
    ghost = ask(live, "start", "ghost", status=1)
    assert ghost["error"] == "Task 'ghost' not found in config"
    assert ghost["results"][0]["error_code"] == "E200"
    ask(live, "inspect", "ghost", status=1)
    ask(live, "logs", "ghost", status=1)
    ask(live, "remove", "ghost", status=1)
    ask(live, "attach", "ghost", status=1)
    assert "not started yet" in ask(live, "attach", "job", status=1)["error"]
    assert "no replicas" in ask(live, "scale", "web", "3", status=2)["error"]
    assert "exists already" in ask(live, "add", "web", "true", status=2)["error"]
    (live / "paneview.toml").write_text("[tasks.web]\ncomand = 'x'\n")
    assert ask(live, "reload", status=2)["problems"][0]["line"] == 2
    assert ask(live, "check", status=2)["problems"]
    assert [one["name"] for one in ask(live, "status")["tasks"]] == ["db", "web", "job"]


def test_people_get_sentences_and_tables(live: Path) -> None:
    supervise(live)
    assert run("start", cwd=live).out == "started: db, web\n"
    runs(live, "web")
    assert run("start", "web", cwd=live).out == "running already: web\n"
    status = run("status", cwd=live).out
    assert status.splitlines()[0].split() == [
        "NAME",
        "STATE",
        "HEALTH",
        "PID",
        "UPTIME",
        "RESTARTS",
        "EXIT",
        "CPU",
        "MEM",
    ]
    assert "● running" in status
    wait_until(lambda: run("health", cwd=live).out.endswith("2 of 3 healthy\n"))
    assert "definition" in run("inspect", "web", cwd=live).out
    assert "task_started" in run("events", cwd=live).out
    assert run("stop", "web", cwd=live).out == "stopped: web\n"
    assert run("kill", "db", cwd=live).out == "killed: db\n"
    assert run("restart", "web", "--no-deps", cwd=live).status == 2
    assert "has ended" in run("down", cwd=live).out


def test_replicas_that_are_asked_for_run(live: Path) -> None:
    (live / "paneview.toml").write_text(
        'name = "demo"\n[tasks.worker]\ncommand = "sleep 500"\nreplicas = 1\n'
    )
    supervise(live)
    ask(live, "start")
    assert ask(live, "scale", "worker", "3")["added"] == ["worker.2", "worker.3"]
    wait_until(lambda: ask(live, "status")["active_tasks"] == 3)


def test_two_starts_at_once_make_one_supervisor(live: Path, sandbox: Sandbox) -> None:
    starting = [
        subprocess.Popen([*COMMAND, "start", "--json"], cwd=live, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in starting:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0, out
        assert json.loads(out)["tasks"] == ["db", "web"]
    pid = ask(live, "status")["supervisor"]["pid"]
    wait_until(lambda: supervisors(sandbox) == [pid])
    windows = sandbox.tmux("list-windows", "-a", "-F", "#{window_name}").split()
    assert sorted(name for name in windows if name != "paneview") == ["db", "web"]
    folder = paths.find_project_dir(live / "paneview.toml")
    assert folder is not None
    assert not list(folder.glob("launch-*"))


def test_a_start_while_the_supervisor_is_ending_waits_for_the_next_one(live: Path) -> None:
    told: set[int] = set()

    def another() -> int | None:
        """The next supervisor's pid; one that has not noticed its signal to end yet may still answer."""
        assert ask(live, "start")["tasks"] == ["db", "web"]
        now = ask(live, "status")["supervisor"]
        return now["pid"] if now and now["pid"] not in told else None

    for _ in range(2):
        pid = wait_until(another)
        assert pid
        os.kill(pid, signal.SIGTERM)
        told.add(pid)
    wait_until(another)
    ask(live, "down")
    # In a fresh session, too, only what was named starts.
    ask(live, "start", "db")
    assert [one["name"] for one in ask(live, "status")["tasks"] if one["running"]] == ["db"]


def test_a_session_of_the_user_is_left_alone(live: Path, sandbox: Sandbox) -> None:
    sandbox.tmux("new-session", "-d", "-s", "demo", "-n", "mine", "sleep 1000")
    failed = ask(live, "start", status=1)
    assert "demo" in failed["error"]
    assert failed["code"] == "tmux"
    assert sandbox.tmux("list-windows", "-t", "demo", "-F", "#{window_name}") == "mine"
    assert supervisors(sandbox) == []


def test_a_supervisor_that_cannot_start_says_why(live: Path, sandbox: Sandbox) -> None:
    folder = paths.make_project_dir(live / "paneview.toml", "demo")
    (folder / "state.db").mkdir()
    failed = ask(live, "start", status=1)
    assert "the supervisor could not start" in failed["error"]
    assert "state.db" in failed["error"]
    assert str(paths.supervisor_log(folder)) in failed["hint"]
    wait_until(lambda: supervisors(sandbox) == [])
    assert not list(folder.glob("launch-*"))
    (folder / "state.db").rmdir()
    ask(live, "start")


def test_a_missing_or_old_tmux_names_the_package(project: Path, sandbox: Sandbox) -> None:
    tools = sandbox.root / "bin"
    tools.mkdir()
    missing = run("start", "--json", cwd=project, env={"PATH": str(tools)})
    assert missing.status == 1
    assert "found none: apt-get install tmux" in missing.json["error"]
    (tools / "tmux").write_text("#!/bin/sh\necho tmux 2.9\n")
    (tools / "tmux").chmod(0o755)
    old = run("start", cwd=project, env={"PATH": f"{tools}:/usr/bin:/bin"})
    assert (old.status, old.err.count("\n")) == (1, 1)
    assert "3.3a or newer is needed, found 2.9" in old.err


def test_a_task_that_cannot_start_is_told_on_standard_error(live: Path) -> None:
    file, here = live / "paneview.toml", live / "here"
    file.write_text(file.read_text() + '\n[tasks.lost]\ncommand = "true"\ncwd = "here"\nauto_start = false\n')
    here.mkdir()
    supervise(live)
    here.rmdir()
    done = run("start", "lost", "db", cwd=live)
    assert (done.status, done.out) == (1, "started: db\n"), done.err
    assert done.err.startswith("paneview: lost: ")
    assert "here does not exist" in done.err


def test_a_start_waits_for_all_of_it_to_be_ready(live: Path) -> None:
    (live / "paneview.toml").write_text(
        """
        [tasks.db]
        command = "sleep 0.1; touch up; exec sleep 600"
        health_check = "test -e up"
        [tasks.make]
        command = "test ! -e broken"
        restart_policy = "no"
        depends_on = ["db"]
        [tasks.web]
        command = "exec sleep 600"
        depends_on = [{ task = "make", condition = "completed" }]
        """
    )
    supervise(live)
    assert set(ask(live, "start", "--wait")["tasks"]) == {"db", "make", "web"}
    assert [one["state"] for one in ask(live, "status")["tasks"]] == ["running", "done", "running"]
    assert run("start", "--wait", "web", cwd=live).out.endswith("ready: web\n")
    ask(live, "stop")
    (live / "broken").touch()
    told = ask(live, "start", "--wait", status=1)
    assert told["error"] == "make: exit code 1, restart policy is 'no'"
    assert [(one["task"], one["ok"]) for one in told["results"]] == [
        ("db", True),
        ("make", False),
        ("web", False),
    ]
    (live / "broken").unlink()
    ask(live, "start", "--wait")  # what failed before is not taken for a failure of this start
    assert ask(live, "start", "--wait", "--monitor", status=2)["error"].startswith("--wait returns")


@pytest.mark.parametrize(
    ("state", "health", "ready", "lost"),
    [
        ("failed", "none", False, True),
        ("running", "starting", False, False),
        ("running", "unhealthy", False, True),  # without restarts, it stays so
        ("running", "unhealthy", True, False),
        ("stopping", "unhealthy", False, False),  # it is restarted
    ],
)
def test_a_start_waits_for_nothing_that_is_not_going_to_be(
    state: str, health: str, ready: bool, lost: bool
) -> None:
    assert is_lost({"state": state, "health": health, "ready": ready}) is lost


def test_what_only_asks_makes_nothing(project: Path, sandbox: Sandbox) -> None:
    file = project / "paneview.toml"
    file.write_text(f"{file.read_text()}[queue]\n")
    for words in (
        ["status"],
        ["events"],
        ["jobs"],
        ["dlq"],
        ["queue"],
        ["workers"],
        ["hosts"],
        ["runner"],
        ["workflow", "list"],
        ["workflows"],
    ):
        assert ask(project, *words)["ok"]
    for words in (["job", "x"], ["result", "x"], ["workflow", "status", "x"], ["start", "wbe"]):
        assert run(*words, cwd=project).status == 1
    assert ask(project, "queue")["broker"].endswith("/queue.db")
    assert not sandbox.home.exists()
    submitted = run("submit", "--role", "r", "ping", cwd=project)
    assert submitted.status == 0, submitted.err
    assert ask(project, "status")["queue"]["waiting"] == 1


def test_what_a_killed_supervisor_left_is_told(live: Path) -> None:
    supervise(live)
    ask(live, "start")
    before = runs(live, "web")
    pid = ask(live, "status")["supervisor"]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    status = ask(live, "status")
    assert status["running"] is False
    web = task(live, "web")
    assert (web["running"], web["run"], web["state"]) == (True, before["run"], "running")
    assert web["pid"] == before["pid"]  # the command's, not that of the shells above it
    supervise(live)
    assert ask(live, "start")["ok"]
    assert (task(live, "web")["pid"], task(live, "web")["run"]) == (before["pid"], before["run"])


def test_what_a_killed_supervisor_left_can_be_taken_down(live: Path) -> None:
    supervise(live)
    ask(live, "start")
    pids = [runs(live, name)["pid"] for name in ("db", "web")]
    status = ask(live, "status")
    folder = paths.find_project_dir(live / "paneview.toml")
    assert folder is not None
    leaving = folder / f"launch-{gone_pid()}.env"
    leaving.write_text("{}")
    os.kill(status["supervisor"]["pid"], signal.SIGKILL)
    wait_until(lambda: not alive(status["supervisor"]["pid"]))
    assert ask(live, "down")["ok"]
    assert not [pid for pid in pids if alive(pid)]
    assert not leaving.exists()
    assert run("down", cwd=live).status == 3


def test_the_session_that_a_killed_supervisor_left_is_taken_down_though_nothing_runs(
    live: Path, sandbox: Sandbox
) -> None:
    supervise(live)
    ask(live, "start", "db")
    ask(live, "stop")
    pid = ask(live, "status")["supervisor"]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    sandbox.tmux("new-session", "-d", "-s", "another")
    assert "demo" in sandbox.tmux("list-sessions", "-F", "#{session_name}").split()
    assert ask(live, "down")["ok"]
    assert sandbox.tmux("list-sessions", "-F", "#{session_name}") == "another"
    sandbox.tmux("rename-session", "-t", "=another", "demo")
    assert run("down", cwd=live).status == 3
    assert sandbox.tmux("list-sessions", "-F", "#{session_name}") == "demo", "it is not ours"


def gone_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        return process.pid


def test_the_bare_command_opens_the_screen_and_starts_the_project(live: Path, sandbox: Sandbox) -> None:
    line = shlex.join([*COMMAND, "paneview.toml"])
    sandbox.tmux("new-session", "-d", "-s", "screen", "-x", "100", "-y", "30", "-c", str(live), line)
    wait_until(lambda: "web" in sandbox.tmux("capture-pane", "-p", "-t", "screen:"))
    wait_until(lambda: ask(live, "status")["active_tasks"] == 2)
    sandbox.tmux("kill-session", "-t", "screen")
    wait_until(
        lambda: len([one for one in marked(sandbox.marker) if words_of(one)[-1:] == ["paneview.toml"]]) == 0
    )
    assert ask(live, "status")["active_tasks"] == 2


def test_the_screen_tells_why_it_cannot_start(live: Path, sandbox: Sandbox) -> None:
    sandbox.tmux("new-session", "-d", "-s", "demo", "-n", "mine", "sleep 1000")
    line = shlex.join(COMMAND) + f" 2>{live}/errors; echo $? >{live}/status; sleep 1000"
    sandbox.tmux("new-session", "-d", "-s", "screen", "-c", str(live), line)
    status = live / "status"
    wait_until(lambda: status.exists() and status.read_text())
    assert status.read_text() == "1\n"
    assert "is not this project's" in (live / "errors").read_text()


class SaysItEnds:
    """The connection of a supervisor that agrees to end but does not: no real one can be made to do that."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def __enter__(self) -> SaysItEnds:
        return self

    def __exit__(self, *_error: object) -> None: ...

    def call(self, _do: str, *_args: object) -> dict[str, int]:
        return {"pid": self.pid}

    def wait_closed(self) -> None: ...


def test_down_tells_the_truth_of_a_supervisor_that_does_not_end(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "LAST_WORDS", 0.1)
    lingering = subprocess.Popen(["sleep", "600"])
    try:
        monkeypatch.setattr(Place, "connect", lambda *_: SaysItEnds(lingering.pid))
        done = run("down", cwd=project)
        assert (done.status, done.out) == (1, "")
        assert f"(process {lingering.pid}) has not ended" in done.err
        failed = ask(project, "down", status=1)
        assert f"kill -9 {lingering.pid}" in failed["hint"]
        lingering.kill()
        os.waitid(os.P_PID, lingering.pid, os.WEXITED | os.WNOWAIT)  # its end may take longer than LAST_WORDS
        assert "has ended" in run("down", cwd=project).out
    finally:
        lingering.kill()
        lingering.wait()
