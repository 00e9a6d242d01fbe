"""Changing the project while it runs: reload by hand and by itself, replicas, schedules; and secrets stay secret."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from paneview.control.errors import ControlError
from paneview.control.session import ClientInfo
from paneview.rules.states import TaskPhase
from tests.harness import Sandbox, alive, eventually, free_port, wait_until
from tests.supervisor.inprocess import supervising

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
    wait_until(lambda: "exit code 1" in p.task("app")["reason"])
    pid = p.wait("web", "running")["pid"]
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
