"""The parts of a supervisor for jobs and workflows, made when the project has a queue or a client asks about one.

Loading them takes a seventh of a supervisor's start, and every task waits for that start when a supervisor has died. So
they are not loaded for a project without a queue, and a request about one loads them on a thread.

=========  ==========================================================================================
state      then
=========  ==========================================================================================
absent     nothing is loaded; `follow` makes the parts as soon as there is a queue, and so does a request
loading    a request came first; further requests wait for the same loading
present    everything goes to its part
=========  ==========================================================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from paneview.control import protocol

if TYPE_CHECKING:
    from paneview.config.models import Project
    from paneview.control.audience import Audience
    from paneview.control.session import ClientInfo
    from paneview.supervisor.journal import Journal
    from paneview.supervisor.queue.desk import QueueDesk
    from paneview.supervisor.queue.pushing import QueuePushes
    from paneview.supervisor.queue.upkeep import QueueKeeper
    from paneview.supervisor.queue.workflows import WorkflowDesk
    from paneview.supervisor.tasks.supervisor import Supervisor

Args = dict[str, Any]
Reply = dict[str, Any]

_MODULES = ("desk", "pushing", "upkeep", "workflows")


class _Parts(Struct, frozen=True):
    desk: QueueDesk
    keeper: QueueKeeper
    pushes: QueuePushes
    workflows: WorkflowDesk


class QueueParts:
    """Makes the parts and passes requests to them. Call its methods on the event loop."""

    def __init__(
        self,
        supervisor: Supervisor,
        journal: Journal,
        audience: Audience,
        folder: Path,
        environ: Mapping[str, str],
    ) -> None:
        self._supervisor = supervisor
        self._journal = journal
        self._audience = audience
        self._folder = folder
        self._environ = environ
        self._parts: _Parts | None = None
        self._loading: asyncio.Task[_Parts] | None = None
        self._asked: set[asyncio.Task[None]] = set()

    def follow(self, project: Project) -> None:
        """Look after the queue and the workflows of this project, as its file is now."""
        if self._parts is None and project.uses_queue(self._folder):
            self._parts = self._make()
        if self._parts is not None:
            self._parts.keeper.follow(project)
            self._parts.workflows.follow(project)

    def changed(self, name: str) -> None:
        """Note that a task has changed: the queue may have to know."""
        if self._parts is not None:
            self._parts.keeper.changed(name)

    async def summary(self) -> Reply | None:
        """A few numbers for `status`; None if the project has no queue."""
        if self._parts is None and not self._supervisor.project.uses_queue(self._folder):
            return None
        return await (await self._ready()).desk.summary()

    async def handle(self, do: str, args: Args, client: ClientInfo) -> Reply:
        """Answer a request about the queue or workflows. Raises ControlError."""
        parts = await self._ready()
        part = parts.desk if do in protocol.QUEUE else parts.workflows
        return await part.handle(do, args, client)

    async def stop(self) -> None:
        """Stop notifying clients, and all activity of its own."""
        for asked in (*self._asked, *filter(None, [self._loading])):
            asked.cancel()
        if self._parts is not None:
            await self._parts.pushes.close()
            await self._parts.workflows.close()
            await self._parts.keeper.close()

    async def close(self) -> None:
        """Close the connection to the queue, after the last client has gone."""
        if self._parts is not None:
            await self._parts.desk.close()

    def heard(self, topics: frozenset[str]) -> None:
        """Note that a client has subscribed to these topics, and send it the queue if that is one of them."""
        if "queue" not in topics:
            return
        asked = asyncio.get_running_loop().create_task(self._show(topics))
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)

    async def _show(self, topics: frozenset[str]) -> None:
        (await self._ready()).pushes.heard(topics)

    async def _ready(self) -> _Parts:
        if self._parts is not None:
            return self._parts
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_task(self._load())
        return await asyncio.shield(self._loading)

    async def _load(self) -> _Parts:
        try:
            await asyncio.to_thread(
                lambda: [import_module(f"paneview.supervisor.queue.{name}") for name in _MODULES]
            )
            if self._parts is None:  # if not, the file has gained a queue meanwhile
                self._parts = self._make()
                self.follow(self._supervisor.project)
            return self._parts
        finally:
            self._loading = None  # after a failure, as for lack of descriptors, the next request tries again

    def _make(self) -> _Parts:
        from paneview.supervisor.queue.desk import QueueDesk  # noqa: PLC0415 - see above, as the next three
        from paneview.supervisor.queue.pushing import QueuePushes  # noqa: PLC0415
        from paneview.supervisor.queue.upkeep import QueueKeeper  # noqa: PLC0415
        from paneview.supervisor.queue.workflows import WorkflowDesk  # noqa: PLC0415

        def begun() -> None:
            keeper.follow(self._supervisor.project)

        def comes(name: str) -> bool:
            unit = self._supervisor.units.get(name)
            return unit is not None and unit.state.phase.under_way

        keeper = QueueKeeper(self._supervisor, self._journal, self._folder)
        desk = QueueDesk(self._supervisor, self._journal, self._folder, begun, lambda: keeper.problem)
        workflows = WorkflowDesk(
            self._supervisor.project, self._journal, self._audience, self._folder, self._environ, begun, comes
        )
        return _Parts(desk, keeper, QueuePushes(desk, self._audience), workflows)
