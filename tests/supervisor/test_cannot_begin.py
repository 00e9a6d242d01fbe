"""A supervisor that cannot take charge says why and ends: under systemd it would stay "active" and do nothing."""

from __future__ import annotations

from paneview.config import paths
from tests.harness import Sandbox

TEXT = """
    [tasks.web]
    command = "exec sleep 601"
"""


def test_a_session_of_that_name_which_is_another_s(project, sandbox: Sandbox) -> None:
    p = project(TEXT)
    sandbox.tmux("new-session", "-d", "-s", "proj", "exec sleep 602")
    p.begin_serving()
    assert p.process.wait(20) == 1
    assert "a tmux session named 'proj' exists and is not this project's" in p.supervisor_log()
    sandbox.tmux("kill-session", "-t", "proj")
    p.serve()
    p.wait("web", "running")


def test_a_place_of_its_own_that_something_else_has_taken(project) -> None:
    p = project(TEXT)
    for place in (paths.logs_db, paths.control_socket):
        taken = place(paths.make_project_dir(p.file, "proj"))
        taken.mkdir()
        p.begin_serving()
        assert p.process.wait(20) == 1
        assert f"cannot supervise {p.file}: " in p.supervisor_log()
        assert str(taken) in p.supervisor_log()
        taken.rmdir()
    p.serve()
    p.wait("web", "running")
