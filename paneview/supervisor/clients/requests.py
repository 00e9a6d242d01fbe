"""Answers clients' requests to a running supervisor: passes each to its handler, and waits for its record on disk.

The requests and their effects are listed in `protocol.REQUESTS`; `HANDLERS` has those about tasks.

The replies keep the shapes that scripts written for taskmux expect (see the README); keys were added, none removed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from paneview import __version__
from paneview.control import protocol
from paneview.control.errors import ControlError
from paneview.control.session import ClientInfo
from paneview.rules.states import TaskPhase, TaskState
from paneview.store.database import StoreError
from paneview.supervisor.background import unasked
from paneview.supervisor.changes.reload import Reloader
from paneview.supervisor.clients.panes import Panes
from paneview.supervisor.clients.picture import Picture
from paneview.supervisor.journal import LOOK, Journal
from paneview.supervisor.logs.reading import LogReading
from paneview.supervisor.queue.parts import QueueParts
from paneview.supervisor.tasks.supervisor import Supervisor
from paneview.supervisor.terminal import Terminal
from paneview.text import person

Args = dict[str, Any]
Reply = dict[str, Any]

# Requests that wait for tmux, in addition to those that launch.
WAITS_FOR_TMUX = frozenset({"stop", "kill", "down", *protocol.PANES})


@dataclass(eq=False)
class Requests:
    """Answers clients.

    ``serve_web`` has the signature of `Web.serve`. ``end`` is called with the reason when the project is taken down.
    """

    _supervisor: Supervisor
    _picture: Picture
    _journal: Journal
    _reading: LogReading
    _terminal: Terminal
    _reloader: Reloader
    _queue: QueueParts
    _serve_web: Callable[[int | None, str], Awaitable[Reply]]
    _end: Callable[[str], None]

    def __post_init__(self) -> None:
        """Collect the handlers."""
        panes = Panes(self._supervisor, self._terminal)
        self._handlers: dict[str, Callable[[Args, ClientInfo], Awaitable[Reply]]] = {
            **{do: partial(handler, self) for do, handler in HANDLERS.items()},
            **{do: partial(panes.handle, do) for do in protocol.PANES},
            **{do: partial(self._queue.handle, do) for do in protocol.QUEUE | protocol.WORKFLOWS},
        }

    async def handle(self, do: str, args: Args, client: ClientInfo) -> Reply:
        """Answer one request. Raises ControlError."""
        handler = self._handlers.get(do)
        if handler is None:
            raise ControlError(f"this supervisor cannot {do!r}", "unknown_request")
        try:
            return await self._answer(do, partial(handler, args, client))
        except StoreError as error:
            raise ControlError(str(error), "store") from error

    async def _answer(self, do: str, answer: Callable[[], Awaitable[Reply]]) -> Reply:
        effect = protocol.REQUESTS[do].effect
        launches = effect == "launch"
        if launches:
            self._supervisor.check_stays()
        if launches or do in WAITS_FOR_TMUX:
            reply = await self._unless_stuck(answer(), launches=launches)
        else:
            reply = await answer()
        if effect == "read":
            return reply
        unrecorded = await self._journal.durable()  # so that what was answered is never forgotten
        return {**reply, "unrecorded": unrecorded} if unrecorded else reply

    async def _unless_stuck(self, answer: Awaitable[Reply], *, launches: bool) -> Reply:
        """The answer. Raises ControlError if it waits for a silent tmux, or for a launch that cannot be recorded."""
        deed = asyncio.ensure_future(answer)
        try:
            while not (await asyncio.wait([deed], timeout=LOOK))[0]:
                if launches and (trouble := self._journal.trouble):
                    words = f"nothing starts while that cannot be recorded: {trouble}"
                    stuck = ControlError(f"{words}. It goes on by itself as soon as it can", "store")
                elif trouble := self._terminal.trouble:
                    words = f"{trouble}. What was asked for is done as soon as it answers"
                    stuck = ControlError(words, "tmux")
                else:
                    continue
                deed.add_done_callback(unasked)
                raise stuck
        except asyncio.CancelledError:
            deed.cancel()
            raise
        return await deed

    def snapshot(self) -> Reply:
        """The whole picture."""
        return self._picture.status()

    async def hello(self, _args: Args, client: ClientInfo) -> Reply:
        """Which supervisor this is."""
        project = self._supervisor.project
        return {
            "version": __version__,
            "session": project.name,
            "pid": os.getpid(),
            "file": str(project.file),
            "tmux_socket": project.tmux.socket,
            "client": client.number,
        }

    async def status(self, _args: Args, _client: ClientInfo) -> Reply:
        """Every task's state, and a summary of the queue."""
        self._picture.sample()
        queue = await self._queue.summary()
        return {**self._picture.status(), "queue": queue}

    async def health(self, _args: Args, _client: ClientInfo) -> Reply:
        """Every task's health, as taskmux counts it."""
        tasks = self._picture.status()["tasks"]
        keys = ("name", "healthy", "health", "state", "reason")
        rows = [{key: task[key] for key in keys} for task in tasks]
        return {
            "healthy_count": sum(row["healthy"] for row in rows),
            "total_count": len(rows),
            "tasks": rows,
        }

    async def start(self, args: Args, client: ClientInfo) -> Reply:
        """Start tasks, with what they depend on unless told otherwise."""
        names = self._supervisor.start_names(args["tasks"], deps=args["deps"])
        if args["tasks"] is None:
            self._journal.note_session("session_started", names, client.actor)
        before = self._supervisor.states
        await self._supervisor.start(names, client.actor)
        # A task that was running already was not started: its end meanwhile is not a failure of this request.
        new = {name: state for name, state in before.items() if state.phase is not TaskPhase.RUNNING}
        reply = self._started("started", names, new)
        if already := [name for name in names if name in before and name not in new]:
            reply["already"] = already
        return reply

    async def restart(self, args: Args, client: ClientInfo) -> Reply:
        """Give tasks a new run; without names, those that run or will: for the others there is ``start``."""
        names, before = self._names(args), self._supervisor.states
        if args["tasks"] is None:
            names = [name for name in names if before[name].phase.under_way and not before[name].manual_stop]
        refused = await self._supervisor.restart(names, client.actor)
        return self._started("restarted", names, before, refused)

    async def stop(self, args: Args, client: ClientInfo) -> Reply:
        """Stop tasks; answered when the last process is gone."""
        names = self._names(args)
        refused = await self._supervisor.stop(names, client.actor)
        if args["tasks"] is None:
            self._journal.note_session("session_stopped", names, client.actor)
            session = {"session": self._supervisor.project.name, "action": "stopped"}
            return {**session, **_results("stopped", names, refused)}
        return _results("stopped", names, refused)

    async def kill(self, args: Args, client: ClientInfo) -> Reply:
        """SIGKILL tasks; answered when the last process is gone."""
        names = self._names(args)
        await self._supervisor.kill(names, client.actor)
        return _results("killed", names, {})

    async def inspect(self, args: Args, _client: ClientInfo) -> Reply:
        """All details of one task."""
        self._picture.sample()
        return await self._picture.inspect(self._supervisor.unit(args["task"]))

    async def events(self, args: Args, _client: ClientInfo) -> Reply:
        """Recorded events."""
        events = await self._journal.events(args)
        return {"events": events, "count": len(events)}

    async def log_info(self, args: Args, _client: ClientInfo) -> Reply:
        """Where a task's log begins and ends."""
        await self._journal.durable()
        return await self._reading.info(self._log(args["task"]))

    async def log_lines(self, args: Args, _client: ClientInfo) -> Reply:
        """Lines of a task's log by number."""
        return await self._reading.lines(self._log(args["task"]), args["first"], args["count"])

    async def log_find(self, args: Args, _client: ClientInfo) -> Reply:
        """Numbers of lines that match."""
        return await self._reading.find(self._log(args["task"]), args)

    async def logs_clean(self, args: Args, _client: ClientInfo) -> Reply:
        """Delete stored lines, including those of tasks that are no longer in the file."""
        left = [name for name in await self._reading.tasks() if name not in self._supervisor.units]
        if args["tasks"] is None:
            names = [*self._supervisor.units, *left]
        else:
            known = self._supervisor.named(name for name in args["tasks"] if name not in left)
            names = [*(name for name in args["tasks"] if name in left), *known]
        await self._reading.clean(names if args["tasks"] is not None else None)
        return _results("cleaned", names, {})

    async def websocket(self, args: Args, client: ClientInfo) -> Reply:
        """Turn the WebSocket API on at a port, or say where it is."""
        return await self._serve_web(args["port"], client.actor)

    async def reload(self, _args: Args, client: ClientInfo) -> Reply:
        """Read the configuration file again."""
        return await self._reloader.reload(client.actor)

    async def definition(self, args: Args, _client: ClientInfo) -> Reply:
        """What the file says about a task."""
        unit = self._supervisor.unit(args["task"])
        return await self._reloader.definition(unit.task.base_name)

    async def define(self, args: Args, client: ClientInfo) -> Reply:
        """Change what the file says about a task, and apply it."""
        unit = self._supervisor.unit(args["task"])
        return await self._reloader.define(unit.task.base_name, args["was"], args["text"], client.actor)

    async def scale(self, args: Args, client: ClientInfo) -> Reply:
        """Change the number of replicas of a task."""
        return await self._reloader.scale(args["task"], args["replicas"], client.actor)

    async def down(self, _args: Args, client: ClientInfo) -> Reply:
        """Stop everything and end the supervisor, after the reply; it stays if a hook refuses a stop."""
        running = [name for name, unit in self._supervisor.units.items() if unit.state.phase.active]
        if refused := await self._supervisor.down(client.actor):
            raise _not_down(refused)
        self._journal.note_session("session_stopped", running, client.actor)
        self._supervisor.end_session()
        asyncio.get_running_loop().call_soon(self._end, f"taken down by {person(client.actor)}")
        return {"session": self._supervisor.project.name, "action": "down", "tasks": running}

    def _log(self, name: str) -> str:
        """The name of a task's log, or of one merged of several."""
        return protocol.MERGES.join(
            self._supervisor.unit(task).name for task in dict.fromkeys(name.split(protocol.MERGES))
        )

    def _names(self, args: Args) -> list[str]:
        if args["tasks"] is None:
            return list(self._supervisor.units)
        return self._supervisor.named(args["tasks"])

    def _started(
        self,
        action: str,
        names: list[str],
        before: Mapping[str, TaskState],
        refused: Mapping[str, str] = MappingProxyType({}),
    ) -> Reply:
        """The reply to a start. It failed for tasks that got no process, no matter what a process did afterwards.

        ``before``: the earlier states of the tasks that should get a process. ``refused``: those that kept theirs.
        """
        states = self._supervisor.states
        there = [name for name in names if name in states]
        gone = dict.fromkeys(set(names) - set(there), "it was removed meanwhile")
        waiting = [name for name in there if states[name].phase is TaskPhase.WAITING]
        runless = [name for name in there if name in before and states[name].run == before[name].run]
        failed = {name: why for name in runless if (why := self._why_not(name))}
        reply = _results(action, names, {**failed, **refused, **gone})
        reply.update(session=self._supervisor.project.name, action=action, tasks=names)
        if waiting:
            held = {name: self._supervisor.held_by(name) for name in waiting}
            reply["waiting"] = {name: [one.task for one in unmet] for name, unmet in held.items()}
        return reply

    def _why_not(self, name: str) -> str:
        """Why a task that should start has no new run; empty if it still gets one."""
        state = self._supervisor.unit(name).state
        match state.phase:
            case TaskPhase.FAILED | TaskPhase.BACKOFF:
                return state.reason
            case TaskPhase.STOPPED | TaskPhase.IDLE:  # idle: the project has gone down since
                by = self._supervisor.stopped_by.get(name)
                return "it was stopped meanwhile" + (f", by {person(by)}" if by else "")
            case _:
                return ""


def _results(action: str, names: list[str], failed: dict[str, str]) -> Reply:
    results = [
        {"ok": False, "task": name, "action": action, "error": failed[name]}
        if name in failed
        else {"ok": True, "task": name, "action": action}
        for name in names
    ]
    if failed:
        message = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise ControlError(message, "failed", results=results)
    return {"results": results}


def _not_down(refused: Mapping[str, str]) -> ControlError:
    """Why the project was not taken down, and how to end a task in spite of its hooks."""
    results = [
        {"ok": False, "task": name, "action": "down", "error": reason} for name, reason in refused.items()
    ]
    told = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
    kill = f"`paneview kill {' '.join(refused)}`"
    message = f"not taken down, since a stop was refused. {told}. {kill} ends it, then `paneview down` again"
    return ControlError(message, "failed", results=results)


Handle = Callable[[Requests, Args, ClientInfo], Awaitable[Reply]]

HANDLERS: dict[str, Handle] = {
    "hello": Requests.hello,
    "status": Requests.status,
    "health": Requests.health,
    "start": Requests.start,
    "restart": Requests.restart,
    "stop": Requests.stop,
    "kill": Requests.kill,
    "inspect": Requests.inspect,
    "events": Requests.events,
    "log_info": Requests.log_info,
    "log_lines": Requests.log_lines,
    "log_find": Requests.log_find,
    "logs_clean": Requests.logs_clean,
    "websocket": Requests.websocket,
    "reload": Requests.reload,
    "definition": Requests.definition,
    "define": Requests.define,
    "scale": Requests.scale,
    "down": Requests.down,
}
