"""Nothing is lost: the supervisor, the tmux server or both are killed, and the next supervisor finds everything."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psutil
import pytest
from msgspec.structs import replace

from paneview import proc
from paneview.config import paths
from paneview.control.errors import ControlError
from paneview.rules.states import Stage, TaskPhase, TaskState, Then
from tests.cli.support import run
from tests.harness import alive, wait_until

TWO_TASKS = """
    [tasks.a]
    command = "exec sleep 600"
    [tasks.b]
    command = "exec sleep 600"
    restart_policy = "always"
"""
# Of tasks that are lost together, `a` is handled first.
ONE_WAITS_FOR_THE_OTHER = """
    [tasks.a]
    command = "exec sleep 600"
    depends_on = ["b"]
    [tasks.b]
    command = "exec sleep 600"
    health_check = "true"
"""


def last(p, kind, task):
    """The id of the latest event of this kind."""
    return p.events(kind, task)[-1]["id"]


def test_the_next_supervisor_finds_the_same_processes_counters_and_backoff(project):
    crashes = """
    [tasks.crashes]
    command = "exit 3"
    restart_backoff = 30
    """
    p = project(TWO_TASKS + crashes).serve()
    before = {name: p.wait(name, "running") for name in "ab"}
    p.call("stop", tasks=["b"])
    waited = p.wait("crashes", "backoff")
    p.events()  # from here on it is on disk
    p.kill_supervisor()
    assert alive(before["a"]["pid"])
    p.serve()
    a, b = p.task("a"), p.task("b")
    assert (a["pid"], a["run"], a["state"]) == (before["a"]["pid"], before["a"]["run"], "running")
    assert a["uptime_s"] >= before["a"]["uptime_s"]
    assert (b["state"], b["manual_stop"]) == ("stopped", True)
    assert len(p.events("task_started", "a")) == 1
    assert p.events("supervisor_adopted")[0]["detail"]["tasks"] == ["a"]
    waits = p.task("crashes")
    assert (waits["state"], waits["restarts"]) == ("backoff", 2) == (waited["state"], waited["restarts"])
    assert abs(waits["next_start_at"] - waited["next_start_at"]) < 0.05

    # And in a session that a person has renamed.
    p.call("start", tasks=["b"])
    pids = [p.wait(name, "running")["pid"] for name in "ab"]
    p.sandbox.tmux("rename-session", "-t", "proj", "mine")
    attach = run("attach", "a", "--json", cwd=p.folder).json
    assert attach["window_id"] == p.task("a")["window_id"]
    p.kill_supervisor()
    p.serve()
    assert [p.task(name)["pid"] for name in "ab"] == pids
    assert p.sandbox.tmux("list-sessions", "-F", "#S") == "mine"


def test_the_log_of_a_task_that_has_ended_keeps_its_limits(project):
    text = """
        [tasks.t]
        command = "seq 1 60000"
        log_max_size = "{}"
        log_max_files = 1
        """
    p = project(text.format("100MB")).serve()
    p.wait("t", "done")
    wait_until(lambda: p.call("log_info", task="t")["end"] == 60_000)
    p.kill_supervisor()
    p.write(text.format("60KB"))
    p.serve()
    wait_until(lambda: p.call("log_info", task="t")["first"] > 30_000)
    # Where the log ends is known again, too, although nothing comes any more.
    assert p.wait("t", lambda task: task["log_end"] == 60_000)["run"] == 1


def test_exit_codes_are_kept_as_long_as_somebody_may_ask(project):
    p = project("""
        [tasks.t]
        command = "exit 3"
        restart_policy = "always"
        restart_backoff = 0
        max_restarts = 4
        [tasks.next]
        command = "exec sleep 600"
        auto_start = false
        """).serve()
    last = p.wait("t", "failed")["run"]
    assert last == 5
    exits = paths.exits_dir(p.state_dir)
    p.kill_supervisor()
    (exits / str(last + 1)).write_text("0\n")  # of a run whose record was lost: its number is not used again
    p.serve()
    wait_until(lambda: [file.name for file in exits.iterdir()] == [str(last)])
    assert p.task("t")["exit_code"] == 3
    p.call("start", tasks=["next"])
    assert p.wait("next", "running")["run"] == last + 2


def test_what_died_meanwhile_is_noticed_with_its_true_exit(project):
    p = project("""
        [tasks.fails]
        command = "while [ ! -f go ]; do sleep 0.1; done; echo bye; exit 42"
        restart_policy = "no"
        [tasks.ends]
        command = "while [ ! -f go ]; do sleep 0.1; done; exit 0"
        [tasks.back]
        command = "if [ -f go ]; then exec sleep 600; fi; while [ ! -f go ]; do sleep 0.1; done; exit 5"
        restart_backoff = 0
        """).serve()
    for name in ("fails", "ends", "back"):
        p.wait(name, "running")
    pids = [p.task(name)["pid"] for name in ("fails", "ends", "back")]
    p.kill_supervisor()
    (p.folder / "go").touch()
    wait_until(lambda: not any(alive(pid) for pid in pids))
    p.serve()
    fails = p.wait("fails", "failed")
    assert fails["exit_code"] == 42
    assert p.wait("ends", "done")["exit_code"] == 0
    back = p.wait("back", "running")
    assert back["restarts"] == 1
    assert p.events("task_exited", "back")[0]["detail"]["exit_code"] == 5
    wait_until(lambda: p.lines("fails") == ["bye"])


def test_a_stop_that_was_under_way_is_finished(project):
    p = project("""
        [tasks.t]
        command = "trap '' INT TERM; echo deaf; while :; do sleep 0.1; done"
        stop_grace_period = 0.5
        """).serve()
    wait_until(lambda: p.lines("t"))
    threading.Thread(target=_ignore_errors, args=(p, "t"), daemon=True).start()
    p.wait("t", "stopping")
    p.events()  # from here on it is on disk
    p.kill_supervisor()
    p.serve()
    stopped = p.wait("t", "stopped")
    assert stopped["manual_stop"]
    assert stopped["reason"].endswith("; it needed SIGKILL")
    assert p.events("task_stopped")[-1]["detail"]["needed"] == "SIGKILL"


def record(p, states, unrecorded):
    """Put these states on record, and delete the runs of the tasks ``unrecorded``."""
    with closing(sqlite3.connect(paths.state_db(p.state_dir))) as database, database:
        rows = [(name, json.dumps(state.to_dict())) for name, state in states.items()]
        database.executemany("REPLACE INTO task VALUES (?, ?)", rows)
        database.executemany("DELETE FROM run WHERE task = ?", [(name,) for name in unrecorded])


def test_a_task_that_waited_for_one_that_was_just_spawned_is_started_once(project):
    p = project("""
        [tasks.a]
        command = "exec sleep 600"
        [tasks.b]
        command = "echo up; exec sleep 600"
        hooks.before_start = "echo hook"
        auto_start = false
        depends_on = ["a"]
        """).serve()
    before = p.wait("a", "running")["run"]
    p.kill_supervisor()
    record(p, {"a": TaskState(TaskPhase.STARTING), "b": TaskState(TaskPhase.WAITING)}, unrecorded=["a"])
    p.serve()
    assert p.wait("b", "running")["run"] == before + 1
    wait_until(lambda: "up" in p.lines("b"))
    assert p.lines("b") == ["hook", "up"]


def test_a_hook_that_a_killed_supervisor_has_left_at_work_is_ended_before_it_runs_again(project):
    hook = "echo $$ >> {0}; until [ -e {0}-go ]; do sleep 0.02; done"
    daemon = "setsid sh -c 'echo $$ > daemon; exec sleep 619' & until [ -e daemon ]; do sleep 0.02; done"
    p = project(
        f"""
        [tasks.calm]
        command = "exec sleep 600"
        hooks.before_start = "{daemon}"
        [tasks.start]
        command = "exec sleep 600"
        hooks.before_start = "{hook.format("start")}"
        [tasks.stop]
        command = "exec sleep 600"
        hooks.before_stop = "{hook.format("stop")}"
        """
    ).serve()

    def pids(name):
        file = p.folder / name
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    p.wait("calm", "running")
    p.wait("stop", "running")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(p.call, "stop", tasks=["stop"])
        wait_until(lambda: pids("start") and pids("stop") and pids("daemon"))
        p.events()  # from here on it is on disk
        p.kill_supervisor()
        assert isinstance(asked.exception(20), ControlError)
    p.serve()
    wait_until(lambda: len(pids("start")) == len(pids("stop")) == 2)
    assert not alive(pids("start")[0])
    assert not alive(pids("stop")[0])
    assert alive(pids("daemon")[0]), "that hook had run"
    for name in ("start", "stop"):
        (p.folder / f"{name}-go").touch()
    p.wait("start", "running")
    p.wait("stop", "stopped")


def test_a_stop_in_the_middle_of_a_start_is_finished(project):
    """The supervisor is killed when tmux may have made the pane, but that is not recorded."""
    p = project("""
        [tasks.lives]
        command = "trap '' INT TERM; while :; do sleep 0.1; done"
        stop_grace_period = 0.3
        [tasks.ended]
        command = "exit 3"
        restart_policy = "no"
        [tasks.back]
        command = "exec sleep 600"
        [tasks.never]
        command = "exec sleep 600"
        auto_start = false
        """).serve()
    for name, state in (("lives", "running"), ("ended", "failed"), ("back", "running")):
        p.wait(name, state)
    before = p.task("back")["run"]
    p.call("kill", tasks=["back"])
    p.kill_supervisor()
    stopping = TaskState(TaskPhase.STOPPING, manual_stop=True, stage=Stage.INTERRUPT, reason="stopped by x")
    states = dict.fromkeys(("lives", "ended", "never"), stopping)
    states["back"] = replace(stopping, run=before, then=Then.START, ended_at=1.0)
    record(p, states, unrecorded=("lives", "ended"))
    p.serve()
    for name, code in (("lives", 137), ("ended", 3), ("never", None)):
        task = p.wait(name, "stopped")
        assert (task["manual_stop"], task["exit_code"]) == (True, code), name
    assert p.wait("back", "running")["run"] > before
    assert [e["run"] for e in p.events(None, "back") if e["event"] in ("task_killed", "task_stopped")] == [
        before,
        None,
    ]


def _ignore_errors(p, name):
    try:
        p.call("stop", tasks=[name])
    except Exception:  # noqa: BLE001 - the supervisor is killed under this request
        return


def test_kill_of_the_tmux_server_is_noticed_told_and_repaired(project, sandbox):
    p = project(ONE_WAITS_FOR_THE_OTHER).serve()
    before = {name: p.wait(name, "running") for name in "ab"}
    os.kill(sandbox.tmux_server_pid(), signal.SIGKILL)
    wait_until(lambda: p.events("tmux_lost"), 1.0 + 5.0)
    for name in "ab":
        task = p.wait(name, lambda t, run=before[name]["run"]: t["state"] == "running" and t["run"] != run)
        assert not alive(before[name]["pid"])
        assert p.events("task_lost", name)
        assert alive(task["pid"])
    assert p.events("tmux_restored")
    assert last(p, "task_lost", "b") < last(p, "task_ready", "b") < last(p, "task_started", "a")


def test_both_killed_at_once(project, sandbox):
    p = project(ONE_WAITS_FOR_THE_OTHER).serve()
    before = {name: p.wait(name, "running") for name in "ab"}
    os.kill(sandbox.tmux_server_pid(), signal.SIGKILL)
    p.kill_supervisor()
    p.serve()
    for name in "ab":
        p.wait(name, "running")
        assert not alive(before[name]["pid"]), "no orphan beside the new run"
    assert last(p, "task_lost", "b") < last(p, "task_ready", "b") < last(p, "task_started", "a")


def test_nothing_is_left_of_a_task_that_leaves_the_file_while_both_are_killed(project, sandbox):
    left = '[tasks.left]\ncommand = "setsid sleep 600 & echo $! > pid; wait"\n'
    p = project(KEEP + left).serve()
    p.wait("left", "running")
    pid = int(wait_until(lambda: (p.folder / "pid").exists() and (p.folder / "pid").read_text()))
    p.events()  # from here on it is on disk
    os.kill(sandbox.tmux_server_pid(), signal.SIGKILL)
    p.kill_supervisor()
    p.write(KEEP)
    p.serve()
    (told,) = wait_until(lambda: p.events("stray_ended", "left"))
    assert told["detail"]["processes"] == [f"{pid} sleep"]
    assert not alive(pid)
    p.wait("keep", "running")
    p.kill_supervisor()
    p.serve()
    assert len(p.events("stray_ended", "left")) == 1
    with closing(sqlite3.connect(p.state_dir / "state.db")) as state:
        row = state.execute("SELECT end_reason FROM run WHERE task = 'left' AND ended_at > 0").fetchone()
    assert row == ("the tmux server had ended",)


def test_nothing_is_left_of_a_run_that_both_were_killed_at_before_it_was_recorded(project, sandbox):
    p = project('[tasks.t]\ncommand = "setsid sleep 600 & echo $! > pid; wait"\n').serve()
    run = p.wait("t", "running")["run"]
    pid = int(wait_until(lambda: (p.folder / "pid").exists() and (p.folder / "pid").read_text()))
    p.events()  # from here on it is on disk
    os.kill(sandbox.tmux_server_pid(), signal.SIGKILL)
    p.kill_supervisor()
    record(p, {"t": TaskState(TaskPhase.STARTING)}, unrecorded=["t"])
    (paths.exits_dir(p.state_dir) / str(run)).unlink(missing_ok=True)
    p.serve()
    (told,) = wait_until(lambda: p.events("stray_ended"))
    assert told["detail"]["processes"] == [f"{pid} sleep"]
    assert not alive(pid)
    assert p.wait("t", "running")["run"] > run


def test_a_tmux_server_that_dies_before_it_tells_an_end_has_no_say_in_the_next(project, sandbox):
    p = project('[tasks.a]\ncommand = "exec sleep 600"\nstop_grace_period = 600').serve()
    first, server = p.wait("a", "running"), sandbox.tmux_server_pid()
    guard = int(sandbox.tmux("display-message", "-p", "-t", first["pane_id"], "#{pane_pid}"))
    os.kill(server, signal.SIGSTOP)
    kill = threading.Thread(target=p.call, args=("kill",), kwargs={"tasks": ["a"]})
    kill.start()
    wait_until(lambda: not alive(guard))
    os.kill(server, signal.SIGKILL)
    kill.join(20)
    p.call("start", tasks=["a"])
    p.wait("a", "running")
    p.call("stop", tasks=["a"])
    ends = [
        (e["event"], e["run"] - first["run"], e["detail"]["exit_code"])
        for e in p.events(None, "a")
        if e["event"] in ("task_killed", "task_stopped")
    ]
    assert ends == [("task_killed", 0, None), ("task_stopped", 1, 130)]


def test_a_pane_of_an_earlier_tmux_server_is_not_taken_for_another_tasks(project):
    """Each server numbers its panes from 0, so the id of a task's pane may belong to another task later."""
    rows = {name: f'[tasks.{name}]\ncommand = "exec sleep 600"\n' for name in "abcd"}
    p = project("auto_start = false\n" + "".join(rows.values())).serve()
    old = {}
    for name in "abc":
        p.call("start", tasks=[name])
        old[name] = p.wait(name, "running")["pane_id"]
    p.call("down")
    p.process.wait(20)
    p.serve()
    p.call("start", tasks=["b"])
    b = p.wait("b", "running")
    assert b["pane_id"] == old["a"]
    with pytest.raises(ControlError, match="a has no pane"):
        p.call("capture", task="a")
    p.call("start", tasks=["a"])
    a = p.wait("a", "running")
    p.call("start", tasks=["d"])
    d = p.wait("d", "running")
    assert d["pane_id"] == old["c"]
    p.write("auto_start = false\n" + rows["a"] + rows["b"] + rows["d"])
    p.call("reload")
    for before in (a, b, d):
        after = p.task(before["name"])
        assert (after["state"], after["pid"]) == ("running", before["pid"])
        assert alive(before["pid"])


def test_two_supervisors_never(project):
    p = project("[tasks]").serve()
    code = "import sys; from pathlib import Path; from paneview.supervisor.serve import serve; "
    code += "sys.exit(serve(Path(sys.argv[1])))"
    second = subprocess.run(
        [sys.executable, "-c", code, str(p.file)], capture_output=True, text=True, timeout=30, check=False
    )
    assert "running already" in second.stderr
    assert second.returncode == 0


def test_one_that_is_being_taken_apart_is_waited_for(project):
    """A killed process's lock and socket can outlast its main thread; connections end without an answer."""
    p = project("[tasks]")
    folder = paths.make_project_dir(p.file, "proj")
    with paths.lock_file(folder).open("w") as held, socket.socket(socket.AF_UNIX) as left:
        fcntl.flock(held, fcntl.LOCK_EX)
        left.bind(str(paths.control_socket(folder)))
        left.listen()
        left.settimeout(20)
        p.begin_serving()
        for _ in range(2):
            left.accept()[0].close()
        assert p.process.poll() is None
        p.write('[tasks.late]\ncommand = "exec sleep 1000"')  # it has read the file already
    wait_until(p._answers)
    p.wait_for_task("late")


def test_random_kills_lose_nothing_short(project):
    """Kill -9 at random moments while a task counts and another crashes: every line once, in order."""
    _random_kills(project, 0, kills=4)


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_random_kills_lose_nothing(project):
    _random_kills(project, 7, kills=60)


def _random_kills(project, seed: int, kills: int) -> None:
    dice = random.Random(seed)
    p = project("""
        [tasks.count]
        command = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done"
        [tasks.crash]
        command = "n=$(cat n 2>/dev/null || echo 0); n=$((n+1)); echo run $n; echo $n > n; sleep 0.15; exit 3"
        restart_backoff = 0
        max_restarts = 10000
        """)
    p.serve()
    pid = p.wait("count", "running")["pid"]
    for _ in range(kills):
        deadline = time.monotonic() + dice.uniform(0.05, 0.5)
        wait_until(lambda end=deadline: time.monotonic() > end)  # a random moment, not a wait for something
        p.kill_supervisor()
        p.serve()
        assert p.task("count")["pid"] == pid
    p.call("stop")
    runs = int((p.folder / "n").read_text())

    def told() -> list[str]:
        return [line for line in p.lines("crash") if line.startswith("run")]

    wait_until(lambda: len(told()) >= runs)
    # The last run may have been stopped after it printed its number, before it stored it.
    assert told() in ([f"run {n + 1}" for n in range(count)] for count in (runs, runs + 1))
    lines = [line for line in p.lines("count") if line.startswith("line")]
    assert lines == [f"line {n + 1}" for n in range(len(lines))]
    assert all(event["detail"]["exit_code"] == 3 for event in p.events("task_exited", "crash"))
    starts = [event["run"] for event in p.events("task_started", "crash")]
    assert len(starts) == len(set(starts))
    assert runs <= len(starts) <= runs + 1  # the last may have been stopped before it stored its number


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.chaos)])
def test_kill_in_the_middle_of_the_start(project, sandbox, seed):
    """However early the supervisor dies, in the end each task runs once, and those without auto-start don't."""
    dice = random.Random(seed)
    text = "".join(f"[tasks.t{n}]\ncommand = 'exec sleep 600'\n" for n in range(12))
    p = project(text + "[tasks.byhand]\ncommand = 'exec sleep 600'\nauto_start = false\n")
    for _ in range(3):
        p.begin_serving()
        end = time.monotonic() + dice.uniform(0.2, 0.6)
        wait_until(lambda end=end: time.monotonic() > end)
        p.kill_supervisor()
    p.serve()
    for n in range(12):
        p.wait(f"t{n}", "running")
    assert p.task("byhand")["state"] == "idle"

    def sleeps() -> list[psutil.Process]:
        return [process for process in sandbox.processes() if process.name() == "sleep"]

    wait_until(lambda: len(sleeps()) == 12)  # the last may be on its way from fork to exec
    assert len({process.environ()["PANEVIEW_TASK"] for process in sleeps()}) == 12


def test_output_that_nobody_had_read_is_taken_in_later(project):
    """The supervisor is stopped, the task prints and ends, the supervisor is killed: no line is lost."""
    p = project("""
        [tasks.t]
        command = "while [ ! -f go ]; do sleep 0.1; done; seq 1 5000; touch printed"
        restart_policy = "no"
        """).serve()
    p.wait("t", "running")
    p.process.send_signal(signal.SIGSTOP)
    (p.folder / "go").touch()
    wait_until((p.folder / "printed").exists)
    p.kill_supervisor()
    p.serve()
    p.wait("t", "done")
    wait_until(lambda: p.lines("t") == [str(n) for n in range(1, 5001)])
    spool = p.state_dir / "spool"
    wait_until(lambda: not list(spool.iterdir()))


DATABASE = """
    [tasks.db]
    command = "exec {} db.py"
    stop_signal = "SIGTERM"
    stop_grace_period = 30
"""
# It takes longer to write its data than left-overs of an ended run get, and writes nothing if it is killed.
FLUSHING = """
import os, signal, sys, time
def flush(*_):
    print("flushing", flush=True)
    time.sleep(1.2)
    open("flushed", "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, flush)
signal.signal(signal.SIGINT, signal.SIG_IGN)
open("up", "w").write(str(os.getpid()))
print("up", flush=True)
while True:
    time.sleep(60)
"""
KEEP = '[tasks.keep]\ncommand = "exec sleep 600"\n'


@pytest.fixture
def database(project):
    """A killed supervisor, and a task whose process takes long to end."""
    p = project(KEEP + DATABASE.format(sys.executable))
    (p.folder / "db.py").write_text(FLUSHING)
    p.serve()
    wait_until(lambda: (p.folder / "up").exists() and (p.folder / "up").read_text())
    p.wait("keep", "running")
    p.kill_supervisor()
    return p


def test_a_task_that_left_the_file_meanwhile_is_stopped_in_its_own_time(database):
    p = database
    pid = int((p.folder / "up").read_text())
    p.write(KEEP)
    p.serve()
    assert alive(pid), "the takeover does not wait for it"
    assert p.events("task_stopping", "db")
    told = wait_until(lambda: p.events("stray_ended", "db"))
    assert told[0]["detail"]["processes"]
    assert (p.folder / "flushed").exists()
    assert not alive(pid)
    assert p.wait("keep", "running")["run"] == 1
    p.write(KEEP + DATABASE.format(sys.executable))
    p.call("reload")
    wait_until(lambda: p.lines("db")[:2] == ["up", "flushing"])


def test_a_task_that_comes_back_to_the_file_has_no_second_instance_and_down_waits_for_one_that_left(database):
    p = database
    pid = int((p.folder / "up").read_text())
    p.write(KEEP)
    p.serve()
    p.write(KEEP + DATABASE.format(sys.executable))
    p.call("reload")
    p.wait("db", "running")
    assert not alive(pid)
    assert (p.folder / "flushed").exists()

    wait_until(lambda: p.lines("db") == ["up", "flushing", "up"])
    p.kill_supervisor()
    (p.folder / "flushed").unlink()
    p.write(KEEP)
    p.serve()
    p.call("down")
    assert (p.folder / "flushed").exists()
    assert p.process.wait(20) == 0


SHELLS = """
    env = { PATH = "${PATH}:bin", LINE = "${SSH_TTY:-none}" }
    [tasks.a]
    command = "echo before; exec sleep 600"
    env_file = ".env"
    env = { TERMINAL = "${TERM}" }
    [tasks.b]
    command = "exec sleep 600"
"""
ANOTHER_SHELL = {
    "TERM": "dumb",
    "SSH_TTY": "/dev/pts/9",
    "PATH": f"{os.environ['PATH']}:/nowhere",
    "NEW": "1",
}


@pytest.fixture
def shells(project):
    """Tasks whose definition uses many environment variables, without their supervisor."""
    p = project(SHELLS)
    (p.folder / ".env").write_text("SECOND=${TERM}\n")
    p.serve(env={"TERM": "xterm"})
    for name in "ab":
        p.wait(name, "running")
    p.kill_supervisor()
    return p


def runs(p):
    return {task["name"]: (task["state"], task["run"]) for task in p.call("status")["tasks"]}


def test_an_unchanged_file_restarts_nothing_whatever_the_shell_of_the_next_supervisor(shells):
    p = shells
    p.serve(env=ANOTHER_SHELL)
    p.write(SHELLS + "\n# a comment\n[tasks.c]\ncommand = 'exec sleep 600'\n")
    assert p.call("reload")["changed"] == []
    p.wait("c", "running")
    p.kill_supervisor()
    p.serve(env={"TERM": "xterm"})
    assert p.call("reload")["changed"] == []
    assert runs(p) == {"a": ("running", 1), "b": ("running", 2), "c": ("running", 3)}
    assert not p.events("task_stopping")


def test_a_supervisor_that_was_started_from_a_task_outlives_it_with_its_connection_to_tmux(shells):
    p = shells
    p.serve(env={**ANOTHER_SHELL, "PANEVIEW_RUN": proc.marker(paths.project_key(p.file), 1)})
    p.call("stop", tasks=["a"])
    assert p.task("a")["state"] == "stopped"
    assert not p.events("tmux_lost")


def test_what_was_changed_while_no_supervisor_lived_is_what_runs(shells):
    p = shells

    def is_applied(restarts):
        p.serve(env=ANOTHER_SHELL)
        p.wait("a", lambda task: task["state"] == "running" and task["run"] == 2 + restarts)
        assert [e["cause"] for e in p.events("task_stopping", "a")] == ["restarted by file change"] * restarts
        assert runs(p)["b"] == ("running", 2)
        assert p.call("reload")["changed"] == []

    p.write(SHELLS.replace("before", "after"))  # a command
    is_applied(1)
    wait_until(lambda: "after" in p.lines("a"))
    p.kill_supervisor()
    (p.folder / ".env").write_text("SECOND=2\n")  # a file of variables
    is_applied(2)


def test_a_run_that_an_older_version_started_is_left_alone(shells, sandbox):
    p = shells
    for pane in sandbox.tmux("list-panes", "-a", "-F", "#{pane_id}").split():
        sandbox.tmux("set-option", "-p", "-u", "-t", pane, "@paneview_definition")
    p.write(SHELLS.replace("before", "after"))
    p.serve(env=ANOTHER_SHELL)
    assert p.call("reload")["changed"] == []
    assert runs(p) == {"a": ("running", 1), "b": ("running", 2)}


def test_a_stray_goes_by_what_the_file_said_last(database):
    p = database
    p.write(KEEP + DATABASE.format(sys.executable).replace("SIGTERM", "SIGINT").replace("30", "0.1"))
    p.serve()  # now its stop begins with a signal that it ignores, and soon comes the next
    p.kill_supervisor()
    p.write(KEEP)
    p.serve()
    wait_until(lambda: p.events("stray_ended", "db"))
    assert not (p.folder / "flushed").exists()


def test_a_run_whose_state_was_lost_goes_on(database):
    p = database
    pid = int((p.folder / "up").read_text())
    for file in p.state_dir.glob("state.db*"):
        file.unlink()
    p.serve()
    assert p.wait("db", "running")["pid"] == pid
    assert not p.events("stray_ended")
    p.call("stop", tasks=["db"])
    assert (p.folder / "flushed").exists()


def test_the_number_of_a_start_that_failed_is_not_used_again_for_another_task(project):
    p = project(
        """
        [tasks.refused]
        command = "exec sleep 600"
        hooks.before_start = "echo no; exit 1"
        [tasks.next]
        command = "echo hello; exec sleep 600"
        auto_start = false
        """
    ).serve()
    p.wait("refused", "failed")
    wait_until(lambda: p.lines("refused") == ["no"])
    p.end_supervisor()
    p.serve()
    p.call("start", tasks=["next"])
    wait_until(lambda: p.lines("next") + p.lines("refused")[1:])
    assert (p.lines("next"), p.lines("refused")) == (["hello"], ["no"])
