"""Launching a run: checks of what tmux would not report well, hooks, the port, then the pane.

tmux turns a missing working folder or program into another folder or exit code 1, so these are checked first where
possible, and reported in words.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

from paneview import proc
from paneview.config.models import Task
from paneview.store.rows import RunRow
from paneview.supervisor.clock import Clock
from paneview.supervisor.places import RunPlaces
from paneview.supervisor.runs.hooks import HookFailed, Hooks
from paneview.supervisor.runs.live import Live
from paneview.supervisor.runs.origin import Origin
from paneview.supervisor.runs.ports import PortRefused, Ports
from paneview.supervisor.terminal import Terminal
from paneview.tmux.errors import CannotSpawn, TmuxError, TmuxGone
from paneview.tmux.spawn import PaneInfo, SpawnSpec, folder_trouble

logger = logging.getLogger(__name__)

CLEAR_AFTER = 5.0  # seconds


class LaunchError(Exception):
    """No run was started. ``retry``: whether another attempt may succeed.

    ``withdrawn``: it was given up by `Launcher.withdraw`.
    ``unborn``: the run, if a process of it may exist all the same and must be looked for.
    """

    def __init__(
        self, reason: str, *, retry: bool, unborn: Live | None = None, withdrawn: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry = retry
        self.withdrawn = withdrawn
        self.unborn = unborn


class Launcher:
    """Spawns runs in the project's tmux session."""

    def __init__(
        self, terminal: Terminal, places: RunPlaces, hooks: Hooks, ports: Ports, clock: Clock
    ) -> None:
        self._terminal = terminal
        self._places = places
        self._hooks = hooks
        self._ports = ports
        self._clock = clock
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._over: list[int] = []  # runs whose exit files are no longer needed

    async def launch(self, task: Task, run: int, before: RunRow | None) -> tuple[Live, RunRow]:
        """Start ``task`` as ``run``, in the pane of the run ``before`` if that still exists.

        Raises LaunchError for whatever goes wrong.
        """
        try:
            if trouble := folder_trouble(task.cwd):
                raise LaunchError(trouble, retry=True)
            await self._prepare(task, run)
            if before is not None and before.ended_at is not None:
                self._clear_later(before.id)
            pane = await self._spawn(task, run, before.pane_id if before else None)
            live = self.live_in(run, pane)
            row = self.row(task.name, live)
        except LaunchError:
            raise
        except CannotSpawn as error:  # so there is no process to look for
            raise LaunchError(f"it cannot be started: {error}", retry=True) from error
        except (TmuxError, OSError) as error:
            raise self._failed(run, f"tmux could not start it: {error}") from error
        except Exception as error:
            logger.exception("%s: a launch failed", task.name)
            raise self._failed(run, f"internal error: {error!r}") from error
        self._terminal.remember_pane(pane.pane_id, task.name)
        return live, row

    def _clear_later(self, run: int) -> None:
        """Remove an exit file later: each system call would cost a start of many tasks its turn with the store."""
        self._over.append(run)
        if len(self._over) == 1:
            asyncio.get_running_loop().call_later(CLEAR_AFTER, self._clear)

    def _clear(self) -> None:
        over, self._over = self._over, []
        asyncio.get_running_loop().run_in_executor(None, self._places.clear_exits, over)

    def withdraw(self, task: str) -> None:
        """Give up a launch of this task that is still being prepared; hooks that run are ended."""
        if preparing := self._preparing.get(task):
            preparing.cancel()

    def _failed(self, run: int, reason: str) -> LaunchError:
        return LaunchError(reason, retry=True, unborn=self.live_of(run))

    async def _prepare(self, task: Task, run: int) -> None:
        """Run the hooks, clear the port and await tmux, as a task that can be withdrawn. Raises LaunchError."""
        preparing = asyncio.get_running_loop().create_task(self._make_way(task, run))
        self._preparing[task.name] = preparing
        try:
            await preparing
        except (HookFailed, PortRefused) as error:
            raise LaunchError(str(error), retry=False) from error
        except OSError as error:
            raise LaunchError(f"it cannot be started at present: {error}", retry=True) from error
        except asyncio.CancelledError:
            launching = asyncio.current_task()
            if launching and launching.cancelling():  # the supervisor is closing
                raise
            raise LaunchError("it was to stop", retry=False, withdrawn=True) from None
        finally:
            del self._preparing[task.name]

    async def _make_way(self, task: Task, run: int) -> None:
        await self._hooks.before("before_start", task, run)
        if task.port is not None:
            await self._ports.clear(task.name, run, task.port)
        await self._terminal.ready()

    def alive(self) -> set[int]:
        """The runs of which some process is alive."""
        return self._places.alive()

    def live_in(self, run: int, pane: PaneInfo) -> Live:
        """The `Live` of a run in this pane."""
        root = proc.identify(pane.pid) if pane.pid and not pane.dead else None
        live = self.live_of(run, pane.pane_id, pane.window_id, root)
        live.definition = pane.definition
        return live

    def live_of(
        self, run: int, pane_id: str = "", window_id: str = "", root: proc.ProcessId | None = None
    ) -> Live:
        """The `Live` of a run of which only this much is known."""
        return Live(
            run=run,
            pane_id=pane_id,
            window_id=window_id,
            root=root,
            marker=self._places.marker(run),
            exit_file=self._places.exit_file(run),
            spool_prefix=self._places.spool_prefix(run),
        )

    def row(self, task: str, live: Live, started_at: float | None = None) -> RunRow:
        """The row that lets another supervisor find this run again."""
        server = self._terminal.session.server_id
        return RunRow(
            id=live.run,
            task=task,
            started_at=started_at or self._clock.wall(),
            pid=live.root.pid if live.root else None,
            start_ticks=live.root.start if live.root else None,
            pane_id=live.pane_id,
            window_id=live.window_id,
            boot_id=proc.boot_id(),
            tmux_pid=server.pid,
            tmux_start=server.start,
        )

    async def define(self, pane_id: str, definition: str) -> None:
        """Store with a pane the definition that its run has now."""
        session = await self._terminal.ready()
        with suppress(TmuxError):  # the pane is gone, so there is no run to be found again
            await session.define(pane_id, definition)

    async def clear_away(self, task: str, pane_id: str) -> None:
        """Close a task's pane that is no longer needed."""
        session = await self._terminal.ready()
        if self._terminal.has_pane(pane_id, task):
            self._terminal.forget_pane(pane_id)
            with suppress(TmuxError):  # it is gone with the server, or the next supervisor finds it
                await session.remove_pane(pane_id)

    async def clear_unborn(self, task: str, run: int) -> None:
        """Close the pane of a run that failed to start, in case tmux has made one but could not report it."""
        session = await self._terminal.ready()
        with suppress(TmuxError):  # then it is gone with the server, or the next supervisor finds it
            for pane in await session.panes():
                if pane.run == run and not self._terminal.has_pane(pane.pane_id, task):
                    await session.remove_pane(pane.pane_id)

    async def _spawn(self, task: Task, run: int, pane_id: str | None) -> PaneInfo:
        session = await self._terminal.ready()
        spec = SpawnSpec(
            task=task.name,
            run=run,
            command=task.command,
            cwd=task.cwd,
            env=_environ(task),
            spool_prefix=self._places.spool_prefix(run),
            exit_file=self._places.exit_file(run),
            window_name=task.name,
            definition=Origin.of(task).text(),
        )
        if pane_id and self._terminal.has_pane(pane_id, task.name):
            try:
                return await session.respawn(pane_id, spec)
            except (CannotSpawn, TmuxGone):
                raise
            except TmuxError as error:
                if error.replies:  # its process exists already, and the run must not get a second one
                    raise
                self._terminal.forget_pane(pane_id)  # someone has closed it meanwhile: use a new window
        return await session.spawn(spec)


def _environ(task: Task) -> Mapping[str, str]:
    """What is added to the environment of a task's process; the run's marker is added where its pane is made."""
    own = {"PANEVIEW_TASK": task.name}
    if task.replica is not None:
        own["PANEVIEW_REPLICA"] = str(task.replica)
    return {**task.env, **own}
