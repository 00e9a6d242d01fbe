"""The working place of an isolated workflow: a git worktree on a branch of its own.

It is in ``worktrees/`` of the project's state folder. At the end its changes are committed on the branch
``paneview/WORKFLOW``, finished or not, and the worktree is removed if that loses nothing: git has no objection, the
agents' commits are on that branch, and copied files that git does not know are unchanged. Otherwise it is kept and
the workflow reports that. A branch without any work is removed, too. Making a place that already exists reuses it.

A place is recorded in the workflow once it is complete, and only then do agents start. So a place that was not
recorded holds no work: what its set-up has left is removed by force, and the next attempt begins at the then HEAD.

A set-up may take minutes: those of several workflows run concurrently, and only git's operations on a repository's
worktrees and branches are done one at a time. Making and clearing one workflow's place never overlap, not even with
another supervisor of this home.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from paneview import proc
from paneview.agents import folder
from paneview.rules.workflow import Workflow
from paneview.workflow import git
from paneview.workflow.git import GitError
from paneview.workflow.shell import Shell, end_left, marker
from paneview.workflow.turns import Turns, Unwanted, alone, check

SUBJECT = 70  # characters of a commit's first line
BODY = 8000  # characters of the rest: one argument of a program may have 128 KB


class Places:
    """Makes and clears working places in ``folder``."""

    def __init__(self, folder: Path, turns: Turns) -> None:
        self._folder = folder
        self._turns = turns

    def make(
        self, flow: Workflow, shell: Shell, taken: Iterable[int], wanted: Callable[[], bool]
    ) -> dict[str, Any]:
        """Make a workflow's place, or reuse it if it exists, as long as it is ``wanted``.

        Raises `Unwanted`, and `GitError` and OSError with messages for the user.
        """
        with self._turns.of(flow.id), alone(_lock(git.need_top(flow.cwd), flow), wanted):
            return self._make(flow, shell, taken, wanted)

    def _make(
        self, flow: Workflow, shell: Shell, taken: Iterable[int], wanted: Callable[[], bool]
    ) -> dict[str, Any]:
        root = git.need_top(flow.cwd)
        path, branch = self._path(flow), _branch(flow)
        fresh = not self._ready(flow).exists() or not path.exists()
        head = _head(root)
        base = str(flow.place.get("base") or head) if _is_told(flow) else head
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if fresh:
            self._check_out(flow, root, base)
        ports = flow.place.get("ports") or ({} if fresh else self._ports(flow))
        inner = path / os.path.relpath(os.path.realpath(flow.cwd), os.path.realpath(root))
        place: dict[str, Any] = {
            "root": str(root), "path": str(path), "cwd": str(inner), "branch": branch, "base": base,
            "ports": free_ports(flow.plan.ports, taken, ports), "open": True,
        }  # fmt: skip
        if fresh:
            try:
                _copy(root, path, flow.plan.copy)
                if not inner.is_dir():
                    raise GitError(f"{flow.cwd} is not in the last commit, which its worktree begins at")
                check(wanted)
                self._set_up(flow, shell, place)
            except (GitError, OSError, Unwanted):
                self._discard(flow, root)
                raise
            folder.write_json(self._ready(flow), place["ports"], durable=True)
        known = None if fresh else flow.place.get("copies")
        return {**place, "copies": known or _stamps(path, flow.plan.copy)}

    def _path(self, flow: Workflow) -> Path:
        return Path(str(flow.place.get("path") or self._folder / flow.id))

    def _ready(self, flow: Workflow) -> Path:
        """A file that exists once the place is complete. In it are the ports for which it was set up."""
        return self._path(flow).with_name(f"{flow.id}.ready")

    def _going(self, flow: Workflow) -> Path:
        """A file that exists once the place has nothing to lose and is being removed: what it lacks is no work."""
        return self._path(flow).with_name(f"{flow.id}.going")

    def _finish(self, flow: Workflow) -> None:
        """Finish a removal that was interrupted. Git may still be at it, or no more know the place. Raises OSError."""
        if self._going(flow).exists():
            end_left(_set_up(flow))
            if self._path(flow).exists():
                shutil.rmtree(self._path(flow))

    def _ports(self, flow: Workflow) -> Mapping[str, int]:
        return folder.read_json(self._ready(flow)) or {}

    def _check_out(self, flow: Workflow, root: Path, base: str) -> None:
        self._discard(flow, root)  # an interrupted attempt
        path, branch = self._path(flow), _branch(flow)
        with self._turns.of(str(root)):
            known = [str(path), branch] if _tip(root, branch) else ["-b", branch, str(path), base]
            git.run(root, "worktree", "add", "--no-checkout", *known, env=_marked(flow))
        # As git itself would do it, but this may take an hour, and others of this repository need not wait for it.
        git.run(path, "reset", "-q", "--hard", "--no-recurse-submodules", env=_marked(flow))

    def _discard(self, flow: Workflow, root: Path) -> None:
        """Remove an incomplete place, in which no agent has worked. Raises `GitError`.

        The branch of a place that was never recorded is removed, too, unless it has commits that HEAD lacks.
        """
        path, branch = self._path(flow), _branch(flow)
        self._ready(flow).unlink(missing_ok=True)
        self._finish(flow)
        self._going(flow).unlink(missing_ok=True)
        # A killed supervisor's git or set-up would go on writing there, and git could not remove the folder.
        end_left(_set_up(flow))
        with self._turns.of(str(root)):
            git.forget_worktree(root, path)
            if path.exists():  # git was killed as it made or removed it
                shutil.rmtree(path)
                git.forget_worktree(root, path)
            tip = "" if _is_told(flow) else _tip(root, branch)
            if tip and git.is_ancestor(root, tip, "HEAD"):
                git.run(root, "branch", "-D", branch)

    def _set_up(self, flow: Workflow, shell: Shell, place: Mapping[str, Any]) -> None:
        if not flow.plan.setup:
            return
        code, tail = shell.run(
            flow.plan.setup,
            place["cwd"],
            _set_up(flow),
            flow.plan.timeout or 3600.0,
            environment(flow, place),
        )
        if code != 0:
            raise GitError(f"{flow.plan.setup!r} ended with {code}: {tail[-1000:]}")

    def close(self, flow: Workflow, wanted: Callable[[], bool]) -> dict[str, Any]:
        """Commit the changes and remove the place, if that loses nothing; returns its final state.

        Raises only `Unwanted`, and what ``wanted`` raises.
        """
        place: dict[str, Any] = {"open": False, "kept": ""}
        path = self._path(flow)
        root = Path(str(flow.place.get("root") or flow.cwd))
        if flow.plan.isolation != "worktree":
            return place
        try:
            with self._turns.of(flow.id), alone(_lock(root, flow), wanted):
                self._close(flow, root, path, place)
        except (GitError, OSError) as error:
            if path.exists():
                place["kept"] = f"{path} is kept: {error}"
        return place

    def _close(self, flow: Workflow, root: Path, path: Path, place: dict[str, Any]) -> None:
        """Note in ``place`` what comes of it. Raises `GitError`, OSError."""
        if not _is_told(flow):
            self._discard(flow, root)
            return
        self._finish(flow)
        if path.exists() and not self._ready(flow).exists():
            self._discard(
                flow, root
            )  # it was being made once more: what it lacks was not removed by an agent
        if path.exists():
            git.need_worktree(path, root)
            _unlock(path)
            place["commit"] = self._commit(flow, path)
            _hold(flow, path)
            self._uncopy(flow, root, path)
        with self._turns.of(str(root)):
            # If an agent or a person removed the folder, git's record of it is left.
            if path.exists():
                git.check_worktree(path)
                with suppress(FileNotFoundError):  # not created: that needs room on the disk
                    self._ready(flow).replace(self._going(flow))
                git.run(root, "worktree", "remove", "--force", str(path), env=_marked(flow))
            else:
                git.forget_worktree(root, path)
            for mark in (self._ready(flow), self._going(flow)):
                mark.unlink(missing_ok=True)
            if not place.get("commit") and _tip(root, _branch(flow)) == flow.place.get("base"):
                git.run(root, "branch", "-D", _branch(flow))
                place["branch"] = ""

    def _commit(self, flow: Workflow, path: Path) -> str:
        """Commit all changes; returns the new commit, empty if there was nothing to commit. Raises `GitError`."""
        if git.run(path, "ls-files", "--unmerged"):  # committed, its conflicts would count as merged
            raise GitError("a merge in it has conflicts that are not resolved")
        git.add_all(path, flow.plan.copy)
        if git.run_code(path, "diff", "--cached", "--quiet")[0] == 0:
            return ""
        first = (flow.task.strip().splitlines() or ["work"])[0]
        subject = first if len(first) <= SUBJECT else f"{first[: SUBJECT - 1]}…"
        if flow.ending != "done":
            subject = f"Unfinished: {subject}"
        body = f"By the workflow {flow.id} ({flow.plan.name}): {flow.ending}{f', {flow.reason}' if flow.reason else ''}"
        # A task or an agent's error may hold what no argument can.
        said = [part.replace("\0", "").encode("utf-8", "replace").decode() for part in (subject, body[:BODY])]
        git.run(path, *git.identity(path), "commit", "--no-verify", "-q", "-m", said[0], "-m", said[1])
        return git.run(path, "rev-parse", "HEAD").strip()

    def _uncopy(self, flow: Workflow, root: Path, path: Path) -> None:
        """Remove unchanged copies. Raises `GitError` for a file that was changed.

        Git would not object to losing it, because most copied files are ignored. Folders are usually caches: for
        a changed one, git decides.
        """
        known = flow.place.get("copies") or {}
        for name in flow.plan.copy:
            source, copy = root / name, path / name
            if git.knows(path, name) or not copy.parent.resolve().is_relative_to(path.resolve()):
                continue  # the latter: an agent has replaced a folder by a link, perhaps to the user's own
            if copy.is_file():
                same = source.is_file() and filecmp.cmp(source, copy, shallow=False)
                if not same and _stamp(copy) != known.get(name):
                    raise GitError(f"{name}, which git does not know, was changed there")
                copy.unlink()
            elif copy.is_dir() and source.is_dir() and _same(filecmp.dircmp(source, copy)):
                shutil.rmtree(copy)

    def conflicts(self, flow: Workflow, others: Iterable[Workflow]) -> list[dict[str, Any]]:
        """Conflicts of this work with that of other workflows, and with the user's HEAD. Raises `GitError`."""
        state = self._folder.parent
        root = str(flow.place.get("root") or "")
        if not root or not (ours := _work(flow, state)):
            return []
        beside = {other.id: other for other in others if _beside(flow, other)}
        found = []
        for name in ("", *beside):
            with suppress(GitError):
                theirs = _work(beside[name], state) if name else git.run(root, "rev-parse", "HEAD").strip()
                if theirs and (files := git.conflicts(root, ours, theirs)):
                    branch = str(beside[name].place.get("branch")) if name else "HEAD"
                    found.append({"workflow": name, "branch": branch, "files": files})
        return found


def _head(root: Path) -> str:
    """The user's current commit. Raises `GitError`."""
    code, output, _ = git.run_code(root, "rev-parse", "--verify", "-q", "HEAD^{commit}")
    if code:
        raise GitError(f"{root} has no commit yet, and a worktree begins at one: commit something first")
    return output.strip()


def _branch(flow: Workflow) -> str:
    return f"paneview/{flow.id}"


def _set_up(flow: Workflow) -> str:
    """The name of what makes its place, by which what is left of it is found."""
    return f"setup-{flow.id}"


def _lock(root: Path, flow: Workflow) -> Path:
    """A file in the repository, by which only one supervisor at a time makes or clears the workflow's place.

    One that was stopped meanwhile may not have noticed that another one advances the workflow now. Raises `GitError`.
    """
    common = git.run(root, "rev-parse", "--git-common-dir").rstrip("\n")
    return Path(root, common, f"paneview-{flow.id}.lock")


def _marked(flow: Workflow) -> dict[str, str]:
    return {proc.MARKER: marker(_set_up(flow))}


def _is_told(flow: Workflow) -> bool:
    """Whether its place was recorded as complete, so that agents may have worked on its branch."""
    return bool(flow.place.get("branch"))


def _tip(root: Path, branch: str) -> str:
    """The branch's commit; empty if there is no such branch."""
    code, output, _ = git.run_code(root, "rev-parse", "--verify", "-q", f"refs/heads/{branch}")
    return output.strip() if code == 0 else ""


def _unlock(path: Path) -> None:
    """Remove the lock of a git that was killed with its agent: with it, nothing could be committed. Raises `GitError`.

    Only if no process is in the worktree any more, such as a person's git with an editor.
    """
    lock = git.index_lock(path)
    if lock.exists() and not proc.is_anyone_in(str(path)):
        lock.unlink(missing_ok=True)


def _hold(flow: Workflow, path: Path) -> None:
    """Move the branch to HEAD, which is removed with the worktree: an agent may have left the branch.

    Raises `GitError` if that would remove commits from the branch, as in the middle of a rebase.
    """
    branch = _branch(flow)
    head, tip = git.run(path, "rev-parse", "HEAD").strip(), _tip(path, branch)
    if tip and git.is_ancestor(path, head, tip):
        return
    if tip and not git.is_ancestor(path, tip, head):
        raise GitError(f"its HEAD {head[:12]} is not on {branch}, and does not follow from it")
    git.run(path, "update-ref", f"refs/heads/{branch}", head, tip)


def _stamps(path: Path, names: Iterable[str]) -> dict[str, str]:
    """The stamps of the files among the copies."""
    return {name: _stamp(path / name) for name in names if (path / name).is_file()}


def _stamp(file: Path) -> str:
    """A text that changes when the file is written to: size and modification time."""
    about = file.stat()
    return f"{about.st_size} {about.st_mtime_ns}"


def _work(flow: Workflow, state: Path) -> str:
    """A commit of what it has done: in its worktree, or on its branch if that is gone; empty if there is neither."""
    path = Path(str(flow.place["path"]))
    if not path.is_dir():
        return _tip(Path(str(flow.place["root"])), _branch(flow))
    git.need_worktree(path, str(flow.place["root"]))
    head = git.run(path, "rev-parse", "HEAD").strip()
    return git.commit_of(path, git.snapshot(path, state, flow.plan.copy), head)


def _beside(flow: Workflow, other: Workflow) -> bool:
    """Whether both worked on the same repository at the same time."""
    together = other.place.get("open") or (other.ended_at or 0.0) > flow.created_at
    return other.id != flow.id and bool(together) and other.place.get("root") == flow.place.get("root")


def environment(flow: Workflow, place: Mapping[str, Any]) -> dict[str, str]:
    """Additional environment variables for a workflow's commands."""
    ports = {name: str(port) for name, port in (place.get("ports") or {}).items()}
    return {"PANEVIEW_WORKFLOW": flow.id, **ports}


def free_ports(names: Iterable[str], taken: Iterable[int], before: Mapping[str, int]) -> dict[str, int]:
    """A port for each name that is free now and not among those taken: the one ``before`` if it still is."""
    avoid, found, held = set(taken), {}, []
    try:
        for name in names:
            wish = before.get(name, 0)
            while True:
                one = socket.socket()
                held.append(one)
                if wish:  # connections of before that linger there are no reason for another port
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    one.bind(("127.0.0.1", wish))
                except OSError:
                    if not wish:
                        raise
                    wish = 0
                    continue
                wish, port = 0, int(one.getsockname()[1])
                if port not in avoid:
                    break
            found[name] = port
            avoid.add(port)
    finally:
        for one in held:
            one.close()
    return found


def _copy(root: Path, path: Path, names: Iterable[str]) -> None:
    for name in names:
        source, target = root / name, path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy2(source, target)
        else:
            raise GitError(f"copy_files: there is no {source}")


def _same(found: filecmp.dircmp[str]) -> bool:
    _, differ, odd = filecmp.cmpfiles(found.left, found.right, found.common_files, shallow=False)
    if found.left_only or found.right_only or found.common_funny or differ or odd:
        return False
    return all(_same(inner) for inner in found.subdirs.values())
