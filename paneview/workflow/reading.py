"""Views of a workflow apart from its state: the output of its runs, and what it has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paneview.agents import folder
from paneview.rules.workflow import Workflow
from paneview.workflow import git
from paneview.workflow.git import GitError
from paneview.workflow.runs import folder_of, root_of
from paneview.workflow.views import job_id

MOST_DIFF = 2_000_000  # characters


class NothingToSee(Exception):  # noqa: N818 - a plain statement
    """There is no diff; the message says why."""


def transcript(
    state: Path, flow: Workflow, number: int, attempt: int | None, offset: int, limit: int
) -> dict[str, Any]:
    """The readable output of a phase's run from byte ``offset`` on: at most ``limit`` bytes, whole characters."""
    phase = flow.phases[number]
    wanted = phase.attempt if attempt is None else attempt
    job = job_id(flow.id, number, wanted)
    data, size = b"", 0
    try:
        with (folder.run_folder(state, job) / folder.SHOWN).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(min(offset, size))
            data = file.read(limit)
    except FileNotFoundError:
        pass
    text = data.decode("utf-8", "ignore" if len(data) == limit else "replace")
    end = min(offset, size) + len(text.encode()) if len(data) == limit else min(offset, size) + len(data)
    over = wanted < phase.attempt or phase.status.value not in ("queued", "running")
    return {
        "job": job, "phase": flow.plan.phases[number].name, "attempt": wanted, "text": text,
        "offset": min(offset, size), "end": end, "size": size, "over": over,
    }  # fmt: skip


def _end(flow: Workflow, root: Path, branch: str) -> str:
    """The end of its work: its branch, or its commit if the branch was merged and removed."""
    for name in (f"refs/heads/{branch}", str(flow.place.get("commit") or "")):
        if name and git.run_code(root, "rev-parse", "--verify", "-q", f"{name}^{{tree}}")[0] == 0:
            return name
    raise NothingToSee(f"the branch {branch} of {flow.id} is not there any more")


def diff(flow: Workflow, state: Path) -> dict[str, Any]:
    """What the workflow has changed so far; ``state`` is its project's folder. Raises `NothingToSee`."""
    base = str(flow.place.get("base") or flow.place.get("tree") or "")
    if not base:
        needed = 'git, and isolation = "worktree" or {{diff}} in a prompt'
        raise NothingToSee(
            f"how the folder of {flow.id} was at its beginning is not known: that takes {needed}"
        )
    branch = str(flow.place.get("branch") or "")
    try:
        root = root_of(flow) if Path(folder_of(flow)).is_dir() else None
        if root is not None:
            now = git.snapshot(root, state, flow.plan.copy)
        else:  # its worktree is gone, but not its branch
            root = git.top(flow.cwd)
            if root is None or not branch:
                raise NothingToSee(f"{flow.id} has left no branch")
            now = _end(flow, root, branch)
        tree = git.run(root, "rev-parse", f"{base}^{{tree}}").strip()
        now = git.run(root, "rev-parse", f"{now}^{{tree}}").strip()
        changed = git.changes(root, tree, now)
        text = git.diff(root, tree, now, MOST_DIFF)
    except GitError as error:
        raise NothingToSee(str(error)) from error
    return {"id": flow.id, "diff": text, "lines": changed.lines, "files": changed.files, "base": base}
