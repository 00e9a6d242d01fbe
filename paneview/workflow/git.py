"""Git operations: snapshots of a folder, changes between two snapshots, conflicts between branches.

A snapshot is a tree made with an index of its own: the user's index, HEAD and hooks are never touched, and nothing is
left but objects that git itself collects. That index begins as a copy of the user's, which knows when git last saw
each file: otherwise git would read every file of the repository again, which takes tens of seconds in a large one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from paneview.worker.prompt import inherited

TIMEOUT = 120.0  # seconds for one command of git
NO_HOOKS = ("-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false", "-c", "core.fsmonitor=false",
            "-c", "core.splitIndex=false", "-c", "status.showUntrackedFiles=normal")  # fmt: skip
MOST_DIFF = 200_000  # characters of a diff in a prompt


class GitError(Exception):
    """Git refused, or is not installed; the message is git's own."""


@dataclass(frozen=True, slots=True)
class Changes:
    """How much differs between two snapshots. A binary file counts as one line."""

    lines: int
    files: int


def run(folder: str | Path, *args: str, env: Mapping[str, str] | None = None, check: bool = True) -> str:
    """The output of a git command. Raises `GitError`."""
    code, output, errors = run_code(folder, *args, env=env)
    if code and check:
        raise GitError(_complaint(errors) or f"git {args[0]} failed")
    return output


def _complaint(errors: str) -> str:
    """The error lines of git's messages, without its other output and advice."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return "; ".join([line for line in lines if line.startswith(("error:", "fatal:"))] or lines[-1:])


def run_code(folder: str | Path, *args: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, output and errors of a git command. Raises `GitError` if it can't be run."""
    told = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"}
    try:
        ended = subprocess.run(
            ["git", *NO_HOOKS, *args],
            cwd=folder,
            env={**inherited(os.environ), **told, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:  # ValueError: no text for an argument
        raise GitError(f"git {args[0]}: {error}") from error
    return ended.returncode, ended.stdout.decode("utf-8", "replace"), ended.stderr.decode("utf-8", "replace")


def top(folder: str | Path, below: str | Path = "") -> Path | None:
    """The work tree that contains the folder and is inside ``below``; None if there is none, or no git."""
    try:
        ceiling = {"GIT_CEILING_DIRECTORIES": os.fspath(below)} if below else {}
        code, output, _ = run_code(folder, "rev-parse", "--show-toplevel", env=ceiling)
    except GitError:
        return None
    return Path(output.removesuffix("\n")) if code == 0 and output else None


def need_top(folder: str | Path) -> Path:
    """The work tree that contains the folder. Raises `GitError` with the reason if there is none."""
    code, output, errors = run_code(folder, "rev-parse", "--show-toplevel")
    if code == 0 and output:
        return Path(output.removesuffix("\n"))
    if "not a git repository" in errors:
        raise GitError(f"{folder} is in no git repository: isolation needs one")
    raise GitError(_complaint(errors) or f"git finds no work tree for {folder}")


def inner(folder: str | Path) -> list[Path]:
    """The repositories within a work tree, whether submodules or cloned there, in ignored folders, too."""
    found = []
    for place, folders, files in os.walk(folder):
        if ".git" in (*folders, *files) and place != os.fspath(folder):
            found.append(Path(place))
        if ".git" in folders:
            folders.remove(".git")
    return [one for one in found if run_code(one, "rev-parse", "--resolve-git-dir", ".git")[0] == 0]


def need_worktree(path: Path, root: str | Path) -> None:
    """Raises `GitError` unless the folder is still a worktree of this repository: git would go on in any around it."""
    where = ("rev-parse", "--path-format=absolute", "--git-common-dir")
    own = run(root, *where)
    code, output, _ = run_code(path, *where, env={"GIT_CEILING_DIRECTORIES": os.fspath(path.parent)})
    if code or output != own:
        raise GitError(f"it is no worktree of {root} any more; `git worktree repair` may make it one again")


def forget_worktree(root: str | Path, path: Path) -> None:
    """Have git remove a worktree, if it knows it, and its record. Raises `GitError` if git can't be run.

    Not `git worktree prune`: that removes the records of the user's own ones, too, which may be away for a while.
    """
    run_code(root, "worktree", "remove", "--force", "--force", str(path))


def check_worktree(path: Path) -> None:
    """Raises `GitError` if removing a worktree would lose something, also in the repositories within it.

    Git's own checks are made here: it passes over what is in ignored folders, and refuses any worktree with submodules.
    """
    if os.path.exists(os.path.join(_git_dir(path), "locked")):
        raise GitError("it is locked (`git worktree unlock`)")
    repositories = inner(path)
    for folder in (path, *repositories):
        if run(folder, "status", "--porcelain", "--ignore-submodules=none"):
            raise GitError(f"{folder} has changes that are in no commit")
    for folder in repositories:
        # What is tagged was released: a clone of one tag has no branch of its remote.
        linked = os.path.exists(os.path.join(_git_dir(folder), "commondir"))
        what = ("HEAD", "--not", "--branches") if linked else ("--all", "HEAD", "--not")
        if run(folder, "rev-list", "--ignore-missing", "-n", "1", *what, "--remotes", "--tags"):
            raise GitError(f"the repository {folder.relative_to(path)} has commits that were not pushed")


def _git_dir(folder: Path) -> str:
    return run(folder, "rev-parse", "--absolute-git-dir").removesuffix("\n")


def snapshot(root: str | Path, leave_out: tuple[str, ...] = ()) -> str:
    """The tree of everything in a work tree that git does not ignore. Raises `GitError`."""
    with tempfile.TemporaryDirectory(prefix="paneview-index-") as place:
        env = {"GIT_INDEX_FILE": os.path.join(place, "index")}
        _copy_index(root, env["GIT_INDEX_FILE"])
        add_all(root, leave_out, env)
        return run(root, "write-tree", env=env).strip()


def index_lock(root: str | Path) -> Path:
    """The file that git makes while it changes the index of a work tree. Raises `GitError`."""
    return Path(root, run(root, "rev-parse", "--git-path", "index.lock").rstrip("\n"))


def _copy_index(root: str | Path, file: str) -> None:
    """Copy the user's index with its timestamp, by which git knows which files it can assume unchanged."""
    own = os.path.join(root, run(root, "rev-parse", "--git-path", "index").rstrip("\n"))
    try:
        shutil.copy2(own, file)
    except FileNotFoundError:  # nothing was added yet, or it was removed: git must read every file
        env = {"GIT_INDEX_FILE": file}
        if run_code(root, "read-tree", "HEAD", env=env)[0]:
            run(root, "read-tree", "--empty", env=env)  # nothing was committed yet
    except OSError as error:
        raise GitError(f"{own}: {error.strerror}") from error


def add_all(root: str | Path, leave_out: tuple[str, ...], env: Mapping[str, str] | None = None) -> None:
    """Add everything that is not ignored to the index, except ``leave_out`` files that are not in the last commit.

    Not done by an excluding pathspec, because git rejects one that names an ignored file. Raises `GitError`.
    """
    run(root, "add", "-A", "--sparse", env=env)  # also what is outside a sparse checkout
    for name in leave_out:
        if not knows(root, name):
            run(root, "rm", "-r", "-q", "--cached", "--sparse", "--ignore-unmatch", "--", name, env=env)


def knows(root: str | Path, name: str) -> bool:
    """Whether the last commit has a path of this name. Raises `GitError`."""
    return bool(run_code(root, "ls-tree", "HEAD", "--", name)[1])


def is_ancestor(root: str | Path, older: str, newer: str) -> bool:
    """Whether the older commit is an ancestor of the newer one. Raises `GitError`."""
    return run_code(root, "merge-base", "--is-ancestor", older, newer)[0] == 0


def changes(root: str | Path, before: str, after: str) -> Changes:
    """How much differs between two trees. Raises `GitError`."""
    lines = files = 0
    for row in run(root, "diff-tree", "-r", "-z", "--numstat", before, after).split("\0")[:-1]:
        added, removed, _ = row.split("\t", 2)
        files += 1
        lines += 1 if added == "-" else int(added) + int(removed)
    return Changes(lines, files)


def diff(root: str | Path, before: str, after: str, limit: int = MOST_DIFF) -> str:
    """The diff between two trees, cut to whole lines of ``limit`` characters at most. Raises `GitError`."""
    text = run(root, "diff-tree", "-r", "-p", "--stat", "--no-ext-diff", "--no-textconv", before, after)
    if len(text) <= limit:
        return text
    kept = text[: text.rfind("\n", 0, limit) + 1]  # half a secret would not be recognised as one
    return f"{kept}[{len(text) - len(kept)} characters left out]\n"


def commit_of(root: str | Path, tree: str, parent: str) -> str:
    """A commit of a tree on no branch, for comparing branches. Raises `GitError`."""
    names = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
             for what, value in (("NAME", "paneview"), ("EMAIL", "paneview@localhost"))}  # fmt: skip
    return run(root, "commit-tree", tree, "-p", parent, "-m", "snapshot", env=names).strip()


def conflicts(root: str | Path, ours: str, theirs: str) -> list[str]:
    """The files in which merging two commits conflicts. Raises `GitError`, also if git is older than 2.38."""
    code, output, errors = run_code(
        root, "merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", ours, theirs
    )
    if code not in (0, 1):
        raise GitError(errors.strip() or "git merge-tree failed")
    return sorted(set(output.split("\0")[1:]) - {""}) if code else []


def identity(root: str | Path) -> tuple[str, ...]:
    """Options that give commits an author if the user has not set one."""
    if run_code(root, "var", "GIT_AUTHOR_IDENT")[0] == 0:
        return ()
    return ("-c", "user.name=paneview", "-c", "user.email=paneview@localhost")
