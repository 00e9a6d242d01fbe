"""The working place of a workflow that is isolated: a git worktree on a branch of its own.

It lies in ``worktrees/`` of the project's state folder. At the end its changes are committed on the branch
``paneview/WORKFLOW``, finished or not, and the worktree goes if git sees no reason to keep it; nothing is forced. A
branch on which nothing was done goes, too. Making one again where it is there already takes what is there.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from paneview.rules.workflow import Workflow
from paneview.workflow import git
from paneview.workflow.git import GitError
from paneview.workflow.shell import Shell

SUBJECT = 70  # characters of a commit's first line


class Places:
    """Makes and clears working places below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, flow: Workflow, shell: Shell, taken: Iterable[int]) -> dict[str, Any]:
        """Make it, or take it if it is there. Raises `GitError` and OSError with what a person can do about it."""
        root = git.top(flow.cwd)
        if root is None:
            raise GitError(f"{flow.cwd} is in no git repository: isolation needs one")
        path, branch = self._folder / flow.id, f"paneview/{flow.id}"
        ready = self._folder / f"{flow.id}.ready"
        base = str(flow.place.get("base") or "") or git.run(root, "rev-parse", "--verify", "HEAD").strip()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not ready.exists() or not path.exists():
            self._check_out(root, path, branch, base)
        inner = path / os.path.relpath(os.path.realpath(flow.cwd), os.path.realpath(root))
        place: dict[str, Any] = {
            "root": str(root), "path": str(path), "cwd": str(inner), "branch": branch, "base": base,
            "ports": flow.place.get("ports") or free_ports(flow.plan.ports, taken), "open": True,
        }  # fmt: skip
        if not ready.exists():
            _copy(root, path, flow.plan.copy)
            self._set_up(flow, shell, place)
            ready.touch(mode=0o600)
        return place

    def _check_out(self, root: Path, path: Path, branch: str, base: str) -> None:
        git.run(root, "worktree", "prune")
        if path.exists():  # its making was broken off: nobody has worked there
            git.run_code(root, "worktree", "remove", "--force", "--force", str(path))
            if path.exists():
                raise GitError(f"{path} is there already; move it away")
        exists = git.run_code(root, "rev-parse", "--verify", "-q", f"refs/heads/{branch}")[0] == 0
        if exists:
            git.run(root, "worktree", "add", str(path), branch)
        else:
            git.run(root, "worktree", "add", "-b", branch, str(path), base)

    def _set_up(self, flow: Workflow, shell: Shell, place: Mapping[str, Any]) -> None:
        if not flow.plan.setup:
            return
        code, tail = shell.run(
            flow.plan.setup,
            place["cwd"],
            f"setup-{flow.id}",
            flow.plan.timeout or 3600.0,
            environment(flow, place),
        )
        if code != 0:
            raise GitError(f"{flow.plan.setup!r} ended with {code}: {tail[-1000:]}")

    def close(self, flow: Workflow) -> dict[str, Any]:
        """Commit what was done and clear away, as far as that loses nothing. Never raises."""
        place: dict[str, Any] = {"open": False}
        path = Path(str(flow.place.get("path") or self._folder / flow.id))
        if not path.exists():
            return {**place, "kept": ""}
        root = str(flow.place.get("root") or flow.cwd)
        try:
            place["commit"] = self._commit(flow, path)
            self._uncopy(flow, Path(root), path)
            git.run(root, "worktree", "remove", str(path))
            (self._folder / f"{flow.id}.ready").unlink(missing_ok=True)
            place["kept"] = ""
            if not place["commit"] and self._is_empty(flow, root):
                git.run(root, "branch", "-D", str(flow.place["branch"]))
                place["branch"] = ""
        except (GitError, OSError) as error:
            place["kept"] = f"{path} is kept: {error}"
        return place

    def _commit(self, flow: Workflow, path: Path) -> str:
        """The new commit; empty: there was nothing to commit."""
        git.add_all(path, flow.plan.copy)
        if git.run_code(path, "diff", "--cached", "--quiet")[0] == 0:
            return ""
        first = (flow.task.strip().splitlines() or ["work"])[0]
        subject = first if len(first) <= SUBJECT else f"{first[: SUBJECT - 1]}…"
        if flow.ending != "done":
            subject = f"Unfinished: {subject}"
        body = f"By the workflow {flow.id} ({flow.plan.name}): {flow.ending}{f', {flow.reason}' if flow.reason else ''}"
        git.run(path, *git.identity(path), "commit", "--no-verify", "-q", "-m", subject, "-m", body)
        return git.run(path, "rev-parse", "HEAD").strip()

    def _uncopy(self, flow: Workflow, root: Path, path: Path) -> None:
        """Copies that nobody has changed need not be kept."""
        for name in flow.plan.copy:
            source, copy = root / name, path / name
            if copy.is_file() and source.is_file() and filecmp.cmp(source, copy, shallow=False):
                copy.unlink()
            elif copy.is_dir() and source.is_dir() and _same(filecmp.dircmp(source, copy)):
                shutil.rmtree(copy)

    def _is_empty(self, flow: Workflow, root: str) -> bool:
        tip = git.run(root, "rev-parse", "--verify", f"refs/heads/{flow.place['branch']}").strip()
        return tip == flow.place.get("base")

    def conflicts(self, flow: Workflow, others: Iterable[Workflow]) -> list[dict[str, Any]]:
        """With which branches of other workflows, and with what the user has meanwhile, this work would collide."""
        path, root = flow.place.get("path"), flow.place.get("root")
        if not path or not root or not os.path.isdir(path):
            return []
        found = []
        ours = _now(flow)
        sides = [("", str(root), "HEAD")]
        sides += [(other.id, str(other.place.get("branch")), "") for other in others if _beside(flow, other)]
        by_id = {other.id: other for other in others}
        for workflow, branch, commit in sides:
            with suppress(GitError):
                theirs = git.run(str(root), "rev-parse", commit).strip() if commit else _now(by_id[workflow])
                if files := git.conflicts(str(path), ours, theirs):
                    found.append(
                        {"workflow": workflow, "branch": branch if workflow else "HEAD", "files": files}
                    )
        return found


def _now(flow: Workflow) -> str:
    """A commit of what is in its worktree now."""
    path = str(flow.place["path"])
    head = git.run(path, "rev-parse", "HEAD").strip()
    return git.commit_of(path, git.snapshot(path, flow.plan.copy), head)


def _beside(flow: Workflow, other: Workflow) -> bool:
    place = other.place
    return other.id != flow.id and bool(place.get("open")) and place.get("root") == flow.place.get("root")


def environment(flow: Workflow, place: Mapping[str, Any]) -> dict[str, str]:
    """What commands of a workflow find in their environment besides."""
    ports = {name: str(port) for name, port in (place.get("ports") or {}).items()}
    return {"PANEVIEW_WORKFLOW": flow.id, **ports}


def free_ports(names: Iterable[str], taken: Iterable[int]) -> dict[str, int]:
    """A port for each name that nobody listens on now, and that is not among those taken."""
    avoid, found, held = set(taken), {}, []
    try:
        for name in names:
            while True:
                one = socket.socket()
                held.append(one)
                one.bind(("127.0.0.1", 0))
                port = int(one.getsockname()[1])
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
