"""The Redis broker as a whole."""

from __future__ import annotations

import itertools
import json
import random
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from redis import exceptions

from paneview.broker.errors import QueueFullError, StaleLeaderError, UnavailableError, UnknownJobError
from paneview.broker.interface import Broker
from paneview.broker.jsontext import to_json
from paneview.broker.model import (
    Cancelled,
    Claim,
    Finished,
    Hold,
    Job,
    JobFilter,
    LaneStats,
    Leadership,
    Lease,
    NewJob,
    Outcome,
    Reaped,
    Result,
    Settings,
    Submitted,
    as_text,
)
from paneview.broker.redis import codec, reading
from paneview.broker.redis.bell import ListBell
from paneview.broker.redis.documents import RedisDocuments
from paneview.broker.redis.feed import RedisFeed
from paneview.broker.redis.link import Link
from paneview.broker.redis.registry import RedisFlags, RedisRegistry
from paneview.broker.targets import Target
from paneview.broker.waiting import Topics
from paneview.rules.jobs import JobState, Next, Verdict, after_error

HOLDS: tuple[Hold, Hold, Hold] = ("lost", "held", "cancel")
FORGET_WORKERS_MS = 86_400_000
AT_ONCE = 100  # as in common.lua
FEW = 200  # jobs that one script handles
MOST_DAMAGED = 3  # jobs that a warning names at most
_KEPT = Next(JobState.DONE)


class RedisBroker(Broker):
    """See `Broker` and this package's docstring."""

    def __init__(
        self, url: str, link: Link, settings: Settings, warnings: tuple[str, ...], run: str = ""
    ) -> None:
        super().__init__(url, settings)
        self.warnings = self._set_up = warnings
        self._link = link
        self._lane = ""  # where the last job was found, and where to look first
        self._name, self._requests = f"{uuid.uuid4().hex}.", itertools.count(1)
        self._unanswered: dict[tuple[int, Claim | None], str] = {}
        self.events = RedisFeed(link, self.bells, settings.look)
        self.flags = flags = RedisFlags(link)
        self.documents = RedisDocuments(link)
        self.workers = RedisRegistry(link, flags, self.events)
        # A server that is full, cannot save or is a replica can still be read.
        client: Any = link.client
        with suppress(UnavailableError):
            link.patiently(lambda _again: _keep(client, link.base, settings.keep_events, run))

    def submit_many(self, jobs: Sequence[NewJob]) -> tuple[Submitted, ...]:
        """Submit all of them or none."""
        limit = self.settings.max_depth
        text = codec.new_jobs(jobs, self.settings)
        told = self._link.call("submit", text, "" if limit is None else limit)
        if told and told[0] == "full":
            raise QueueFullError(Target.of(told[1]), limit or 0)
        return _submitted(told)

    def cancel(self, job: str, reason: str = "") -> Cancelled:
        """Cancel a waiting job, or ask the holder of a running one to end it."""
        told: Cancelled | None = self._link.call("cancel", job, as_text(reason) or "cancelled") or None
        if told is None:
            raise UnknownJobError(job)
        return told

    def _claim(self, want: Claim) -> tuple[list[Lease], float | None]:
        wish = codec.wanted(want, self.settings.lease)
        with self._named(want) as (request, before):
            told = self._link.call_once(
                "claim", lambda again: (wish, request, "1" if again or before else "0", self._lane)
            )
        due, found = json.loads(told)
        leases = [codec.to_lease(one) for one in found]
        if leases:
            self._lane = leases[0].job.lane
        return leases, due / 1000 if due >= 0 else None

    def _request(self) -> str:
        """A globally unique name for a request."""
        return f"{self._name}{next(self._requests)}"

    @contextmanager
    def _named(self, want: Claim | None) -> Iterator[tuple[str, bool]]:
        """A request's name, and whether it was used before: by a claim of this thread that was given up unanswered.

        What the server leased then, nobody else knows of, and it would wait for its lease to run out.
        """
        key = (threading.get_ident(), want)
        before = self._unanswered.pop(key, None) if want else None
        request = before or self._request()
        try:
            yield request, before is not None
        except UnavailableError:
            if want:
                self._unanswered[key] = request
            raise

    def take(self, job: str, want: Claim) -> Lease | None:
        """Claim this job."""
        milliseconds = round(1000 * (self.settings.lease if want.seconds is None else want.seconds))
        with self._named(want) as (request, before):
            told = self._link.call_once(
                "take",
                lambda again: (job, want.owner, milliseconds, request, "1" if again or before else "0"),
            )
        if told == -1:
            raise UnknownJobError(job)
        return codec.to_lease(json.loads(told)) if told else None

    def renew(self, leases: Sequence[Lease]) -> list[Hold]:
        """Extend the leases."""
        args = [value for lease in leases for value in (lease.id, lease.token, round(lease.seconds * 1000))]
        return [HOLDS[told] for told in self._link.call("renew", *args)]

    def finish(
        self, lease: Lease, outcome: Outcome, *, follow_ups: Sequence[NewJob] = (), claim: Claim | None = None
    ) -> Finished:
        """Deliver a result."""
        after = _KEPT if outcome.status == "ok" else self._after(lease, outcome)
        wish = codec.wanted(claim, self.settings.lease) if claim else ""
        fixed = (
            lease.id, lease.token, outcome.status, to_json("the output", outcome.output),
            "" if outcome.error is None else f"e{as_text(outcome.error)}", outcome.host, after.state,
            round(after.delay * 1000), codec.new_jobs(follow_ups, self.settings), wish,
        )  # fmt: skip
        with self._named(claim) as (request, before):
            told = self._link.call_once(
                "finish", lambda again: (*fixed, request, "1" if again or before else "0")
            )
        verdict, state, submitted, found = json.loads(told)
        return Finished(
            Verdict(verdict),
            JobState(state) if state else None,
            _submitted(submitted),
            tuple([codec.to_lease(one) for one in found]),
        )

    def _after(self, lease: Lease, outcome: Outcome) -> Next:
        """What a failure leads to, if the result is accepted."""
        return after_error(
            lease.attempt,
            lease.job.max_attempts,
            retry=outcome.retry,
            retry_in=outcome.retry_in,
            backoff=self.settings.backoff,
            chance=random.random(),  # noqa: S311 - jitter
        )

    def release(self, lease: Lease, *, delay: float = 0.0, reason: str = "") -> bool:
        """Hand a job back."""
        detail = to_json("an event", {"reason": reason, "delay": delay})
        return bool(self._link.call("release", lease.id, lease.token, round(delay * 1000), detail))

    def release_owner(self, owner: str, reason: str) -> list[str]:
        """Return all jobs that a dead process held to the queue."""
        return list(self._link.call("release_owner", owner, as_text(reason)))

    def job(self, job: str) -> Job | None:
        """A job by id; None if there is none."""
        return reading.job(self._link, job)

    def jobs(self, wanted: JobFilter) -> list[Job]:
        """The jobs that match, newest first; `warnings` names those that could not be read."""
        found, damaged = reading.jobs(self._link, wanted)
        more = f", and {len(damaged) - MOST_DAMAGED} more" if len(damaged) > MOST_DAMAGED else ""
        passed_over = (f"{'; '.join(damaged[:MOST_DAMAGED])}{more}",) if damaged else ()
        self.warnings = (*self._set_up, *passed_over)
        return found

    def result(self, job: str) -> Result | None:
        """The result of a job."""
        return reading.result(self._link, job)

    def stats(self) -> list[LaneStats]:
        """Statistics of every lane that holds anything."""
        return reading.stats(self._link)

    def retry(self, jobs: Iterable[str] | None = None) -> list[str]:
        """Queue dead letters again."""
        return [job for some in self._few(jobs) for job in self._link.call("retry", *some)]

    def purge(self, jobs: Iterable[str] | None = None) -> list[str]:
        """Delete dead letters."""
        return [job for some in self._few(jobs) for job in self._link.call("purge", *some)]

    def _few(self, jobs: Iterable[str] | None) -> Iterator[list[str]]:
        """These dead letters (None: all), a few at a time because a script blocks all other clients."""
        ids = list(reading.dead(self._link) if jobs is None else jobs)
        return (ids[start : start + FEW] for start in range(0, len(ids), FEW))

    def clean(self, older_than: float) -> int:
        """Delete old finished jobs, a few at a time."""
        total = 0
        for state in ("done", "cancelled"):
            last, looked_at = "-1", FEW
            while looked_at == FEW:
                looked_at, last, gone = self._link.call("clean", state, last, round(older_than * 1000), FEW)
                total += gone
        return total

    def reap(self, leader: Leadership | None = None) -> Reaped:
        """Take back the jobs of silent workers."""
        name, epoch = (leader.name, leader.epoch) if leader else ("", 0)
        told = self._link.call("reap", name, epoch, FORGET_WORKERS_MS)
        if leader is not None and told == "stale":
            raise StaleLeaderError(leader)
        expired, readdressed, lost, promoted = told
        return Reaped(tuple(expired), readdressed, tuple(lost), more=AT_ONCE in (len(expired), promoted))

    def lead(self, name: str, owner: str, ttl: float) -> Leadership | None:
        """Become or stay the leader."""
        epoch = self._link.call("lead", name, owner, round(ttl * 1000))
        return Leadership(name, owner, int(epoch)) if epoch else None

    def resign(self, leader: Leadership) -> None:
        """Give up the leadership."""
        self._link.call("resign", leader.name, leader.epoch)

    def _bell(self, topics: Topics) -> ListBell:
        return ListBell(self._link, topics)

    def close(self) -> None:
        """Close the connections."""
        super().close()
        self._link.close()


def _keep(client: Any, base: str, number: int, run: str) -> None:
    with suppress(exceptions.ReadOnlyError):  # waiting would not help
        client.set(f"{base}events:keep", number)
        client.set(f"{base}run", run, nx=True)  # see claiming.lua


def _submitted(told: Iterable[Any]) -> tuple[Submitted, ...]:
    return tuple(Submitted(job, bool(created)) for job, created in told)
