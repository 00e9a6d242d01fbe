"""The queue from Python: ``from paneview import Queue`` or ``AsyncQueue``.

    queue = Queue()                                    # the project's; or Queue("redis://…"), Queue(hostname="pi-1")
    job = queue.submit("Check the disk", host="pi-1")  # a prompt; or submit(kind="resize", payload={…})
    queue.result(job, wait=True, timeout=60)           # {"status": "ok", "output": …}

The seven verbs of claude-queue, for every broker: submit, pending, claim, submit_result, result, status, clean.
claude-queue's own names work, too. Jobs and results are plain dicts, states plain strings.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from paneview.broker import (
    ALL,
    BrokerError,
    Claim,
    JobFilter,
    NewJob,
    Outcome,
    Target,
    UnavailableError,
    UnknownJobError,
    Verdict,
)
from paneview.broker.directory.foreign import task_result
from paneview.broker.model import Json
from paneview.config.queue import find_queue
from paneview.rules.jobs import WAITING, renew_every
from paneview.worker.choosing import suited
from paneview.worker.joining import connect_to
from paneview.worker.views import WORDS, is_task, job_json, task_json

if TYPE_CHECKING:
    from paneview.broker import Broker, Job, Lease, Result

P = ParamSpec("P")
T = TypeVar("T")
STEP = 5.0  # seconds per wait
AGAIN = 1.0  # seconds until a failed renewal is retried
DAY = 86_400.0  # seconds


class Queue:
    """A queue: the one of the project found from this folder, or by URL. Raises BrokerError and ConfigError.

    ``hostname`` is the host that claims and submits. Jobs claimed here are held, and their leases renewed, until
    `submit_result` delivers their result or the queue is closed.
    """

    def __init__(self, url: str | None = None, *, hostname: str | None = None) -> None:
        place = find_queue({"broker": url, "host": hostname})
        self.hostname = place.settings.here
        self.broker: Broker = connect_to(place)
        self._me = f"{self.hostname}-{uuid.uuid4().hex[:12]}"
        self._held: dict[str, Lease] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._renewing: threading.Thread | None = None

    # The seven verbs

    def submit(  # noqa: PLR0913 - by keywords
        self,
        text: str | None = None,
        *,
        kind: str = "prompt",
        payload: Json = None,
        host: str | None = None,
        role: str | None = None,
        task: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        priority: int = 0,
        delay: float = 0.0,
        timeout: float | None = None,
        key: str = "",
        attempts: int | None = None,
    ) -> str:
        """Queue a prompt, or any other job; returns its id. Raises QueueFullError.

        A job of another kind goes to a worker with a handler for it. Raises NoHandlerError if there are only others.
        """
        job = NewJob(
            kind=kind,
            payload={"text": text} if text is not None and payload is None else payload,
            target=Target(role=role or "", host=host or "", task=task or ""),
            priority=priority,
            delay=delay,
            timeout=timeout,
            max_attempts=attempts,
            key=key,
            meta=dict(metadata or {}),
            submitted_by=self.hostname,
        )
        # Every worker can do a prompt: none is looked for.
        return self.broker.submit(job if kind == "prompt" else suited(self.broker, job)).id

    def pending(self, host: str | None = None) -> list[dict[str, Any]]:
        """Waiting jobs, oldest first; with ``host``, only those addressed to that host or to no host."""
        return [job_json(job) for job in self._pending(host)]

    def claim(self, job: str) -> bool:
        """Take a waiting job; False if it is no longer available. Raises UnknownJobError."""
        lease = self.broker.take(job, Claim(self._me, ()))
        if lease is None:
            return False
        with self._lock:
            self._held[job] = lease
            if self._renewing is None:
                self._renewing = threading.Thread(target=self._renew, name="queue-renewal", daemon=True)
                self._renewing.start()
        return True

    def hand_back(self, job: str) -> None:
        """Let another worker have a claimed job; nothing happens if it is not ours."""
        with self._lock:
            lease = self._held.pop(job, None)
        if lease is not None:
            with suppress(BrokerError):  # it returns when its lease runs out
                self.broker.release(lease, reason="nobody waits for it")

    def submit_result(
        self, job: str, output: Json, status: str = "completed", error: str | None = None
    ) -> bool:
        """Deliver the result of a claimed job; False if it is no longer ours, and nothing changed.

        With status ``failed`` the job is retried if it has attempts left. Raises UnknownJobError if there is no such
        job, and UnavailableError while the broker is away; then it may be called again.
        """
        with self._lock:
            lease = self._held.get(job)
        if lease is None:
            self.broker.need(job)
            return False
        failed = status not in ("completed", "ok", "done")
        outcome = Outcome(
            "error" if failed else "ok",
            output=output,
            error=error or (status if failed else None),
            host=self.hostname,
        )
        verdict = self.broker.finish(lease, outcome).verdict
        with self._lock:  # only now, so that an undelivered result can be delivered again
            self._held.pop(job, None)
        return verdict is not Verdict.STALE

    def result(self, job: str, *, wait: bool = False, timeout: float = 60.0) -> dict[str, Any] | None:
        """The result of a job; None while it is not over. Raises UnknownJobError."""
        found = self._result(job, wait, timeout)
        return None if found is None else found.as_json()

    def status(self, job: str) -> str | None:
        """``pending``, ``in_progress``, ``completed`` or ``failed``; None if there is no such job."""
        found = self.broker.job(job)
        return None if found is None else WORDS[found.state.value]

    def clean(self, days: float = 7.0) -> int:
        """Delete jobs that were done or cancelled more than so many days ago; returns how many."""
        return self.broker.clean(days * DAY)

    # claude-queue's names

    def submit_task(
        self, command: str, target_host: str | None = None, metadata: Mapping[str, Json] | None = None
    ) -> str:
        """`submit` with a single attempt: a failure is not retried but reported to the waiter."""
        return self.submit(command, host=target_host, metadata=metadata, attempts=1)

    def get_pending_tasks(self, for_host: str | None = None) -> list[dict[str, Any]]:
        """`pending` in claude-queue's format: the prompts for a host or for any worker."""
        return [task_json(job) for job in self._pending(for_host) if is_task(job)]

    def claim_task(self, task_id: str) -> bool:
        """`claim`; False also for a job that does not exist."""
        try:
            return self.claim(task_id)
        except UnknownJobError:
            return False

    def get_result(self, task_id: str, wait: bool = False, timeout: float = 60.0) -> dict[str, Any] | None:
        """`result` in claude-queue's format; None also for a job that does not exist."""
        try:
            found = self._result(task_id, wait, timeout)
        except UnknownJobError:
            return None
        return None if found is None else task_result(found)

    get_task_status = status
    cleanup_old_tasks = clean

    # The object

    def close(self) -> None:
        """Hand back the jobs still held, and close the queue."""
        self._closed.set()
        if self._renewing is not None:
            self._renewing.join()
        with suppress(UnavailableError):  # a job that can't be handed back returns when its lease runs out
            for lease in self._held.values():
                self.broker.release(lease, reason="its holder ended")
        self._held.clear()
        self.broker.close()

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _pending(self, host: str | None) -> list[Job]:
        found = self.broker.jobs(JobFilter(states=WAITING, limit=ALL))
        return [job for job in reversed(found) if host is None or job.target.host in ("", host)]

    def _result(self, job: str, wait: bool, timeout: float) -> Result | None:
        return self.broker.wait_result(job, timeout) if wait else self.broker.result(job)

    def _renew(self) -> None:
        every = renew_every(self.broker.settings.lease)
        wait = every
        while not self._closed.wait(wait):
            with self._lock:
                held = list(self._held.values())
            try:
                if held:
                    self.broker.renew(held)
                wait = every
            except BrokerError:  # the broker is away for a while
                wait = min(AGAIN, every)


class AsyncQueue:
    """`Queue` for event loops: the same verbs as coroutines."""

    def __init__(self, url: str | None = None, *, hostname: str | None = None) -> None:
        self._queue = Queue(url, hostname=hostname)
        self.hostname = self._queue.hostname

    async def submit(self, text: str | None = None, **more: Any) -> str:
        """See `Queue.submit`."""
        return await self._call(self._queue.submit, text, **more)

    async def pending(self, host: str | None = None) -> list[dict[str, Any]]:
        """See `Queue.pending`."""
        return await self._call(self._queue.pending, host)

    async def claim(self, job: str) -> bool:
        """See `Queue.claim`. If the waiting is cancelled, the job is handed back in case it was taken all the same."""
        loop = asyncio.get_running_loop()

        def undo(done: asyncio.Future[bool]) -> None:
            if not done.cancelled() and done.exception() is None and done.result():
                loop.run_in_executor(None, self._queue.hand_back, job)

        taking = asyncio.ensure_future(self._call(self._queue.claim, job))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(undo)
            raise

    async def submit_result(
        self, job: str, output: Json, *, status: str = "completed", error: str | None = None
    ) -> bool:
        """See `Queue.submit_result`."""
        return await self._call(self._queue.submit_result, job, output, status=status, error=error)

    async def result(
        self,
        job: str,
        *,
        wait: bool = False,
        timeout: float = 60.0,  # noqa: ASYNC109 - returns None at its end, raises nothing
    ) -> dict[str, Any] | None:
        """See `Queue.result`. If the waiting is cancelled, a thread waits for up to `STEP` seconds more."""
        if not wait:
            return await self._call(self._queue.result, job)
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            left = max(0.0, end - loop.time())
            found = await self._call(self._queue.result, job, wait=True, timeout=min(STEP, left))
            if found is not None or left <= 0:
                return found

    async def status(self, job: str) -> str | None:
        """See `Queue.status`."""
        return await self._call(self._queue.status, job)

    async def clean(self, days: float = 7.0) -> int:
        """See `Queue.clean`."""
        return await self._call(self._queue.clean, days)

    async def close(self) -> None:
        """See `Queue.close`."""
        await self._call(self._queue.close)

    async def __aenter__(self) -> AsyncQueue:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(function, *args, **kwargs)
