"""Claims, renewals, and leases that are given up or lost."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from paneview.broker.boot import slept
from paneview.broker.errors import UnknownJobError
from paneview.broker.jsontext import to_json
from paneview.broker.model import MOST_SECONDS, Attempt, Claim, Hold, Lease, Result
from paneview.broker.sqlite.database import Database, Step
from paneview.broker.sqlite.feed import note
from paneview.broker.sqlite.rows import SELECTED, with_error
from paneview.broker.sqlite.schema import COLUMNS
from paneview.broker.sqlite.submit import after_failed, end_cancelled
from paneview.broker.waiting import job_topic
from paneview.rules.jobs import JobState, after_loss

Row = tuple[Any, ...]
_ATTEMPT, _TOKEN = COLUMNS.index("attempts"), COLUMNS.index("token")
NAP = 0.1  # seconds of sleep that matter to no lease
AT_ONCE = 100  # jobs that are promoted or taken back per transaction
# The claim's statements avoid subqueries that SQLite would put into a temporary table: each costs 30 µs and more.
_LEASE = f"""
UPDATE jobs SET state = 'leased', owner = ?, token = token + 1, attempts = attempts + 1, leased_at = ?, due = NULL,
    not_before = NULL, lease_until = ?, lease_seconds = ?
WHERE seq = ? AND state IN ('queued', 'delayed') RETURNING {SELECTED}, seq
"""  # noqa: S608 - our own names
_SURVEY = """
SELECT (SELECT min(due) FROM jobs WHERE state = 'delayed'), (SELECT min(lease_until) FROM jobs WHERE state = 'leased'),
    EXISTS (SELECT 1 FROM needs WHERE need = ?), EXISTS (SELECT 1 FROM bells)
"""
_BEST_OF_A_LANE = """
SELECT * FROM (SELECT priority, seq FROM jobs WHERE state = 'queued' AND lane = ? ORDER BY priority DESC, seq LIMIT ?)
"""


@lru_cache(maxsize=64)
def _best_statement(lanes: int) -> str:
    """Select the best jobs of each lane from its end of the index, so that depth does not matter."""
    return " UNION ALL ".join([_BEST_OF_A_LANE] * lanes)


@lru_cache(maxsize=64)
def _look_statement(lanes: int) -> str:
    marks = ",".join("?" * lanes)
    return f"""
    SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'queued' AND lane IN ({marks})),
        (SELECT min(due) FROM jobs WHERE state = 'delayed'),
        (SELECT min(lease_until) FROM jobs WHERE state = 'leased')
    """  # noqa: S608 - only question marks


def look(database: Database, want: Claim, now: float) -> tuple[bool, float | None]:
    """Whether a claim would find or change anything, and in how many seconds something is due. Only reads."""
    queued, *times = database.one(_look_statement(len(want.lanes)), *want.lanes)
    due = min((time - now for time in times if time is not None), default=None)
    return bool(queued) or (due is not None and due <= 0), due


class Survey(NamedTuple):
    """What else a step has to do, found with a single statement because each one costs time."""

    due: bool
    """Whether delayed jobs are due."""
    late: bool
    """Whether leases have run out."""
    needed: bool
    """Whether other jobs wait for this one."""


def survey(step: Step, job: str = "") -> Survey:
    """Find out what there is to do; called at the beginning of a step."""
    due, late, needed, heard = step.one(_SURVEY, job)
    step.heard = bool(heard)
    return Survey(due is not None and due <= step.now, late is not None and late <= step.now, bool(needed))


def claim(step: Step, want: Claim, default: float, found: Survey) -> list[Row]:
    """The next jobs of these lanes, including those just due, as rows for `to_lease` after the transaction."""
    if found.due:
        promote(step)
    if found.late:
        expire(step)
    values = [value for lane in want.lanes for value in (lane, want.n)]
    best = sorted(step.rows(_best_statement(len(want.lanes)), *values), key=lambda row: (-row[0], row[1]))
    rows = (_take(step, seq, want, default) for _, seq in best[: want.n])
    return [row for row in rows if row is not None]


def take(step: Step, job: str, want: Claim, default: float) -> Row | None:
    """Claim this job, if it is queued or delayed. Raises `UnknownJobError`."""
    row = step.one("SELECT seq FROM jobs WHERE id = ?", job)
    if row is None:
        raise UnknownJobError(job)
    return _take(step, row[0], want, default)


def _take(step: Step, seq: int, want: Claim, default: float) -> Row | None:
    seconds = default if want.seconds is None else want.seconds
    row: Row | None = step.one(_LEASE, want.owner, step.wall, step.now + seconds, seconds, seq)
    if row is not None:
        note(step, "job_claimed", row[0], want.owner, {"attempt": row[_ATTEMPT], "token": row[_TOKEN]})
    return row


def renew(step: Step, lease: Lease) -> Hold:
    """Extend a lease by its length from now."""
    row = step.one(
        "UPDATE jobs SET lease_until = ? WHERE id = ? AND token = ? AND state = 'leased' RETURNING cancel",
        step.now + lease.seconds,
        lease.id,
        lease.token,
    )
    if row is None:
        return "lost"
    return "cancel" if row[0] is not None else "held"


def release(step: Step, lease: Lease, delay: float, reason: str) -> bool:
    """Hand a job back without counting the attempt; False if it was no longer held."""
    row = step.one(
        "SELECT cancel, lane FROM jobs WHERE id = ? AND token = ? AND state = 'leased'", lease.id, lease.token
    )
    if row is None:
        return False
    cancel, lane = row
    if cancel is not None:
        end_cancelled(step, lease.id, cancel)
        return True
    step.sql(
        "UPDATE jobs SET state = ?, attempts = attempts - 1, due = ?, not_before = ? WHERE id = ?",
        ("delayed", step.now + delay, step.wall + delay, lease.id)
        if delay > 0
        else ("queued", None, None, lease.id),
    )
    note(step, "job_released", lease.id, lease.owner, {"reason": reason, "delay": delay})
    step.topics.add(lane)
    return True


def promote(step: Step) -> int:
    """Queue delayed jobs that are due; returns how many."""
    due = step.rows(
        "SELECT seq, lane FROM jobs WHERE state = 'delayed' AND due <= ? LIMIT ?", step.now, AT_ONCE
    )
    for seq, lane in due:
        step.sql("UPDATE jobs SET state = 'queued', due = NULL WHERE seq = ?", (seq,))
        step.topics.add(lane)
    return len(due)


def expire(step: Step) -> list[str]:
    """Take back the jobs of silent holders; returns their ids."""
    _after_pause(step)
    rows = step.rows(
        "SELECT id, lease_seconds FROM jobs WHERE state = 'leased' AND lease_until <= ? ORDER BY lease_until LIMIT ?",
        step.now,
        AT_ONCE,
    )
    for job, seconds in rows:
        lose(step, job, f"its worker gave no sign for {seconds:g} s", "job_expired")
    return [job for job, _ in rows]


def _after_pause(step: Step) -> None:
    """Let holders renew leases that ran out while nobody could: the machine slept, or nothing could be written."""
    known = step.one("SELECT value FROM facts WHERE name = 'slept'")
    asleep = slept()
    since = asleep - (float(known[0]) if known else 0.0)
    if since > NAP:
        step.sql("REPLACE INTO facts VALUES ('slept', ?)", (str(asleep),))
    if since > NAP or step.refused:
        step.sql(
            "UPDATE jobs SET lease_until = ?1 + min(lease_seconds, ?2) WHERE state = 'leased' AND lease_until <= ?1",
            (step.now, MOST_SECONDS if step.refused else since),
        )


def lose(step: Step, job: str, reason: str, kind: str) -> None:
    """Return a leased job whose holder is gone to the queue, or end it."""
    owner, token, attempts, limit, cancel, errors, lane, leased_at = step.one(
        "SELECT owner, token, attempts, max_attempts, cancel, errors, lane, leased_at FROM jobs WHERE id = ?",
        job,
    )
    attempt = Attempt(attempts, token, owner, reason, step.wall)
    step.sql("UPDATE jobs SET errors = ? WHERE id = ?", (with_error(errors, attempt), job))
    note(step, kind, job, owner, {"reason": reason, "attempt": attempts})
    match after_loss(attempts, limit, cancelled=cancel is not None):
        case JobState.CANCELLED:
            end_cancelled(step, job, cancel)
        case JobState.DEAD:
            die(
                step,
                job,
                Result(job, "error", None, reason, owner, "", token, attempts, leased_at, step.wall),
            )
        case _:
            step.sql("UPDATE jobs SET state = 'queued' WHERE id = ?", (job,))
            step.topics.add(lane)


def die(step: Step, job: str, result: Result) -> None:
    """Make a job whose last attempt failed a dead letter."""
    step.sql(
        "UPDATE jobs SET state = 'dead', result = ?, ended_at = ?, due = NULL WHERE id = ?",
        (to_json("the result", result.as_json()), step.wall, job),
    )
    note(step, "job_dead", job, result.worker, {"error": result.error})
    step.topics.add(job_topic(job))
    after_failed(step, job, "is dead")
