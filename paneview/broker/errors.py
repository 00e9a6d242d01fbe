"""The errors a broker raises. Every message is a single line for the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paneview.broker.model import Leadership
    from paneview.broker.targets import Target


class BrokerError(Exception):
    """The broker refused, or cannot be used."""


class BadUrlError(BrokerError):
    """The broker's URL is invalid."""


class BadJobError(BrokerError):
    """A job or a target's name is invalid."""


class MissingExtraError(BrokerError):
    """A library is not installed; the message names the extra that provides it."""


class QueueFullError(BrokerError):
    """A lane holds its maximum number of waiting jobs. Nothing was submitted."""

    def __init__(self, target: Target, limit: int) -> None:
        waiting = "1 job waits" if limit == 1 else f"{limit} jobs wait"
        super().__init__(f"the queue {target} is full: {waiting} in it already (limit {limit})")
        self.lane = target.lane
        self.limit = limit


class UnknownJobError(BrokerError):
    """There is no job with this id, or it was cleaned away."""

    def __init__(self, job: str) -> None:
        super().__init__(f"there is no job {job}")
        self.job = job


class NotOursError(BrokerError):
    """A worker of claude-queue does the job, which nobody can ask to end it."""

    def __init__(self, job: str) -> None:
        super().__init__(f"{job} is done by a worker of claude-queue, which nobody can ask to end it")


class DamagedJobError(BrokerError):
    """A job's stored data is not what was written: something else has changed it."""

    def __init__(self, job: str, what: str) -> None:
        super().__init__(f"the job {job} is damaged in the queue: {what}")


class UnavailableError(BrokerError):
    """The broker does not answer now; the same call may work later and is safe to repeat."""

    def __init__(self, text: str, *, stopped: int | None = None) -> None:
        super().__init__(text)
        self.stopped = stopped
        """The id of a stopped process on this host that blocks the queue for all others, if known."""


class StaleLeaderError(BrokerError):
    """Another leader has replaced this one, which must not go on."""

    def __init__(self, leader: Leadership) -> None:
        super().__init__(f"{leader.owner} is not the leader of {leader.name} any more")
