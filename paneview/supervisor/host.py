"""One project's supervisor with everything it needs, wired up: the only place that knows all the parts.

Opening goes from the bottom up (databases, tmux, what earlier supervisors left, then the control socket), closing from
the top down. So a client that connects finds a supervisor that has already adopted what was running.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from paneview import __version__
from paneview.config import paths
from paneview.config.models import Project
from paneview.config.secrets import Masker
from paneview.control.audience import Audience
from paneview.control.errors import ControlError
from paneview.control.server import ControlServer
from paneview.store.database import StoreError
from paneview.store.ingest import LogIngest
from paneview.store.rows import Loaded
from paneview.store.state import StateStore
from paneview.supervisor.background import Background
from paneview.supervisor.changes import scaling
from paneview.supervisor.changes.reload import Reloader
from paneview.supervisor.changes.scaling import ScaledTasks, to_record
from paneview.supervisor.changes.watching import Mark, watch_file
from paneview.supervisor.clients.picture import Picture
from paneview.supervisor.clients.requests import Requests
from paneview.supervisor.clients.web import Web
from paneview.supervisor.clock import Clock
from paneview.supervisor.journal import SESSION, Journal
from paneview.supervisor.logs.reading import LogReading
from paneview.supervisor.logs.runlogs import RunLogs
from paneview.supervisor.places import RunPlaces
from paneview.supervisor.process import statefolder
from paneview.supervisor.process.descriptors import make_room
from paneview.supervisor.queue.parts import QueueParts
from paneview.supervisor.runs.ending import Ender
from paneview.supervisor.runs.hooks import Hooks, inherited
from paneview.supervisor.runs.launching import Launcher
from paneview.supervisor.runs.ports import Ports
from paneview.supervisor.runs.probing import Prober
from paneview.supervisor.runs.strays import Strays
from paneview.supervisor.takeover.adopting import Adopter
from paneview.supervisor.takeover.recorded import Takeover
from paneview.supervisor.tasks.outages import Outages
from paneview.supervisor.tasks.questions import Questions
from paneview.supervisor.tasks.scheduling import Schedules
from paneview.supervisor.tasks.supervisor import Supervisor
from paneview.supervisor.tasks.unit import Services
from paneview.supervisor.terminal import SessionSpec, Terminal

logger = logging.getLogger(__name__)


class Options(Struct, frozen=True):
    """How a supervisor begins."""

    start_all: bool = True  # start what starts by itself, if this is a fresh session
    lock: int | None = None  # descriptor of the project's lock: we end when its file is gone
    seen: Mark = None  # of the project's file, before it was read; None: as it is when we begin to watch it


class Host:
    """Builds, opens and closes the parts of a supervisor."""

    def __init__(self, project: Project, environ: Mapping[str, str], folder: Path, options: Options) -> None:
        self.project, self.folder = project, folder
        self._raw_environ = environ
        self._environ = inherited(environ)
        self._scaled: ScaledTasks = {}
        self._options = options
        self._clock = Clock()
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._took_down = self._closing = False

    async def open(self) -> None:
        """Take charge. Raises TmuxError, StoreError, UnsafeSocket, OSError; then nothing is open."""
        spool, exits = paths.spool_dir(self.folder), paths.exits_dir(self.folder)
        for place in (spool, exits):
            place.mkdir(mode=0o700, exist_ok=True)
        self.store = await StateStore.open(paths.state_db(self.folder), on_trouble=self._store_trouble)
        try:
            loaded = await self.store.load()
            self._build_ground(loaded, spool, exits)
        except BaseException:
            await self.store.close()
            raise
        try:
            await self._take_charge(loaded)
        except BaseException as error:
            with suppress(StoreError):  # the first error is the one that counts
                await self._let_go()
                await self._close_parts(f"cannot supervise: {error}")
            raise

    def _build_ground(self, loaded: Loaded, spool: Path, exits: Path) -> None:
        """Make what all else stands on: the journal, the terminal, the logs; then the rest."""
        folder, record = self.folder, loaded.tasks.get(SESSION, {}).get("scaled", {})
        project, self._scaled, dropped = scaling.take_over(self.project, self._raw_environ, record)
        self.project = project
        key = paths.project_key(project.file)
        self.audience = Audience()
        self._masker = masker = Masker(project.secret_patterns, project.secret_values)
        numbers = loaded.next_run, loaded.next_event
        self.journal = Journal(self.store, self._clock, project.name, numbers, self.audience, masker)
        self._background = Background(self.journal)
        self._places = RunPlaces(key, spool, exits)
        hub = ("tail", "-n", "200", "-F", str(paths.supervisor_log(folder)))
        spec = SessionSpec(project.name, project.tmux.socket, key, self._environ, project.root, hub)
        self.terminal = Terminal(spec)
        self.ingest = LogIngest(paths.logs_db(folder), spool, on_trouble=self._store_trouble)
        self.logs = RunLogs(self.ingest, self.terminal, self.journal, self._places)
        self._build_parts(key)
        if dropped:
            self.journal.note("scale_dropped", dropped)

    def _build_parts(self, key: str) -> None:
        """Make the parts that act on runs, and those that answer clients."""
        project, journal, clock = self.project, self.journal, self._clock
        self._hooks = Hooks(project.hooks, self._environ, self.ingest, key)
        self.ender = Ender(self.terminal, partial(journal.note, "internal_error"))
        self.launcher = Launcher(self.terminal, self._places, self._hooks, Ports(journal, key), clock)
        self.reading = LogReading(self.folder, self.ingest, self.store)
        self._prober = prober = Prober(self._environ, key, self.reading)
        self._strays = Strays(clock, self.terminal, self.launcher, self.ender, journal, self.logs)
        services = Services(
            clock, journal, self.launcher, self.ender, prober, self._hooks, self.logs, self._strays
        )
        self.supervisor = Supervisor(project, services)
        outages = Outages(self.supervisor, self.terminal, self.ender, journal, self._background)
        self.terminal.on_lost, self.terminal.on_restored = outages.begin, outages.end
        self._schedules = Schedules(self.supervisor, journal)
        self.picture = Picture(
            self.supervisor, self.store, clock, prober, self.audience, self._masker, self._schedules.next
        )
        self._reloader = Reloader(
            self.supervisor, journal, self._raw_environ, self._scaled, self._applied, self._show_anew
        )
        self._adopter = Adopter(self.terminal, self.launcher, self.ender, journal, self.logs, self._strays)
        self.queue = QueueParts(self.supervisor, journal, self.audience, self.folder, self._environ)
        self._requests = Requests(
            self.supervisor, self.picture, journal, self.reading, self.terminal, self._reloader, self.queue,
            self._serve_web, self.end,
        )  # fmt: skip
        self.server = ControlServer(self._requests, self.audience, paths.control_socket(self.folder))
        self.web = Web(self.server, self.folder, journal, self._remember)
        self._questions = Questions(
            self.supervisor, self.terminal, self.ingest, journal, clock, self._environ
        )
        # The questions come first: one must be known before the task is shown.
        self.supervisor.listeners += self._questions.changed, self.picture.changed, self.queue.changed
        self.audience.listeners += self.queue.heard, self.picture.heard

    async def _take_charge(self, loaded: Loaded) -> None:
        """Adopt what runs, let clients in, then start what is to start; and keep looking after all of it."""
        await self.terminal.open()
        self.logs.start(self._logs_grew)
        takeover = Takeover(loaded, self.supervisor, self.journal)
        takeover.load(self._clock.now())
        if loaded.moved_aside:
            self.journal.note("store_damaged", f"state.db was damaged and set aside as {loaded.moved_aside}")
        self.journal.note(
            "supervisor_started", "fresh" if takeover.is_fresh else "took over", version=__version__
        )
        written = set(self._places.written())
        self.journal.skip_runs(max(written, default=0))  # else an old exit code would count for a new run
        await takeover.end_hooks(self._hooks, self.store, self.terminal)
        alive = await self._adopter.adopt(self.supervisor, loaded.runs, takeover.states)
        if alive or not takeover.is_fresh:
            self.journal.note("supervisor_adopted", f"{len(alive)} tasks were running", tasks=alive)
        ended = {run.id: run.task for run in await self.store.runs(limit=10_000)}
        self.logs.keep(self.project.tasks.values())
        panes = await self.terminal.session.panes()
        self.logs.recover(ended, panes)
        await takeover.forget_removed()
        await self.server.start()
        for unit in self.supervisor.units.values():
            unit.resume()
        for name in self.supervisor.units:
            self._questions.changed(name)
        takeover.replace_outdated()
        self.supervisor.consider()
        self.queue.follow(self.project)
        if self.project.auto_start and (self._options.start_all or not takeover.is_fresh):
            takeover.start()
        # After the starts: a successor from here on has their record; an earlier one starts these tasks itself.
        takeover.record_all()
        self.web.port = takeover.session.get("websocket_port")
        self._remember()
        written -= {pane.run for pane in panes} | {unit.state.run for unit in self.supervisor.units.values()}
        clear = partial(asyncio.to_thread, self._places.clear_exits, written)
        self._background.once(clear, "removing exit codes that nobody asks for any more")
        self._background.keep(self.picture.keep_sampling, "looking at what tasks use")
        self._background.keep(self.logs.keep_pipes, "looking after the logs' pipes")
        self._background.keep(self._watch_file, "watching the file")
        self._background.keep(self._schedules.run, "keeping the schedules")
        self._background.keep(self._keep_state_folder, "looking after the state folder")
        self._background.once(partial(self.web.follow, self.project.websocket), "the WebSocket API")

    async def run(self) -> str:
        """Supervise until `end` is called; returns the reason."""
        return await self._ended

    def end(self, reason: str, *, took_down: bool = True) -> None:
        """Make `run` return. ``took_down``: everything was stopped, so its tmux session is closed, too."""
        if not self._ended.done():
            self._took_down = took_down
            self._ended.set_result(reason)

    async def close(self, reason: str) -> None:
        """Close everything; tasks go on unless the project was taken down."""
        try:
            await self._let_go()
            self.journal.note("supervisor_stopped", reason)
        finally:
            await self._close_parts(reason)

    async def _let_go(self) -> None:
        """Stop all activity of its own."""
        self._closing = True
        self.server.retire()
        self.terminal.retire()  # at a logout, tmux and we are ended at once
        await self._background.close()
        self._questions.close()
        await self.supervisor.close()
        await self._strays.close()

    async def _close_parts(self, reason: str) -> None:
        """Close all parts, however far they were opened; one that fails to close keeps no other open."""
        async with AsyncExitStack() as parts:
            for close in (  # called in reverse order
                self.terminal.close,
                self.store.close,
                self.logs.close,
                partial(asyncio.to_thread, self.reading.close),
                self.queue.close,
                partial(self.server.close, reason),
                partial(self.web.close, reason),
                self.queue.stop,
            ):
                parts.push_async_callback(close)
            if self._took_down:
                parts.push_async_callback(self.terminal.destroy)
                parts.push_async_callback(asyncio.to_thread, _end_agents, self.folder)
                await self.journal.recorded(self.journal.put_session({"open": False}))

    # What happens around tasks

    def _logs_grew(self, heads: Mapping[str, int]) -> None:
        self.ingest.watched = self.audience.subscribers("heads") > 0
        self.picture.heads(heads)
        self._prober.grown(heads)
        self._questions.grown(heads)

    async def _serve_web(self, port: int | None, by: str) -> dict[str, Any]:
        """Answer a request by `Web`, which is made after the requests: it needs the server, and that needs them."""
        return await self.web.serve(port, by)

    def _applied(self, project: Project, scaled: ScaledTasks) -> None:
        """Called by the reloader once the supervisor has the project's new tasks: all other parts follow."""
        self.project = project
        make_room(len(project.tasks))
        self._hooks.project = project.hooks
        self._masker.follow(project.secret_patterns, project.secret_values)
        self.queue.follow(project)
        self.logs.keep(project.tasks.values())
        self._schedules.changed()
        self._questions.redefined()
        self._scaled = scaled
        self._remember()
        self._show_anew()
        self._background.once(partial(self.web.follow, project.websocket), "the WebSocket API")

    def _show_anew(self) -> None:
        """Push the whole picture, since more than single tasks has changed."""
        self.audience.publish_snapshot(self.picture.status())

    def _remember(self) -> Awaitable[None]:
        """Record what the next supervisor must know about the session as a whole."""
        session = {"open": True, "scaled": to_record(self._scaled), "websocket_port": self.web.port}
        return self.journal.put_session(session)

    async def _watch_file(self) -> None:
        await watch_file(lambda: self.project.file, self._file_changed, self._options.seen)

    async def _file_changed(self) -> None:
        """Apply the file, but not while the project is being taken down."""
        while True:
            await self.supervisor.stays()  # if it goes down instead, its next start reads the file
            try:
                await self._reloader.reload("file change")
            except ControlError as error:
                if error.code != "going_down":  # it began to go down while the change was being applied
                    raise
            else:
                return

    async def _keep_state_folder(self) -> None:
        if self._options.lock is not None:
            await statefolder.removed(self.folder, self._options.lock, self.server)
            self.end(statefolder.REMOVED, took_down=False)

    def _store_trouble(self, message: str | None) -> None:
        """Called on the thread that met it. Clients are notified now; the store records it as soon as it can."""
        logger.error("store: %s", message or "works again")
        with suppress(RuntimeError):  # the loop is closed: no client is left to notify
            self._loop.call_soon_threadsafe(self._tell_store_trouble, message)

    def _tell_store_trouble(self, message: str | None) -> None:
        if self._closing:
            return
        if message is not None:
            self.journal.note("store_failed", message)
            return
        if not (self.store.trouble or self.ingest.troubled):  # the other database may still fail
            self.journal.note("store_restored", "what waited is stored")
        self._remember()  # the database may be new: it must know every task, including those at rest
        for unit in self.supervisor.units.values():
            self.journal.put(task=unit.name, state=unit.state, run=unit.row)


def _end_agents(folder: Path) -> None:
    """End agents whose workers were killed: they outlive those for a next worker, and there will be none."""
    from paneview.agents import strays  # noqa: PLC0415 - only on the way out

    strays.end(strays.all_of(folder))
