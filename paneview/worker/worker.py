"""The worker itself: it registers, runs its slots until it is told to end, and keeps no job when it leaves."""

from __future__ import annotations

import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from paneview import __version__
from paneview.agents.redact import Redactor, secrets_of
from paneview.broker import Broker, BrokerError, UnavailableError
from paneview.broker.model import Json
from paneview.config.queue import find_queue
from paneview.worker import records
from paneview.worker.command import Command
from paneview.worker.console import Console, Log
from paneview.worker.crew import Crew, Running
from paneview.worker.handlers import Handler, Handlers
from paneview.worker.joining import connect_to, shown_url
from paneview.worker.keeper import Keeper
from paneview.worker.phases import Phases
from paneview.worker.prompt import Prompter
from paneview.worker.setup import Identity, Setup
from paneview.worker.slot import Slot

NUDGE = 0.05  # seconds between two wake-ups of waiting slots while the worker ends
MOST_STUCK = 8  # stuck handlers after which the process ends, because a new one is better
LAST_CALLS = 5.0  # seconds to sign off from the queue


class Worker:
    """``Worker("reviewer").run()`` does jobs of a role until told to end.

    ``connect`` opens the queue; by default the one that settings, environment and file name for this folder. A
    subclass may override `handle_command` to handle jobs itself, calling ``super()`` for the rest.
    """

    def __init__(
        self,
        role: str | Sequence[str] | None = None,
        *,
        setup: Setup | None = None,
        connect: Callable[[], Broker] | None = None,
        handlers: Handlers | None = None,
        console: Console | None = None,
    ) -> None:
        self.setup = setup or Setup()
        if role is not None:
            self.setup = replace(self.setup, roles=(role,) if isinstance(role, str) else tuple(role))
        self.console = console or Console()
        self.log = Log(self.console)
        self.me = Identity.of(self.setup)
        self.handlers = handlers or Handlers()
        self._connect = connect or (lambda: connect_to(find_queue({})))
        self._crew = Crew(self.setup.grace)
        self._broker: Broker | None = None
        self._answers = True
        self._left: Path | None = None
        self._stuck = 0
        self._broken = 0
        self._telling = threading.Lock()
        prompter = Prompter(
            self.setup.command,
            self.setup.folders(),
            self.setup.environ,
            self.console,
            records.marker(self.me.id),
        )
        self._phases = phases = Phases(
            self.setup, self.me, self._need_broker, lambda: self._crew.stopping.reason
        )
        known: dict[str, Handler] = {
            "ping": self._ping,
            "prompt": prompter,
            "phase": phases,
            "shutdown": self._shutdown,
        }
        for kind, built_in in known.items():
            if kind not in self.handlers.kinds:
                self.handlers.add(kind, built_in)

    # For subclasses to override

    def handle_command(self, cmd: Command) -> Json:
        """Do one job; the return value is its output, an exception its error."""
        return self.handlers.call(cmd)

    # Running

    def run(self) -> int:
        """Work until a signal or a ``shutdown`` job or, with ``once``, until waiting jobs are done; the exit status."""
        with self._signals():
            broker = None
            try:
                broker = self._join()
            finally:
                if broker is None:  # it could not join or was told to end before, but has not died
                    self._remove_note()
            if broker is None:
                return 0
            self._broker = broker
            threading.Thread(target=self._phases.warm_up, name="warm-up", daemon=True).start()
            keeper = Keeper(
                self._crew,
                self._connect,
                self.me.registration(self.setup, self._kinds()),
                self.setup.heartbeat_interval,
                self._heard,
            )
            keeper.start()
            try:
                self._work(broker)
            finally:
                self._crew.close()
                # Before signing off: a watchdog considers a worker that has left but still has a note hung.
                self._remove_note()
                self._leave(broker)
                keeper.join(LAST_CALLS)
        return 1 if self._broken or self._stuck >= MOST_STUCK else 0

    def stop(self, reason: str = "asked to") -> None:
        """Begin no new jobs and end; a second call hands back the jobs under way."""
        self._crew.stop(reason)

    def _kinds(self) -> tuple[str, ...]:
        """The kinds to register; none if a subclass decides for every kind itself."""
        decides = type(self).handle_command is not Worker.handle_command
        return () if decides else self.handlers.kinds

    def _need_broker(self) -> Broker:
        assert self._broker is not None  # a job has come from it
        return self._broker

    def _join(self) -> Broker | None:
        """Connect and register as soon as the queue answers; None if told to end before.

        With ``once`` it must answer now: else those that a timer starts would be more and more. Raises BrokerError.
        """
        broker: Broker | None = None
        while not self._crew.ending:
            try:
                broker = broker or self._connect()
                self._left = None if self.me.supervised else self._note(broker)
                broker.workers.register(self.me.registration(self.setup, self._kinds()))
            except UnavailableError as error:
                if self.setup.once:
                    if broker is not None:
                        broker.close()
                    raise
                self._heard(False, str(error))
                self._crew.sleep(1.0)
                continue
            self._heard(True, "")
            self._greet(broker)
            return broker
        if broker is not None:
            broker.close()
        return None

    def _work(self, broker: Broker) -> None:
        slots = [self._slot(broker) for _ in range(self.setup.concurrency)]
        announced = False
        while slots:
            if self._crew.ending:
                broker.wake()
                announced = announced or self._announce_end()
            self._crew.sleep(NUDGE if self._crew.ending else None)
            for running in self._crew.overdue():
                self._give_up(running, slots)
                slots.append(self._slot(broker, report=running))
            self._broken += sum(slot.broken for slot in slots if slot.over)
            slots = [slot for slot in slots if not slot.over]

    def _announce_end(self) -> bool:
        count = len(self._crew.under_way())
        left = f"; {count} under way, ask again to hand back" if count else ""
        self.console.tell("stopping", f"{self._crew.stopping.reason}: no new jobs{left}")
        return True

    def _give_up(self, running: Running, slots: list[Slot]) -> None:
        """Abandon the thread of a handler that does not end."""
        self._stuck += 1
        words = f"{running.command.kind} {running.lease.id} does not end; its thread is left to itself"
        self.console.tell("warning", words, level="WARNING", job=running.lease.id)
        slots[:] = [slot for slot in slots if slot.current is not running]
        if self._stuck >= MOST_STUCK:
            self.stop(f"{self._stuck} handlers did not end")

    def _mask(self, text: str) -> str:
        return Redactor(secrets_of(self.setup.environ, self._phases.patterns)).text(text)

    def _slot(self, broker: Broker, **more: Any) -> Slot:
        slot = Slot(
            self._crew,
            broker,
            self.me.claim(self.setup),
            self.me.host,
            self.console,
            self.handle_command,
            tell=self._heard,
            mask=self._mask,
            once=self.setup.once,
            **more,
        )
        slot.start()
        return slot

    def _note(self, broker: Broker) -> Path | None:
        """Leave a note for a watchdog on this host; a failure is only reported."""
        try:
            return records.write(self.me.id, self.me.name, self.me.host, broker.address, self.setup.environ)
        except OSError as error:
            self.console.tell("warning", f"no watchdog can bring it back: {error}", level="WARNING")
            return None

    def _remove_note(self) -> None:
        if self._left is not None:
            self._left.unlink(missing_ok=True)

    def _greet(self, broker: Broker) -> None:
        me = self.me
        words = f"worker {me.name} on {me.host}, roles {', '.join(self.setup.roles)}, queue {shown_url(broker.url)}"
        self.console.tell(
            "ready",
            words,
            worker=me.id,
            name=me.name,
            host=me.host,
            roles=self.setup.roles,
            kinds=self.handlers.kinds,
        )
        for warning in broker.warnings:
            self.console.tell("warning", warning, level="WARNING")

    def _leave(self, broker: Broker) -> None:
        reason = self._crew.stopping.reason or ("once" if self.setup.once else "a slot broke")
        end = time.monotonic() + LAST_CALLS
        while True:
            try:
                broker.workers.leave(self.me.id, reason)
            except UnavailableError as error:
                self._heard(False, str(error))
                if time.monotonic() < end:
                    time.sleep(NUDGE)
                    continue
            except BrokerError as error:
                self.console.tell("error", str(error), level="ERROR")
            break
        broker.close()
        self.console.tell("ended", f"ended: {reason}", reason=reason)

    def _heard(self, answers: bool, text: str) -> None:
        """Report when the queue stops answering or answers again."""
        with self._telling:
            if answers == self._answers:
                return
            self._answers = answers
        if answers:
            self.console.tell("connected", "the queue answers again")
        else:
            self.console.tell("warning", f"{text}; trying again", level="WARNING")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let SIGTERM, SIGINT and SIGHUP end the worker; off the main thread `stop` is the only way."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def told(number: int, _frame: FrameType | None) -> None:
            self._crew.stop(signal.Signals(number).name)
            if number == signal.SIGHUP:  # the terminal is gone: don't wait for jobs to finish
                self._crew.stop("SIGHUP")

        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, told) for number in numbers}
        # The kernel may deliver a signal to any thread, which does not end the main thread's sleep; this pipe does.
        wakeup = signal.set_wakeup_fd(self._crew.bell, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, old in before.items():
                signal.signal(number, old)

    # Built-in kinds

    def _ping(self, _command: Command) -> Json:
        return {
            "pong": True,
            "worker": self.me.name,
            "id": self.me.id,
            "host": self.me.host,
            "pid": os.getpid(),
            "roles": list(self.setup.roles),
            "version": __version__,
            "python": platform.python_version(),
        }

    def _shutdown(self, command: Command) -> Json:
        command.stop_worker(f"shutdown by {command.job.submitted_by or 'a job'}")
        return {"worker": self.me.name, "host": self.me.host}
