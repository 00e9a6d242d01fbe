"""Stops that a hook refuses: the client gets an error, the run goes on, and no one waits for its end for ever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from paneview.control.errors import ControlError
from tests.harness import alive, wait_until

BUSY = """
    [tasks.web]
    command = "exec sleep 601"
    hooks.before_stop = "test ! -e busy || { echo in the middle of it; exit 1; }"
"""
OTHER = """
    [tasks.other]
    command = "exec sleep 602"
"""
WHY = "task before_stop hook failed: exit code 1: in the middle of it"


@pytest.fixture
def busy(project):
    p = project(BUSY + OTHER).serve()
    p.wait("web", "running")
    (p.folder / "busy").touch()
    return p


def test_down_stops_the_others_and_stays_until_nothing_refuses(busy):
    web = busy.wait("web", "running")
    with pytest.raises(ControlError, match=WHY) as error:
        busy.call("down")
    assert "`paneview kill web`" in error.value.message
    assert error.value.extra["results"] == [{"ok": False, "task": "web", "action": "down", "error": WHY}]
    assert (busy.task("web")["pid"], busy.task("other")["state"]) == (web["pid"], "stopped")
    busy.call("kill", tasks=["web"])
    busy.call("down")
    assert busy.process.wait(20) == 0
    assert not alive(web["pid"])


def test_a_restart_that_kept_the_old_run_has_failed_and_a_change_held_up_is_made_by_the_next_reload(busy):
    web = busy.wait("web", "running")
    with pytest.raises(ControlError, match=WHY) as error:
        busy.call("restart", tasks=["other", "web"])
    assert [result["ok"] for result in error.value.extra["results"]] == [True, False]
    assert busy.task("web")["pid"] == web["pid"]
    (busy.folder / "busy").unlink()
    assert busy.call("restart", tasks=["web"])["results"][0]["ok"]
    assert busy.task("web")["run"] > web["run"]

    web = busy.wait("web", "running")
    (busy.folder / "busy").touch()
    changed = BUSY.replace("601", "611") + OTHER
    busy.write(changed)
    with pytest.raises(ControlError, match=WHY):
        busy.call("reload")
    assert busy.task("web")["pid"] == web["pid"]
    (busy.folder / "busy").unlink()
    assert busy.call("reload")["restarted"] == ["web"]
    assert busy.wait("web", "running")["run"] > web["run"]
    assert busy.call("reload")["changed"] == []


def test_a_task_that_left_the_file_and_refuses_to_stop_holds_up_no_reload(busy):
    web = busy.wait("web", "running")
    busy.write(OTHER)
    with pytest.raises(ControlError, match=WHY) as error:
        busy.call("reload")
    assert "`paneview kill web`" in error.value.message
    assert (busy.task("web")["pid"], busy.task("web")["state"]) == (web["pid"], "running")
    assert busy.events("change_refused", "web")[0]["cause"] == WHY
    busy.write(OTHER + '\n[tasks.new]\ncommand = "exec sleep 603"\n')
    busy.wait_for_task("new")  # the watcher applies as much as it can
    busy.wait("new", "running")
    assert busy.task("web")["pid"] == web["pid"]
    (busy.folder / "busy").unlink()
    assert busy.call("reload")["removed"] == ["web"]
    assert not alive(web["pid"])
    assert busy.events("task_removed", "web")


def test_a_task_that_has_replicas_now_and_refuses_to_stop_is_the_one_that_its_name_means(busy):
    web = busy.wait("web", "running")
    busy.write(BUSY.replace("hooks", "replicas = 2\n    hooks") + OTHER)
    with pytest.raises(ControlError, match="`paneview kill web` ends it"):
        busy.call("reload")
    replicas = [busy.wait(f"web.{number}", "running")["pid"] for number in (1, 2)]
    assert [result["task"] for result in busy.call("kill", tasks=["web"])["results"]] == ["web"]
    assert not alive(web["pid"])
    assert all(map(alive, replicas))
    assert busy.call("reload")["removed"] == ["web"]
    (busy.folder / "busy").unlink()
    assert len(busy.call("stop", tasks=["web"])["results"]) == 2


def test_a_task_that_is_started_again_meanwhile_holds_up_no_kill_and_still_leaves_the_file(project):
    p = project(
        """
        [tasks.t]
        command = "exec sleep 600"
        hooks.after_stop = "until [ -e go ]; do sleep 0.1; done"
        """
        + OTHER
    ).serve()
    first = p.wait("t", "running")
    pool = ThreadPoolExecutor(4)
    try:
        killed = pool.submit(p.call, "kill", tasks=["t"])
        p.wait("t", lambda t: (t["state"], t["reason"]) == ("stopping", "killed by cli (hooks)"))
        started = pool.submit(p.call, "start", tasks=["t"])
        p.wait("t", lambda t: not t["manual_stop"])
        (p.folder / "go").touch()
        assert started.result(20)["results"][0]["ok"]
        assert killed.result(5)["results"][0]["ok"]
        assert p.wait("t", "running")["run"] > first["run"]

        second = p.task("t")
        (p.folder / "go").unlink()
        p.write(OTHER)
        reloaded = pool.submit(p.call, "reload")
        p.wait("t", "stopping")
        pool.submit(p.call, "start", tasks=["t"])
        p.wait("t", lambda t: not t["manual_stop"])
        (p.folder / "go").touch()
        assert reloaded.result(20)["removed"] == ["t"]
        assert [task["name"] for task in p.call("status")["tasks"]] == ["other"]
        wait_until(lambda: not alive(second["pid"]))
    finally:
        p.kill_supervisor()  # this also ends requests that would never be answered
        pool.shutdown()
