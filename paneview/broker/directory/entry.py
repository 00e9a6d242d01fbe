"""Submitting jobs. Any process may repeat any step: if one is killed half-way, the next completes its work.

A complete file in ``entry/`` or ``outbox/`` gets its links (id, key, group), then moves to its first state; the move
happens once. The link by id decides whether the job is new, the link by key whether its key is.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from contextlib import suppress

from paneview.broker.directory import ending
from paneview.broker.directory.desk import WAITING, Desk, Spec, new_spec
from paneview.broker.directory.disk import (
    age_by,
    link,
    make_folder,
    move,
    names,
    read_json,
    remove,
    sync,
    write,
)
from paneview.broker.directory.layout import Spot
from paneview.broker.errors import QueueFullError
from paneview.broker.model import NewJob, Submitted
from paneview.broker.targets import Target
from paneview.rules.jobs import JobState, after_needs

ABANDONED = 5.0  # seconds after which the process behind a step that takes milliseconds counts as dead


def submit(desk: Desk, jobs: Sequence[NewJob], created: float = 0.0) -> tuple[Submitted, ...]:
    """Submit all of them or none. Raises `QueueFullError`. ``created``: when, if a job was elsewhere before."""
    _check_depth(desk, jobs)
    if len(jobs) != 1:
        batch = f"many-{uuid.uuid4().hex}"
        stage(desk, batch, jobs)
        return send(desk, batch, jobs)
    spec = _spec(desk, jobs[0], created)
    path = f"{desk.layout.entry(spec.id)}{uuid.uuid4().hex}.json"
    write(path, spec.as_json(), new=True)
    return (complete(desk, path) or _by_another(desk, spec),)


def abandoned(desk: Desk, path: str, seconds: float) -> bool:
    """Whether a file has not been touched for so many seconds; False if it is gone."""
    age = age_by(path, desk.scratch.now())
    return age is not None and age > seconds


def _by_another(desk: Desk, spec: Spec) -> Submitted:
    """The answer for a job that another process completed because it considered us dead."""
    there = desk.spec(spec.id)
    return Submitted(spec.id, created=there is not None and there.order == spec.order)


def _spec(desk: Desk, job: NewJob, created: float = 0.0) -> Spec:
    now = desk.scratch.tick()
    return new_spec(job, desk.settings, min(now, round(created * 1e6)) if created > 0 else now)


def _check_depth(desk: Desk, jobs: Sequence[NewJob]) -> None:
    limit = desk.settings.max_depth
    if limit is None:
        return
    coming: dict[str, int] = {}
    for job in jobs:
        if not os.path.exists(desk.layout.by_id(job.id)) and not (job.key and _holder(desk, job.key)):
            lane = job.target.lane
            coming[lane] = coming.get(lane, 0) + 1
    for lane, number in coming.items():
        if sum(len(names(desk.layout.lane(state, lane))) for state in WAITING) + number > limit:
            raise QueueFullError(Target.of(lane), limit)


def _holder(desk: Desk, key: str) -> str | None:
    """The id of the job that has this key; None if there is none."""
    found = read_json(desk.layout.by_key(key))
    return str(found["id"]) if found and os.path.exists(desk.layout.by_id(found["id"])) else None


def stage(desk: Desk, batch: str, jobs: Sequence[NewJob]) -> None:
    """Write jobs that belong together; nothing else happens before `send`."""
    folder = f"{desk.layout.own}/stage/{batch}"
    make_folder(folder)
    for number, job in enumerate(jobs):
        write(f"{folder}/{number:06d}.{job.id}.json", _spec(desk, job).as_json())
    sync(folder)


def staged(desk: Desk, batch: str) -> list[str]:
    """The ids of the jobs in a staged batch."""
    return [name.split(".")[1] for name in sorted(names(f"{desk.layout.own}/stage/{batch}"))]


def unstage(desk: Desk, batch: str) -> None:
    """Discard a staged batch."""
    folder = f"{desk.layout.own}/stage/{batch}"
    for name in names(folder):
        remove(f"{folder}/{name}")
    with suppress(OSError):
        os.rmdir(folder)


def send(desk: Desk, batch: str, jobs: Sequence[NewJob]) -> tuple[Submitted, ...]:
    """Submit the jobs of a batch: all of them, whatever happens to this process from here on."""
    own = desk.layout.own
    if not move(f"{own}/stage/{batch}", f"{own}/outbox/{batch}"):
        return tuple(Submitted(job.id, created=False) for job in jobs)
    sync(f"{own}/outbox")
    told = empty(desk, batch)
    return tuple(
        told.get(f"{number:06d}.{job.id}.json") or Submitted(job.id, created=True)
        for number, job in enumerate(jobs)
    )


def empty(desk: Desk, batch: str) -> dict[str, Submitted | None]:
    """Submit what is left of a batch in the outbox."""
    folder = f"{desk.layout.own}/outbox/{batch}"
    told = {name: complete(desk, f"{folder}/{name}", durable=False) for name in sorted(names(folder))}
    for state in WAITING:  # once before the batch is removed, not after each job
        for lane in desk.lanes(state):
            sync(desk.layout.lane(state, lane))
    with suppress(OSError):  # gone already, or something is left that is not whole
        os.rmdir(folder)
    return told


def complete(desk: Desk, path: str, *, durable: bool = True) -> Submitted | None:
    """Give a job its links and its first state. None if another process was quicker or the file is incomplete."""
    spec = desk.spec_at(path)
    if spec is None:
        return None
    by_id = desk.layout.by_id(spec.id)
    if not link(path, by_id) and not _same(path, by_id):
        remove(path)
        _complete_others(desk, spec.id)
        return Submitted(spec.id, created=False)
    if spec.key and (other := _taken(desk, spec, path)):
        if _same(path, by_id):
            remove(by_id)
        remove(path)
        _complete_others(desk, other)
        return Submitted(other, created=False)
    if spec.group:
        link(path, desk.layout.by_group(spec.group, spec.id))
    state = first_state(desk, spec)
    spot = Spot(state, spec.lane, spec.order, spec.id, 0, 0, spec.due if state in WAITING[1:] else 0)
    if not ending.to_wait(desk, spec, path, spot):
        return None
    if durable:
        sync(os.path.dirname(desk.layout.path(spot)))
    desk.feed.tell(
        "job_submitted", spec.id, detail={"kind": spec.kind, "lane": spec.lane, "by": spec.submitted_by}
    )
    if state is JobState.BLOCKED:
        ending.settle(desk, spec.id)  # what it needs may have ended before the move
    return Submitted(spec.id, created=True)


def _complete_others(desk: Desk, job: str) -> None:
    """Complete earlier submissions of the same job, whose process may have died half-way."""
    folder, prefix = os.path.split(desk.layout.entry(job))
    for name in names(folder):
        if name.startswith(prefix):
            complete(desk, f"{folder}/{name}")


def _taken(desk: Desk, spec: Spec, path: str) -> str | None:
    """The id of another job that already has this one's key; None if there is none."""
    by_key = desk.layout.by_key(spec.key)
    while not link(path, by_key):
        if _same(path, by_key) or not os.path.exists(path):
            return None
        found = read_json(by_key)
        if found and os.path.exists(desk.layout.by_id(found["id"])):
            return str(found["id"])
        if desk.is_file(by_key):
            remove(by_key)  # of a job that was cleaned away
    return None


def first_state(desk: Desk, spec: Spec) -> JobState:
    """The first state of a new job: blocked if it needs any others, even if they have failed already."""
    delayed = spec.due > desk.scratch.tick()
    if not spec.after:
        return after_needs((), delayed=delayed)
    for need in spec.after:
        ending.wait_for(desk, need, spec.id)
    return JobState.BLOCKED


def _same(one: str, other: str) -> bool:
    """Whether both names refer to the same file."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
