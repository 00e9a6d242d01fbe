"""Taking back what dead workers held. Any number may do it; a leader is elected so that not all of them do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paneview.broker import StaleLeaderError

if TYPE_CHECKING:
    from paneview.broker import Broker, Leadership, Reaped

NAME = "reaper"
MOST_STEPS = 50  # of a turn; the rest waits for the next


class Reaper:
    """``owner`` stands for election; it is the leader for ``ttl`` seconds after each turn."""

    def __init__(self, broker: Broker, owner: str, ttl: float) -> None:
        self._broker = broker
        self._owner = owner
        self._ttl = ttl
        self.leader: Leadership | None = None

    def turn(self) -> list[Reaped]:
        """Reap if we are the leader; what each step did. Raises BrokerError.

        A leader that was paused, and replaced meanwhile, is told so by the queue and does no harm.
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
        """Let another one lead at once. Raises BrokerError."""
        if self.leader is not None:
            self._broker.resign(self.leader)
            self.leader = None
