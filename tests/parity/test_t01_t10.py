"""Rows T1 to T10: the file, starting, stopping, supervising."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest

from tests.harness import alive, can_connect, free_port, wait_until
from tests.parity.place import Place

pytestmark = pytest.mark.timeout(120)

# Every field of taskmux 0.4.
TASKMUX = """\
name = "fullstack-app"
auto_start = true

[hooks]
before_start = "true"
after_start = "true"
before_stop = "true"
after_stop = "true"

[tasks]
bare = "exec sleep 600"

[tasks.db]
command = "exec sleep 600"
health_check = "true"
health_interval = 3
health_timeout = 2
health_retries = 3

[tasks.api]
command = "exec sleep 600"
cwd = "apps/api"
port = {port}
depends_on = ["db"]
health_check = "test -d apps/api"
stop_grace_period = 10
restart_policy = "always"
max_restarts = 10
restart_backoff = 3.0
log_file = "api.log"
log_max_size = "10MB"
log_max_files = 3

[tasks.api.hooks]
before_start = "test -f taskmux.toml"

[tasks.storybook]
command = "exec sleep 600"
auto_start = false
"""
WRONG = """\
name = "shop"
[tasks.web]
comand = "true"
command = "true"
prot = 80
[tasks.db]
command = 7
depends_on = ["wbe"]
"""


def test_T01_the_file_of_taskmux_is_read_and_mistakes_are_told(place: Place) -> None:
    (place.folder / "apps/api").mkdir(parents=True)
    place.write(TASKMUX.format(port=free_port()), "taskmux.toml")
    place.supervise()
    assert place.ask("start")["tasks"] == ["bare", "db", "api"]
    place.wait("api", lambda task: task["health"] == "healthy")
    status = place.ask("status")
    assert (status["session"], status["active_tasks"]) == ("fullstack-app", 3)
    assert place.task("storybook")["state"] == "idle"
    place.ask("down")
    place.write('[tasks.only]\ncommand = "exec sleep 600"\n')
    assert place.ask("check")["tasks"] == ["only"], "paneview.toml goes before taskmux.toml"
    # Beyond: strict, with file, line and the nearest valid key, all mistakes at once.
    place.write(WRONG)
    told = place.ask("start", status=2)
    problems = {problem["line"]: f"{problem['message']} {problem['hint']}" for problem in told["problems"]}
    assert set(problems) == {3, 5, 7, 8}
    assert "command" in problems[3]
    assert "port" in problems[5]
    assert "web" in problems[8]
    assert told["problems"][0]["file"].endswith("paneview.toml")
    assert place.ask("status", status=2)["problems"], "nothing was started"


def test_T02_start_in_dependency_order(place: Place) -> None:
    chain = """
        [tasks.api]
        command = "exec sleep 600"
        depends_on = ["db"]
        [tasks.db]
        command = "exec sleep 600"
        [tasks.byhand]
        command = "exec sleep 600"
        auto_start = false
        depends_on = ["api"]
        """
    started = place.start(chain)
    assert (started["session"], started["action"], started["tasks"]) == ("shop", "started", ["db", "api"])
    place.wait("api", "running")
    assert [event["task"] for event in place.events("task_started")] == ["db", "api"]
    # Beyond: a named task brings what it needs, unless told not to.
    place.ask("stop")
    assert place.ask("start", "byhand", "--no-deps")["waiting"] == {"byhand": ["api"]}
    assert place.ask("start", "byhand")["tasks"] == ["db", "api", "byhand"]
    place.wait("byhand", "running")


def test_T02_a_hundred_tasks_start_side_by_side_where_the_graph_allows(place: Place) -> None:
    # Each of eight waits in its command for the seven others: one after the other, none would ever be ready.
    meet = "touch here-$PANEVIEW_TASK; until set -- here-*; [ $# -eq 8 ]; do sleep 0.1; done; echo met; exec sleep 600"
    text = "".join(
        f"[tasks.a{number}]\ncommand = {json.dumps(meet)}\nhealth_log = 'met'\n" for number in range(8)
    )
    everyone = [f"a{number}" for number in range(8)]
    text += "".join(
        f"[tasks.b{number}]\ncommand = 'exec sleep 600'\ndepends_on = {everyone}\n" for number in range(60)
    )
    text += "".join(
        f"[tasks.c{number}]\ncommand = 'exec sleep 600'\ndepends_on = ['b{number}']\n" for number in range(32)
    )
    assert len(place.start(text)["tasks"]) == 100
    wait_until(lambda: place.ask("status")["active_tasks"] == 100, 40, 0.05)
    order = [event["task"][0] for event in place.events("task_started")]
    assert order[:8] == ["a"] * 8
    assert sorted(order) == ["a"] * 8 + ["b"] * 60 + ["c"] * 32


# A task that says which signals it gets; only of the last word on its command line it ends.
SIGNALS = """\
import signal, sys, time
def told(number, frame):
    print(signal.Signals(number).name, flush=True)
    if signal.Signals(number).name == sys.argv[1]:
        sys.exit(0)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, told)
print("up", flush=True)
while True:
    time.sleep(0.1)  # a signal just before a sleep is heard after it
"""


# It has a child in a session of its own, which ignores the hang-up.
FORKS = """\
import os, signal, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if os.fork() == 0:
        open("daemon.pid", "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
print("up", flush=True)
time.sleep(600)
"""


def test_T03_stop_is_ctrl_c_then_sigterm_then_sigkill_for_the_whole_tree(place: Place) -> None:
    (place.folder / "forks.py").write_text(FORKS)
    (place.folder / "signals.py").write_text(SIGNALS)
    place.start(f"""
        [tasks.polite]
        command = "{sys.executable} signals.py SIGINT"
        stop_grace_period = 60
        [tasks.slow]
        command = "{sys.executable} signals.py SIGTERM"
        stop_grace_period = 0.3
        [tasks.deaf]
        command = "{sys.executable} signals.py none"
        stop_grace_period = 0.3
        [tasks.forks]
        command = "exec {sys.executable} forks.py"
        stop_grace_period = 60
        """)
    for name in ("polite", "slow", "deaf", "forks"):
        place.wait_log(name, "up")
    child = int(place.wait_file("daemon.pid"))
    stopped = place.ask("stop", "polite", "slow", "deaf", "forks")
    assert stopped["results"][0] == {"ok": True, "task": "polite", "action": "stopped"}
    place.wait_log("polite", "up", "SIGINT")
    place.wait_log("slow", "up", "SIGINT", "SIGTERM")
    place.wait_log("deaf", "up", "SIGINT", "SIGTERM")
    assert place.task("deaf")["signal"] == 9
    for name in ("polite", "slow", "deaf", "forks"):
        task = place.task(name)
        assert (task["state"], task["manual_stop"], task["running"]) == ("stopped", True, False)
    # Beyond: also children that left the process group.
    assert not alive(child)


def test_T04_restart_kill_and_what_blocks_an_automatic_restart(place: Place) -> None:
    place.start("""
        [tasks.t]
        command = "exec sleep 600"
        restart_policy = "always"
        restart_backoff = 0
        [tasks.deaf]
        command = "trap '' INT TERM HUP; echo up; while :; do sleep 600; done"
        stop_grace_period = 600
        restart_policy = "always"
        """)
    place.wait_log("deaf", "up")
    pid = place.task("deaf")["pid"]
    killed = place.ask("kill", "deaf")
    assert (killed["task"], killed["action"]) == ("deaf", "killed")
    assert not alive(pid)
    place.ask("stop", "t")
    # Beyond: the marks survive the supervisor, however it ended.
    place.kill_supervisor()
    place.supervise()
    for name in ("t", "deaf"):
        assert (place.task(name)["state"], place.task(name)["manual_stop"]) == ("stopped", True)
    assert place.ask("restart", "t")["results"] == [{"ok": True, "task": "t", "action": "restarted"}]
    again = place.wait("t", lambda t: t["pid"] and psutil.Process(t["pid"]).name() == "sleep")
    os.kill(again["pid"], signal.SIGKILL)
    place.wait("t", lambda t: t["running"] and t["run"] > again["run"])
    assert place.wait_event("auto_restart", "t")


def test_T05_monitor_in_the_foreground_and_in_the_background(place: Place) -> None:
    place.write("""
        [tasks.t]
        command = "exec sleep 600"
        restart_policy = "always"
        restart_backoff = 0
        """)
    place.supervise()
    with place.following("start", "-m", "--json") as monitor:
        assert monitor.stdout
        first = place.wait("t", lambda t: t["pid"] and psutil.Process(t["pid"]).name() == "sleep")
        os.kill(first["pid"], signal.SIGKILL)
        told = []
        while "task_exited" not in told:
            told.append(json.loads(monitor.stdout.readline()).get("event"))
        # Beyond: first the answer, then all that happened since it was asked for, however soon.
        assert (told[0], told.count("task_started")) == (None, 1)
    assert place.wait("t", "running")["run"] > first["run"], "tasks go on after Ctrl-C"
    place.kill_supervisor()
    assert place.ask("daemon")["action"] == "started"
    # Beyond: exits are noticed by event. taskmux took up to 30 s; anything that polls takes longer than this.
    second = place.wait("t", lambda t: t["pid"] and psutil.Process(t["pid"]).name() == "sleep")
    began = place.ask("events", "-n", "1")["events"][-1]["ts"]
    os.kill(second["pid"], signal.SIGKILL)
    place.wait("t", lambda t: t["running"] and t["run"] > second["run"])
    exited, started = place.events("task_exited")[-1], place.events("task_started")[-1]
    assert exited["ts"] > began
    assert started["ts"] - exited["ts"] < 2.0


def test_T06_a_task_waits_for_what_it_depends_on(place: Place) -> None:
    place.begin("""
        [tasks.api]
        command = "test -e ready && test -e prepared && exec sleep 600"
        depends_on = ["db", { task = "prepare", condition = "completed" }, { task = "side", condition = "started" }]
        restart_policy = "no"
        [tasks.db]
        command = "exec sleep 600"
        health_check = "test -e ready"
        [tasks.prepare]
        command = "until test -e go; do sleep 0.1; done; touch prepared"
        [tasks.side]
        command = "exec sleep 600"
        health_check = "false"
        [tasks.never]
        command = "exec sleep 600"
        depends_on = [{ task = "fails", condition = "completed" }]
        [tasks.fails]
        command = "exit 4"
        restart_policy = "no"
        """)
    waiting = place.wait("api", "waiting")
    assert "db" in waiting["reason"]
    (place.folder / "ready").touch()
    place.wait("db", lambda t: t["healthy"])
    assert place.task("api")["state"] == "waiting"
    assert "prepare" in place.task("api")["reason"]
    (place.folder / "go").touch()
    place.wait("api", "running")
    place.wait("fails", "failed")
    assert place.task("never")["state"] == "waiting", "completed means exit 0"
    for tasks, word in (("a:b b:c c:a", "a → b → c → a"), ("a:ghost", "ghost"), ("a:a", "a → a")):
        text = "".join(
            f'[tasks.{pair.split(":")[0]}]\ncommand = "true"\ndepends_on = ["{pair.split(":")[1]}"]\n'
            for pair in tasks.split()
        )
        place.write(text)
        assert word in place.ask("check", status=2)["error"]


def test_T07_health_by_command_url_port_log_or_life(place: Place) -> None:
    tcp, http = free_port(), free_port()
    server = f"exec {sys.executable} -u -m http.server {http} --bind 127.0.0.1"
    listen = f"import socket, time; s = socket.create_server(('127.0.0.1', {tcp})); time.sleep(600)"
    (place.folder / "page.html").write_text("<p>all is well</p>")
    place.start(f"""
        [tasks.shell]
        command = "echo run; exec sleep 600"
        health_check = "test ! -e sick || (echo so sick; exit 1)"
        health_interval = 0.1
        health_timeout = 5
        health_retries = 2
        restart_backoff = 0
        [tasks.none]
        command = "exec sleep 600"
        [tasks.url]
        command = "{server}"
        health_url = "http://localhost:{http}/page.html"
        health_status = 200
        health_body = "all is \\\\w+"
        [tasks.tcp]
        command = '''exec {sys.executable} -c "{listen}"'''
        health_tcp = "localhost:{tcp}"
        [tasks.log]
        command = "echo warming up; sleep 0.2; echo now ready; exec sleep 600"
        health_log = "ready$"
        """)
    wait_until(lambda: place.ask("health")["healthy_count"] == 5, 40, 0.05)
    health = place.ask("health")
    assert health["total_count"] == 5
    assert {"name": "none", "healthy": True}.items() <= health["tasks"][1].items()
    first = place.task("shell")["run"]
    (place.folder / "sick").touch()
    unhealthy = place.wait_event("task_unhealthy", "shell")
    (place.folder / "sick").unlink()
    assert "so sick" in unhealthy["cause"]
    assert len(place.events("health_check_failed", task="shell")) >= 2
    place.wait("shell", lambda t: t["run"] > first and t["healthy"])
    inspected = place.ask("inspect", "shell")
    assert (inspected["definition"]["health_interval"], inspected["probe"]["ok"]) == (0.1, True)
    place.write('[tasks.d]\ncommand = "true"\n')
    defaults = place.ask("reload") and place.ask("inspect", "d")["definition"]
    assert [defaults[key] for key in ("health_interval", "health_timeout", "health_retries")] == [10, 5, 3]


def test_T08_restarts_by_policy_with_durable_counters(place: Place) -> None:
    place.begin("""
        [tasks.never]
        command = "exit 3"
        restart_policy = "no"
        [tasks.clean]
        command = "exit 0"
        [tasks.always]
        command = "exit 0"
        restart_policy = "always"
        restart_backoff = 0
        max_restarts = 2
        [tasks.crash]
        command = "exit 3"
        restart_backoff = 40
        """)
    assert place.wait("never", "failed")["restarts_total"] == 0
    # Beyond: on-failure, which is the default, goes by the real exit code.
    assert (place.wait("clean", "done")["exit_code"], place.task("clean")["restarts_total"]) == (0, 0)
    assert place.wait("always", "failed")["restarts_total"] == 2
    assert len(place.events("max_restarts_reached", task="always")) == 1
    # The first restart comes at once, the second after 40 s, give or take a tenth.
    crash = place.wait("crash", "backoff")
    assert (crash["restarts"], crash["exit_code"]) == (2, 3)
    assert 20 < crash["next_start_at"] - crash["ended_at"] < 61
    place.kill_supervisor()
    place.supervise()
    after = place.task("crash")
    assert (after["state"], after["restarts"], after["next_start_at"]) == (
        "backoff", 2, pytest.approx(crash["next_start_at"], abs=0.01)
    )  # fmt: skip
    defaults = place.ask("inspect", "clean")["definition"]
    assert [defaults[key] for key in ("restart_policy", "max_restarts")] == ["on-failure", 5]
    assert defaults["restart_backoff"] == 2.0


def test_T09_hooks_in_their_order_and_in_the_log(place: Place) -> None:
    hooks = "\n".join(
        f'{moment} = "echo {{whose}} {moment}"'
        for moment in ("before_start", "after_start", "before_stop", "after_stop")
    )
    place.write(
        f"""
        [hooks]
        {hooks.format(whose="global")}
        [tasks.t]
        command = "until test -e go; do sleep 0.1; done; echo runs; exec sleep 600"
        [tasks.t.hooks]
        {hooks.format(whose="task")}
        [tasks.refused]
        command = "echo never; exec sleep 600"
        hooks.before_start = "echo not today; exit 4"
        """.replace("        ", "")
    )
    place.supervise()
    place.ask("start", status=1)
    started = ["global before_start", "task before_start", "task after_start", "global after_start"]
    place.wait_log("t", *started)
    (place.folder / "go").touch()
    place.wait_log("t", *started, "runs")
    place.ask("stop", "t")
    stopped = ["global before_stop", "task before_stop", "task after_stop", "global after_stop"]
    place.wait_log("t", *started, "runs", *stopped)
    refused = place.wait("refused", "failed")
    assert "exit code 4: not today" in refused["reason"]
    assert "never" not in place.log("refused")


def test_T10_whoever_has_the_port_is_ended_if_that_is_right(
    place: Place, new_place: Callable[[str], Place]
) -> None:
    listen = (
        "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)"
    )
    port, theirs, foreign = free_port(), free_port(), free_port()
    squatter = subprocess.Popen([sys.executable, "-c", listen, str(port)])
    strangers = (
        [] if os.geteuid() else [subprocess.Popen(["python3", "-c", listen, str(foreign)], user=65534)]
    )
    other = new_place("other")
    other.start(
        f"[tasks.o]\ncommand = '''exec {sys.executable} -c \"{listen}\" {theirs}'''\nhealth_tcp = {theirs}\n"
    )
    other.wait("o", lambda t: t["healthy"])
    wait_until(lambda: can_connect(port))
    # A client of the port, which is none of its listeners.
    with socket.create_connection(("127.0.0.1", port)):
        place.start(
            f"""
            auto_start = false
            [tasks.t]
            command = "exec sleep 600"
            port = {port}
            [tasks.managed]
            command = "exec sleep 600"
            port = {theirs}
            restart_policy = "no"
            [tasks.foreign]
            command = "exec sleep 600"
            port = {foreign}
            restart_policy = "no"
            """,
            "t",
        )
        assert squatter.wait(20) == -signal.SIGTERM
    cleared = place.wait_event("port_cleared", "t")
    assert str(squatter.pid) in cleared["cause"]
    assert "python" in cleared["cause"]
    # Beyond: never another user's, nor what a supervisor manages.
    assert "another project" in place.ask("start", "managed", status=1)["error"]
    assert other.task("o")["running"]
    for stranger in strangers:
        wait_until(lambda: can_connect(foreign))
        assert "another user" in place.ask("start", "foreign", status=1)["error"]
        assert stranger.poll() is None
        stranger.kill()
        stranger.wait()
