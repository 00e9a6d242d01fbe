"""The desk: answers clients' requests about the queue of jobs, and changes it on their behalf.

Every call to the queue runs on a thread, because the queue may be on another host and slow; if it does not answer, the
client gets an error, and nothing else waits for it. The connection is made at the first request. The answer to a
question is cached for all clients until something happens in the queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from paneview.broker import (
    BrokerError,
    JobFilter,
    JobState,
    NewJob,
    Target,
)
from paneview.control.errors import ControlError
from paneview.rules.states import Start
from paneview.supervisor.background import unasked
from paneview.supervisor.queue.cache import DEAD, QueueCache
from paneview.supervisor.queue.link import QueueLink
from paneview.supervisor.queue.overview import brief, nothing, overview
from paneview.text import person
from paneview.worker import fates
from paneview.worker.choosing import suited
from paneview.worker.views import job_brief, job_json

if TYPE_CHECKING:
    from paneview.broker import Broker, Submitted
    from paneview.control.session import ClientInfo
    from paneview.supervisor.journal import Journal
    from paneview.supervisor.tasks.supervisor import Supervisor

T = TypeVar("T")
Args = dict[str, Any]
Reply = dict[str, Any]

SUMMARY_WITHIN = 0.5  # seconds that `status` waits for the queue
MOST_JOBS = 1000  # in one page


class QueueDesk:
    """Answers clients. ``begun`` is called when a queue has just come into use.

    ``known_problem`` returns why the queue does not answer; None if that is not known, or it does.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        journal: Journal,
        folder: Path,
        begun: Callable[[], object],
        known_problem: Callable[[], str | None],
    ) -> None:
        self._supervisor = supervisor
        self._journal = journal
        self._folder = folder
        self._begun = begun
        self._known_problem = known_problem
        self._link = QueueLink(folder, self._moved)
        self.cache = QueueCache()
        self._last: Reply | None = None
        self._looking: asyncio.Future[Reply] | None = None

    @property
    def in_use(self) -> bool:
        """Whether the project has a queue."""
        return self._supervisor.project.uses_queue(self._folder)

    # The connection

    async def close(self) -> None:
        """Give the connection back."""
        await self._link.close()

    async def call(self, act: Callable[[Broker], T]) -> T:
        """Call ``act`` with the queue on a thread. Raises BrokerError."""
        return await self._link.call(self._supervisor.project.queue, act)

    def _moved(self) -> None:
        """Forget what is known: it is another queue now."""
        self._last = None
        self.cache.changed()

    # Looking

    async def look(self) -> Reply:
        """The queue as a whole. Raises BrokerError."""
        if not self.in_use:
            return nothing(self._supervisor.project.queue)
        before, dead = self.cache.changes, self.cache.get(DEAD)
        found = await self.call(lambda broker: overview(broker, dead))
        self.cache.keep(DEAD, found["dead"], before)
        self._last = {**found, "host": self._supervisor.project.queue.here, "changes": before}
        return self._last

    def troubled(self, problem: str) -> Reply:
        """The last known overview, with what is wrong now."""
        known = self._last or nothing(self._supervisor.project.queue)
        return {**known, "in_use": True, "problem": problem, "changes": self.cache.changes}

    async def summary(self) -> Reply | None:
        """A few numbers for `status`, which waits for them only briefly; None if the project has no queue."""
        if not self.in_use:
            return None
        return brief(await self._look_briefly())

    async def _look_briefly(self) -> Reply:
        if problem := self._known_problem():
            return self.troubled(problem)
        if self._looking is None or self._looking.done():  # else the last look still waits for the queue
            self._looking = asyncio.ensure_future(self.look())
            self._looking.add_done_callback(unasked)
        try:
            async with asyncio.timeout(SUMMARY_WITHIN):
                return await asyncio.shield(self._looking)
        except TimeoutError:
            return self.troubled("it has not answered yet")
        except BrokerError as error:
            return self.troubled(str(error))

    async def handle(self, do: str, args: Args, client: ClientInfo) -> Reply:
        """Answer one request. Raises ControlError."""
        try:
            return await HANDLERS[do](self, args, client)
        except BrokerError as error:
            raise ControlError(str(error), "queue") from error

    async def queue(self, _args: Args, _client: ClientInfo) -> Reply:
        """The queue as a whole; what was last known of it if it does not answer."""
        try:
            return await self.look()
        except BrokerError as error:
            return self.troubled(str(error))

    async def jobs(self, args: Args, _client: ClientInfo) -> Reply:
        """A page of jobs, the newest first."""
        if not self.in_use:
            return {"jobs": [], "count": 0, "more": False}
        limit, offset = min(args["limit"], MOST_JOBS), args["offset"]
        states = tuple(sorted(args["states"] or ()))
        question = (states, args["target"], args["kind"], limit, offset)
        before = self.cache.changes
        known: Reply | None = self.cache.get(question)
        if known is not None:
            return known
        wanted = JobFilter(
            states=_states(states),
            lane=Target.read(args["target"]).lane if args["target"] else "",
            kind=args["kind"] or "",
            limit=offset + limit + 1,
        )
        found = (await self.call(lambda broker: broker.jobs(wanted)))[offset:]
        jobs = [job_brief(job) for job in found[:limit]]
        reply = {"jobs": jobs, "count": len(jobs), "more": len(found) > limit}
        self.cache.keep(question, reply, before)
        return reply

    async def job(self, args: Args, _client: ClientInfo) -> Reply:
        """Everything about a job."""
        return {"job": job_json(await self.call(lambda broker: broker.need(args["job"])))}

    # Changing

    async def dispatch(self, args: Args, client: ClientInfo) -> Reply:
        """Submit a job."""
        job = NewJob(
            kind=args["kind"],
            payload=args["payload"],
            target=Target.read(args["target"]),
            priority=args["priority"],
            delay=args["delay"],
            timeout=args["timeout"],
            max_attempts=args["attempts"],
            key=args["key"],
            submitted_by=fates.submitter(self._supervisor.project.queue.here),
        )
        first = not self.in_use

        def send(broker: Broker) -> tuple[Submitted, Target]:
            sent = suited(broker, job)
            return broker.submit(sent), sent.target

        submitted, chosen = await self.call(send)
        if first:
            self._begun()
        whom = str(chosen)
        if submitted.created:
            words = f"{job.kind} for {whom}"
            self._journal.note("job_dispatched", words, by=client.actor, job=submitted.id, message=words)
        self.cache.changed()
        return {"id": submitted.id, "created": submitted.created, "target": whom}

    async def retry(self, args: Args, client: ClientInfo) -> Reply:
        """Queue dead letters again."""
        return await self._settle("job_retried", client, lambda broker: fates.retry(broker, args["jobs"]))

    async def cancel(self, args: Args, client: ClientInfo) -> Reply:
        """Cancel jobs."""
        reason = args["reason"] or f"cancelled by {person(client.actor)}"
        return await self._settle(
            "job_cancelled", client, lambda broker: fates.cancel(broker, args["jobs"], reason)
        )

    async def purge(self, args: Args, client: ClientInfo) -> Reply:
        """Forget dead letters."""
        return await self._settle("job_purged", client, lambda broker: fates.purge(broker, args["jobs"]))

    async def unquarantine(self, args: Args, client: ClientInfo) -> Reply:
        """Release workers: those of this project start again, others lose their mark."""
        units = self._supervisor.units
        results: list[fates.Fate] = []
        for name in args["names"]:
            unit = units.get(name)
            ours = unit is not None and unit.state.quarantined
            if unit is not None and ours:
                try:
                    self._supervisor.check_stays()
                except ControlError as refused:
                    results.append({"ok": False, "id": name, "action": "none", "error": str(refused)})
                    continue
                unit.feed(Start(client.actor))
            try:
                marked = await self.call(lambda broker, name=name: broker.workers.unquarantine(name))  # type: ignore[misc]
            except BrokerError:
                if not ours:
                    raise
                marked = False  # the mark goes as soon as the queue answers again
            if ours or marked:
                self._journal.note("worker_unquarantined", name, by=client.actor, name=name, message=name)
                results.append({"ok": True, "id": name, "action": "started" if ours else "released"})
            else:
                error = f"{name} is not quarantined"
                results.append({"ok": False, "id": name, "action": "none", "error": error})
        self.cache.changed()
        return _results(results)

    async def _settle(
        self, kind: str, client: ClientInfo, act: Callable[[Broker], list[fates.Fate]]
    ) -> Reply:
        results = await self.call(act)
        if done := [one["id"] for one in results if one["ok"]]:
            words = done[0] if len(done) == 1 else f"{len(done)} jobs"
            self._journal.note(kind, words, by=client.actor, jobs=done[:100], message=words)
        self.cache.changed()
        return _results(results)


def _states(names: tuple[str, ...]) -> frozenset[JobState]:
    try:
        return frozenset(JobState(name) for name in names)
    except ValueError as error:
        known = ", ".join(state.value for state in JobState)
        raise ControlError(f"jobs: {error}: the states are {known}", "bad_request") from None


def _results(results: list[fates.Fate]) -> Reply:
    if failed := [one for one in results if not one["ok"]]:
        raise ControlError("; ".join(one["error"] for one in failed), "failed", results=results)
    return {"results": results}


Handle = Callable[[QueueDesk, Args, "ClientInfo"], Awaitable[Reply]]
HANDLERS: Mapping[str, Handle] = {
    "queue": QueueDesk.queue,
    "jobs": QueueDesk.jobs,
    "job": QueueDesk.job,
    "job_dispatch": QueueDesk.dispatch,
    "job_retry": QueueDesk.retry,
    "job_cancel": QueueDesk.cancel,
    "job_purge": QueueDesk.purge,
    "unquarantine": QueueDesk.unquarantine,
}
