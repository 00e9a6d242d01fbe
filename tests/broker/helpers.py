"""Short words for what tests say often."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from paneview.broker import Broker, Claim, Job, Lease, NewJob, Outcome, lanes_of

T = TypeVar("T")

ANYBODY = ("any",)


def want(
    owner: str = "w1", *, n: int = 1, seconds: float | None = None, lanes: tuple[str, ...] = ANYBODY
) -> Claim:
    """What a worker wants."""
    return Claim(owner, lanes, n, seconds)


def worker_of(role: str, owner: str = "w1") -> Claim:
    """What a worker of a role wants."""
    return Claim(owner, lanes_of(owner, [role]))


def submit(broker: Broker, **fields: Any) -> str:
    """A job's id."""
    return broker.submit(NewJob(**{"kind": "test", **fields})).id


def take(broker: Broker, owner: str = "w1", *, seconds: float | None = None) -> Lease:
    """The next job of the lane `any`, which must be there."""
    found = broker.claim(want(owner, seconds=seconds))
    assert len(found) == 1
    return found[0]


def job(broker: Broker, id_: str) -> Job:
    """A job that exists."""
    found = broker.job(id_)
    assert found is not None
    return found


def state(broker: Broker, id_: str) -> str:
    """Its state."""
    return job(broker, id_).state.value


def fail(broker: Broker, lease: Lease, error: str = "no luck", **fields: Any) -> Any:
    """Bring a failure."""
    return broker.finish(lease, Outcome("error", error=error, **fields))


def kinds(broker: Broker, id_: str) -> list[str]:
    """What happened to a job."""
    return [event.kind for event in broker.events.read(limit=10_000).events if event.job == id_]


class Later(Generic[T]):
    """A call on a thread of its own."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._answer: list[T] = []
        self._error: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(call,))
        self._thread.start()

    def _run(self, call: Callable[[], T]) -> None:
        try:
            self._answer.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again by `result`
            self._error.append(error)

    @property
    def over(self) -> bool:
        """Whether it has come back."""
        return not self._thread.is_alive()

    def result(self, timeout: float = 20.0) -> T:
        """Its answer."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the call does not come back"
        if self._error:
            raise self._error[0]
        return self._answer[0]
