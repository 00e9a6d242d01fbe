"""A slot: a thread that claims a job, does it, then delivers the result and claims the next one in the same step."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from paneview.broker import BrokerError, Outcome, UnavailableError, Verdict
from paneview.broker.model import Json
from paneview.rules.jobs import JobState
from paneview.worker.command import Command, Failure, HandBack
from paneview.worker.console import Console, clean

if TYPE_CHECKING:
    from paneview.broker import Broker, Claim, Finished, Lease
    from paneview.worker.crew import Crew, Running

T = TypeVar("T")
WAIT = 30.0  # seconds per wait for a job
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between attempts while the queue does not answer
SHOWN = 160  # characters of a payload or an output on one line


class _Abandoned(Exception):  # noqa: N818 - a state, not an error
    """The handler returned after it had been given up."""


class Slot(threading.Thread):
    """``handle`` does a job. ``mask`` hides secrets in its error, which lists and events show.

    ``report``: a job whose handler is stuck, to report before anything else.
    """

    def __init__(  # noqa: PLR0913 - by keywords
        self,
        crew: Crew,
        broker: Broker,
        claim: Claim,
        host: str,
        console: Console,
        handle: Callable[[Command], Json],
        *,
        tell: Callable[[bool, str], None],
        mask: Callable[[str], str],
        once: bool = False,
        report: Running | None = None,
    ) -> None:
        super().__init__(name="slot", daemon=True)
        self._crew = crew
        self._broker = broker
        self._claim = claim
        self._host = host
        self._console = console
        self._perform = handle
        self._tell = tell
        self._mask = mask
        self._once = once
        self._report = report
        self.taken = 0
        """Number of jobs it has begun."""
        self.current: Running | None = None
        self.over = False
        self.broken = False
        """Whether it ended because the queue cannot be used, or because of a bug."""

    def run(self) -> None:
        """Work until the crew stops or, with ``once``, after one job or when there is none."""
        try:
            lease = None
            if self._report is not None:
                self.taken += 1
                lease = self._bring(self._report, stuck(self._report.command))
            lease = lease or self._next()
            while lease is not None:
                lease = self._work(lease) or self._next()
        except _Abandoned:
            pass  # its job was reported as stuck, and another slot has taken its place
        except BrokerError as error:
            self.broken = True
            self._console.tell("error", str(error), level="ERROR")
            self._crew.stop("the queue cannot be used")
        except BaseException:  # noqa: BLE001 - a bug: report it, or a missing slot would go unnoticed
            self.broken = True
            traceback.print_exc()
            self._crew.stop("a slot broke")
        finally:
            self.over = True
            self._crew.ring()

    def _next(self) -> Lease | None:
        """Wait for the next job; None if there is nothing more to do."""
        while not self._crew.ending and not (self._once and self.taken):
            if self._once:
                found = self._broker.claim(self._claim)
                return found[0] if found else None
            if leases := self._steady(lambda: self._broker.claim(self._claim, WAIT), for_more=True):
                return leases[0]
        return None

    def _work(self, lease: Lease) -> Lease | None:
        self.taken += 1
        if self._crew.ending:
            self._hand_back(lease)
            return None
        job = lease.job
        command = Command(lease, lambda line: self._console.output(job.id, line), self._crew.stop)
        self._announce(lease)
        running = self.current = self._crew.begin(lease, command)
        outcome = self._do(command)
        if not self._crew.end(running):
            raise _Abandoned
        if isinstance(outcome, HandBack):
            self._hand_back(lease, outcome.reason, outcome.delay)
            return None
        return self._bring(running, outcome)

    def _do(self, command: Command) -> Outcome | HandBack:
        try:
            result = self._perform(command)
        except HandBack as wish:
            return wish
        except Failure as error:
            failed = Outcome("error", error=str(error), retry=error.retry, retry_in=error.retry_in)
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is its job's result, and only that
            trace = traceback.format_exception(error, limit=-8)
            for line in "".join(trace).splitlines():
                self._console.output(command.id, line)
            failed = Outcome("error", error="".join(traceback.format_exception_only(error)).strip())
        else:
            return result if isinstance(result, Outcome) else Outcome("ok", output=result, host=self._host)
        return early(command, failed)

    def _bring(self, running: Running, outcome: Outcome) -> Lease | None:
        """Deliver the outcome; returns the next job if the queue has one."""
        lease, reason = running.lease, running.command.reason
        seconds = time.monotonic() - running.began
        if outcome.status != "ok" and reason == "stopping":
            self._hand_back(lease)
            return None
        if outcome.status != "ok" and reason == "lost":
            self._console.tell("returned", f"{lease.id} is no longer this worker's", job=lease.id)
            return None
        claim = None if self._crew.ending or self._once else self._claim
        error = self._mask(outcome.error) if outcome.error else outcome.error
        outcome = outcome._replace(host=self._host, error=error)
        finished = self._finish(lease, outcome, claim)
        if finished is None:
            return None
        self._conclude(lease, outcome, finished, seconds)
        return finished.leases[0] if finished.leases else None

    def _finish(self, lease: Lease, outcome: Outcome, claim: Claim | None) -> Finished | None:
        try:
            return self._steady(lambda: self._broker.finish(lease, outcome, claim=claim))
        except BrokerError as error:
            if outcome.status != "ok":
                raise
            why = str(error)  # it cannot be written: not JSON, or too large
        except Exception as error:  # noqa: BLE001 - a handler may return anything, such as a delay that is not a number
            why = "".join(traceback.format_exception_only(error)).strip()
        refused = Outcome("error", error=f"its result was refused: {why}", retry=False, host=self._host)
        return self._steady(lambda: self._broker.finish(lease, refused, claim=claim))

    def _hand_back(self, lease: Lease, reason: str = "its worker ends", delay: float = 0.0) -> None:
        if self._steady(lambda: self._broker.release(lease, delay=delay, reason=reason)):
            words = f"{clean(lease.job.kind)} {lease.id} handed back"
            if delay:
                words += f" for {delay:.0f} s: {clean(reason)}"
            self._console.tell("returned", words, job=lease.id, reason=reason, delay=delay)

    def _steady(self, call: Callable[[], T], *, for_more: bool = False) -> T | None:
        """Call until the queue answers; None if the worker ends first: at once if it only asks for more to do."""
        pause = FIRST_PAUSE
        while True:
            try:
                answer = call()
            except UnavailableError as error:
                self._tell(False, str(error))
                until = self._crew.stopping.until
                if self._crew.ending and (for_more or (until is not None and time.monotonic() > until)):
                    return None
                time.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                if pause > FIRST_PAUSE:
                    self._tell(True, "")
                return answer

    def _announce(self, lease: Lease) -> None:
        job = lease.job
        again = f" (attempt {lease.attempt} of {job.max_attempts})" if lease.attempt > 1 else ""
        what = job.payload.get("text") if isinstance(job.payload, dict) else job.payload
        shown = f": {clean(what, SHOWN)}" if isinstance(what, str) and what else ""
        self._console.tell(
            "started",
            f"{clean(job.kind)} {job.id}{again}{shown}",
            job=job.id,
            kind=job.kind,
            attempt=lease.attempt,
        )

    def _conclude(self, lease: Lease, outcome: Outcome, finished: Finished, seconds: float) -> None:
        job = lease.job
        fields: dict[str, Any] = {"job": job.id, "kind": job.kind, "seconds": round(seconds, 3)}
        head = f"{clean(job.kind)} {job.id}"
        state = finished.state
        if finished.verdict is Verdict.STALE:
            words = f"{head}: result refused, it is no longer this worker's"
            self._console.tell("returned", words, **fields)
        elif state is JobState.DONE:
            output = outcome.output if isinstance(outcome.output, str) else ""
            shown = f": {clean(output.strip().rpartition(chr(10))[2], SHOWN)}" if output.strip() else ""
            self._console.tell("done", f"{head} done in {seconds:.1f} s{shown}", **fields)
        elif state is JobState.CANCELLED:
            self._console.tell("cancelled", f"{head} cancelled after {seconds:.1f} s", **fields)
        else:
            then = "given up" if state is JobState.DEAD else "will be tried again"
            words = f"{head} failed after {seconds:.1f} s, {then}: {clean(outcome.error or '')}"
            self._console.tell("failed", words, error=outcome.error, **fields)


def early(command: Command, failed: Outcome) -> Outcome:
    """The outcome of a failure if the handler was told to end."""
    if command.reason == "cancel":
        return Outcome("cancelled", error="cancelled")
    if command.reason == "timeout":
        return Outcome("error", error=f"not done within {command.timeout:g} s")
    return failed


def stuck(command: Command) -> Outcome:
    """The outcome for a handler that did not end when told to."""
    return early(command, Outcome("error", error="its handler did not end when it was told to"))
