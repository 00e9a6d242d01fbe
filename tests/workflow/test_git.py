"""What is asked of git, in repositories as people leave them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from paneview.workflow.git import snapshot
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
