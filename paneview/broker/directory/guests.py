"""Tasks of claude-queue's scripts as jobs, as long as they are not ours: they are shown, and left where they are.

One that waits becomes a job of ours when a worker of ours looks for work (`foreign.Importer`), not when somebody only
looks at the queue: from then on claude-queue's workers leave it alone. One that its workers do stays theirs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from paneview.broker.directory.disk import names, read_json
from paneview.broker.directory.foreign import MARK, PREFIX, SUFFIX, as_job, moment
from paneview.broker.errors import BrokerError
from paneview.broker.model import Job, Result, valid_id
from paneview.rules.jobs import FINAL, JobState

if TYPE_CHECKING:
    from paneview.broker.directory.desk import Desk

# Seconds after which a folder's time has stood still: what is newer may have changed again since.
SETTLED = 10.0
_STATES = {
    "pending": JobState.QUEUED,
    "in_progress": JobState.LEASED,
    "completed": JobState.DONE,
    "failed": JobState.DEAD,
}


class Guests:
    """Lists those that wait. Reads each version of a file only once, and of ours none: there may be thousands."""

    def __init__(self) -> None:
        self._ours: set[str] = set()
        self._seen: dict[str, tuple[tuple[int, int], Job | None]] = {}
        self._folder_time = -1

    def waiting(self, desk: Desk) -> list[Job]:
        """Those that nobody has taken or imported."""
        try:
            folder_time = os.stat(desk.layout.tasks).st_mtime_ns
        except OSError:  # it is gone, or not for us to see: whoever imports tasks reports that
            return []
        if folder_time != self._folder_time or desk.scratch.tick() - folder_time / 1000 < SETTLED * 1e6:
            self._folder_time = folder_time
            self._look(desk)
        return [job for _, job in self._seen.values() if job is not None and job.state is JobState.QUEUED]

    def _look(self, desk: Desk) -> None:
        listed = [
            name for name in names(desk.layout.tasks) if name.startswith(PREFIX) and name.endswith(SUFFIX)
        ]
        ids = {name: name[len(PREFIX) : -len(SUFFIX)] for name in listed if name not in self._ours}
        shards = {os.path.dirname(desk.layout.by_id(job)) for job in ids.values()}
        known = {f"{shard}/{job}" for shard in shards for job in names(shard)}
        self._ours.intersection_update(listed)
        self._ours |= {name for name, job in ids.items() if desk.layout.by_id(job) in known}
        now: dict[str, tuple[tuple[int, int], Job | None]] = {}
        for name, job in ids.items():
            if name in self._ours:
                continue
            try:
                status = os.stat(f"{desk.layout.tasks}/{name}")
            except OSError:  # as above
                continue
            version = status.st_mtime_ns, status.st_size
            seen = self._seen.get(name)
            now[name] = seen if seen and seen[0] == version else (version, guest(desk, job))
        self._seen = now


def guest(desk: Desk, job: str) -> Job | None:
    """The task of this id as a job; None if there is none, or it is one of ours."""
    task = read_json(f"{desk.layout.tasks}/{PREFIX}{job}{SUFFIX}") if valid_id(job) else None
    state = _STATES.get(str(task.get("status"))) if task else None
    if task is None or state is None or MARK in task:
        return None
    try:
        new = as_job(task, job)
    except BrokerError:
        return None
    result = _result(desk, task, state) if state in FINAL else None
    return Job(
        id=job,
        kind=new.kind,
        payload=new.payload,
        target=new.target,
        lane=new.target.lane,
        priority=new.priority,
        state=state,
        timeout=desk.settings.timeout,
        attempts=int(state is not JobState.QUEUED),
        max_attempts=1,
        token=0,
        submitted_at=moment(task.get("timestamp")),
        submitted_by=new.submitted_by,
        key="",
        meta=new.meta,
        after=(),
        group="",
        not_before=None,
        owner=str(task.get("claimed_by") or ""),
        leased_at=moment(task["claimed_at"]) if task.get("claimed_at") else None,
        lease_until=None,
        cancel=None,
        ended_at=result.finished_at if result else None,
        errors=(),
        result=result,
    )


def _result(desk: Desk, task: dict[str, Any], state: JobState) -> Result:
    """What its worker said; if that is gone, what the task itself tells of its end."""
    said = read_json(desk.layout.result(task["id"])) or task
    error = str(said.get("error") or "failed") if state is JobState.DEAD else None
    return Result(
        job=task["id"],
        status="ok" if error is None else "error",
        output=said.get("result"),
        error=error,
        worker="",
        host=str(said.get("completed_by") or task.get("claimed_by") or ""),
        token=0,
        attempt=1,
        started_at=None,
        finished_at=moment(said.get("completed_at")),
    )
