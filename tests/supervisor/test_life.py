"""The life of tasks under a real supervisor: order, policies, stops, whole trees."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from paneview.config import paths
from paneview.control.blocking import Connection
from paneview.control.errors import ControlError
from tests.harness import alive, wait_until

PY = sys.executable
# A task that ends only by SIGKILL.
STUBBORN = "trap '' HUP INT TERM; echo up; exec sleep 600"
# It forks a child with its own session, which ignores the hang-up and writes its pid to a file.
DAEMONIZER = (
    "import os, signal, time\n"
    "r, w = os.pipe()\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    "    if os.fork() == 0:\n"
    "        open('daemon.pid', 'w').write(str(os.getpid()))\n"
    "        time.sleep(600)\n"
    "    os._exit(0)\n"
    "time.sleep(600)\n"
)


def test_tasks_start_in_dependency_order_and_wait_for_their_conditions(project):
    p = project(
        """
        [tasks.api]
        command = "test -f prepared && test -f healthy && exec sleep 600"
        depends_on = ["db", { task = "prep", condition = "completed" }]
        [tasks.db]
        command = "sleep 0.3; touch healthy; exec sleep 600"
        health_check = "test -f healthy"
        [tasks.prep]
        command = "sleep 0.2; touch prepared"
        restart_policy = "no"
        [tasks.byhand]
        command = "sleep 600"
        auto_start = false
        """
    ).serve()
    p.wait("api", "running")
    assert p.wait("prep", "done")["exit_code"] == 0
    assert p.task("db")["health"] == "healthy"
    assert p.task("byhand")["state"] == "idle"
    kinds = [(event["event"], event["task"]) for event in p.events()]
    assert kinds.index(("task_ready", "db")) < kinds.index(("task_started", "api"))
    assert kinds.index(("task_exited", "prep")) < kinds.index(("task_started", "api"))
    assert p.task("api")["restarts"] == 0


def test_start_of_one_brings_what_it_needs_and_stop_of_all_ends_dependents_first(project):
    p = project(
        """
        auto_start = false
        [tasks.db]
        command = "sleep 600"
        [tasks.api]
        command = "trap 'sleep 0.2; exit 0' INT; sleep 600"
        depends_on = ["db"]
        """
    ).serve()
    reply = p.call("start", tasks=["api"], deps=False)
    assert reply["waiting"] == {"api": ["db"]}
    assert p.task("api")["reason"] == "waits: db is not started"
    reply = p.call("start", tasks=["api"])
    assert reply["tasks"] == ["db", "api"]
    assert "already" not in reply
    assert p.wait("api", "running")
    reply = p.call("start", tasks=["api"])
    assert (reply["tasks"], reply["already"]) == (["api"], ["api"])
    p.call("stop")
    stops = [event["task"] for event in p.events("task_stopped")]
    assert stops == ["api", "db"]
    begun = {event["task"]: event["id"] for event in p.events("task_stopping")}
    done = {event["task"]: event["id"] for event in p.events("task_stopped")}
    assert begun["db"] > done["api"]


# Policy, command, the state and number of restarts in the end.
POLICIES = [
    ("no", "exit 3", "failed", 0),
    ("on-failure", "exit 0", "done", 0),
    ("on-failure", "echo run; sleep 0.1; exit 3", "failed", 2),
    ("on-failure", "kill -9 $$", "failed", 2),
    ("always", "exit 0", "failed", 2),
]


def test_restart_policies_go_by_the_real_exit(project):
    p = project(
        "".join(
            f"""
        [tasks.t{number}]
        command = "{command}"
        restart_policy = "{policy}"
        restart_backoff = 0
        max_restarts = 2
        """
            for number, (policy, command, _, _) in enumerate(POLICIES)
        )
    ).serve()
    for number, (policy, command, state, restarts) in enumerate(POLICIES):
        name, case = f"t{number}", (policy, command)
        task = p.wait(name, state)
        assert task["restarts_total"] == restarts, case
        assert len(p.events("task_started", name)) == restarts + 1, case
        assert len(p.events("max_restarts_reached", name)) == (1 if restarts else 0), case
        if "kill" in command:
            assert (task["exit_code"], task["signal"]) == (137, 9)
        if "echo" in command:  # the log of every run is kept
            wait_until(lambda: p.lines("t2") == ["run"] * 3)


def test_stop_reaches_children_that_left_session_and_group_and_escalates_to_kill(project):
    p = project(f"""
        [tasks.daemon]
        command = '''exec {PY} -c "{DAEMONIZER}"'''
        stop_grace_period = 30
        [tasks.stubborn]
        command = "{STUBBORN}"
        stop_grace_period = 0.2
        """).serve()
    daemon = p.folder / "daemon.pid"
    wait_until(lambda: daemon.exists() and daemon.read_text())
    pid = int(daemon.read_text())
    assert alive(pid)
    reply = p.call("stop", tasks=["daemon"])
    assert reply["results"] == [{"ok": True, "task": "daemon", "action": "stopped"}]
    assert not alive(pid)
    task = p.task("daemon")
    assert (task["state"], task["manual_stop"]) == ("stopped", True)

    wait_until(lambda: p.lines("stubborn") == ["up"])
    p.call("stop", tasks=["stubborn"])
    task = p.task("stubborn")
    assert (task["state"], task["signal"]) == ("stopped", 9)


def test_neither_a_kill_nor_an_end_leaves_a_process(project):
    p = project(f"""
        [tasks.stubborn]
        command = "{STUBBORN}"
        stop_grace_period = 600
        [tasks.ends]
        command = "setsid sleep 600 & echo $! > left.pid; sleep 0.3; exit 0"
        """).serve()
    wait_until(lambda: p.lines("stubborn") == ["up"])
    pid = p.task("stubborn")["pid"]
    p.call("kill", tasks=["stubborn"])  # at once
    assert not alive(pid)
    assert p.events("task_killed", "stubborn")

    p.wait("ends", "done")
    left = int((p.folder / "left.pid").read_text())
    wait_until(lambda: not alive(left))
    (told,) = wait_until(lambda: p.events("leftovers_ended", "ends"))
    assert told["detail"]["processes"] == [f"{left} sleep"]
    assert told["cause"] == f"it had ended and left behind {left} sleep"


def test_restart_of_all_means_what_runs_and_a_manual_stop_holds_with_policy_always(project):
    p = project("""
        [tasks.once]
        command = "true"
        restart_policy = "no"
        [tasks.broken]
        command = "exit 3"
        restart_policy = "no"
        [tasks.web]
        command = "exec sleep 600"
        [tasks.halted]
        command = "exec sleep 601"
        restart_policy = "always"
        restart_backoff = 0
        [tasks.byhand]
        command = "exec sleep 602"
        auto_start = false
        """).serve()
    p.wait("once", "done")
    p.wait("broken", "failed")
    p.wait("web", "running")
    p.wait("halted", "running")
    p.call("stop", tasks=["halted"])
    assert p.call("restart")["tasks"] == ["web"]
    assert p.task("halted")["state"] == "stopped"
    assert [len(p.events("task_started", name)) for name in ("once", "broken", "byhand")] == [1, 1, 0]
    p.call("stop")
    assert p.call("restart")["tasks"] == []

    p.end_supervisor()
    p.serve()
    assert p.task("halted")["state"] == "stopped"
    assert p.task("halted")["manual_stop"]
    p.call("start", tasks=["halted"])
    assert p.task("halted")["state"] == "running"
    assert not p.task("halted")["manual_stop"]


def test_a_killed_command_is_an_exit_by_signal_and_a_killed_guard_leaves_no_second_instance(project):
    p = project("""
        [tasks.command]
        command = "exec sleep 600"
        restart_backoff = 0
        [tasks.guard]
        command = "exec sleep 600"
        restart_backoff = 0
        """).serve()

    def sleeps(task):
        return task["state"] == "running" and psutil.Process(task["pid"]).name() == "sleep"

    first = p.wait("command", sleeps)
    os.kill(first["pid"], signal.SIGKILL)
    second = p.wait("command", lambda t: t["run"] != first["run"] and t["state"] == "running")
    assert second["restarts"] == 1
    assert p.events("task_exited", "command")[0]["detail"]["signal"] == 9

    first = p.wait("guard", sleeps)
    guard = psutil.Process(first["pid"]).ppid()
    os.kill(guard, signal.SIGKILL)
    p.wait("guard", lambda t: t["run"] != first["run"] and t["state"] == "running")
    assert not alive(first["pid"])


def test_unknown_names_and_a_missing_folder_are_told(project):
    p = project("""
        [tasks.t]
        command = "sleep 600"
        cwd = "sub"
        restart_policy = "no"
        """)
    (p.folder / "sub").mkdir()
    p.serve()
    with pytest.raises(ControlError, match="Task 'ghost' not found in config") as error:
        p.call("start", tasks=["ghost"])
    assert error.value.extra["results"][0]["error_code"] == "E200"
    assert "hint" not in error.value.extra
    with pytest.raises(ControlError, match="Task 'tt' not found in config") as error:
        p.call("stop", tasks=["tt"])
    assert error.value.extra["hint"] == "did you mean 't'?"
    p.call("stop")
    (p.folder / "sub").rmdir()
    for why in ("sub does not exist", "sub cannot be reached: File name too long"):
        with pytest.raises(ControlError, match=why):
            p.call("start", tasks=["t"])
        assert p.task("t")["state"] == "failed"
        if not (p.folder / "sub").is_symlink():
            (p.folder / "sub").symlink_to("x" * 300)


def test_the_largest_numbers_and_odd_bytes_in_a_name_hold_nobody_up(project):
    p = project("[queue]\n[tasks.t]\ncommand = 'echo one; exec sleep 600'\n").serve()
    p.call("job_dispatch", target="someone", kind="k")
    p.wait("t", lambda t: t["log_end"] == 1)
    most, least = (1 << 63) - 1, -(1 << 63)
    assert p.call("events", limit=most, after=least, since=least, until=most)["count"]
    assert not p.call("events", limit=most, after=most, since=most, until=least)["count"]
    for start in (least, most):
        p.call("log_lines", task="t", first=start, count=most)
        p.call("log_find", task="t", pattern="one", start=start, limit=most)
        p.call("log_find", task="t", pattern="one", start=start, limit=most, direction="forward")
    assert p.call("jobs", limit=most)["count"] == 1
    assert p.call("jobs", limit=most, offset=most)["count"] == 0
    assert p.call("workflows", limit=most, offset=most)["count"] == 0

    with Connection(str(paths.control_socket(p.state_dir)), client="bot \udcff", timeout=20) as bot:
        bot.call("stop", {"tasks": ["t"]})
        assert bot.call("events", {"kinds": ["task_stopped"]})["events"][0]["cause"] == "stopped by bot ?"
    log = paths.supervisor_log(p.state_dir)
    wait_until(lambda: "stopped by bot \\udcff" in log.read_text())


def test_concurrent_starts_spawn_once(project):
    p = project("""
        auto_start = false
        [tasks.t]
        command = "echo once; sleep 600"
        """).serve()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: p.call("start", tasks=["t"]), range(8)))
    wait_until(lambda: p.lines("t") == ["once"])
    assert p.task("t")["run"] == 1


def test_down_takes_the_session_away_and_the_next_start_is_a_fresh_one_that_keeps_the_log(project, sandbox):
    p = project("""
        [tasks.t]
        command = "echo one; exec sleep 600"
        """).serve()
    wait_until(lambda: p.lines("t") == ["one"])
    p.call("down")
    assert p.process.wait(20) == 0
    assert sandbox.tmux("list-sessions", check=False) == ""
    (p.state_dir / "spool" / "1.000000").touch()  # as a run that ends at once leaves it
    p.serve()
    assert p.wait("t", "running"), "the next start is a fresh one"
    wait_until(lambda: p.lines("t") == ["one", "one"])  # the output of earlier runs is kept once
    wait_until(lambda: not list((p.state_dir / "spool").glob("1.*")))


@pytest.mark.parametrize("pause", [0.02, 0.06])
def test_down_leaves_no_session_that_was_just_being_made_anew(project, sandbox, pause):
    p = project("""
        [tasks.t]
        command = "trap '' INT; sleep 0.3"
        restart_policy = "always"
        [tasks.u]
        command = "sleep 600"
        """).serve()
    p.wait("u", "running")
    down = threading.Thread(target=p.call, args=("down",))
    down.start()
    until = time.monotonic() + pause
    wait_until(lambda: time.monotonic() > until)
    sandbox.tmux("kill-session", "-t", "=proj", check=False)
    down.join(20)
    assert p.process.wait(20) == 0
    assert sandbox.tmux("list-sessions", check=False) == ""


def test_a_replica_that_is_removed_while_it_starts_is_told(project):
    p = project("""
        [tasks.w]
        command = "exec sleep 600"
        replicas = 3
        auto_start = false
        hooks.before_start = "until test -e go; do sleep 0.1; done"
        """).serve()
    told = []

    def start():
        try:
            p.call("start", tasks=["w"])
        except ControlError as error:
            told.append((error.code, error.message))

    starting = threading.Thread(target=start)
    starting.start()
    p.wait("w.3", "starting")
    p.call("scale", task="w", replicas=1)
    (p.folder / "go").touch()
    starting.join(20)
    ((code, message),) = told
    assert code == "failed"
    assert sorted(message.split("; ")) == [f"w.{n}: it was removed meanwhile" for n in (2, 3)]


def test_hooks_run_in_order_and_their_output_is_in_the_log(project):
    p = project("""
        [hooks]
        # Of all tasks one at a time, though these start at once.
        before_start = "mkdir one && sleep 0.1 && rmdir one && echo project-before $PANEVIEW_TASK"
        after_start = "mkdir two && sleep 0.1 && rmdir two && touch $PANEVIEW_TASK.started"
        after_stop = "echo project-after"
        [tasks.other]
        command = "exec sleep 600"
        [tasks.t]
        command = "echo task; exec sleep 600"
        hooks.before_start = "echo task-before"
        hooks.before_stop = "echo task-stopping"
        hooks.after_stop = "echo task-after"
        [tasks.refused]
        command = "sleep 600"
        hooks.before_start = "echo no; exit 4"
        """).serve()
    p.wait("t", "running")
    p.wait("other", "running")
    wait_until(lambda: "task" in p.lines("t"))
    for name in ("t", "other"):
        wait_until((p.folder / f"{name}.started").exists)
    p.call("stop", tasks=["t"])
    wait_until(lambda: len([line for line in p.lines("t") if not line.startswith("^C")]) == 6)
    lines = [line for line in p.lines("t") if not line.startswith("^C")]
    assert lines == [
        "project-before t",
        "task-before",
        "task",
        "task-stopping",
        "task-after",
        "project-after",
    ]
    refused = p.wait("refused", "failed")
    assert "task before_start hook failed: exit code 4: no" in refused["reason"]
    assert refused["run"] is None


def test_what_is_to_stop_waits_for_no_hook_before_its_start(project):
    asked = {"stop": "task_stopped", "kill": "task_killed"}
    p = project(
        "".join(
            f"""
        [tasks.{name}]
        command = "exec sleep 600"
        hooks.timeout = 30
        hooks.before_start = "sleep 601 & echo $! > {name}.pids; echo $$ >> {name}.pids; mv {name}.pids {name}; wait"
        """
            for name in asked
        )
    ).serve()
    hooked = [p.folder / name for name in asked]

    def in_their_hooks():
        return all(file.exists() for file in hooked)

    def hooks_live():
        return any(alive(int(pid)) for file in hooked for pid in file.read_text().split())

    wait_until(in_their_hooks)
    for name in asked:  # `stop` is stopped and `kill` is killed
        assert p.call(name, tasks=[name])["results"][0]["ok"]
        assert (p.task(name)["state"], p.task(name)["run"]) == ("stopped", None)
    assert not hooks_live()
    for file in hooked:
        file.unlink()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(p.call, "start", tasks=list(asked))
        wait_until(in_their_hooks)
        p.call("down")
    assert p.process.wait(20) == 0
    assert not hooks_live()
    p.serve()
    for name, told in asked.items():
        kinds = [event["event"] for event in p.events(task=name)]
        assert told in kinds
        assert not {"spawn_failed", "task_started"} & set(kinds)


def test_a_task_that_ends_while_a_hook_refuses_its_stop_is_stopped(project, sandbox):
    p = project("""
        [tasks.t]
        command = "until [ -e end ]; do sleep 0.1; done; exit 3"
        restart_policy = "always"
        hooks.before_stop = "touch end; until [ -e ended ]; do sleep 0.1; done; echo no; exit 1"
        """).serve()
    p.wait("t", "running")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(p.call, "stop", tasks=["t"])
        wait_until(lambda: "1" in sandbox.tmux("list-panes", "-s", "-t", "=proj:", "-F", "#{pane_dead}"))
        assert p.task("t")["state"] == "stopping"
        (p.folder / "ended").touch()
        assert answer.result()["results"] == [{"ok": True, "task": "t", "action": "stopped"}]
    task = p.task("t")
    assert (task["state"], task["exit_code"], task["manual_stop"]) == ("stopped", 3, True)
    assert "exit code 1: no" in p.events("hook_failed", "t")[0]["cause"]


def test_a_start_is_done_when_there_is_a_process_whatever_becomes_of_it(project):
    p = project("""
        [tasks.fails]
        command = "exit 3"
        restart_policy = "no"
        [tasks.old]
        command = "echo $$ > old.pid; exec sleep 600"
        restart_policy = "no"
        [tasks.new]
        command = "sleep 600"
        auto_start = false
        hooks.before_start = "until [ -e go ]; do sleep 0.1; done"
        """).serve()
    # The reply about a task that fails at once must not depend on which is quicker.
    for _ in range(10):
        p.wait("fails", "failed")
        assert p.call("start", tasks=["fails"])["results"] == [
            {"ok": True, "task": "fails", "action": "started"}
        ]
    # What ran already and ends during a start has not failed to start.
    p.wait("old", "running")
    wait_until(lambda: (p.folder / "old.pid").exists() and (p.folder / "old.pid").read_text())
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(p.call, "start", tasks=["old", "new"])
        wait_until(lambda: p.task("new")["state"] == "starting")
        os.kill(int((p.folder / "old.pid").read_text()), signal.SIGKILL)
        p.wait("old", "failed")
        (p.folder / "go").touch()
        assert all(result["ok"] for result in answer.result()["results"])


def test_what_a_task_uses_is_told_soon_after_somebody_looks_and_again_after_a_restart(project):
    one = project('[tasks.web]\ncommand = "exec sleep 1000"\n').serve()
    wait_until(lambda: one.task("web")["running"])
    with Connection(str(paths.control_socket(one.state_dir)), timeout=20) as connection:
        connection.call("subscribe", {"topics": ["state"]})
        pushes = connection.pushes()

        def used(run):
            for push in pushes:
                tasks = push["tasks"] if push["push"] == "tasks" else push["status"]["tasks"]
                if any(task["run"] == run and task["rss_bytes"] for task in tasks):
                    return

        used(1)
        one.call("stop", tasks=["web"])
        wait_until(lambda: one.task("web")["state"] == "stopped")
        time.sleep(0.6)  # a sample is used for half a second, and the next one must find nothing
        one.call("status")
        one.call("start", tasks=["web"])
        used(2)


def test_a_stop_right_after_the_start_is_heard(project):
    """The guard's shells survive an interrupt, or forget it while they fork: it is repeated until a program gets it."""
    early = {"simple": "sleep 600", "own": "echo $$; sleep 600", "parts": "sleep 600; true"}
    tasks = "".join(
        f"""
        [tasks.{name}]
        command = "{command}"
        stop_grace_period = 600
        """
        for name, command in early.items()
    )
    p = project(f"auto_start = false\n{tasks}").serve()
    moment = random.Random(7)
    names = list(early)
    for _ in range(5):
        p.call("start", tasks=names)
        time.sleep(moment.uniform(0, 0.02))  # any moment of a start: there is none to wait for
        p.call("stop", tasks=names)
    for name in names:
        ends = [(e["detail"]["exit_code"], e["detail"]["signal"]) for e in p.events("task_stopped", name)]
        # Between two parts, a shell exits with the code of the first one, here that of `echo`.
        between = {(0, None)} if name == "own" else set()
        assert len(ends) == 5
        assert set(ends) - between == {(130, 2)}, name
    for _ in range(4):
        p.call("start", tasks=names)
        time.sleep(moment.uniform(0, 0.02))  # any moment of a start: there is none to wait for
        p.call("kill", tasks=names)
    for name in names:
        ends = [(e["detail"]["exit_code"], e["detail"]["signal"]) for e in p.events("task_killed", name)]
        # A process forked while the others were killed dies of the hang-up.
        assert len(ends) == 4, name
        assert set(ends) <= {(137, 9), (129, 1)}, name
