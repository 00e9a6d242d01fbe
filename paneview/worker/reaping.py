"""Taking back the jobs of dead workers. Any number of processes may do it; electing a leader saves work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paneview.broker import StaleLeaderError

if TYPE_CHECKING:
    from paneview.broker import Broker, Leadership, Reaped

NAME = "reaper"
MOST_STEPS = 50  # per turn; the rest waits for the next


class Reaper:
    """Reaps if ``owner`` is elected as leader, which it then is for ``ttl`` seconds after each turn."""

    def __init__(self, broker: Broker, owner: str, ttl: float) -> None:
        self._broker = broker
        self._owner = owner
        self._ttl = ttl
        self.leader: Leadership | None = None

    def turn(self) -> list[Reaped]:
        """Reap if we are the leader; returns the result of each step. Raises BrokerError.

        If a leader was paused and replaced meanwhile, the queue rejects its steps.
        """
        self.leader = self._broker.lead(NAME, self._owner, self._ttl)
        done: list[Reaped] = []
        try:
            while self.leader is not None and len(done) < MOST_STEPS:
                done.append(self._broker.reap(self.leader))
                if not done[-1].more:
                    break
        except StaleLeaderError:
            self.leader = None
        return done

    def resign(self) -> None:
        """Give up the leadership, so that another process can lead at once. Raises BrokerError."""
        if self.leader is not None:
            self._broker.resign(self.leader)
            self.leader = None
