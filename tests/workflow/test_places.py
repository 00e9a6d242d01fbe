"""Worktrees: made, worked in, committed, never forced away; conflicts told."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paneview import proc
from paneview.rules.workflow import begin, events
from paneview.workflow import engine
from paneview.workflow.places import Places, free_ports
from paneview.workflow.reading import NothingToSee, diff
from paneview.workflow.shell import Shell
from paneview.workflow.turns import Turns, Unwanted, alone
from paneview.workflow.views import summary
from tests.broker.helpers import Later
from tests.harness import wait_until
from tests.repository import git, repository
from tests.workflow.stage import Stage, failed, ok, stage

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
    changed = diff(flow, play.state)
    assert (changed["lines"], changed["files"]) == (1, 1)
    git(play.root, "branch", "-D", branch)
    assert diff(flow, play.state) == changed
    git(play.root, "gc", "-q", "--prune=now")
    with pytest.raises(NothingToSee, match=f"the branch {branch} of {flow.id} is not there any more"):
        diff(flow, play.state)
    flow.place.clear()
    with pytest.raises(NothingToSee, match='that takes git, and isolation = "worktree" or'):
        diff(flow, play.state)


def test_a_git_hook_it_was_started_from_is_not_meant(play: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    own = play.root / ".git"
    for name, value in (
        ("DIR", own),
        ("INDEX_FILE", own / "index"),
        ("WORK_TREE", play.root),
        ("AUTHOR_NAME", "Eve"),
    ):
        monkeypatch.setenv(f"GIT_{name}", str(value))
    again_with(play, setup='"echo made > made.txt; git add made.txt"')
    play.agent = write("new.txt", "new\n")
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one))
    assert flow.status == "done", flow.reason
    assert git(play.root, "log", "-1", "--format=%an", f"paneview/{flow.id}").strip() == "Eve"
    assert git(play.root, "diff", "--cached", "--name-only") == ""


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
    one.engine().tell(name, events.RetryAsked())
    one.nudge()
    assert play.until(one, name, "done").place["ports"] == flow.place["ports"]


@pytest.mark.parametrize(
    "odd", ["a \0 in it", "half an emoji: \ud83d", "long " * 40_000], ids=["nul", "half", "long"]
)
def test_what_no_argument_can_hold_keeps_no_work_from_being_committed(play: Stage, odd: str) -> None:
    def act(payload: dict[str, Any]) -> Any:
        write("new.txt", "new\n")(payload)
        return failed("failed", error=odd)

    play.agent = act
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one, odd))
    assert (flow.status, flow.place["kept"]) == ("failed", "")
    assert git(play.root, "show", f"{flow.place['commit']}:new.txt") == "new\n"


def test_nothing_done_leaves_no_branch(play: Stage) -> None:
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one))
    assert flow.place["branch"] == ""
    assert "paneview/" not in git(play.root, "branch", "--list", "-a")


def test_a_worktree_that_its_agent_has_removed_leaves_no_branch(play: Stage) -> None:
    def act(payload: dict[str, Any]) -> Any:
        shutil.rmtree(payload["cwd"])
        return ok()

    play.agent = act
    again_with(play, phases='[{ name = "a", role = "worker", prompt = "{{task}}" }]')
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one))
    assert (flow.status, flow.place["branch"], flow.place["kept"]) == ("done", "", "")
    assert "paneview/" not in git(play.root, "branch", "--list", "-a")
    assert len(git(play.root, "worktree", "list").splitlines()) == 1


def test_a_repository_around_the_state_folder_is_never_meant(play: Stage, tmp_path: Path) -> None:
    def act(payload: dict[str, Any]) -> Any:
        (Path(payload["cwd"]) / ".git").unlink()
        return write("new.txt", "new\n")(payload)

    play.agent = act
    (tmp_path / "staged").write_text("by the user\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "staged")
    before = git(tmp_path, "status", "--porcelain", "-uno")
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one))
    assert "it is no worktree of" in flow.place["kept"]
    assert (Path(flow.place["path"]) / "new.txt").exists()
    assert git(tmp_path, "status", "--porcelain", "-uno") == before


def commits(place: Path, name: str) -> None:
    """Have git, without the user's hooks, commit a new file."""
    (place / name).write_text("hours of work\n")
    git(place, "add", name)
    git(place, "-c", "core.hooksPath=/dev/null", "commit", "-qm", name)


@pytest.mark.parametrize("away", [("--detach",), ("-b", "feature")])
def test_what_an_agent_commits_off_its_branch_comes_to_it(play: Stage, away: tuple[str, ...]) -> None:
    def act(payload: dict[str, Any]) -> Any:
        place = Path(payload["cwd"])
        git(place, "-c", "core.hooksPath=/dev/null", "checkout", "-q", *away)
        commits(place, "precious.txt")
        return ok()

    play.agent = act
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one))
    assert flow.place["branch"] == f"paneview/{flow.id}"
    assert git(play.root, "show", f"{flow.place['branch']}:precious.txt") == "hours of work\n"
    assert diff(flow, play.state)["files"] == 1
    assert not Path(flow.place["path"]).exists()


def test_a_head_that_does_not_follow_from_the_branch_is_kept(play: Stage) -> None:
    def act(payload: dict[str, Any]) -> Any:
        place = Path(payload["cwd"])
        start = git(place, "rev-parse", "HEAD").strip()
        commits(place, "on-the-branch.txt")
        git(place, "-c", "core.hooksPath=/dev/null", "checkout", "-q", "--detach", start)
        (place / "elsewhere.txt").write_text("not committed\n")
        return ok()

    play.agent = act
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one))
    assert "does not follow from it" in flow.place["kept"]
    assert (Path(flow.place["path"]) / "elsewhere.txt").exists()
    assert git(play.root, "show", f"paneview/{flow.id}:on-the-branch.txt")


def test_a_merge_that_an_agent_left_in_conflict_is_not_committed(play: Stage) -> None:
    def act(payload: dict[str, Any]) -> Any:
        place = Path(payload["cwd"])
        for branch, text in (("one", "1\n"), ("two", "2\n")):
            git(place, "-c", "core.hooksPath=/dev/null", "checkout", "-q", "-b", branch, "main")
            (place / "shared.txt").write_text(text)
            git(place, "-c", "core.hooksPath=/dev/null", "commit", "-qam", branch)
        with pytest.raises(subprocess.CalledProcessError):
            git(place, "-c", "core.hooksPath=/dev/null", "merge", "one")
        return ok()

    play.agent = act
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one))
    assert "a merge in it has conflicts" in flow.place["kept"]
    assert git(Path(flow.place["path"]), "log", "-1", "--format=%s") == "two\n"


def test_what_git_would_lose_is_kept(play: Stage) -> None:
    def act(payload: dict[str, Any]) -> Any:
        (Path(payload["cwd"]) / "nested").mkdir()
        git(Path(payload["cwd"]) / "nested", "init", "-q")
        (Path(payload["cwd"]) / "nested/file").write_text("in a repository of its own")
        return ok()

    play.agent = act
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one))
    assert "/nested has changes that are in no commit" in flow.place["kept"]
    assert summary(flow)["kept"] == flow.place["kept"]
    assert (Path(flow.place["path"]) / "nested/file").exists()
    shutil.rmtree(Path(flow.place["path"]) / "nested/.git")
    one.engine().tell(flow.id, events.RetryAsked())
    one.nudge()
    wait_until(lambda: not one.engine().shelf.get(flow.id).place["kept"])
    assert play.until(one, flow.id).status == "done"
    assert git(play.root, "show", f"paneview/{flow.id}:nested/file")
    assert len(play.seen) == 1


@pytest.mark.parametrize("left", [False, True])
def test_a_lock_of_a_git_that_was_killed_is_in_nobodys_way(play: Stage, left: bool) -> None:
    """Unless somebody is still there, whose it may be."""
    process: list[int] = []

    def act(payload: dict[str, Any]) -> Any:
        place = Path(payload["cwd"])
        (place / "new.txt").write_text("new\n")
        Path(place, git(place, "rev-parse", "--git-path", "index.lock").strip()).touch()
        if left:
            process.append(int(subprocess.check_output(["sh", "-c", "sleep 60 >&- & echo $!"], cwd=place)))
        return ok()

    play.agent = act
    one = play.orchestrate()
    play.work("worker")
    try:
        flow = play.until(one, play.ask(one))
        assert ("index.lock': File exists" in flow.place["kept"], Path(flow.place["path"]).exists()) == (
            left,
            left,
        )
        if not left:
            assert git(play.root, "show", f"paneview/{flow.id}:new.txt") == "new\n"
    finally:
        for pid in process:
            os.kill(pid, signal.SIGKILL)


def test_a_copy_that_the_agent_has_changed_is_kept(play: Stage) -> None:
    play.agent = write(".env", "A=1\nB=of the agent\n")
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one))
    assert ".env, which git does not know, was changed there" in flow.place["kept"]
    assert (Path(flow.place["path"]) / ".env").read_text() == "A=1\nB=of the agent\n"
    assert (play.root / ".env").read_text() == "A=1\n"


@pytest.mark.parametrize("linked", [False, True])
def test_what_an_agent_did_to_a_folder_of_copies_costs_no_file(play: Stage, *, linked: bool) -> None:
    def act(payload: dict[str, Any]) -> Any:
        conf = Path(payload["cwd"], "conf")
        if linked:
            shutil.rmtree(conf)
            conf.symlink_to(play.root / "conf")
        else:
            (conf / "new").write_text("of the agent\n")
        return ok()

    play.agent = act
    (play.root / "conf").mkdir()
    (play.root / "conf/.env").write_text("A=1\n")
    git(play.root, "config", "status.showUntrackedFiles", "no")
    again_with(play, copy_files='[".env", "conf/.env"]' if linked else '[".env", "conf"]')
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one))
    assert (play.root / "conf/.env").read_text() == "A=1\n"
    assert linked or (Path(flow.place["path"]) / "conf/new").exists()


def again_with(play: Stage, **settings: str) -> None:
    """Another value for settings of the workflow."""
    lines = [line.strip() for line in TREE.splitlines()]
    lines = [next((f"{key} = {value}" for key, value in settings.items() if line.startswith(f"{key} ")), line)
             for line in lines]  # fmt: skip
    (play.root / "paneview.toml").write_text("\n".join(lines))


def test_a_copy_that_only_the_setup_has_changed_is_not_kept(play: Stage) -> None:
    again_with(play, setup='"echo PORT=$PORT >> .env"')
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one))
    assert flow.place["kept"] == ""
    assert not Path(flow.place["path"]).exists()


def test_a_setup_that_failed_leaves_nothing_and_begins_anew(play: Stage) -> None:
    again_with(play, setup='"sh setup.sh"')
    git(play.root, "config", "core.hooksPath", "/dev/null")
    (play.root / "setup.sh").write_text("echo half > half.txt; exit 3\n")
    git(play.root, "add", "-A")
    git(play.root, "commit", "-qm", "a set-up that is broken")
    one = play.orchestrate()
    play.work("worker")
    name = play.ask(one)
    flow = play.until(one, name)
    assert "'sh setup.sh' ended with 3" in flow.reason
    assert not list((play.state / "worktrees").iterdir())
    assert "paneview/" not in git(play.root, "branch", "--list", "-a")
    (play.root / "setup.sh").write_text("exit 0\n")
    git(play.root, "commit", "-qam", "mended")
    play.agent = write("new.txt", "new\n")
    one.engine().tell(name, events.RetryAsked())
    one.nudge()
    assert play.until(one, name, "done").place["base"] == git(play.root, "rev-parse", "HEAD").strip()
    assert git(play.root, "ls-tree", "--name-only", f"paneview/{name}", "half.txt") == ""


def test_a_port_of_before_is_given_again_only_if_it_is_free() -> None:
    before = free_ports(["PORT"], [], {})
    assert free_ports(["PORT"], [], before) == before
    assert free_ports(["PORT"], before.values(), before) != before  # another workflow's by now
    with socket.socket() as other:
        other.bind(("127.0.0.1", before["PORT"]))
        other.listen()
        assert free_ports(["PORT"], [], before) != before


def test_a_worktree_of_the_user_that_is_away_for_a_while_stays_known(play: Stage, tmp_path: Path) -> None:
    """On a drive, for one, that is not mounted now."""
    own, away = tmp_path / "own", tmp_path / "away"
    git(play.root, "-c", "core.hooksPath=/dev/null", "worktree", "add", "-q", "-b", "mine", str(own))
    own.rename(away)
    again_with(play, phases='[{ name = "a", role = "worker", prompt = "{{task}}" }]')
    play.agent = lambda payload: shutil.rmtree(payload["cwd"]) or ok()  # type: ignore[func-returns-value]
    one = play.orchestrate()
    play.work("worker")
    flow = play.until(one, play.ask(one))
    assert (flow.status, flow.place["branch"]) == ("done", "")
    away.rename(own)
    assert git(own, "branch", "--show-current") == "mine\n"


def test_cancelled_while_it_is_set_up_nothing_is_left(play: Stage) -> None:
    again_with(play, setup='"touch began; sleep 300"')
    one = play.orchestrate()
    name = play.ask(one)
    wait_until((play.state / "worktrees" / name / "began").exists, 20)
    one.engine().tell(name, events.CancelAsked("not needed"))
    one.nudge()
    assert play.until(one, name).status == "cancelled"
    assert not list((play.state / "worktrees").iterdir())
    assert "paneview/" not in git(play.root, "branch", "--list", "-a")


def test_a_checkout_that_takes_its_time_ends_with_its_workflow_or_its_supervisor(
    play: Stage, tmp_path: Path
) -> None:
    def fails(payload: dict[str, Any]) -> Any:
        write("new.txt", "new\n")(payload)
        return failed("failed")

    play.agent = fails
    one = play.orchestrate()
    play.work("worker")
    again = play.until(one, play.ask(one)).id
    git(play.root, "config", "filter.slow.smudge", f"touch {tmp_path}/$PANEVIEW_RUN; sleep 300")
    tip = git(play.root, "rev-parse", f"paneview/{again}")
    (play.root / ".git/info").mkdir()
    (play.root / ".git/info/attributes").write_text("shared.txt filter=slow\n")
    one.engine().tell(again, events.RetryAsked())
    one.nudge()
    for name in (again, play.ask(one)):
        wait_until((tmp_path / f"workflow-setup-{name}").exists)
        one.engine().tell(name, events.CancelAsked("not needed"))
        one.nudge()
        flow = play.until(one, name)
        assert (flow.status, flow.place.get("kept")) == ("cancelled", "")
    assert not list((play.state / "worktrees").iterdir())
    assert git(play.root, "branch", "--list", "paneview/*", "--format=%(objectname)") == tip
    name = play.ask(one)
    wait_until((tmp_path / f"workflow-setup-{name}").exists)
    one.end()
    wait_until(lambda: not proc.ProcessTable.read().marked(f"workflow-setup-{name}"))


SLOW = '"touch ../began-$PANEVIEW_WORKFLOW; until test -e ../go; do sleep 0.1; done"'


def test_a_set_up_keeps_no_other_workflow_waiting(play: Stage) -> None:
    again_with(play, setup=SLOW)
    one = play.orchestrate()
    play.work("worker")
    names = [play.ask(one), play.ask(one)]
    folder = play.state / "worktrees"
    for name in names:
        wait_until((folder / f"began-{name}").exists, 20)
    (folder / "go").touch()
    assert [play.until(one, name).status for name in names] == ["done", "done"]


def test_a_set_up_that_a_killed_supervisor_has_left_is_ended_first(play: Stage) -> None:
    again_with(play, setup='"true"')
    flow = begin(
        "x-1", play.home().project.workflows["x"], "t", cwd=str(play.root), home="h", by="me", now=0.0
    )
    folder = play.state / "worktrees" / flow.id
    git(
        play.root,
        "-c",
        "core.hooksPath=/dev/null",
        "worktree",
        "add",
        "-b",
        f"paneview/{flow.id}",
        str(folder),
    )
    busy = "while :; do mkdir -p d/$((i = i % 100 + 1)) && echo x > d/$i/f; done 2>/dev/null"
    with subprocess.Popen(
        ["sh", "-c", busy], cwd=folder, env={**os.environ, proc.MARKER: f"workflow-setup-{flow.id}"}
    ) as left:
        try:
            wait_until((folder / "d/100/f").exists)
            place = Places(folder.parent, Turns()).make(flow, Shell(os.environ), [], lambda: True)
            assert left.wait(5) == -signal.SIGKILL
            # As after a kill just before the place was recorded: it was set up for these ports.
            again = Places(folder.parent, Turns()).make(flow, Shell(os.environ), [], lambda: True)
            assert again["ports"] == place["ports"]
        finally:
            left.kill()
    assert not (Path(place["path"]) / "d").exists()


def test_a_supervisor_that_was_stopped_meanwhile_makes_and_clears_no_place_of_another(play: Stage) -> None:
    again_with(play, setup=f'"echo >> ../count; {SLOW[1:-1]}"')
    plan = play.home().project.workflows["x"]
    flow = begin("x-1", plan, "t", cwd=str(play.root), home="h", by="me", now=0.0)
    folder = play.state / "worktrees"
    one, other = (Places(folder, Turns()) for _ in range(2))
    due, asked = True, threading.Event()

    def wanted() -> bool:
        asked.set()
        return due

    first = Later(lambda: one.make(flow, Shell(os.environ), [], lambda: True))
    wait_until((folder / f"began-{flow.id}").exists)
    second = Later(lambda: other.make(flow, Shell(os.environ), [], wanted))
    assert asked.wait(20)
    (folder / "go").touch()
    assert first.result()["ports"] == second.result()["ports"]
    assert (folder / "count").read_text() == "\n"
    due = False  # another one has done it, and agents are at work there again
    with pytest.raises(Unwanted):
        other.close(replace(flow, place=first.result()), wanted)
    assert (folder / flow.id).is_dir()
    assert not list((play.root / ".git").glob("*.lock"))


def test_a_repository_where_nothing_can_be_locked_has_places_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_args: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("paneview.agents.folder.fcntl.flock", lacking)
    with alone(tmp_path / "a.lock", lambda: True):
        assert (tmp_path / "a.lock").exists()
    assert not list(tmp_path.iterdir())


HALF = """#!/bin/sh
case "$*" in *"worktree remove"*)
    for path in "$@"; do :; done
    rm "$path/shared.txt"
    kill -9 $$
esac
exec %s "$@"
"""


def test_what_an_interrupted_removal_has_already_removed_is_no_work(
    play: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again_with(play, setup='"true"')
    flow = begin(
        "x-2", play.home().project.workflows["x"], "t", cwd=str(play.root), home="h", by="me", now=0.0
    )
    places = Places(play.state / "worktrees", Turns())
    flow = replace(flow, place=places.make(flow, Shell(os.environ), [], lambda: True), ending="done")
    path, tip = Path(str(flow.place["path"])), f"paneview/{flow.id}"
    (path / "new.txt").write_text("new\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text(HALF % shutil.which("git"))
    (tmp_path / "bin/git").chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        assert places.close(flow, lambda: True)["kept"]
    assert not (path / "shared.txt").exists()
    assert places.close(flow, lambda: True)["kept"] == ""
    assert not path.exists()
    assert git(play.root, "diff", "--name-status", "main", tip) == "A\tnew.txt\n"


def test_a_set_up_that_was_called_off_before_its_turn_never_begins(
    play: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "THREADS", 1)
    again_with(play, setup=SLOW)
    one = play.orchestrate()
    play.work("worker")
    first = play.ask(one)
    folder = play.state / "worktrees"
    wait_until((folder / f"began-{first}").exists, 20)
    second = play.ask(one)
    one.engine().tell(second, events.CancelAsked("not needed"))
    (folder / "go").touch()
    assert play.until(one, first).status == "done"
    assert play.until(one, second).status == "cancelled"
    assert not (folder / f"began-{second}").exists()


def test_a_worktree_that_somebody_removed_is_set_up_again(play: Stage) -> None:
    seen = []

    def act(payload: dict[str, Any]) -> Any:
        place = Path(payload["cwd"])
        seen.append((place / "port").exists() and (place / ".env").exists())
        (place / ".env").write_text("changed, so it is kept")
        return ok()

    play.agent = act
    one = play.orchestrate()
    play.work("worker")
    name = play.ask(one)
    flow = play.until(one, name)
    assert flow.place["kept"]
    git(play.root, "worktree", "remove", "--force", flow.place["path"])
    one.engine().tell(name, events.RetryAsked(0))
    one.nudge()
    wait_until(lambda: len(seen) == 2, 20)
    play.until(one, name)
    assert seen == [True, True]


def test_two_that_change_the_same_place_are_told(play: Stage) -> None:
    texts = iter(["one\nTWO\nthree\n", "one\n2\nthree\n"])

    def act(payload: dict[str, Any]) -> Any:
        return write("shared.txt", next(texts))(payload) if payload["phase"] == "a" else ok()

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
    for name, other in ((first, second), (second, first)):
        one.engine().tell(name, events.Approved())
        one.nudge()
        told = play.until(one, name).place["conflicts"]
        assert told == [{"workflow": other, "branch": f"paneview/{other}", "files": ["shared.txt"]}]


def test_where_no_worktree_can_be_made_it_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(tmp_path, TREE) as play:
        one = play.orchestrate()

        def why(folder: Path = play.root) -> str:
            flow = play.until(one, play.ask(one, cwd=folder))
            assert flow.status == "failed"
            return flow.reason

        assert "is in no git repository" in why()
        git(play.root, "init", "-q")
        assert "has no commit yet" in why()
        (play.root / ".env").write_text("A=1\n")
        repository(play.root)
        (play.root / "new").mkdir()
        assert "/new is not in the last commit" in why(play.root / "new")
        assert not list((play.state / "worktrees").iterdir())
        (play.root / ".git/config").write_text("[core\n")
        assert "bad config line 1" in why()
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "No such file or directory: 'git'" in why()
