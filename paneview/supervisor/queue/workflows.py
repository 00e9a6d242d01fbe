"""Workflows for clients of the supervisor: the requests about them, and the pushes and events they cause.

Requests (see `protocol.REQUESTS` for their arguments; ``id`` is a workflow's). *Summary* and *whole* are the objects of
`paneview.workflow.views`: a summary has id, workflow, task, status, reason, active, waits_for_person, times, tokens,
cost_usd (null: unpriced), branch, conflicts and phases (name, role, status, reason, attempt, times, tokens, cost_usd,
lines, job); a whole also has text, data, error and session of each phase and the place it works in.

======================  ==============================================================================================
``ask``                 ``{workflow: summary, without_worker: [role]}``: a new workflow; the roles without a worker
``workflow_plans``      ``{plans: [{name, description, isolation, budget_usd, phases: [{name, role, …}]}]}``
``workflows``           ``{workflows: [summary], count, total, active, waiting, roles}``, the newest first
``workflow``            ``{workflow: whole}``
``workflow_result``     what came of it: id, status, phase, text, data, branch, commit, cost, phases
``workflow_transcript``  ``{job, phase, attempt, text, offset, end, over}``: a run's transcript from a byte offset on
``workflow_diff``       ``{diff, lines, files, base}`` of its worktree or, without one, of its folder since it began
``workflow_approve``, ``workflow_reject``, ``workflow_resume``, ``workflow_cancel``, ``workflow_retry``
                        ``{workflow: summary}`` after it; refused (code ``state``) if the state does not allow it
======================  ==============================================================================================

Subscribers to the topic ``workflows`` get ``{"push": "workflow", "workflow": summary}`` after each change; of several
unread changes of one workflow, only the last. Events (topic ``events``): workflow_started,
workflow_waiting, workflow_budget, workflow_conflict, workflow_done, workflow_failed, workflow_cancelled.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from paneview.broker import BrokerError
from paneview.control.errors import ControlError
from paneview.rules.workflow import PhaseStatus, Status, Workflow
from paneview.text import person
from paneview.worker.joining import connect
from paneview.workflow import asking, reading, views
from paneview.workflow.engine import Engine
from paneview.workflow.home import Home
from paneview.workflow.logins import let_in
from paneview.workflow.orchestrator import Orchestrator
from paneview.workflow.shelf import UnknownWorkflowError

if TYPE_CHECKING:
    from paneview.config.models import Project
    from paneview.control.audience import Audience
    from paneview.control.session import ClientInfo
    from paneview.supervisor.journal import Journal

T = TypeVar("T")
Args = dict[str, Any]
Reply = dict[str, Any]

FINAL_KINDS = {
    Status.DONE: "workflow_done",
    Status.FAILED: "workflow_failed",
    Status.CANCELLED: "workflow_cancelled",
}
THREADS = 4
LONGEST_TRANSCRIPT = 1_000_000  # bytes of one answer


class WorkflowDesk:
    """Answers clients. Call its methods on the event loop.

    ``begun`` is called when the queue has just come into use. ``comes`` returns whether a task is up or on its way.
    """

    def __init__(
        self,
        project: Project,
        journal: Journal,
        audience: Audience,
        folder: Path,
        environ: Mapping[str, str],
        begun: Callable[[], object],
        comes: Callable[[str], bool],
    ) -> None:
        self._project = project
        self._journal = journal
        self._audience = audience
        self._folder = folder
        self._environ = environ
        self._begun = begun
        self._comes = comes
        self._loop = asyncio.get_running_loop()
        self._thread: Orchestrator | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="workflow requests")

    def follow(self, project: Project) -> None:
        """Advance the workflows of this project from now on, as its file is now."""
        before, self._project = self._project, project
        if self._thread is not None and before.queue != project.queue:
            self._loop.run_in_executor(None, self._thread.end)
            self._thread = None
        if self._thread is not None:
            self._thread.take(self._home())
        elif project.uses_queue(self._folder):
            self._begin()

    def _home(self) -> Home:
        env = {**self._environ, **self._project.env}
        return Home.named(self._project, self._folder, env)

    def _begin(self) -> Orchestrator:
        queue, folder = self._project.queue, self._folder
        self._thread = Orchestrator(lambda: connect(queue, folder), self._home(), self._told_elsewhere)
        self._thread.start()
        return self._thread

    async def close(self) -> None:
        """Stop advancing workflows; the next supervisor goes on."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await asyncio.to_thread(thread.end)

    # What happens

    def _told_elsewhere(self, before: Workflow | None, after: Workflow) -> None:
        """Called on the thread that made the change."""
        try:
            self._loop.call_soon_threadsafe(self._told, before, after)
        except RuntimeError:  # the loop is closed: no client is left to notify
            return

    def _told(self, before: Workflow | None, after: Workflow) -> None:
        self._audience.publish_workflow(after.id, views.summary(after))
        for kind, cause in _news(before, after):
            self._journal.note(kind, cause, workflow=after.id, plan=after.plan.name)

    # What clients ask

    async def handle(self, do: str, args: Args, client: ClientInfo) -> Reply:
        """Answer one request. Raises ControlError."""
        try:
            if do in asking.CHANGES:
                return await self._change(do, args, client.actor)
            return await HANDLERS[do](self, args, client)
        except UnknownWorkflowError as error:
            raise ControlError(str(error), "not_found") from error
        except BrokerError as error:
            raise ControlError(str(error), "queue") from error

    async def _call(self, act: Callable[[Engine], Any]) -> Any:
        thread = self._thread
        if thread is None:
            if not self._project.uses_queue(self._folder):
                raise ControlError("there are no workflows yet: 'paneview ask' begins one", "not_found")
            thread = self._begin()
        return await self._on_thread(lambda: act(thread.engine()))

    async def _on_thread(self, act: Callable[[], T]) -> T:
        """Call ``act`` on a thread of our own: a silent queue may hold it up, and asyncio's few are for much else."""
        return await self._loop.run_in_executor(self._threads, act)

    async def ask(self, args: Args, client: ClientInfo) -> Reply:
        """Begin a workflow."""
        plan = self._project.workflows.get(args["workflow"])
        if plan is None:
            known = ", ".join(sorted(self._project.workflows))
            raise ControlError(f"there is no workflow {args['workflow']!r}; there are: {known}", "not_found")
        if not args["text"].strip():
            raise ControlError("there is nothing to do: the text is empty", "bad_request")
        if args["budget_usd"] is not None:
            plan = replace(plan, budget_usd=asking.positive("budget_usd", args["budget_usd"]))
        if args["timeout"] is not None:
            plan = replace(plan, timeout=asking.positive("timeout", args["timeout"]))
        cwd = os.path.join(self._project.root, args["cwd"] or "")
        thread = self._thread or self._begin()
        try:
            flow, missing = await self._on_thread(
                lambda: _ask(
                    thread.engine(), args["text"], plan, cwd, args["by"] or client.actor, args["key"]
                )
            )
        except NotADirectoryError:
            raise ControlError(f"{cwd} is not a folder", "bad_request") from None
        thread.nudge()
        self._begun()
        missing = sorted(set(missing) - _own_roles(self._project, self._comes))
        return {"workflow": views.summary(flow), "without_worker": missing}

    async def plans(self, _args: Args, _client: ClientInfo) -> Reply:
        """The workflows that can be started."""
        listed = [
            {
                "name": plan.name,
                "description": plan.description,
                "isolation": plan.isolation,
                "budget_usd": plan.budget_usd,
                "phases": [
                    {"name": one.name, "role": one.role, "needs": list(one.needs), "approve": one.approve}
                    for one in plan.phases
                ],
            }
            for plan in self._project.workflows.values()
        ]
        return {"plans": sorted(listed, key=lambda plan: (plan["name"] != "default", plan["name"]))}

    async def workflows(self, args: Args, _client: ClientInfo) -> Reply:
        """All workflows, or those that are not over."""
        try:
            flows: list[Workflow] = await self._call(lambda engine: engine.shelf.all())
        except ControlError as error:
            if error.code != "not_found":
                raise
            flows = []
        return views.listing(flows, active=args["active"], offset=args["offset"], limit=args["limit"])

    async def workflow(self, args: Args, _client: ClientInfo) -> Reply:
        """Everything about one workflow."""
        flow, working = await self._call(
            lambda engine: (engine.shelf.get(args["id"]), views.working_roles(engine.broker))
        )
        return {"workflow": views.whole(flow, working)}

    async def result(self, args: Args, _client: ClientInfo) -> Reply:
        """The result of a workflow."""
        return views.result(await self._get(args))

    async def _get(self, args: Args) -> Workflow:
        found: Workflow = await self._call(lambda engine: engine.shelf.get(args["id"]))
        return found

    async def transcript(self, args: Args, _client: ClientInfo) -> Reply:
        """Part of the transcript of a run."""
        flow = await self._get(args)
        number = asking.phase_of(flow, args["phase"])
        limit = min(args["limit"], LONGEST_TRANSCRIPT)
        return await self._on_thread(
            lambda: reading.transcript(self._folder, flow, number, args["attempt"], args["offset"], limit)
        )

    async def diff(self, args: Args, _client: ClientInfo) -> Reply:
        """What a workflow has changed."""
        flow = await self._get(args)
        try:
            return await self._on_thread(lambda: reading.diff(flow, self._folder))
        except reading.NothingToSee as error:
            raise ControlError(str(error), "failed") from error

    async def _change(self, do: str, args: Args, by: str) -> Reply:
        def act(engine: Engine) -> Workflow:
            flow = engine.shelf.get(args["id"])
            if flow.home == engine.home.name and engine.leader is None:
                engine.lead()
            event = asking.event_of(flow, do, args, by)
            let_in(engine.broker, flow, event)
            after = engine.tell(flow.id, event)
            if after == flow:
                raise asking.unchanged(after, do)
            return after

        after = await self._call(act)
        if self._thread is not None:
            self._thread.nudge()
        return {"workflow": views.summary(after)}


def _ask(engine: Engine, text: str, plan: Any, cwd: str, by: str, key: str) -> tuple[Workflow, list[str]]:
    flow = engine.ask(text, plan, cwd, by, key)
    return flow, sorted({phase.role for phase in plan.phases} - views.working_roles(engine.broker))


def _own_roles(project: Project, comes: Callable[[str], bool]) -> set[str]:
    """The roles of the project's own workers, including those that are just starting."""
    workers = [task.worker for name, task in project.tasks.items() if task.worker and comes(name)]
    return {role for worker in workers for role in worker.roles}


def _news(before: Workflow | None, after: Workflow) -> list[tuple[str, str]]:
    """The events of a change, as (kind, cause): that the workflow began, needs a person, or is over."""
    news: list[tuple[str, str]] = []
    if before is None:
        return [("workflow_started", f"asked by {person(after.by)}")]
    if after.status is not before.status and after.status.final:
        news.append((FINAL_KINDS[after.status], after.reason))
    for plan, old, new in zip(after.plan.phases, before.phases, after.phases, strict=True):
        asks = new.status in (PhaseStatus.WAITING_APPROVAL, PhaseStatus.WAITING_PERSON)
        if asks and old.status is not new.status:
            news.append(("workflow_waiting", f"{plan.name}: {new.reason}"))
    if after.hold and after.hold != before.hold:
        news.append(("workflow_waiting", after.hold))
    if after.warned and not before.warned:
        news.append(("workflow_budget", "most of its budget is spent"))
    if (found := after.place.get("conflicts")) and found != before.place.get("conflicts"):
        files = sorted({file for one in found for file in one["files"]})
        news.append(("workflow_conflict", ", ".join(files)))
    return news


Handle = Callable[[WorkflowDesk, Args, "ClientInfo"], Awaitable[Reply]]

HANDLERS: dict[str, Handle] = {
    "ask": WorkflowDesk.ask,
    "workflow_plans": WorkflowDesk.plans,
    "workflows": WorkflowDesk.workflows,
    "workflow": WorkflowDesk.workflow,
    "workflow_result": WorkflowDesk.result,
    "workflow_transcript": WorkflowDesk.transcript,
    "workflow_diff": WorkflowDesk.diff,
}
