"""Changing the project while it runs: reload by hand and by itself, replicas, schedules, probes, ports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from paneview.control.errors import ControlError
from paneview.control.session import ClientInfo
from paneview.rules.states import TaskPhase
from paneview.store.database import StoreError
from paneview.store.reader import LogReader
from tests.harness import Sandbox, alive, can_connect, eventually, free_port, free_ports, wait_until
from tests.supervisor.inprocess import fails_once, supervising

THREE = """
    [tasks.same]
    command = "exec sleep 600"
    [tasks.edited]
    command = "exec sleep 601"
    [tasks.removed]
    command = "exec sleep 602"
"""
CHANGED = """
    # a comment
    [tasks.same]
    command = "exec sleep 600"
    description = "only words"
    max_restarts = 9
    [tasks.edited]
    command = "exec sleep 611"
    [tasks.added]
    command = "exec sleep 603"
    [tasks.byhand]
    command = "exec sleep 604"
    auto_start = false
"""


ENDED = """
    [tasks.broken]
    command = "exit {}"
    max_restarts = 1
    restart_backoff = 0
    [tasks.build]
    command = "exit 0; : {}"
    [tasks.stopped]
    command = "exit 0; : {}"
    [tasks.byhand]
    command = "exit 0; : {}"
    auto_start = false
"""


async def test_what_has_ended_begins_anew_with_another_command_unless_a_person_is_to_start_it(
    sandbox: Sandbox,
) -> None:
    async with supervising(sandbox, ENDED.format(3, 1, 1, 1)) as host:
        units = host.supervisor.units
        await host.supervisor.start(["byhand"], "test")
        await eventually(lambda: units["broken"].state.phase is TaskPhase.FAILED)
        await eventually(lambda: all(units[name].state.phase is TaskPhase.DONE for name in [*units][1:]))
        assert units["broken"].state.restarts == 1
        await host.supervisor.stop(["stopped"], "test")
        runs = {name: unit.state.run for name, unit in units.items()}
        host.supervisor.project.file.write_text(f'name = "proj"\n{ENDED.format(0, 2, 2, 2)}')
        await host._requests.handle("reload", {}, ClientInfo(1, None, None))  # it may be applied already
        await eventually(lambda: all(unit.state.phase is TaskPhase.DONE for unit in units.values()))
        assert units["broken"].state.restarts == 0
        assert {name for name, unit in units.items() if unit.state.run != runs[name]} == {"broken", "build"}


def test_a_change_of_the_file_is_noticed_and_restarts_only_what_it_changes(project):
    p = project(THREE).serve()
    before = {name: p.wait(name, "running") for name in ("same", "edited", "removed")}
    runs = {name: task["run"] for name, task in before.items()}
    text = p.file.read_text()
    p.file.write_text(text + "\n# a comment\n[tasks.new]\ncommand = 'exec sleep 605'\n")
    p.wait_for_task("new")
    p.wait("new", "running")
    assert {name: p.task(name)["run"] for name in runs} == runs
    new = p.file.with_name("new.toml")
    new.write_text(text)
    new.rename(p.file)  # as editors save
    wait_until(lambda: "new" not in [task["name"] for task in p.call("status")["tasks"]])
    assert {name: p.task(name)["run"] for name in runs} == runs

    p.write(CHANGED)
    reply = p.call("reload")
    assert (reply["added"], reply["removed"], reply["changed"]) == (
        ["added", "byhand"],
        ["removed"],
        ["edited"],
    )
    assert p.task("same")["pid"] == before["same"]["pid"]
    assert p.task("same")["max_restarts"] == 9
    assert p.wait("edited", "running")["run"] > before["edited"]["run"]
    assert p.wait("added", "running")
    assert p.task("byhand")["state"] == "idle"
    assert not alive(before["removed"]["pid"])
    assert [task["name"] for task in p.call("status")["tasks"]] == ["same", "edited", "added", "byhand"]
    assert p.events("config_reloaded")


SETTINGS = """
    [tasks.db]
    command = "exec sleep 600"
    replicas = {}
    {}
    [tasks.app]
    command = "exec sleep 601"
    depends_on = ["db"]
"""


def test_an_edit_of_settings_alone_is_told_by_what_it_concerns(project):
    p = project(SETTINGS.format(1, "")).serve()
    pid = p.wait("app", "running")["pid"]
    p.write(SETTINGS.format(2, "") + "\n    [queue]\n    max_attempts = 4\n")
    reply = p.call("reload")
    assert (reply["added"], reply["settings"], reply["project_settings"]) == (["db.2"], [], ["queue"])
    for edit in (
        'restart_policy = "always"',
        "restart_backoff = 1",
        'health_check = "true"',
        "stop_grace_period = 3",
    ):
        p.write(SETTINGS.format(2, edit))
        reply = p.call("reload")
        assert (reply["settings"], reply["changed"], reply["restarted"]) == (["db.1", "db.2"], [], [])
        assert p.events("config_reloaded")[-1]["cause"].startswith("settings: db.1, db.2")
    p.write(SETTINGS.format(2, edit).replace('["db"]', "[]"))
    assert p.call("reload")["settings"] == ["app"]
    told = len(p.events("config_reloaded"))
    assert p.call("reload")["settings"] == []
    assert len(p.events("config_reloaded")) == told
    assert p.task("app")["pid"] == pid


BY_HAND = """
    [tasks.db]
    command = "exec sleep 600"
    auto_start = false
    [tasks.prepare]
    command = "exec sleep 601"
    auto_start = false
    [tasks.edited]
    command = "exec sleep 602"
"""


def test_what_an_edit_starts_brings_along_what_it_depends_on(project):
    third = "    [tasks.third]\n    command = 'exec sleep 604'\n    auto_start = false\n"
    p = project(BY_HAND + third).serve()
    before = p.wait("edited", "running")["run"]
    added = '[tasks.app]\ncommand = "exec sleep 603"\ndepends_on = ["db"]\n'
    p.write(BY_HAND + third + added)
    assert p.call("reload")["added"] == ["app"]
    p.wait("app", "running")
    assert p.task("db")["state"] == "running"
    assert p.task("prepare")["state"] == "idle"
    edited = BY_HAND.replace("602", '612"\ndepends_on = ["prepare"]#') + third + added
    p.write(edited)
    p.call("reload")
    assert p.wait("edited", "running")["run"] > before
    assert p.task("prepare")["state"] == "running"

    # So does what the file gains while no supervisor lives.
    assert p.task("third")["state"] == "idle"
    p.end_supervisor()
    p.write(edited + '[tasks.meanwhile]\ncommand = "exec sleep 605"\ndepends_on = ["third"]\n')
    p.serve().wait("meanwhile", "running")
    assert p.task("third")["state"] == "running"


def test_an_edit_starts_what_a_waiting_task_needs_now_but_nothing_that_a_person_keeps_stopped(project):
    waits = '[tasks.app]\ncommand = "exec sleep 603"\ndepends_on = ["{}"]\n'
    p = project(BY_HAND + waits.format("db")).serve()
    p.wait("app", "running")
    p.call("stop", tasks=["app", "db"])
    p.call("start", tasks=["app"], deps=False)
    assert p.task("app")["state"] == "waiting"
    p.write(BY_HAND + waits.format("prepare"))
    p.call("reload")
    p.wait("app", "running")
    assert p.task("db")["state"] == "stopped"

    p.write(BY_HAND + waits.format("prepare") + waits.format("db").replace("app", "new"))
    p.call("reload")
    assert (p.task("new")["state"], p.task("new")["reason"]) == ("waiting", "waits: db is stopped")
    assert p.task("db")["state"] == "stopped"


def test_a_file_that_is_a_link_stays_the_same_project_wherever_it_points(project):
    p = project(THREE)
    (p.folder / "one.toml").write_text(p.file.read_text())
    (p.folder / "two.toml").write_text(p.file.read_text().replace("601", "611"))
    (p.folder / "renamed.toml").write_text(p.file.read_text().replace('"proj"', '"other"'))
    _relink(p.file, "one.toml")
    p.serve()
    pid = p.wait("edited", "running")["pid"]
    _relink(p.file, "two.toml")
    wait_until(lambda: "611" in p.task("edited")["command"])  # noticed like any other change
    assert p.wait("edited", "running")["pid"] != pid
    _relink(p.file, "renamed.toml")
    with pytest.raises(ControlError, match=r"name and \[tmux\] cannot change"):
        p.call("reload")
    assert p.call("hello")["session"] == "proj", "and it is still found"
    p.file.unlink()
    p.write(THREE)  # like `sed -i`: a file in place of the link
    assert p.call("reload")["changed"] == ["edited"]


def _relink(link, target):
    draft = link.with_name("draft")
    draft.symlink_to(target)
    draft.rename(link)


def test_what_is_changed_while_the_hooks_before_a_start_run_is_what_runs(project):
    text = """
        [tasks.t]
        command = "echo {}; exec sleep 600"
        hooks.before_start = "touch hooked; until [ -e go ]; do sleep 0.1; done"
        hooks.before_stop = "echo stopping"
    """
    p = project(text.format("before")).serve()
    wait_until((p.folder / "hooked").exists)
    p.write(text.format("after"))
    with ThreadPoolExecutor(1) as pool:
        reloaded = pool.submit(p.call, "reload")
        wait_until(lambda: p.events("config_reloaded"))
        (p.folder / "go").touch()
        assert reloaded.result(20)["changed"] == ["t"]
    wait_until(lambda: p.lines("t")[-1:] == ["after"])
    assert p.wait("t", "running")["restarts"] == 0
    assert p.call("reload")["changed"] == []


def test_what_is_stopped_while_it_starts_anew_under_another_definition_stays_stopped(project):
    text = """
        [tasks.t]
        command = "exec sleep {}"
        hooks.before_start = "touch hooked; until [ -e go ]; do sleep 0.1; done"
    """
    p = project(text.format(600)).serve()
    wait_until((p.folder / "hooked").exists)
    p.write(text.format(601))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(p.call, "reload")
        wait_until(lambda: p.events("config_reloaded"))
        assert p.call("stop", tasks=["t"])["results"][0]["ok"]
    assert p.task("t")["state"] == "stopped"


def test_a_broken_file_changes_nothing_and_is_told(project):
    p = project(THREE).serve()
    runs = {name: p.wait(name, "running")["run"] for name in ("same", "edited", "removed")}
    p.write(THREE + "\n[tasks.worse]\ncomand = 'x'\n")
    with pytest.raises(ControlError, match="did you mean 'command'") as error:
        p.call("reload")
    assert error.value.code == "config"
    assert {name: p.task(name)["run"] for name in runs} == runs
    told = wait_until(lambda: p.events("config_rejected"))
    assert "command" in told[0]["cause"]
    assert p.call("status")["file_problem"] == told[0]["cause"]
    p.write(THREE)  # as it was: an event must still say that the file counts again
    wait_until(lambda: p.events("config_reloaded"))
    p.call("reload")
    assert [event["cause"] for event in p.events("config_reloaded")] == [
        "the mistake is gone, and nothing else has changed"
    ]
    assert p.call("status")["file_problem"] is None

    # A broker that is no URL does not end the watching either.
    p.write(THREE + '[queue]\nbroker = "redis://:pa[ss@localhost/0"\n')
    wait_until(lambda: "percent-encode" in p.events("config_rejected")[-1]["cause"])
    p.write(THREE + "[tasks.new]\ncommand = 'x'\n")
    p.wait_for_task("new")


def test_replicas_and_scale_and_the_name_that_means_them_all(project):
    p = project("""
        [tasks.w]
        command = "echo I am $PANEVIEW_REPLICA; exec sleep 600"
        replicas = 2
        [tasks.after]
        command = "exec sleep 600"
        depends_on = ["w"]
        """).serve()
    p.wait("after", "running")
    first = p.task("w.1")["pid"]
    wait_until(lambda: p.lines("w.2") == ["I am 2"])
    p.call("scale", task="w", replicas=3)
    p.wait("w.3", "running")
    assert p.task("w.1")["pid"] == first
    p.end_supervisor()
    p.serve()
    assert p.task("w.3")["state"] == "running", "scaling survives the supervisor"
    p.call("scale", task="w", replicas=1)
    assert [task["name"] for task in p.call("status")["tasks"]] == ["w.1", "after"]
    with pytest.raises(ControlError, match="at most 1000 replicas"):
        p.call("scale", task="w", replicas=1001)
    for number in (0, 2):  # the message says first why it is not scalable, and how to change that
        with pytest.raises(ControlError, match="'after' has no replicas in the file: `replicas = N` there"):
            p.call("scale", task="after", replicas=number)
    with pytest.raises(ControlError, match="'ghost' not found"):
        p.call("scale", task="ghost", replicas=2)

    def done(do: str, *tasks: str) -> list[str]:
        return [result["task"] for result in p.call(do, tasks=tasks)["results"]]

    p.call("scale", task="w", replicas=2)
    assert done("start", "w") == ["w.1", "w.2"]
    assert done("restart", "w", "w.1") == ["w.1", "w.2"]
    assert done("stop", "after", "w") == ["after", "w.1", "w.2"]
    assert done("kill", "w") == ["w.1", "w.2"]
    assert done("logs_clean", "w") == ["w.1", "w.2"]
    for do in ("inspect", "log_info"):
        with pytest.raises(ControlError, match=r"'w' has replicas: name one of them \(w.1, w.2\)"):
            p.call(do, task="w")
    p.call("scale", task="w", replicas=4)
    with pytest.raises(ControlError, match=r"\(w.1, w.2, w.3, …\)"):
        p.call("inspect", task="w")


SCALED = """
    [tasks.web]
    command = "exec sleep 600"
    replicas = {}
"""


def test_the_file_s_number_of_replicas_counts_again_once_it_is_changed_or_forbids_what_scale_set(project):
    p = project(SCALED.format(2)).serve()
    p.call("scale", task="web", replicas=3)
    p.write(SCALED.format(2) + "    description = 'not about the number'")
    assert p.call("reload")["removed"] == []
    p.wait("web.3", "running")
    p.write(SCALED.format(5))
    p.call("reload")
    assert [task["name"] for task in p.call("status")["tasks"]] == [f"web.{number}" for number in range(1, 6)]
    (event,) = p.events("scale_dropped")
    assert event["detail"]["tasks"] == ["web"]
    p.call("scale", task="web", replicas=1)
    p.end_supervisor()
    p.write(SCALED.format(3))
    p.serve()
    p.wait("web.3", "running")
    assert len(p.events("scale_dropped")) == 2

    # What `scale` has set does not keep a supervisor from the file even if the two do not go together.
    p.write(SCALED.format(1))
    p.call("reload")
    p.call("scale", task="web", replicas=4)
    p.kill_supervisor()
    p.write(SCALED.format(1) + f"    port = {free_port()}")
    p.serve()
    p.wait("web.1", "running")
    assert [task["name"] for task in p.call("status")["tasks"]] == ["web.1"]
    assert len(p.events("scale_dropped")) == 3
    assert "can't be shared by replicas" in p.events("scale_dropped")[-1]["cause"]
    with pytest.raises(ControlError, match="with the replicas that `scale` has set: web 2"):
        p.call("scale", task="web", replicas=2)
    p.call("down")
    assert p.process.wait(20) == 0


def test_health_failing_restarts_with_the_reason_and_a_dependent_is_told_when_it_takes_too_long(project):
    p = project("""
        [tasks.t]
        command = "touch ok; exec sleep 600"
        health_check = "test -f ok || { echo file is gone; exit 1; }"
        health_interval = 0.1
        health_retries = 2
        restart_backoff = 0
        [tasks.slow]
        command = "exec sleep 600"
        health_check = "false"
        ready_timeout = 0.3
        restart_policy = "no"
        [tasks.dependent]
        command = "exec sleep 600"
        depends_on = ["slow"]
        """).serve()
    first = p.wait("t", lambda t: t["health"] == "healthy")
    (p.folder / "ok").unlink()
    p.wait("t", lambda t: t["run"] != first["run"] and t["health"] == "healthy")
    assert len(p.events("health_check_failed", "t")) >= 2
    assert "file is gone" in p.events("task_unhealthy", "t")[0]["cause"]
    probe = p.call("inspect", task="t")["probe"]
    assert probe["ok"]
    assert probe["duration"] > 0

    told = wait_until(lambda: p.events("dependency_timeout", "dependent"))
    assert "slow is not ready" in told[0]["cause"]
    assert p.task("dependent")["state"] == "waiting"
    assert "slow is not ready (exit code 1)" in p.task("dependent")["reason"]


def test_tcp_url_and_log_probes(project):
    tcp, http = free_port(), free_port()
    listen = f"import socket; s = socket.create_server(('127.0.0.1', {tcp})); s.accept()[0]; input()"
    p = project(f"""
        [tasks.tcp]
        command = '''exec {sys.executable} -c "{listen}; __import__('time').sleep(600)"'''
        health_tcp = {tcp}
        [tasks.url]
        command = "exec {sys.executable} -m http.server {http} --bind 127.0.0.1"
        health_url = "http://localhost:{http}/"
        [tasks.log]
        command = "echo booting; sleep 0.2; echo ready to serve; exec sleep 600"
        health_log = "ready to \\\\w+"
        [tasks.far]
        command = "seq 1 60000; echo server is ready; exec sleep 600"
        health_log = "server is ready"
        health_interval = 3600
        [tasks.late]
        command = "exec sleep 600"
        depends_on = ["url", "log"]
        """).serve()
    p.wait("late", "running")
    assert p.task("log")["health"] == "healthy"
    assert p.task("url")["health"] == "healthy"
    p.wait("tcp", lambda t: t["health"] == "healthy" or t["restarts_total"])
    p.wait("far", lambda t: t["health"] == "healthy")  # a line far into the output is found


@pytest.mark.parametrize("fault", [StoreError("they had moved on"), OSError("too many open files")])
async def test_a_log_that_cannot_be_read_for_once_is_looked_at_again(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setattr(LogReader, "runs", fails_once(LogReader.runs, fault))
    text = '[tasks.t]\ncommand = "echo now ready; exec sleep 617"\nhealth_log = "now ready"'
    async with supervising(sandbox, text) as host:
        unit = host.supervisor.unit("t")
        await eventually(lambda: unit.state.ready)
        await host.journal.durable()
        assert not await host.store.events(kinds=["internal_error", "health_check_failed"])


def test_a_task_whose_line_has_been_found_stays_healthy_through_reloads_and_takeovers(project):
    text = """
        [tasks.t]
        command = "echo now ready; n=0; while :; do n=$((n+1)); echo request $n; sleep 0.02; done"
        health_log = "now ready"
        health_interval = 0.1
        health_retries = 1
        """
    p = project(text).serve()
    before = p.wait("t", lambda t: t["health"] == "healthy")

    def goes_on() -> None:
        """It goes on for longer than with any failing probe."""
        end = p.task("t")["log_end"]
        after = p.wait("t", lambda t: t["log_end"] > end + 20 or t["run"] != before["run"])
        assert (after["run"], after["health"]) == (before["run"], "healthy")
        assert not p.events("health_check_failed", "t")

    p.call("logs_clean", tasks=["t"])
    wait_until(lambda: "now ready" not in p.lines("t"))
    p.write(text + "# a comment\n[tasks.other]\ncommand = 'true'\n")
    p.call("reload")
    goes_on()
    p.kill_supervisor()
    p.serve()
    goes_on()
    p.write(text.replace('now ready"\n', 'request 9$"\n'))
    p.call("reload")
    goes_on()
    p.call("restart", tasks=["t"])
    p.wait("t", lambda t: t["run"] != before["run"] and t["health"] == "healthy")
    assert p.events("task_ready", "t")[-1]["cause"] == "log: request 9", "the new pattern is for the next run"


@pytest.mark.parametrize("alive", [True, False], ids=["reload", "next supervisor"])
def test_what_a_check_or_a_policy_has_made_of_a_task_ends_with_it(project, alive):
    """A task without a check is ready as soon as it runs, and one without restarts is not restarted."""
    text = """
        [tasks.web]
        command = "exec sleep 600"
        {}
        [tasks.app]
        command = "exec sleep 601"
        depends_on = ["web"]
        [tasks.falls]
        command = "exit 3"
        restart_backoff = 50
        restart_policy = "{}"
        """
    p = project(text.format('health_check = "false"', "on-failure")).serve()
    pid = p.wait("web", lambda t: t["state"] == "running" and "exit code 1" in p.task("app")["reason"])["pid"]
    fallen = p.wait("falls", "backoff")["run"]
    if not alive:
        p.kill_supervisor()
    p.write(text.format("", "no"))
    if alive:
        p.call("reload")
    else:
        p.serve()
    p.wait("app", "running")
    web = p.task("web")
    assert (web["pid"], web["health"], web["ready"], web["reason"]) == (pid, "none", True, "")
    assert p.call("inspect", task="web")["probe"] is None
    falls = p.wait("falls", "failed")
    assert (falls["run"], falls["reason"]) == (fallen, "exit code 3, restart policy is 'no'")


def test_what_is_kept_against_the_file_may_need_what_is_gone(project):
    p = project("""
        [tasks.keep]
        command = "exec sleep 600"
        [tasks.gone]
        command = "exec sleep 601"
        [tasks.stays]
        command = "exec sleep 602"
        depends_on = ["gone"]
        hooks.before_stop = "exit 1"
        """).serve()
    p.wait("stays", "running")
    p.write("""
        [tasks.keep]
        command = "exec sleep 610"
        [tasks.new]
        command = "exec sleep 603"
        """)
    with pytest.raises(ControlError, match="stays") as error:
        p.call("reload")
    assert error.value.code == "failed"
    p.wait("new", "running")
    assert p.task("keep")["command"] == "exec sleep 610"
    p.call("kill", tasks=["stays"])


def test_a_task_that_waits_for_its_restart_and_is_mended_is_started_whatever_its_policy(project):
    text = """
        [tasks.t]
        command = "{}"
        restart_policy = "{}"
        restart_backoff = 50
        """
    p = project(text.format("exit 3", "always")).serve()
    p.wait("t", "backoff")
    p.write(text.format("exec sleep 600", "no"))
    assert p.call("reload")["restarted"] == ["t"]
    assert p.wait("t", "running")
    assert not p.events("task_failed", "t")


# It listens on the port until it is ended.
LISTEN = "import socket, time; s = socket.create_server(('127.0.0.1', {})); time.sleep(600)"
SHARE = """import os, socket, time
s = socket.create_server(('127.0.0.1', {}))
child = os.fork()
if child:
    print(child, flush=True)
time.sleep(600)"""
# Python forgets what a fork's child hears before its own first step: so it hears it after that.
HYDRA = """import os, signal, socket, time
def again(*_):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    if os.fork(): os._exit(0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
signal.signal(signal.SIGTERM, again)
s = socket.create_server(('127.0.0.1', {}))
while True: time.sleep(600)"""


@contextmanager
def running(code, port, program=sys.executable):
    """A Python program of somebody else, in a session of its own, that listens on the port."""
    with subprocess.Popen(
        [program, "-c", code.format(port)], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            wait_until(lambda: can_connect(port))
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_a_port_is_cleared_of_our_own_stray_and_of_all_that_share_its_socket_and_that_is_told(project):
    port, shared = free_ports(2)
    with running(LISTEN, port) as stray, running(SHARE, shared) as parent:
        child = int(parent.stdout.readline())
        p = project(f"""
            [tasks.web]
            command = '''exec {sys.executable} -c "{LISTEN.format(port)}"'''
            port = {port}
            [tasks.shared]
            command = '''exec {sys.executable} -c "{LISTEN.format(shared)}"'''
            port = {shared}
            health_tcp = {shared}
            restart_policy = "no"
            """).serve()
        p.wait("web", "running")
        wait_until(lambda: can_connect(port))
        assert stray.wait(20) != 0
        assert p.events("port_cleared", "web")[0]["detail"]["pid"] == stray.pid

        p.wait("shared", lambda t: t["healthy"])
        assert parent.wait(20) == -signal.SIGTERM
        assert not alive(child)
        cleared = {event["detail"]["pid"] for event in p.events("port_cleared", "shared")}
        assert cleared == {parent.pid, child}


def test_a_port_held_by_another_managed_task_or_by_a_client_is_left_alone(project):
    port = free_port()
    p = project(f"""
        [tasks.holder]
        command = '''exec {sys.executable} -c "{LISTEN.format(port)}"'''
        health_tcp = {port}
        [tasks.web]
        command = "exec sleep 600"
        port = {port}
        depends_on = ["holder"]
        """).serve()
    web = p.wait("web", "failed")
    assert "a managed task of this project" in web["reason"]
    holder = p.task("holder")
    assert (holder["state"], holder["restarts"]) == ("running", 0)
    with socket.create_connection(("127.0.0.1", port)), pytest.raises(ControlError, match="managed task"):
        p.call("start", tasks=["web"])
    assert alive(holder["pid"])


def test_a_port_taken_again_and_again_or_held_by_another_s_supervisor_or_a_service_manager_is_left_alone(
    project, sandbox
):
    again, theirs, managed = free_ports(3)
    other = project(f"[websocket]\nport = {theirs}\n[tasks]\n", "other").serve()
    wait_until(lambda: can_connect(theirs))
    manager = sandbox.root / "systemd-like"
    manager.symlink_to(os.path.realpath(sys.executable))  # a process is named after its program's file
    with running(HYDRA, again), running(LISTEN, managed, manager) as service:
        p = project(f"""
            [tasks.again]
            command = "exec sleep 600"
            port = {again}
            [tasks.theirs]
            command = "exec sleep 600"
            port = {theirs}
            [tasks.managed]
            command = "exec sleep 600"
            port = {managed}
            """).serve()
        assert f"port {again} is taken again" in p.wait("again", "failed")["reason"]
        assert "the supervisor of the project 'other'" in p.wait("theirs", "failed")["reason"]
        assert "a service manager, which is left alone" in p.wait("managed", "failed")["reason"]
        assert {event["task"] for event in p.events("port_cleared")} <= {"again"}
        assert other.call("hello")["pid"] == other.process.pid
        assert service.poll() is None


def test_a_schedule_does_not_start_with_the_project_and_counts_as_soon_as_the_file_is_applied(project):
    nightly = '[tasks.nightly]\ncommand = "echo ran"\nschedule = "0 3 * * *"\n'
    p = project(nightly).serve()
    task = p.task("nightly")
    assert task["state"] == "idle"
    assert wait_until(lambda: p.task("nightly")["next_start_at"])
    p.call("start", tasks=["nightly"])
    p.wait("nightly", "done")
    assert p.task("nightly")["next_start_at"]
    p.call("stop", tasks=["nightly"])  # so it stays down, and its schedule skips it
    assert p.task("nightly")["next_start_at"] is None

    added = '[tasks.added]\ncommand = "echo ran"\nschedule = "{} 3 * * *"\n'
    for minute in (0, 30):
        p.write(nightly + added.format(minute))
        p.call("reload")
        due = time.localtime(p.task("added")["next_start_at"])
        assert (due.tm_hour, due.tm_min) == (3, minute)
    p.write(nightly + added.format(30).replace("schedule", "description"))
    p.call("reload")
    assert p.task("added")["next_start_at"] is None


def test_secrets_are_in_no_event_and_in_no_inspection(project):
    p = project("""
        [tasks.t]
        command = "echo hunter2secret; exit 3"
        env = { API_TOKEN = "hunter2secret", PLAIN = "visible" }
        restart_policy = "no"
        hooks.after_start = "echo $API_TOKEN; exit 1"
        """).serve()
    p.wait("t", "failed")
    told = wait_until(lambda: p.events("hook_failed", "t"))
    shown = repr(p.call("inspect", task="t")) + repr(p.events()) + repr(p.call("status"))
    assert "hunter2secret" not in shown
    assert "visible" in shown
    assert "********" in told[0]["cause"]
