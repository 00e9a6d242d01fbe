"""What all parts of this broker share: folders, scratch files, events and settings, and finding a job by its id."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from paneview.broker.directory.disk import Scratch, is_file, move, names, read_json, touched
from paneview.broker.directory.feed import DirectoryFeed
from paneview.broker.directory.layout import FOLDER, Layout, Spot, check_lane, order_of, quoted, read_name
from paneview.broker.model import MAX_PRIORITY, Attempt, Job, NewJob, Result, Settings
from paneview.broker.staff import Registration
from paneview.broker.targets import Target
from paneview.rules.jobs import FINAL, JobState

WAITING = (JobState.QUEUED, JobState.DELAYED, JobState.BLOCKED)
LONGEST_ASIDE = 200  # bytes kept of a name that is set aside, to which a time is appended
_SEARCHES = 40  # a job that moves during a search may be missed, but not this many times


@dataclass(frozen=True, slots=True)
class Spec:
    """The content of a job's file, which never changes."""

    id: str
    kind: str
    payload: Any
    lane: str
    order: str
    timeout: float
    max_attempts: int
    submitted: int
    """Server's time in µs."""
    delay: int = 0
    """µs."""
    key: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    after: list[str] = field(default_factory=list)
    group: str = ""
    submitted_by: str = ""

    def as_json(self) -> dict[str, Any]:
        """The object that is written to the file."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def due(self) -> int:
        """When the job is due, server's time in µs; 0: at once."""
        return self.submitted + self.delay if self.delay else 0


def new_spec(job: NewJob, settings: Settings, submitted: int) -> Spec:
    """The content of a new job's file. Raises `BadJobError` if its lane would be too long a name."""
    check_lane(job.target.lane)
    return Spec(
        id=job.id,
        kind=job.kind,
        payload=job.payload,
        lane=job.target.lane,
        order=order_of(job.priority, submitted),
        timeout=settings.timeout if job.timeout is None else job.timeout,
        max_attempts=job.max_attempts or settings.max_attempts,
        submitted=submitted,
        delay=round(job.delay * 1e6),
        key=job.key,
        meta=dict(job.meta),
        after=list(dict.fromkeys(job.after)),
        group=job.group,
        submitted_by=job.submitted_by,
    )


class Desk:
    """State shared by the parts of one broker object."""

    def __init__(self, layout: Layout, scratch: Scratch, feed: DirectoryFeed, settings: Settings) -> None:
        self.layout = layout
        self.scratch = scratch
        self.feed = feed
        self.settings = settings

    def spec_at(self, path: str) -> Spec | None:
        """The job in a file; None if it is gone or was never whole."""
        fields = read_json(path)
        try:
            return Spec(**fields) if fields is not None else None
        except TypeError:
            return None

    def spec(self, job: str) -> Spec | None:
        """The content of a job's file by its id; None if it is gone or was never whole."""
        return self.spec_at(self.layout.by_id(job))

    def lane_of(self, spec: Spec) -> str:
        """Where a job waits now: if it is for a worker that is gone, as long as that is known, with its heir."""
        kind, _, worker = spec.lane.partition(":")
        known = read_json(f"{self.layout.own}/gone/{quoted(worker)}.json") if kind == "w" else None
        try:
            return Registration.from_json(known["worker"]).heirs()[0] if known else spec.lane
        except (KeyError, TypeError, ValueError):  # not one of ours
            return spec.lane

    def spots(self, state: JobState, folder: str, lane: str = "") -> list[Spot]:
        """The jobs in a folder of that state. Unknown files are set aside."""
        found = []
        for name in names(folder):
            spot = read_name(state, lane, name)
            if spot is None:
                self.set_aside(f"{folder}/{name}", "its name is not one of ours")
            else:
                found.append(spot)
        return found

    def lanes(self, state: JobState) -> list[str]:
        """The lanes that have a folder for waiting jobs of that state. Folders that are not lanes are skipped."""
        found = ((unquote(name), name) for name in names(f"{self.layout.own}/{FOLDER[state]}"))
        return [lane for lane, name in found if quoted(lane) == name]

    def waiting(self, state: JobState) -> list[Spot]:
        """All jobs in a waiting state."""
        return [
            spot
            for lane in self.lanes(state)
            for spot in self.spots(state, self.layout.lane(state, lane), lane)
        ]

    def leased(self) -> list[Spot]:
        """All jobs that are held."""
        return self.spots(JobState.LEASED, f"{self.layout.own}/leased")

    def over(self, state: JobState) -> list[Spot]:
        """All jobs in a final state."""
        folder = f"{self.layout.own}/{FOLDER[state]}"
        return [spot for shard in names(folder) for spot in self.spots(state, f"{folder}/{shard}")]

    def find(self, job: str) -> Spot | None:
        """Where a job is now; None if there is no such job."""
        for search in range(_SEARCHES):
            spec = self.spec(job)
            if spec is None:
                return None
            if spot := self._search(job, spec.lane):
                return spot
            time.sleep(0.0005 * search)
        return None

    def _search(self, job: str, lane: str) -> Spot | None:
        """Search the folders in the order in which jobs move through them, the likeliest lane first."""
        probe = Spot(JobState.DONE, "", "", job, 0, 0)
        own = self.layout.own
        mark = f"_{job}."
        folders = [(state, self.layout.lane(state, lane), lane) for state in WAITING]
        folders.append((JobState.LEASED, f"{own}/leased", ""))
        folders += [(state, f"{own}/{probe.moved(state).folder}", "") for state in FINAL]
        for state, folder, of_lane in folders:
            for name in names(folder):
                if mark in name and (spot := read_name(state, of_lane, name)) and spot.id == job:
                    return spot
        others = (spot for state in WAITING for spot in self.waiting(state) if spot.id == job)
        return next(others, None)  # readdressed

    def set_aside(self, path: str, reason: str) -> None:
        """Move a foreign or broken file aside, and report it. A file we may not move stays where it is."""
        name = os.fsdecode(os.fsencode(os.path.basename(path))[:LONGEST_ASIDE])
        with suppress(PermissionError):  # a folder of another user
            if os.path.lexists(path) and move(path, f"{self.layout.own}/aside/{name}.{time.time_ns()}"):
                self.feed.tell("file_set_aside", detail={"file": path, "reason": reason})

    def is_file(self, path: str) -> bool:
        """Whether this is a regular file; a folder, a FIFO and the like under a job's name are set aside."""
        found = is_file(path)
        if found is False:
            self.set_aside(path, "it is not a regular file")
        return bool(found)

    def attempts(self, job: str) -> tuple[Attempt, ...]:
        """The failures of a job, in order."""
        folder = f"{self.layout.own}/attempts/{job}"
        found = [Attempt(**fields) for name in names(folder) if (fields := read_json(f"{folder}/{name}"))]
        return tuple(sorted(found, key=lambda attempt: attempt.token))

    def note_attempt(self, job: str, attempt: Attempt) -> bool:
        """Record a failure unless that token's is recorded already; returns whether it was new."""
        return self.scratch.create(self.layout.attempt(job, attempt.token), attempt.as_json())

    def wish(self, job: str) -> str | None:
        """The reason for which a running job's cancellation was requested; None if it was not."""
        found = read_json(self.layout.wish(job))
        return None if found is None else str(found.get("reason", "cancelled"))

    def to_job(self, spot: Spot, spec: Spec, result: Result | None) -> Job:
        """The job as it is now."""
        until = None
        if spot.state is JobState.LEASED:
            renewed = touched(self.layout.path(spot))
            until = None if renewed is None else renewed + spot.lease_ms / 1000
        return Job(
            id=spec.id,
            kind=spec.kind,
            payload=spec.payload,
            target=Target.of(spec.lane),
            lane=spot.lane or spec.lane,
            priority=MAX_PRIORITY - int(spec.order[:4]),
            state=spot.state,
            timeout=spec.timeout,
            attempts=spot.attempts,
            max_attempts=spec.max_attempts,
            token=spot.token,
            submitted_at=spec.submitted / 1e6,
            submitted_by=spec.submitted_by,
            key=spec.key,
            meta=spec.meta,
            after=tuple(spec.after),
            group=spec.group,
            not_before=spot.due / 1e6 if spot.due else None,
            owner=spot.owner or (result.worker if result else ""),
            leased_at=spot.since_ms / 1000 if spot.since_ms else result.started_at if result else None,
            lease_until=until,
            cancel=self._cancel(spot, result),
            ended_at=result.finished_at if result else None,
            errors=self.attempts(spec.id) if spot.token else (),
            result=result,
        )

    def _cancel(self, spot: Spot, result: Result | None) -> str | None:
        if spot.state is JobState.LEASED:
            return self.wish(spot.id)
        return result.error if result and spot.state is JobState.CANCELLED else None
