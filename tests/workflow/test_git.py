"""What is asked of git, in repositories as people leave them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from paneview import proc
from paneview.workflow import git as ours
from paneview.workflow.git import GitError, check_worktree, need_top, run_code, snapshot, top, while_wanted
from paneview.workflow.turns import Unwanted
from tests.harness import wait_until
from tests.repository import git, repository

LONG_AGO = 1_000_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "known.txt").write_text("one\n")
    os.utime(tmp_path / "known.txt", (LONG_AGO, LONG_AGO))
    repository(tmp_path)
    return tmp_path


def shot(root: Path) -> str:
    return snapshot(root, root / ".git/state")


def of(root: Path, tree: str, name: str) -> str:
    return git(root, "show", f"{tree}:{name}")


def test_a_snapshot_reads_no_file_that_git_knows_to_be_unchanged(root: Path) -> None:
    git(root, "config", "core.trustctime", "false")
    (root / "known.txt").write_text("two\n")
    os.utime(root / "known.txt", (LONG_AGO, LONG_AGO))  # nobody could tell without reading it
    (root / "new.txt").write_text("new\n")
    tree = shot(root)
    assert (of(root, tree, "known.txt"), of(root, tree, "new.txt")) == ("one\n", "new\n")
    os.utime(root / "known.txt")
    assert of(root, shot(root), "known.txt") == "two\n"
    assert git(root, "status", "--porcelain") == " M known.txt\n?? new.txt\n"


def test_a_snapshot_of_an_index_that_is_not_there_or_not_merged(root: Path) -> None:
    git(root, "checkout", "-q", "-b", "other")
    (root / "known.txt").write_text("theirs\n")
    git(root, "commit", "-qam", "theirs")
    git(root, "checkout", "-q", "main")
    (root / "known.txt").write_text("ours\n")
    git(root, "commit", "-qam", "ours")
    with pytest.raises(Exception, match="non-zero exit status"):
        git(root, "merge", "-q", "other")
    assert "<<<<<<<" in of(root, shot(root), "known.txt")
    assert git(root, "status", "--porcelain") == "UU known.txt\n"
    (root / ".git/index").unlink()
    (root / "known.txt").write_text("mine\n")
    assert of(root, shot(root), "known.txt") == "mine\n"
    assert not (root / ".git/index").exists()


def test_a_snapshot_before_the_first_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "first.txt").write_text("first\n")
    assert of(tmp_path, shot(tmp_path), "first.txt") == "first\n"


@pytest.fixture
def with_submodule(tmp_path: Path) -> Path:
    """A worktree of a repository with a submodule, which was fetched."""
    for name in ("inner", "outer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("one\n")
        repository(tmp_path / name)
    allowed = ("-c", "protocol.file.allow=always", "submodule")
    git(tmp_path / "outer", *allowed, "add", "-q", str(tmp_path / "inner"), "in it")
    git(tmp_path / "outer", "commit", "-q", "-m", "with a submodule")
    tree = tmp_path / "tree"
    git(tmp_path / "outer", "worktree", "add", "-q", "-b", "work", str(tree))
    git(tree, *allowed, "update", "-q", "--init")
    return tree


def test_no_program_that_a_repository_within_names_is_run(with_submodule: Path, tmp_path: Path) -> None:
    """An agent that may only edit files could have written that repository."""
    (with_submodule / "in it" / ".gitattributes").write_text("* filter=mine\n")
    git(with_submodule / "in it", "config", "filter.mine.clean", f"touch {tmp_path}/ran; cat")
    os.utime(with_submodule / "in it" / "file")  # only its content tells whether it was changed
    snapshot(with_submodule, tmp_path / "state")
    with pytest.raises(GitError, match="in it has filters in its own configuration, which are not run"):
        check_worktree(with_submodule)
    assert not (tmp_path / "ran").exists()


def test_a_worktree_with_submodules_goes_if_nothing_in_it_is_lost(with_submodule: Path) -> None:
    tree = with_submodule
    (tree / "in it" / "new").write_text("new\n")
    with pytest.raises(GitError, match="has changes that are in no commit"):
        check_worktree(tree)
    git(tree / "in it", "add", "new")
    git(tree / "in it", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "new")
    git(tree, "commit", "-q", "-a", "-m", "the submodule's new commit")
    with pytest.raises(GitError, match="the repository in it has commits that were not pushed"):
        check_worktree(tree)
    git(tree / "in it", "reset", "-q", "--hard", "HEAD~1")
    git(tree, "reset", "-q", "--hard", "HEAD~1")
    check_worktree(tree)


def test_a_repository_that_git_ignores_keeps_its_worktree_unless_its_commits_are_elsewhere(
    tmp_path: Path,
) -> None:
    root, tree = tmp_path / "project", tmp_path / "tree"
    root.mkdir()
    (root / ".gitignore").write_text("build/\n")
    repository(root)
    git(root, "worktree", "add", "-q", "-b", "work", str(tree))
    own = tree / "build/own"
    own.mkdir(parents=True)
    repository(own)
    with pytest.raises(GitError, match="the repository build/own has commits that were not pushed"):
        check_worktree(tree)
    own.rename(tmp_path / "elsewhere")
    git(tree, "clone", "-q", "--", str(tmp_path / "elsewhere"), "build/clone")
    git(tree, "worktree", "add", "-q", "-b", "agents", "build/linked")
    git(tree / "build/linked", "commit", "-q", "--allow-empty", "-m", "on a branch of the repository")
    git(tree, "init", "-q", "build/empty")
    check_worktree(tree)


def test_a_folder_whose_name_ends_in_a_space_is_no_other(tmp_path: Path) -> None:
    for name in ("project", "project "):
        (tmp_path / name).mkdir()
        git(tmp_path / name, "init", "-q")
    assert top(tmp_path / "project ") == need_top(tmp_path / "project ") == tmp_path / "project "


def test_a_snapshot_has_what_is_outside_a_sparse_checkout(root: Path) -> None:
    for name in ("in/file", "out/file", "out/new"):
        if name == "out/new":
            git(root, "add", "-A")
            git(root, "commit", "-qm", "both")
            git(root, "sparse-checkout", "set", "in")
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(f"{name}\n")
    tree = shot(root)
    assert [of(root, tree, name) for name in ("out/file", "out/new")] == ["out/file\n", "out/new\n"]


def test_a_snapshot_has_the_files_of_a_repository_without_a_commit_and_line_ends_of_all_kinds(
    root: Path,
) -> None:
    git(root, "config", "core.autocrlf", "input")
    git(root, "config", "core.safecrlf", "true")
    (root / "known.txt").write_bytes(b"one\r\ntwo\n")
    (root / "own/deep").mkdir(parents=True)
    for place in (root / "own", root / "own/deep"):
        git(place, "init", "-q", "--template=")
        (place / ".git/info").mkdir()
        (place / ".git/info/exclude").write_text("*.ignored\n")
        for name in ("new.txt", "not.ignored"):
            (place / name).touch()
    (root / os.fsdecode(b"caf\xe9")).touch()
    tree = shot(root)
    names = git(root, "ls-tree", "-r", "--name-only", tree).splitlines()
    assert names == ['"caf\\351"', "known.txt", "own/deep/new.txt", "own/new.txt"]
    git(
        root / "own",
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "first",
    )
    assert "160000 commit" in git(root, "ls-tree", shot(root), "own")


def test_a_command_that_takes_too_long_or_is_not_wanted_any_more_is_ended_with_what_it_has_started(
    root: Path,
) -> None:
    slow = ("-c", "alias.slow=!sh -c 'touch began; sleep 60 & sleep 60'", "slow")
    marker = {proc.MARKER: f"test-{root.name}"}
    with pytest.raises(Unwanted), while_wanted(lambda: not (root / "began").exists()):
        run_code(root, *slow, env=marker)
    with pytest.raises(GitError, match=r"git slow took longer than 0\.1 s"), while_wanted(lambda: True, 0.1):
        run_code(root, *slow, env=marker)
    wait_until(lambda: not proc.ProcessTable.read().marked(marker[proc.MARKER]))


def test_what_a_kill_has_left_of_a_snapshot_is_cleared_away(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    for name in (f"{ended.pid}-left", f"{os.getpid()}-in-use", "foreign"):
        (tmp_path / "snapshots" / name).mkdir(parents=True)
    ours.clear(tmp_path)
    assert sorted(place.name for place in (tmp_path / "snapshots").iterdir()) == sorted(
        [f"{os.getpid()}-in-use", "foreign"]
    )
