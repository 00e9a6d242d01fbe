"""Where a job's file is and what its name means."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote

from paneview.broker.errors import BadJobError
from paneview.broker.model import MAX_PRIORITY
from paneview.config.queue import LONGEST, TOO_LONG
from paneview.rules.jobs import FINAL, JobState

FOLDER = {
    JobState.QUEUED: "ready",
    JobState.DELAYED: "delayed",
    JobState.BLOCKED: "blocked",
    JobState.LEASED: "leased",
    JobState.DONE: "done",
    JobState.DEAD: "dead",
    JobState.CANCELLED: "cancelled",
}
_PLAIN = r"(?P<order>\d{20})_(?P<id>[A-Za-z0-9_-]{1,64})\.(?P<token>\d+)\.(?P<attempts>\d+)"
_PATTERNS = {
    "plain": re.compile(rf"{_PLAIN}\.json"),
    "due": re.compile(rf"(?P<due>\d{{16}})_{_PLAIN}\.json"),
    "leased": re.compile(
        rf"{_PLAIN}\.(?P<lease_ms>\d+)\.(?P<since_ms>\d+)(-(?P<mark>\w+))?\.(?P<owner>[^.]*)\.json"
    ),
}


def order_of(priority: int, submitted: int) -> str:
    """20 digits that sort by priority, highest first, then by time (µs)."""
    return f"{MAX_PRIORITY - priority:04d}{submitted:016d}"


def shard_of(job: str) -> str:
    """The subfolder of a job that is over; each covers a hundred seconds, so that none grows too long to list."""
    if re.match(r"\d{10}_", job):
        return job[:8]
    return f"x{short(job)[:2]}"


def short(name: str) -> str:
    """A file name for any text: a hash."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def quoted(name: str) -> str:
    """A readable file name for a lane or an owner, without dots."""
    return quote(name, safe="", errors="surrogatepass").replace(".", "%2E")


def check_lane(lane: str) -> None:
    """Raise `BadJobError` if a folder cannot have the lane's name."""
    if len(quoted(lane)) > LONGEST:
        raise BadJobError(f"{lane!r} is too long for a shared folder: {TOO_LONG}")


@dataclass(frozen=True, slots=True)
class Spot:
    """The location of a job's file, and what its name says."""

    state: JobState
    lane: str
    """Empty if the folder does not tell: for leased and finished jobs."""
    order: str
    id: str
    token: int
    attempts: int
    due: int = 0
    """Server's time in µs, for delayed and blocked jobs."""
    lease_ms: int = 0
    since_ms: int = 0
    """When it was leased, server's time in ms."""
    owner: str = ""
    mark: str = ""
    """Random part of a lease's name, so that no two claims produce the same name, even of one owner at one moment."""

    @property
    def folder(self) -> str:
        """The file's folder, relative to ``paneview/``."""
        name = FOLDER[self.state]
        if self.state in FINAL:
            return f"{name}/{shard_of(self.id)}"
        return name if self.state is JobState.LEASED else f"{name}/{quoted(self.lane)}"

    @property
    def name(self) -> str:
        """The file's name."""
        plain = f"{self.order}_{self.id}.{self.token}.{self.attempts}"
        if self.state in (JobState.DELAYED, JobState.BLOCKED):
            return f"{self.due:016d}_{plain}.json"
        if self.state is JobState.LEASED:
            since = f"{self.since_ms}-{self.mark}" if self.mark else str(self.since_ms)
            return f"{plain}.{self.lease_ms}.{since}.{quoted(self.owner)}.json"
        return f"{plain}.json"

    @property
    def submitted(self) -> int:
        """When it was submitted, server's time in µs."""
        return int(self.order[4:])

    def moved(self, state: JobState, *, lane: str = "", due: int = 0, attempts: int | None = None) -> Spot:
        """The same job in another state, other than leased."""
        return replace(
            self,
            state=state,
            lane=lane,
            due=due,
            attempts=self.attempts if attempts is None else attempts,
            lease_ms=0,
            since_ms=0,
            owner="",
            mark="",
        )


def read_name(state: JobState, lane: str, name: str) -> Spot | None:
    """Parse a file's name in a folder of that state; None if it is not one of ours."""
    waiting = state in (JobState.DELAYED, JobState.BLOCKED)
    pattern = "due" if waiting else "leased" if state is JobState.LEASED else "plain"
    found = _PATTERNS[pattern].fullmatch(name)
    if found is None:
        return None
    fields = found.groupdict()
    return Spot(
        state,
        lane,
        fields["order"],
        fields["id"],
        int(fields["token"]),
        int(fields["attempts"]),
        int(fields.get("due") or 0),
        int(fields.get("lease_ms") or 0),
        int(fields.get("since_ms") or 0),
        unquote(fields.get("owner") or ""),
        fields.get("mark") or "",
    )


class Layout:
    """The paths of all folders and files."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.own = f"{root}/paneview"
        self.tasks = f"{root}/tasks"
        self.results = f"{root}/results"
        self.logs = f"{root}/logs"

    def path(self, spot: Spot) -> str:
        """The path of a job's file."""
        return f"{self.own}/{spot.folder}/{spot.name}"

    def lane(self, state: JobState, lane: str) -> str:
        """The folder of a lane's jobs in a waiting state."""
        return f"{self.own}/{FOLDER[state]}/{quoted(lane)}"

    def by_id(self, job: str) -> str:
        """The link to a job by its id."""
        return f"{self.own}/ids/{shard_of(job)}/{job}.json"

    def by_key(self, key: str) -> str:
        """The link to a job by its idempotency key."""
        return f"{self.own}/keys/{short(key)}.json"

    def by_group(self, group: str, job: str) -> str:
        """The link to a job by its group."""
        return f"{self.own}/groups/{short(group)}/{job}.json"

    def result(self, job: str) -> str:
        """The path at which readers, including claude-queue's, find a result."""
        return f"{self.results}/result_{job}.json"

    def brought(self, job: str, token: int, state: JobState) -> str:
        """The prefix of the paths of results not accepted yet; several processes may deliver one."""
        return f"{self.own}/results/{job}.{token}.{state.value}."

    def entry(self, job: str) -> str:
        """The prefix of the path of a job submitted alone; the same job may be submitted several times."""
        return f"{self.own}/entry/{job}."

    def attempt(self, job: str, token: int) -> str:
        """The file with the error of an attempt."""
        return f"{self.own}/attempts/{job}/{token}.json"

    def wish(self, job: str) -> str:
        """The file that requests a running job's cancellation."""
        return f"{self.own}/cancel/{job}.json"

    def needs(self, need: str) -> str:
        """The folder of the marks of jobs that wait for this one."""
        return f"{self.own}/needs/{need}"


FOLDERS = (
    "aside", "attempts", "blocked", "cancel", "cancelled", "clock", "dead", "delayed", "docs", "done", "entry", "flags",
    "gone", "groups", "ids", "keys", "leaders", "leased", "needs", "outbox", "ready", "results", "stage", "tmp",
    "workers",
)  # fmt: skip
