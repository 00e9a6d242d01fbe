"""What went wrong elsewhere, and the test that shows the opposite here.

`LESSONS` is the list; most are shown by a test of the room they belong to, the rest by the tests below.
"""

from __future__ import annotations

import ast
import json
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from paneview.supervisor.process.logfile import SIZE as LOG_SIZE
from tests.harness import Sandbox, alive, free_port, marked, wait_until
from tests.parity.place import Place

pytestmark = pytest.mark.timeout(120)

TESTS = Path(__file__).parent.parent
HERE = "parity/test_lessons.py::"
T01, T11 = "parity/test_t01_t10.py::", "parity/test_t11_t20.py::"

# what went wrong: the tests of the opposite
LESSONS = {
    # Supervision
    "the supervisor is killed: duplicates beside orphans, or the children go down with it": [
        "chaos/test_supervisor_killed.py::test_a_few_kills",
        "supervisor/test_takeover.py::test_the_next_supervisor_finds_the_same_processes_counters_and_backoff",
    ],
    "a grandchild with a session of its own survives the stop": [
        T01 + "test_T03_stop_is_ctrl_c_then_sigterm_then_sigkill_for_the_whole_tree",
        "supervisor/test_life.py::test_stop_reaches_children_that_left_session_and_group_and_escalates_to_kill",
    ],
    "the shell is killed, the real process stays, and a duplicate starts": [
        "supervisor/test_life.py::test_a_killed_command_is_an_exit_by_signal_and_a_killed_guard_leaves_no_second_instance",
    ],
    "stop, then start: 'already running'; and the stop takes nine seconds": [
        HERE + "test_stop_is_done_when_the_last_process_is_gone_and_a_start_after_it_starts",
    ],
    "marks and counters live in one process, and another one's supervisor knows nothing of them": [
        T01 + "test_T04_restart_kill_and_what_blocks_an_automatic_restart",
        T01 + "test_T08_restarts_by_policy_with_durable_counters",
    ],
    "two supervisors for one project": [
        "cli/test_live.py::test_two_starts_at_once_make_one_supervisor",
        "supervisor/test_takeover.py::test_two_supervisors_never",
    ],
    "`bash serve.sh` is judged dead, since its pane shows a shell; a dead task is healthy for ever": [
        HERE + "test_a_shell_script_is_alive_and_a_dead_task_is_not_healthy",
    ],
    "on-failure restarts after exit 0; giving up is told at every sweep; nothing is looked at once all have exited": [
        T01 + "test_T08_restarts_by_policy_with_durable_counters",
        "supervisor/test_life.py::test_restart_policies_go_by_the_real_exit",
    ],
    "a cold start ignores the dependencies": [
        T01 + "test_T02_start_in_dependency_order",
        "supervisor/test_takeover.py::test_kill_of_the_tmux_server_is_noticed_told_and_repaired",
        "supervisor/test_takeover.py::test_both_killed_at_once",
    ],
    "a restarted daemon starts what was never started": [
        HERE + "test_a_new_supervisor_starts_nothing_that_was_not_running",
    ],
    "dependents wait for the next poll": [HERE + "test_a_chain_of_dependencies_costs_no_poll_a_link"],
    "a crash is noticed after half a minute, or restarted after a fixed second": [
        T01 + "test_T05_monitor_in_the_foreground_and_in_the_background",
        "rules/test_lifecycle.py",
    ],
    "a task that fails at once is restarted two hundred times": [
        T01 + "test_T08_restarts_by_policy_with_durable_counters",
    ],
    "one view says completed where another says failed": [HERE + "test_every_view_tells_the_same_end"],
    "a slow probe makes every reply as slow; a slow hook is reported as an error without words": [
        HERE + "test_slow_probes_and_hooks_hold_up_nobody",
        "health/test_shell.py::test_probes_run_side_by_side",
    ],
    "starts at the same time spawn twice": ["supervisor/test_life.py::test_concurrent_starts_spawn_once"],
    "the state changes before the spawn has succeeded; each failed one leaks a terminal": [
        HERE + "test_a_start_that_fails_leaves_nothing",
    ],
    "clearing a port ends its clients, the daemon, the task itself, and what others run": [
        T01 + "test_T10_whoever_has_the_port_is_ended_if_that_is_right",
        HERE + "test_a_task_keeps_its_own_port",
        "supervisor/test_ports.py::test_a_port_held_by_another_managed_task_or_by_a_client_is_left_alone",
    ],
    "stopping a project ends the user's own tmux session of that name": [
        T11 + "test_T20_a_plain_tmux_session_with_a_window_for_each_task",
        "cli/test_live.py::test_a_session_of_the_user_is_left_alone",
    ],
    "after a reboot a remembered pid belongs to somebody else, who is killed": [
        "proc/test_ids.py::test_a_later_process_of_the_same_number_is_another",
        "proc/test_ids.py::test_boot_id_names_the_boot",
    ],
    # Files and reload
    "any edit restarts everything; a broken one ends the watcher; an atomic save looks like a removal": [
        "supervisor/test_configuration.py::test_a_change_of_the_file_is_noticed_and_restarts_only_what_it_changes",
        "supervisor/test_configuration.py::test_a_broken_file_changes_nothing_and_is_told",
        T11 + "test_T18_a_changed_file_is_taken_over_and_a_broken_one_is_told",
    ],
    "a task that left the file cannot be stopped; an edited command is shown and not applied": [
        "supervisor/test_configuration.py::test_a_change_of_the_file_is_noticed_and_restarts_only_what_it_changes",
    ],
    "adding a task erases comments, or the task of that name": [
        T11 + "test_T16_add_and_remove_leave_the_rest_as_it_was",
        "config/test_edit.py::test_removing_what_was_added_gives_the_same_bytes",
    ],
    "a relative folder is the caller's; a missing one is silently another": [
        HERE + "test_folders_are_relative_to_the_file_wherever_one_stands",
        "config/test_errors.py::test_one_mistake_is_told_once",
    ],
    "negative ports, ports used twice and unknown hooks pass; errors exit with 0": [
        "config/test_errors.py::test_one_mistake_is_told_once",
        T11 + "test_T15_json_everywhere_with_documented_shapes",
    ],
    # Logs
    "the first burst is lost, and what was written right before a kill": [
        HERE + "test_the_first_burst_and_the_last_words_before_a_kill_are_kept",
        "tmux/test_spool.py::test_nothing_of_a_first_burst_is_lost",
    ],
    "the logger is looked for on PATH: installed apart from it there are no logs": [
        HERE + "test_logs_do_not_need_paneview_on_the_path",
    ],
    "following goes silent after a rotation": [HERE + "test_following_goes_on_through_rotations"],
    "a prompt without a newline never shows": [
        HERE + "test_a_prompt_shows",
        "cli/test_logs.py::test_following_shows_a_prompt_once_and_then_what_follows_it",
    ],
    "34 MB of log helper for each task": [HERE + "test_a_task_costs_little_memory_beside_its_own"],
    "the last 4 KB are unwritten when it is killed": [
        "store/test_kill.py::test_every_line_once_whatever_is_killed_when"
    ],
    "the whole event file is read again for each event": [
        "store/test_state.py::test_tens_of_thousands_of_events_slow_nothing"
    ],
    "the tool's own log grows without end": [HERE + "test_the_supervisors_own_log_is_bounded"],
    # Interfaces
    "a web page runs a command: no Origin check, no token": [
        "control/test_websocket.py::test_who_is_not_let_in",
        "control/test_websocket.py::test_without_the_token_nothing_is_answered",
        T11 + "test_T19_the_websocket_api_for_those_with_the_token",
    ],
    "success for tasks that do not exist": ["supervisor/test_web.py::test_everything_taskmux_had_and_what_it_had_not"],
    "an if-chain of 272 lines": ["test_architecture.py::test_functions_are_short"],
    "markup swallows what is data; at 80 columns all shrinks to ellipses": [
        "tui/test_around.py::test_data_is_never_taken_for_markup_or_escapes",
        "cli/test_output.py::test_a_table_fits_and_drops_columns_before_it_cuts_much",
        "cli/test_main.py::test_a_narrow_terminal_drops_columns_whole",
    ],
    "three quarters of a second for --version": ["cli/test_fast.py::test_the_version_costs_no_import"],
    "a dependency without an upper bound breaks every fresh install": [HERE + "test_majors_of_dependencies_are_capped"],
    "--json only in some places, or eaten as a value": [
        "cli/test_parser.py::test_json_may_stand_anywhere",
        "cli/test_parser.py::test_json_as_a_value_is_a_value",
    ],
    "only 127.0.0.1 is probed where the server binds ::1": [
        "health/test_http.py::test_localhost_is_both",
        "health/test_tcp.py::test_someone_there",
    ],
    # What users ask of all of them
    "state that survives; no orphans": ["chaos/test_tmux_killed.py::test_a_few_kills"],
    "copy, select and search on the screen": [
        "tui/test_logs.py::test_dragging_over_lines_copies_them",
        "tui/test_logs.py::test_search_finds_what_is_not_loaded_and_counts",
    ],
    "merged and split logs": ["cli/test_logs.py::test_all_tasks_are_interleaved_under_their_names"],
    "nobody hears of a crash": [
        "tui/test_fleet.py::test_n_goes_on_to_what_failed",
        T01 + "test_T05_monitor_in_the_foreground_and_in_the_background",
    ],
    "an agent blocked on a question, invisible among its panes": [
        "supervisor/test_asking.py::test_it_is_found_within_a_quarter_of_a_second",
        "tui/test_fleet.py::test_what_needs_input_comes_first_is_marked_and_n_goes_there",
    ],
    "projects that collide": ["tmux/test_session.py::test_two_projects_on_one_server"],
    "why isn't it running?": [
        "tui/test_fleet.py::test_w_says_why_a_task_waits",
        "rules/test_graph.py::test_what_holds_a_task_back_is_told_in_words",
        T11 + "test_T14_every_change_is_an_event_with_its_cause",
    ],
}  # fmt: skip


@pytest.mark.parametrize("lesson", LESSONS)
def test_each_lesson_has_its_test(lesson: str) -> None:
    for name in LESSONS[lesson]:
        file, _, function = name.partition("::")
        defined = {
            node.name
            for node in ast.walk(ast.parse((TESTS / file).read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert function in defined if function else defined, f"{name} is not there"


def sleeps(task: dict[str, Any]) -> bool:
    """Whether the task is `sleep` by now, and no longer the shell before it, which lets a Ctrl-C pass."""
    return bool(task["pid"]) and psutil.Process(task["pid"]).name() == "sleep"


def test_stop_is_done_when_the_last_process_is_gone_and_a_start_after_it_starts(place: Place) -> None:
    place.start("[tasks.t]\ncommand = 'exec sleep 600'\nstop_grace_period = 60\n")
    first = place.wait("t", sleeps)
    place.ask("stop", "t")  # would take a minute if it waited out the grace
    assert not alive(first["pid"])
    assert place.ask("start", "t")["tasks"] == ["t"]
    again = place.wait("t", sleeps)
    assert again["run"] > first["run"]
    stopping, stopped = place.events("task_stopping")[0], place.events("task_stopped")[0]
    assert stopped["ts"] - stopping["ts"] < 5


def test_a_shell_script_is_alive_and_a_dead_task_is_not_healthy(place: Place) -> None:
    (place.folder / "serve.sh").write_text("echo up\nwhile :; do sleep 0.1; done\n")
    place.begin("""
        [tasks.script]
        command = "bash serve.sh"
        [tasks.dead]
        command = "dash -c 'exit 3' || sh -c 'exit 3'"
        restart_policy = "no"
        """)
    place.wait("dead", "failed")
    place.wait_log("script", "up")
    health = {task["name"]: task["healthy"] for task in place.ask("health")["tasks"]}
    assert health == {"script": True, "dead": False}
    assert place.task("script")["restarts"] == 0


def test_a_new_supervisor_starts_nothing_that_was_not_running(place: Place) -> None:
    text = "[tasks.one]\ncommand = 'exec sleep 600'\n[tasks.two]\ncommand = 'exec sleep 600'\n"
    place.start(text, "one")
    place.kill_supervisor()
    place.supervise()
    assert (place.task("one")["state"], place.task("two")["state"]) == ("running", "idle")


def test_a_chain_of_dependencies_costs_no_poll_a_link(place: Place) -> None:
    text = "[tasks.t0]\ncommand = 'exec sleep 600'\nhealth_check = 'true'\n"
    for number in range(1, 10):
        text += f"[tasks.t{number}]\ncommand = 'exec sleep 600'\nhealth_check = 'true'\n"
        text += f"depends_on = ['t{number - 1}']\n"
    place.start(text)
    place.wait("t9", lambda t: t["ready"])
    started = [event["ts"] for event in place.events("task_started")]
    assert started[-1] - started[0] < 7, "nine links, each less than a second's poll"


def test_every_view_tells_the_same_end(place: Place) -> None:
    place.begin("[tasks.t]\ncommand = 'exit 3'\nrestart_policy = 'no'\n")
    status = place.wait("t", "failed")
    inspected = place.ask("inspect", "t")
    exited = place.events("task_exited")[-1]
    assert (status["exit_code"], inspected["exit_code"], exited["detail"]["exit_code"]) == (3, 3, 3)
    assert (inspected["state"], inspected["runs"][0]["exit_code"]) == ("failed", 3)
    assert "failed" in place.run("status").out
    place.ask("down")
    assert place.task("t")["exit_code"] == 3


# Others gave up at 10 s.
@pytest.mark.parametrize("patience", [1.0, pytest.param(10.5, marks=pytest.mark.chaos)])
def test_slow_probes_and_hooks_hold_up_nobody(place: Place, patience: float) -> None:
    place.start(
        """
        [tasks.probed]
        command = "exec sleep 600"
        health_check = "sleep 600"
        health_timeout = 600
        [tasks.hooked]
        command = "exec sleep 600"
        hooks.before_start = "echo prepares; until test -e go; do sleep 0.1; done"
        """,
        "probed",
    )
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(place.ask, "start", "hooked")
        place.wait("hooked", "starting")
        for _ in range(5):
            assert place.ask("status")["active_tasks"] == 1
        # Others give up and say nothing; here it is told how it went, whenever that is.
        begun = place.events("task_waiting", task="hooked")[-1]["ts"]
        wait_until(lambda: time.time() > begun + patience, 30, 0.1)
        (place.folder / "go").touch()
        assert asked.result(30)["tasks"] == ["hooked"]
    place.wait_log("hooked", "prepares")


def test_a_start_that_fails_leaves_nothing(place: Place) -> None:
    (place.folder / "sub").mkdir()
    place.start("[tasks.ok]\ncommand = 'exec sleep 600'\n[tasks.t]\ncommand = 'true'\ncwd = 'sub'\n", "ok")
    (place.folder / "sub").rmdir()
    supervisor = psutil.Process(place.supervisor())

    def left() -> tuple[int, int]:
        return len(place.sandbox.tmux("list-panes", "-s", "-t", "=shop").splitlines()), supervisor.num_fds()

    place.ask("stop", "t")
    before = left()
    for _ in range(4):
        told = place.run("start", "t", "--json")
        assert told.status == 1
        assert "sub does not exist" in json.loads(told.out)["error"]
        place.ask("stop", "t")
    assert place.task("t")["run"] is None
    wait_until(lambda: left() <= before)


def test_a_task_keeps_its_own_port(place: Place) -> None:
    port = free_port()
    listen = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(600)"
    place.start(
        f"[tasks.t]\ncommand = '''exec {sys.executable} -c \"{listen}\"'''\nport = {port}\nhealth_tcp = {port}\n"
    )
    first = place.wait("t", lambda t: t["healthy"])
    place.ask("start")
    place.ask("start", "t")
    assert place.task("t")["pid"] == first["pid"]
    place.ask("restart", "t")
    again = place.wait("t", lambda t: t["healthy"] and t["run"] > first["run"])
    assert alive(again["pid"])
    assert alive(place.supervisor())
    assert not place.events("port_cleared")


def test_folders_are_relative_to_the_file_wherever_one_stands(place: Place) -> None:
    (place.folder / "a/b").mkdir(parents=True)
    place.write("[tasks.t]\ncommand = 'pwd'\ncwd = 'a'\n")
    place.run("start", "--file", str(place.folder / "paneview.toml"))
    place.wait_log("t", str(place.folder / "a"))
    below = Place.__new__(Place)
    below.sandbox, below.folder = place.sandbox, place.folder / "a/b"
    assert below.task("t")["cwd"] == str(place.folder / "a")
    place.write("[tasks.t]\ncommand = 'pwd'\ncwd = 'nowhere'\n")
    assert "nowhere" in place.ask("check", status=2)["error"]


def test_the_first_burst_and_the_last_words_before_a_kill_are_kept(place: Place) -> None:
    place.start("""
        [tasks.burst]
        command = "seq 1 2000"
        [tasks.killed]
        command = "seq 1 300000; touch written; exec sleep 600"
        """)
    wait_until((place.folder / "written").exists, 40)
    place.ask("kill", "killed")
    # Its own shell may have said "Killed" before it was killed itself.
    place.wait("killed", lambda t: t["log_end"] >= 300_000)
    last = [entry for entry in place.ask("logs", "killed", "-n", "5")["entries"] if entry["text"] == "300000"]
    assert last[0]["n"] == 299_999
    place.wait_log("burst", *(str(number) for number in range(1, 2001)))


def test_logs_do_not_need_paneview_on_the_path(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    place.start("[tasks.t]\ncommand = 'echo here; exec sleep 600'\n")
    place.wait_log("t", "here")


def test_following_goes_on_through_rotations(place: Place) -> None:
    place.start("""
        [tasks.t]
        command = "until test -e go; do sleep 0.1; done; seq 100000 159999; echo the end; exec sleep 600"
        log_max_size = "50KB"
        log_max_files = 1
        log_file = "t.log"
        """)
    with place.following("logs", "t", "-f") as follower:
        assert follower.stdout
        (place.folder / "go").touch()
        while not follower.stdout.readline().endswith(" the end\n"):
            pass
    wait_until(lambda: len(place.log("t")) < 60_000)


def test_a_prompt_shows(place: Place) -> None:
    place.start(
        '[tasks.t]\ncommand = \'printf "Password: "; read answer; echo "got $answer"; exec sleep 600\'\n'
    )
    place.wait_log("t", "Password: ")


def test_a_task_costs_little_memory_beside_its_own(place: Place, sandbox: Sandbox) -> None:
    place.start("".join(f"[tasks.t{number}]\ncommand = 'exec sleep 600'\n" for number in range(5)))
    for number in range(5):
        place.wait(f"t{number}", "running")
    own = {place.supervisor(), place.sandbox.tmux_server_pid()}
    helpers = [
        one for one in marked(sandbox.marker) if one.pid not in own and one.name() not in {"sleep", "tail"}
    ]
    assert not [one for one in helpers if "python" in one.name()], "no interpreter for a task"
    assert sum(one.memory_full_info().uss for one in helpers) < 5 * 3_000_000


def test_the_supervisors_own_log_is_bounded(place: Place) -> None:
    place.start("[tasks.t]\ncommand = 'exec sleep 600'\nhealth_check = 'true'\nhealth_interval = 0.05\n")
    place.wait("t", lambda t: t["healthy"])
    (log,) = wait_until(lambda: list(place.sandbox.home.glob("*/supervisor.log*")))
    wait_until(lambda: "task_ready t" in log.read_text())  # the last that is to be told
    logs = [log]
    before = log.stat().st_size
    probe = place.ask("inspect", "t")["probe"]
    for _ in range(5):  # looking at it, and its probes, say nothing
        place.ask("status")
    wait_until(lambda: place.ask("inspect", "t")["probe"] != probe)
    assert sum(path.stat().st_size for path in logs) == before
    assert LOG_SIZE <= 4 * 1024 * 1024
    place.kill_supervisor()
    logs[0].write_bytes(b"x\n" * (LOG_SIZE // 2))
    place.supervise()
    assert place.ask("restart", "t")["ok"]
    assert (logs[0].stat().st_size, logs[0].with_suffix(".log.1").exists()) < (LOG_SIZE, True)


def test_majors_of_dependencies_are_capped() -> None:
    project = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    for line in [*project["dependencies"], *extras]:
        assert "<" in line or line.startswith("paneview["), f"{line} has no upper bound"
