"""What is asked of git, in repositories as people leave them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from paneview.workflow.git import GitError, check_worktree, need_top, snapshot, top
from tests.repository import git, repository

LONG_AGO = 1_000_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "known.txt").write_text("one\n")
    os.utime(tmp_path / "known.txt", (LONG_AGO, LONG_AGO))
    repository(tmp_path)
    return tmp_path


def of(root: Path, tree: str, name: str) -> str:
    return git(root, "show", f"{tree}:{name}")


def test_a_snapshot_reads_no_file_that_git_knows_to_be_unchanged(root: Path) -> None:
    git(root, "config", "core.trustctime", "false")
    (root / "known.txt").write_text("two\n")
    os.utime(root / "known.txt", (LONG_AGO, LONG_AGO))  # nobody could tell without reading it
    (root / "new.txt").write_text("new\n")
    tree = snapshot(root)
    assert (of(root, tree, "known.txt"), of(root, tree, "new.txt")) == ("one\n", "new\n")
    os.utime(root / "known.txt")
    assert of(root, snapshot(root), "known.txt") == "two\n"
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
    assert "<<<<<<<" in of(root, snapshot(root), "known.txt")
    assert git(root, "status", "--porcelain") == "UU known.txt\n"
    (root / ".git/index").unlink()
    (root / "known.txt").write_text("mine\n")
    assert of(root, snapshot(root), "known.txt") == "mine\n"
    assert not (root / ".git/index").exists()


def test_a_snapshot_before_the_first_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "first.txt").write_text("first\n")
    assert of(tmp_path, snapshot(tmp_path), "first.txt") == "first\n"


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
    tree = snapshot(root)
    assert [of(root, tree, name) for name in ("out/file", "out/new")] == ["out/file\n", "out/new\n"]
