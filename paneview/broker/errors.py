"""What a broker raises. Every message is one line for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paneview.broker.model import Leadership
    from paneview.broker.targets import Target


class BrokerError(Exception):
    """The broker refused, or cannot be used."""


class BadUrlError(BrokerError):
    """The broker's URL names nothing that there is."""


class BadJobError(BrokerError):
    """A job, or the name of whom it is for, that cannot be."""


class MissingExtraError(BrokerError):
    """A library is not installed; the message names the extra that brings it."""


class QueueFullError(BrokerError):
    """A lane holds as many waiting jobs as it may. Nothing was submitted."""

    def __init__(self, target: Target, limit: int) -> None:
        waiting = "1 job waits" if limit == 1 else f"{limit} jobs wait"
        super().__init__(f"the queue {target} is full: {waiting} in it already (limit {limit})")
        self.lane = target.lane
        self.limit = limit


class UnknownJobError(BrokerError):
    """There is no job of this id, or it was cleaned away."""

    def __init__(self, job: str) -> None:
        super().__init__(f"there is no job {job}")
        self.job = job


class DamagedJobError(BrokerError):
    """What is stored of a job is not what was written there: somebody has changed it."""

    def __init__(self, job: str, what: str) -> None:
        super().__init__(f"the job {job} is damaged in the queue: {what}")


class UnavailableError(BrokerError):
    """The broker does not answer now; the same call may work later, and is safe to repeat."""

    def __init__(self, text: str, *, stopped: int | None = None) -> None:
        super().__init__(text)
        self.stopped = stopped
        """A process on this host that is stopped and keeps everybody else from the queue, if it is known."""


class StaleLeaderError(BrokerError):
    """Another leader came after this one: what it was about to do is not its to do any more."""

    def __init__(self, leader: Leadership) -> None:
        super().__init__(f"{leader.owner} is not the leader of {leader.name} any more")
