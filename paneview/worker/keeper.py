"""The thread that keeps a worker's place in the queue: it renews leases, sends heartbeats, receives cancellations.

It has its own connection and runs no handler's code, so nothing a handler does can make a lease run out. It ignores
very short jobs, whose leases are far longer than they are.

With each heartbeat it also takes a turn as reaper, unless another process is the leader: so the jobs of dead workers
return to the queue even where nothing but workers runs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from paneview.broker import BrokerError, UnavailableError
from paneview.rules.jobs import renew_every
from paneview.worker.reaping import Reaper

if TYPE_CHECKING:
    from paneview.broker import Broker, Lease, Registration
    from paneview.worker.crew import Crew

LONGEST_HOLD = 2.0  # seconds after which jobs that began meanwhile are included
PAUSE = 0.5  # seconds after a failed call
SHORTEST = 0.2  # seconds that any call has at least


class Keeper(threading.Thread):
    """The keeper of one worker. ``tell`` is called with whether the queue answers, and an error message if not."""

    def __init__(
        self,
        crew: Crew,
        connect: Callable[[], Broker],
        worker: Registration,
        interval: float,
        tell: Callable[[bool, str], None],
    ) -> None:
        super().__init__(name="keeper", daemon=True)
        self._crew = crew
        self._connect = connect
        self._worker = worker
        self._interval = interval
        self._tell = tell
        self._broker: Broker | None = None
        self._next_beat = time.monotonic() + interval
        crew.rehold = self._rehold

    def run(self) -> None:
        """Run until the crew is closed."""
        while not self._crew.closed:
            try:
                if self._broker is None:
                    self._broker = self._connect()
                    # Give up a blocked call early enough for the next heartbeat.
                    self._broker.hurry(max(self._worker.ttl / 4, SHORTEST))
                heard = self._turn(self._broker)
            except UnavailableError as error:
                self._tell(False, str(error))
                self._crew.keeper_sleeps(PAUSE)
            except Exception as error:  # noqa: BLE001 - without this thread every lease runs out
                self._tell(False, str(error) if isinstance(error, BrokerError) else f"defect: {error!r}")
                self._reconnect()
                self._crew.keeper_sleeps(PAUSE)
            else:
                if heard:
                    self._tell(True, "")
        self._reconnect()

    def _turn(self, broker: Broker) -> bool:
        """Do what is due; returns whether the queue was asked for anything."""
        now = time.monotonic()
        beat = now >= self._next_beat
        if beat:
            self._beat(broker)
            self._next_beat = now + self._interval
        leases = self._crew.to_hold()
        left = max(0.0, self._next_beat - time.monotonic())
        if leases:
            shortest = renew_every(min(lease.seconds for lease in leases))
            self._hold(broker, leases, min(shortest, LONGEST_HOLD, left))
        else:
            self._crew.keeper_sleeps(left)
        return beat or bool(leases)

    def _hold(self, broker: Broker, leases: list[Lease], seconds: float) -> None:
        holds = broker.hold(leases, seconds)
        self._crew.heard(leases, holds)
        if any(hold != "held" for hold in holds):
            # Its handler has been told. Give it a moment to end before the next renewal.
            self._crew.keeper_sleeps(PAUSE / 10)

    def _beat(self, broker: Broker) -> None:
        if not broker.workers.beat(self._worker.id) and not self._crew.closed:  # else it has just signed off
            broker.workers.register(self._worker)
        Reaper(broker, self._worker.id, ttl=self._interval * 3).turn()

    def _rehold(self) -> None:
        broker = self._broker  # its own thread may drop it at any moment
        if broker is not None:
            broker.wake()

    def _reconnect(self) -> None:
        broker, self._broker = self._broker, None
        if broker is not None:
            broker.close()
