"""Git operations: snapshots of a folder, changes between two snapshots, conflicts between branches.

A snapshot is a tree made with an index of its own: the user's index, HEAD and hooks are never touched, and nothing is
left but objects that git itself collects. That index begins as a copy of the user's, which knows when git last saw
each file: otherwise git would read every file of the repository again, which takes tens of seconds in a large one.

An agent that may only edit files could still write a repository whose configuration names programs, and they would
run with the user's rights. So no command goes into the repositories within a work tree by itself (`git add` and `git
status` do, to see whether a submodule has changes), and nothing but a checkout or a merge fetches what a clone lacks.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from paneview import proc
from paneview.worker.prompt import inherited
from paneview.workflow.turns import check

TIMEOUT = 120.0  # seconds for one command of git
LONGEST = 3600.0  # seconds for one that makes, commits or removes a whole worktree
PATIENCE = 3.0  # seconds from SIGTERM, on which git removes its locks, to SIGKILL
_LOOK = 0.1
NO_HOOKS = ("-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false", "-c", "core.fsmonitor=false",
            "-c", "core.splitIndex=false", "-c", "status.showUntrackedFiles=normal")  # fmt: skip
MOST_DIFF = 200_000  # characters of a diff in a prompt
SCRATCH = "snapshots"
_FETCHING = frozenset({"reset", "merge-tree"})
_limits: ContextVar[tuple[Callable[[], bool], float]] = ContextVar("limits", default=(lambda: True, TIMEOUT))


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
    if code < 0:
        raise GitError(f"git {args[0]} was killed by signal {-code}")
    if code and check:
        raise GitError(_complaint(errors) or f"git {args[0]} failed")
    return output


def _complaint(errors: str) -> str:
    """The error lines of git's messages, without its other output and advice."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return "; ".join([line for line in lines if line.startswith(("error:", "fatal:"))] or lines[-1:])


def run_code(folder: str | Path, *args: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, output and errors of a git command. Raises `GitError` if it can't be run, and `Unwanted`."""
    code, output, errors = _call(folder, args, env)
    return code, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace")


@contextmanager
def while_wanted(wanted: Callable[[], bool], seconds: float = TIMEOUT) -> Iterator[None]:
    """Within the block, each command may take this long, and is ended by `Unwanted` once it is not ``wanted``."""
    token = _limits.set((wanted, seconds))
    try:
        yield
    finally:
        _limits.reset(token)


def _call(
    folder: str | Path,
    args: tuple[str, ...],
    env: Mapping[str, str] | None = None,
    given: bytes | None = None,
) -> tuple[int, bytes, bytes]:
    told = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"}
    told |= {} if args[0] in _FETCHING else {"GIT_ALLOW_PROTOCOL": "none"}
    wanted, seconds = _limits.get()
    check(wanted)
    verb = next(one for one, before in zip(args, ("", *args), strict=False) if "-c" not in (one, before))
    try:
        process = subprocess.Popen(
            ["git", *NO_HOOKS, *args],
            cwd=folder,
            env={**inherited(os.environ), **told, **(env or {})},
            stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # what it starts is ended with it
        )
    except (OSError, ValueError) as error:  # ValueError: no text for an argument
        raise GitError(f"git {verb}: {error}") from error
    until = time.monotonic() + seconds
    with process:
        try:
            while True:
                try:
                    output, errors = process.communicate(given, _LOOK)
                    return process.returncode, output, errors
                except subprocess.TimeoutExpired:
                    given = None  # it has it
                    check(wanted)
                    if time.monotonic() >= until:
                        raise GitError(f"git {verb} took longer than {seconds:g} s") from None
        finally:
            if process.returncode is None:
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        os.killpg(process.pid, signal.SIGKILL)


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


def programs(folder: str | Path) -> str:
    """What the configuration of a repository itself, not of its user, has git run on files. Raises `GitError`."""
    wanted = ("config", "--includes", "--show-scope", "-z", "--get-regexp", r"^filter\.")
    code, output, errors = run_code(folder, *wanted)
    if code not in (0, 1):
        raise GitError(_complaint(errors))
    told = output.split("\0")
    pairs = zip(told[::2], told[1::2], strict=False)
    return "\0".join(sorted(what for scope, what in pairs if scope in ("local", "worktree")))


def check_worktree(path: Path) -> None:
    """Raises `GitError` if removing a worktree would lose something, also in the repositories within it.

    Git's own checks are made here: it passes over what is in ignored folders, and refuses any worktree with submodules.
    """
    if os.path.exists(os.path.join(_git_dir(path), "locked")):
        raise GitError("it is locked (`git worktree unlock`)")
    repositories, own = inner(path), programs(path)
    for folder in (path, *repositories):
        if programs(folder) not in ("", own):
            raise GitError(f"{folder} has filters in its own configuration, which are not run for a check")
        if run(folder, "status", "--porcelain", "--ignore-submodules=dirty"):
            raise GitError(f"{folder} has changes that are in no commit")
    for folder in repositories:
        # What is tagged was released: a clone of one tag has no branch of its remote.
        linked = os.path.exists(os.path.join(_git_dir(folder), "commondir"))
        what = ("HEAD", "--not", "--branches") if linked else ("--all", "HEAD", "--not")
        if run(folder, "rev-list", "--ignore-missing", "-n", "1", *what, "--remotes", "--tags"):
            raise GitError(f"the repository {folder.relative_to(path)} has commits that were not pushed")


def _git_dir(folder: Path) -> str:
    return run(folder, "rev-parse", "--absolute-git-dir").removesuffix("\n")


def snapshot(root: str | Path, state: Path, leave_out: tuple[str, ...] = ()) -> str:
    """The tree of everything in a work tree that git does not ignore. Raises `GitError`.

    Its index is made in the project's ``state`` folder, where `clear` finds what a kill has left.
    """
    parent = state / SCRATCH
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=parent) as place:
            env = {"GIT_INDEX_FILE": os.path.join(place, "index")}
            _copy_index(root, env["GIT_INDEX_FILE"])
            add_all(root, leave_out, env)
            return run(root, "write-tree", env=env).strip()
    except OSError as error:
        raise GitError(f"its files cannot be looked at: {error}") from error


def clear(state: Path) -> None:
    """Remove what killed processes have left of their snapshots. Raises OSError."""
    with suppress(FileNotFoundError):
        for place in (state / SCRATCH).iterdir():
            pid = place.name.partition("-")[0]
            if pid.isdecimal() and proc.identify(int(pid)) is None:
                shutil.rmtree(place, ignore_errors=True)


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
    names = _names(root, ("--modified", "--deleted"), env)
    # The line ends of a snapshot's files may be as they are; those of a commit are the user's concern.
    options = ("-c", "core.safecrlf=false") if env else ()
    adding = ("update-index", "--add", "--remove", "--replace", "-z", "--stdin")
    code, _, errors = _call(root, (*options, *adding), env, b"".join(name + b"\0" for name in names))
    if code:
        raise GitError(_complaint(errors.decode("utf-8", "replace")))
    for name in leave_out:
        if not knows(root, name):
            run(root, "rm", "-r", "-q", "--cached", "--sparse", "--ignore-unmatch", "--", name, env=env)


def _names(
    folder: str | Path, which: tuple[str, ...], env: Mapping[str, str] | None = None, below: bytes = b""
) -> list[bytes]:
    """New files, and ``which`` others; of a repository among them its name, or before its first commit its files."""
    listing = ("ls-files", "-z", "--others", "--exclude-standard", *which)
    code, output, errors = _call(folder, listing, env)
    if code:
        raise GitError(_complaint(errors.decode("utf-8", "replace")))
    found: list[bytes] = []
    for name in dict.fromkeys(output.split(b"\0")[:-1]):
        inside = os.path.join(folder, os.fsdecode(name))
        if not name.endswith(b"/"):
            found.append(below + name)
        elif run_code(inside, "rev-parse", "--verify", "-q", "HEAD")[0] == 0:
            found.append(below + name[:-1])
        else:
            found += _names(inside, ("--cached",), below=below + name)
    return found


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
