"""A queue made of only the rules and a virtual clock: every broker must behave like it."""

from __future__ import annotations

from dataclasses import dataclass, field

from paneview.rules.jobs import (
    Backoff,
    JobState,
    Verdict,
    after_error,
    after_loss,
    after_needs,
    judge,
    overdue,
)


@dataclass
class ModelJob:
    """One job."""

    id: str
    seq: int
    priority: int
    max_attempts: int
    after: tuple[str, ...]
    due: float
    state: JobState = JobState.QUEUED
    attempts: int = 0
    token: int = 0
    owner: str = ""
    renewed: float = 0.0
    seconds: float = 0.0
    wish: bool = False
    accepted: list[int] = field(default_factory=list)
    """The tokens of accepted results."""


@dataclass(frozen=True)
class ModelLease:
    """A worker's hold."""

    id: str
    token: int
    attempt: int


class ModelQueue:
    """Jobs, and what people and workers do with them."""

    def __init__(self, backoff: Backoff) -> None:
        self.now = 1_000_000.0
        self.jobs: dict[str, ModelJob] = {}
        self.keys: dict[str, str] = {}
        self._backoff = backoff
        self._seq = 0

    def submit(
        self, id_: str, priority: int, delay: float, max_attempts: int, after: tuple[str, ...], key: str
    ) -> tuple[str, bool]:
        """The id of the job, and whether it is new."""
        if key and key in self.keys:
            return self.keys[key], False
        if key:
            self.keys[key] = id_
        self._seq += 1
        job = ModelJob(id_, self._seq, priority, max_attempts, after, self.now + delay if delay else 0.0)
        self.jobs[id_] = job
        job.state = self._first_state(job)
        return id_, True

    def _first_state(self, job: ModelJob) -> JobState:
        needs = [self.jobs[need].state if need in self.jobs else None for need in job.after]
        return after_needs(needs, delayed=job.due > self.now)

    def _settle_needs(self) -> None:
        """Queue or cancel blocked jobs whose needs are settled, until nothing changes."""
        changed = True
        while changed:
            changed = False
            for job in self.jobs.values():
                if (
                    job.state is JobState.BLOCKED
                    and (state := self._first_state(job)) is not JobState.BLOCKED
                ):
                    job.state = state
                    changed = True

    def tend(self) -> None:
        """Queue jobs that are due, and take back those of silent holders."""
        for job in self.jobs.values():
            if job.state is JobState.DELAYED and job.due <= self.now:
                job.state = JobState.QUEUED
        for job in self.jobs.values():
            if job.state is JobState.LEASED and overdue(self.now, job.renewed, job.seconds):
                self._lose(job)
        self._settle_needs()

    def _lose(self, job: ModelJob) -> None:
        job.state = after_loss(job.attempts, job.max_attempts, cancelled=job.wish)

    def claim(self, owner: str, n: int, seconds: float) -> list[ModelLease]:
        """Claim up to ``n`` jobs, in order."""
        ready = [job for job in self.jobs.values() if job.state is JobState.QUEUED]
        ready.sort(key=lambda job: (-job.priority, job.seq))
        return [self._lease(job, owner, seconds) for job in ready[:n]]

    def take(self, id_: str, owner: str, seconds: float) -> ModelLease | None:
        """Claim this particular job; None if it cannot be claimed."""
        job = self.jobs[id_]
        return self._lease(job, owner, seconds) if job.state in (JobState.QUEUED, JobState.DELAYED) else None

    def _lease(self, job: ModelJob, owner: str, seconds: float) -> ModelLease:
        job.state = JobState.LEASED
        job.token += 1
        job.attempts += 1
        job.owner, job.renewed, job.seconds = owner, self.now, seconds
        job.due = 0.0
        return ModelLease(job.id, job.token, job.attempts)

    def _holds(self, lease: ModelLease) -> bool:
        job = self.jobs.get(lease.id)
        return job is not None and job.state is JobState.LEASED and job.token == lease.token

    def renew(self, lease: ModelLease) -> str:
        """Renew a lease; returns its status."""
        if not self._holds(lease):
            return "lost"
        job = self.jobs[lease.id]
        job.renewed = self.now
        return "cancel" if job.wish else "held"

    def finish(
        self, lease: ModelLease, status: str, *, retry: bool = True
    ) -> tuple[Verdict, JobState | None]:
        """Submit a result."""
        job = self.jobs.get(lease.id)
        if job is None:
            return Verdict.STALE, None
        verdict = judge(job.state, job.token, lease.token, ok=status == "ok")
        if verdict is not Verdict.ACCEPTED:
            return verdict, job.state
        if status == "ok":
            job.state = JobState.DONE
            job.accepted.append(lease.token)
            job.wish = False
        elif status == "cancelled" or job.wish:
            job.state = JobState.CANCELLED
        else:
            after = after_error(
                lease.attempt,
                job.max_attempts,
                retry=retry,
                retry_in=None,
                backoff=self._backoff,
                chance=0.0,
            )
            job.state, job.due = after.state, self.now + after.delay
        self._settle_needs()
        return verdict, job.state

    def release(self, lease: ModelLease) -> bool:
        """Hand the job back."""
        if not self._holds(lease):
            return False
        job = self.jobs[lease.id]
        if job.wish:
            job.state = JobState.CANCELLED
            self._settle_needs()
        else:
            job.state = JobState.QUEUED
            job.attempts -= 1
        return True

    def release_owner(self, owner: str) -> set[str]:
        """Take back all jobs of a dead worker."""
        held = [job for job in self.jobs.values() if job.state is JobState.LEASED and job.owner == owner]
        for job in held:
            self._lose(job)
        self._settle_needs()
        return {job.id for job in held}

    def cancel(self, id_: str) -> str:
        """Cancel a job."""
        job = self.jobs[id_]
        if job.state.final:
            return "over"
        if job.state is JobState.LEASED:
            job.wish = True
            return "requested"
        job.state = JobState.CANCELLED
        self._settle_needs()
        return "cancelled"

    def retry(self) -> set[str]:
        """Queue all dead letters again."""
        dead = [job for job in self.jobs.values() if job.state is JobState.DEAD]
        for job in dead:
            job.state, job.attempts, job.wish = JobState.QUEUED, 0, False
        return {job.id for job in dead}

    def purge(self) -> int:
        """Delete all dead letters."""
        dead = [job.id for job in self.jobs.values() if job.state is JobState.DEAD]
        for id_ in dead:
            del self.jobs[id_]
        self.keys = {key: id_ for key, id_ in self.keys.items() if id_ not in dead}
        return len(dead)

    def check(self) -> None:
        """Assert what must hold at every moment."""
        for job in self.jobs.values():
            assert job.attempts <= job.max_attempts
            assert job.attempts <= job.token
            assert len(job.accepted) <= 1
            if job.accepted:
                assert job.state is JobState.DONE
                assert job.accepted == [job.token], "the last holder's"
            if job.state is JobState.QUEUED:
                assert all(
                    self.jobs[need].state is JobState.DONE for need in job.after if need in self.jobs
                ), "order"
