"""The thread that advances a home's workflows: it leads, listens to the broker's feed, and looks round regularly.

With no workflow under way it sleeps and reads hardly anything; `ask` wakes it. Otherwise it waits on the feed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from paneview.broker import Broker, BrokerError, UnavailableError
from paneview.workflow import git
from paneview.workflow.engine import LEAD, Engine
from paneview.workflow.home import Home
from paneview.workflow.shelf import Told

logger = logging.getLogger(__name__)

LOOK = LEAD / 4  # seconds between two looks round while there is something to advance
IDLE = 5.0  # seconds between two checks for workflows that another process has added
PAUSE = 1.0  # seconds after a failed call
TIDY = 3600.0  # seconds between two clean-ups


class Orchestrator(threading.Thread):
    """``connect`` opens the broker; ``home`` is the initial one; ``told`` is called with every change."""

    def __init__(self, connect: Callable[[], Broker], home: Home, told: Told) -> None:
        super().__init__(name="workflows", daemon=True)
        self._connect = connect
        self._home = home
        self._told = told
        self._nudge = threading.Event()
        self._ended = threading.Event()
        self._connecting = threading.Lock()  # held while the broker is opened, which may take long
        self._changing = threading.Lock()  # held for a moment only: `take` is called on an event loop
        # The last attempt to connect: when (monotonic), and why it failed.
        self._failed: tuple[float, BrokerError | None] = 0.0, None
        self._engine: Engine | None = None
        self._tidy_at = 0.0  # monotonic
        self._swept = False

    def engine(self) -> Engine:
        """The engine, from any thread; opens the broker on first use. Raises BrokerError."""
        asked = time.monotonic()
        with self._connecting:
            if self._engine is None:
                failed_at, error = self._failed
                if error is not None and failed_at > asked:
                    # What others have tried meanwhile was for us, too.
                    raise UnavailableError(str(error)) from error
                broker = self._open()
                with self._changing:
                    if self._ended.is_set():  # `end` does not wait for us, and closes what it finds
                        broker.close()
                        raise UnavailableError("the supervisor is ending")
                    self._engine = Engine(broker, self._home, self._told)
            return self._engine

    def _open(self) -> Broker:
        try:
            return self._connect()
        except BrokerError as error:
            self._failed = time.monotonic(), error
            raise

    def nudge(self) -> None:
        """Wake the thread: there is something to advance."""
        self._nudge.set()

    def take(self, home: Home) -> None:
        """Use a new `Home` after the project's file has changed. Does not block."""
        with self._changing:
            self._home = home
            if self._engine is not None:
                self._engine.take(home)

    def run(self) -> None:
        """Advance until told to end."""
        while not self._ended.is_set():
            try:
                self._turn(self.engine())
            except BrokerError as error:
                logger.warning("workflows: %s", error)
                self._ended.wait(PAUSE)
            except Exception:
                logger.exception("workflows: a turn failed")
                self._ended.wait(PAUSE)

    def _turn(self, engine: Engine) -> None:
        self._nudge.clear()
        if not self._swept and engine.lead():
            engine.end_left()
            git.clear(engine.home.folder)
            self._swept = True
        if not engine.active():
            engine.resign()
            self._tidy(engine)
            if not self._ended.is_set():  # else `end` may have nudged before the nudge was cleared above
                self._nudge.wait(IDLE)
            return
        cursor = engine.broker.events.tail(1).cursor
        engine.missed()
        next_look = 0.0
        while not self._ended.is_set():
            if time.monotonic() >= next_look:
                self._tidy(engine)  # also here: a workflow that waits for a person may be active for months
                if not engine.active():
                    return
                soon = engine.look_round() if engine.lead() else None
                next_look = time.monotonic() + min(LOOK, LOOK if soon is None else max(0.01, soon))
            page = engine.broker.events.wait(cursor, max(0.01, next_look - time.monotonic()))
            cursor = page.cursor
            for event in page.events:
                engine.hear(event)

    def _tidy(self, engine: Engine) -> None:
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY
            engine.shelf.tidy(engine.home.name)

    def end(self) -> None:
        """End, along with commands running here (verifications), which the next supervisor begins again."""
        self._ended.set()
        self._nudge.set()
        with self._changing:
            engine = self._engine
        if engine is None:
            self.join(1.0)  # it may be connecting, which may take much longer
            return
        engine.broker.wake(for_good=True)
        self.join(5.0)
        engine.close()
        try:
            engine.resign()
        except BrokerError as error:
            logger.warning("workflows: %s", error)
        if not self.is_alive():
            engine.broker.close()
