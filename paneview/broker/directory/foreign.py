"""claude-queue's own files: its scripts submit to this folder, list and query it, and wait for results.

``tasks/task_ID.json`` holds a task with a status, ``results/result_ID.json`` its result. A task that its scripts submit
becomes a job of kind ``prompt``, and its file a mirror of the job's state. Prompts submitted through paneview are
mirrored, too. A mirror's ``target_host`` begins with ``paneview:``: claude-queue's workers take tasks for their own
host or for none, so none of them runs what our workers run. Our result files are in its format, with more keys.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from paneview.broker.directory.disk import GONE, HOST, names, read_json
from paneview.broker.errors import BrokerError
from paneview.broker.model import NewJob, Result, valid_id
from paneview.broker.targets import ANY, Target

if TYPE_CHECKING:
    from paneview.broker.directory.desk import Desk, Spec

MARK = "paneview"
UNFINISHED = 5.0  # seconds that a file may take to be written
PREFIX, SUFFIX = "task_", ".json"


def local_time(seconds: float) -> str:
    """A time as claude-queue writes it: local, without a zone."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().replace(tzinfo=None).isoformat()


def moment(text: object) -> float:
    """A time as claude-queue writes it, local without a zone; 0 if it is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0


def mirror(desk: Desk, spec: Spec, status: str) -> None:
    """Mirror a prompt for claude-queue's scripts. If the disk is full, the mirror is missing or outdated."""
    if spec.kind != "prompt" or not isinstance(spec.payload, dict):
        return
    target = Target.of(spec.lane)
    task = {
        "id": spec.id,
        "command": str(spec.payload.get("text", "")),
        "from_host": spec.submitted_by or HOST,
        "target_host": f"{MARK}:{target.host or spec.lane}",
        "timestamp": local_time(spec.submitted / 1e6),
        "status": status,
        "metadata": spec.meta,
        MARK: {"lane": spec.lane},
    }
    if status not in ("pending", "in_progress"):
        task["completed_at"] = local_time(desk.scratch.tick() / 1e6)
    with suppress(OSError):
        desk.scratch.replace(f"{desk.layout.tasks}/{PREFIX}{spec.id}{SUFFIX}", task, durable=False)


def task_result(result: Result) -> dict[str, Any]:
    """A result in claude-queue's format."""
    return {
        "task_id": result.job,
        "result": result.output,
        "status": "completed" if result.status == "ok" else "failed",
        "error": result.error,
        "completed_by": result.host or result.worker,
        "completed_at": local_time(result.finished_at),
    }


def result_file(result: Result, follow_ups: Sequence[str] = ()) -> dict[str, Any]:
    """A result in claude-queue's format, with ours and the ids of its follow-ups added."""
    return {**task_result(result), MARK: result.as_json(), "follow_ups": list(follow_ups)}


def read_result(path: str) -> Result | None:
    """Read one of our results; None if there is none."""
    found = read_json(path)
    return Result(**found[MARK]) if found and isinstance(found.get(MARK), dict) else None


class Importer:
    """Imports what claude-queue's scripts submit. Reads each version of a file only once."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int] | None] = {}
        """Files with nothing to import, in this version (mtime, size) or, for our own mirrors (None), in any."""
        self._folder_time = -1

    def new_jobs(self, desk: Desk) -> list[tuple[str, NewJob, float]]:
        """New task files as (path, job, when it was submitted). Submitting one twice does no harm."""
        folder = desk.layout.tasks
        try:
            folder_time = os.stat(folder).st_mtime_ns
        except OSError as error:
            if error.errno in GONE:
                return []
            raise
        if (
            folder_time == self._folder_time
            and desk.scratch.tick() - folder_time / 1000 > 2 * UNFINISHED * 1e6
        ):
            return []
        self._folder_time = folder_time
        listed = [name for name in names(folder) if name.startswith(PREFIX) and name.endswith(SUFFIX)]
        known = self._seen
        self._seen = {name: known[name] for name in listed if name in known}
        jobs = []
        for name in listed:
            if known.get(name, ()) is not None:
                found = self._look_at(desk, folder, name)
                jobs += [(f"{folder}/{name}", *found)] if found else []
        return jobs

    def _look_at(self, desk: Desk, folder: str, name: str) -> tuple[NewJob, float] | None:
        path = f"{folder}/{name}"
        try:
            status = os.stat(path)
        except OSError as error:
            if error.errno in (*GONE, errno.EACCES):
                return None
            raise
        version = status.st_mtime_ns, status.st_size
        if self._seen.get(name) == version:
            return None
        task = read_json(path)
        if task is None:
            if desk.scratch.now() - status.st_mtime > UNFINISHED:
                desk.set_aside(path, "it is not the whole file of a task")
            return None
        if MARK in task or task.get("status") != "pending":
            self._seen[name] = None if MARK in task else version
            return None
        try:
            return as_job(task, name[len(PREFIX) : -len(SUFFIX)]), moment(task.get("timestamp"))
        except BrokerError as error:
            desk.set_aside(path, str(error))
            return None


def as_job(task: dict[str, Any], job: str) -> NewJob:
    """A task of claude-queue as a job, which is tried once, as there. Raises `BrokerError` if it is invalid."""
    command, host = task.get("command"), task.get("target_host")
    if task.get("id") != job or not valid_id(job) or not isinstance(command, str):
        raise BrokerError("it is not a task: id or command is wrong")
    meta = task.get("metadata")
    return NewJob(
        "prompt",
        {"text": command},
        Target(host=str(host)) if host else ANY,
        max_attempts=1,
        meta=meta if isinstance(meta, dict) else {},
        submitted_by=str(task.get("from_host") or ""),
        id=job,
    )
