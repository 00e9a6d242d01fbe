"""The thread on which a supervisor looks after its queue, which may be on another host and slow.

It does the actions that it is given, and looks at the queue every few seconds. What fails because the queue does not
answer is done when it does. Of all supervisors and workers that share a queue, one reaps (`paneview.worker.reaping`).
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from paneview.broker import BrokerError, UnavailableError
from paneview.broker.interface import HURRY
from paneview.supervisor.queue.workers import workers_here
from paneview.worker.joining import connect
from paneview.worker.reaping import Reaper
from paneview.worker.silence import Silence

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from paneview.broker import Broker, WorkerView
    from paneview.broker.interface import Marks
    from paneview.config.queue import QueueSettings

    Action = Callable[[Broker], object]

logger = logging.getLogger(__name__)

LOOK = 2.0  # seconds between two rounds
PAUSE = 1.0  # seconds after a call that failed
LEADERSHIP = LOOK * 5


class Owner(Protocol):
    """Who is told what the thread finds; its methods are called on the event loop."""

    def released(self, marks: Marks, here: str) -> None:
        """These are the marks of quarantined workers now; ``here`` is this host's name."""
        ...

    def hung(self, views: list[WorkerView]) -> None:
        """These workers of this host send no heartbeats; each is told once."""
        ...

    def stopped(self, pid: int) -> None:
        """This process is stopped, and keeps everyone else from the queue."""
        ...

    def answers(self, problem: str | None) -> None:
        """The queue has stopped answering, or answers again (None)."""
        ...


class QueueThread(threading.Thread):
    """The thread that talks to the queue, and tells ``owner`` what it finds."""

    def __init__(
        self, owner: Owner, settings: QueueSettings, folder: Path, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(name="queue", daemon=True)
        self.settings = settings
        self._owner = owner
        self._folder = folder
        self._loop = loop
        self._actions: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._undone: list[Action] = []
        self._ended = threading.Event()
        self._problem: str | None = None
        self._broker: Broker | None = None
        self._me = f"supervisor-{uuid.uuid4().hex[:12]}"
        self._silence = Silence(LOOK)
        self._hung: set[str] = set()  # silent workers that were reported
        self._next_round = 0.0  # monotonic

    def tell(self, action: Action) -> None:
        """Have this action done as soon as the queue answers."""
        self._actions.put(action)

    def leave(self) -> None:
        """End soon; actions given so far are done first if the queue answers."""
        self._ended.set()
        self._actions.put(None)

    def end(self) -> None:
        """`leave`, and wait up to 5 seconds for the thread to end."""
        self.leave()
        self.join(5.0)

    def run(self) -> None:
        """Do actions and look at the queue until `leave` is called."""
        while True:
            answered = self._turn()
            pause = max(0.0, self._next_round - time.monotonic()) if answered else PAUSE
            self._wait(0.0 if self._ended.is_set() else pause)
            if self._ended.is_set() and (self._problem or not self._undone):
                break
        self._let_go()

    def _let_go(self) -> None:
        """Close the queue; the next turn opens it again."""
        broker, self._broker = self._broker, None
        if broker is not None:
            with suppress(Exception):  # it may be what is broken
                broker.close()

    def _wait(self, seconds: float) -> None:
        try:
            action = self._actions.get(timeout=seconds)
            while True:
                if action is not None:
                    self._undone.append(action)
                action = self._actions.get_nowait()
        except queue.Empty:
            pass

    def _turn(self) -> bool:
        try:
            if self._broker is None:
                self._broker = connect(self.settings, self._folder)
                self._broker.hurry(HURRY)
                for warning in self._broker.warnings:
                    logger.warning("queue: %s", warning)
            if self._problem and not self._ended.is_set():
                # This only reads: a silent worker may be what keeps us from writing.
                self._look_for_silent(self._broker)
            self._act(self._broker)  # first, because jobs of a dead worker wait
            if not self._ended.is_set() and time.monotonic() >= self._next_round:
                # Not at each turn: the jobs of the next dead worker must not wait for another round.
                self._next_round = time.monotonic() + LOOK
                self._broker.check()
                self._look_for_silent(self._broker)
                Reaper(self._broker, self._me, LEADERSHIP).turn()
                marks = self._broker.workers.quarantined()
                self._call(self._owner.released, marks, self.settings.here)
        except BrokerError as error:
            self._next_round = 0.0  # only a whole round shows that the queue answers again
            self._say(str(error))
            if isinstance(error, UnavailableError) and error.stopped is not None:
                self._call(self._owner.stopped, error.stopped)
            else:
                self._silence.doubt()
            return False
        except Exception as error:  # without this thread, dead workers' jobs would silently never go back
            self._next_round = 0.0
            self._silence.doubt()
            problem = f"defect: {error!r}"
            if problem != self._problem:
                logger.exception("queue: a turn failed")
            self._say(problem)
            self._let_go()  # the defect may be the connection's
            return False
        self._say(None)
        return True

    def _act(self, broker: Broker) -> None:
        """Do the actions given. One that fails because of the queue is kept for later, one with a defect is dropped."""
        while self._undone:
            action = self._undone.pop(0)
            try:
                action(broker)
            except BrokerError:
                self._undone.insert(0, action)
                raise

    def _look_for_silent(self, broker: Broker) -> None:
        silent = {
            view.worker.id: view
            for view in self._silence.hung(workers_here(broker, self.settings.here))
            if view.beat_age >= view.worker.ttl
        }
        if new := [view for worker, view in silent.items() if worker not in self._hung]:
            self._call(self._owner.hung, new)
        self._hung = set(silent)

    def _say(self, problem: str | None) -> None:
        if (problem is None) != (self._problem is None):
            self._call(self._owner.answers, problem)
        self._problem = problem

    def _call(self, function: Callable[..., None], *args: object) -> None:
        """Have this called on the event loop, unless `leave` is called there before: it is another queue then."""

        def call() -> None:
            if not self._ended.is_set():
                function(*args)

        if not self._ended.is_set():
            self._loop.call_soon_threadsafe(call)
