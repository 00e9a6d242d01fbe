"""Worktrees: made, worked in, committed, never forced away; conflicts told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from paneview.rules.workflow import happenings
from paneview.workflow.reading import diff
from tests.harness import wait_until
from tests.repository import git, repository
from tests.workflow.stage import Stage, ok, stage

TREE = """
    [workflows.x]
    isolation = "worktree"
    setup = "echo $PORT > port; cat .env > seen"
    copy_files = [".env"]
    ports = ["PORT"]
    phases = [{ name = "a", role = "worker", prompt = "{{task}}", verify = "test -n \\"$PORT\\"" }]
"""


@pytest.fixture
def play(tmp_path: Path) -> Any:
    with stage(tmp_path, TREE) as one:
        (one.root / "shared.txt").write_text("one\ntwo\nthree\n")
        (one.root / ".gitignore").write_text(".env\nport\nseen\n")
        repository(one.root)
        (one.root / ".env").write_text("A=1\n")
        hook = one.root / ".git/hooks"
        hook.mkdir(exist_ok=True)
        for name in ("pre-commit", "post-checkout", "commit-msg", "post-commit"):
            (hook / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-{name}\nexit 1\n")
            os.chmod(hook / name, 0o755)
        yield one


def write(name: str, text: str) -> Any:
    def act(payload: dict[str, Any]) -> Any:
        (Path(payload["cwd"]) / name).write_text(text)
        return ok()

    return act


def test_work_ends_on_a_branch_and_leaves_nothing_else(play: Stage, tmp_path: Path) -> None:
    play.agent = write("new.txt", "new\n")
    (play.root / "mine.txt").write_text("of the user\n")
    git(play.root, "add", "mine.txt")
    before = git(play.root, "status", "--porcelain")
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one, "Add 'it'\nwith more"))
    assert flow.status == "done", flow.reason
    branch = f"paneview/{flow.id}"
    assert flow.place["branch"] == branch
    assert git(play.root, "log", "-1", "--format=%s|%an", branch).strip() == "Add 'it'|Ann"
    assert git(play.root, "show", f"{branch}:new.txt") == "new\n"
    assert git(play.root, "ls-tree", "--name-only", branch).split() == [
        ".gitignore",
        "new.txt",
        "paneview.toml",
        "shared.txt",
    ]
    assert git(play.root, "status", "--porcelain") == before
    assert not list(tmp_path.glob("hook-*"))
    assert not Path(flow.place["path"]).exists()
    assert len(git(play.root, "worktree", "list").splitlines()) == 1
    assert play.seen[0]["cwd"].startswith(str(play.state / "worktrees"))
    assert f"PORT={flow.place['ports']['PORT']}" in play.seen[0]["prompt"]
    changed = diff(flow)
    assert (changed["lines"], changed["files"]) == (1, 1)


def test_what_was_not_finished_is_salvaged_and_can_be_gone_on_with(play: Stage) -> None:
    def act(payload: dict[str, Any]) -> Any:
        place = Path(payload["cwd"])
        if payload["attempt"] == 1:
            (place / "half.txt").write_text("half\n")
            raise RuntimeError("broken")
        assert (place / "half.txt").read_text() == "half\n"
        assert (place / "port").exists()
        return ok()

    play.agent = act
    one = play.orchestrate()
    play.work("worker")
    name = play.ask(one)
    with play.connect() as broker:
        wait_until(lambda: broker.job(f"{name}-0-1") is not None)
        wait_until(lambda: (job := broker.job(f"{name}-0-1")) is not None and job.errors != ())
        broker.cancel(f"{name}-0-1")
    flow = play.until(one, name)
    assert flow.status == "failed"
    assert git(play.root, "log", "-1", "--format=%s", f"paneview/{name}").strip() == "Unfinished: do it"
    one.engine().tell(name, happenings.RetryAsked())
    one.nudge()
    assert play.until(one, name, "done").status == "done"


def test_nothing_done_leaves_no_branch(play: Stage) -> None:
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one))
    assert flow.place["branch"] == ""
    assert "paneview/" not in git(play.root, "branch", "--list", "-a")


def test_what_git_would_lose_is_kept(play: Stage) -> None:
    def act(payload: dict[str, Any]) -> Any:
        (Path(payload["cwd"]) / ".env").write_text("A=2, changed by the agent\n")
        (Path(payload["cwd"]) / "nested").mkdir()
        git(Path(payload["cwd"]) / "nested", "init", "-q")
        (Path(payload["cwd"]) / "nested/file").write_text("in a repository of its own")
        return ok()

    play.agent = act
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one))
    path = Path(flow.place["path"])
    if path.exists():
        assert "is kept" in flow.place["kept"]
        assert (path / "nested/file").exists()
    else:
        assert git(play.root, "show", f"paneview/{flow.id}:nested/file")
    assert (play.root / ".env").read_text() == "A=1\n"


def test_two_that_change_the_same_place_are_told(play: Stage) -> None:
    texts = iter(["one\nTWO\nthree\n", "one\n2\nthree\n"])

    def act(payload: dict[str, Any]) -> Any:
        return write("shared.txt", next(texts))(payload)

    play.agent = act
    text = TREE.replace('prompt = "{{task}}",', 'prompt = "{{task}}", retries = 0,')
    text = text.replace("}]", '}, { name = "b", role = "worker", prompt = "b", approve = "always" }]')
    (play.root / "paneview.toml").write_text("\n".join(line.strip() for line in text.splitlines()))
    git(play.root, "config", "core.hooksPath", "/dev/null")
    git(play.root, "commit", "-qam", "two phases")
    one = play.orchestrate()
    play.work("worker")
    first = play.ask(one)
    play.until(one, first, "waiting")
    second = play.ask(one)
    play.until(one, second, "waiting")
    wait_until(lambda: one.engine().shelf.get(second).place.get("conflicts"), 20)
    found = one.engine().shelf.get(second).place["conflicts"]
    assert found == [{"workflow": first, "branch": f"paneview/{first}", "files": ["shared.txt"]}]


def test_without_a_repository_it_says_so(tmp_path: Path) -> None:
    with stage(tmp_path, TREE) as play:
        one = play.orchestrate()
        flow = play.until(one, play.ask(one))
        assert "is in no git repository" in flow.reason
        assert flow.status == "failed"
