"""The project's tmux session: one window per task, driven over one control-mode client.

A session that is gone is not repaired here: ``on_gone`` is called, and the caller opens a new one. Options are
set only on our own session, windows and panes; the user's configuration is overridden there and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from paneview.proc import ProcessId, identify, marker
from paneview.tmux import exits, launch, spawn
from paneview.tmux.control import ControlClient
from paneview.tmux.errors import TmuxError, TmuxGone
from paneview.tmux.guard import ExitStatus
from paneview.tmux.quote import command
from paneview.tmux.server import tmux_argv, tmux_env
from paneview.tmux.spawn import PANE_FORMAT, PaneInfo, SpawnSpec, parse_pane
from paneview.tmux.writers import Writers, find_split

# How long the output of a pane that is about to be reused may still be on its way.
_DRAIN = 2.0  # seconds
_CLIENT_FLAGS = "no-output,ignore-size"


class TmuxSession:
    """The tmux session of one project, made by `open`. Every method raises TmuxGone once it is lost."""

    def __init__(self, ref: launch.SessionRef, project_key: str, split: str | None) -> None:
        self.session_id = ref.session_id
        self.created = ref.created
        """Whether `open` created the session; False if it already existed."""
        self.server_id = identify(ref.server_pid) or ProcessId(ref.server_pid, 0)
        """The tmux server's process; if it changes, every pane we knew is gone."""
        self.on_gone: Callable[[str], None] | None = None
        """Called once with the reason when the server, the session or our connection has ended."""
        self.gone: str | None = None
        self._project_key = project_key
        self.writers = Writers(self.server_id.pid, split)
        """What writes the panes' output into the spool."""
        self._client: ControlClient | None = None
        self._buffers = itertools.count(1)
        self._ended: set[str] = set()  # panes that were seen dead, so all their output has been passed on

    @classmethod
    async def open(
        cls,
        name: str,
        socket: str | None,
        project_key: str,
        environ: Mapping[str, str],
        cwd: Path,
        hub: Sequence[str],
    ) -> TmuxSession:
        """Connect to our session, or create it with ``hub`` in its first window, "paneview".

        Panes get the current ``environ``, without what belongs to a terminal. Raises SessionTaken if a foreign
        session has the name, TmuxMissing, TmuxError.
        """
        ref = await asyncio.to_thread(launch.ensure_session, name, socket, project_key, environ, cwd, hub)
        session = cls(ref, project_key, await asyncio.to_thread(find_split))
        attach = ["-C", "attach-session", "-E", "-t", ref.session_id, "-f", _CLIENT_FLAGS]
        session._client = await ControlClient.open(
            tmux_argv(socket, *attach), tmux_env(os.environ), session._lost
        )
        try:
            await session._end_stale_clients()
            await session._set_environment(environ)
        except BaseException:
            await session.close()
            raise
        return session

    @property
    def silent_for(self) -> float:
        """Seconds since tmux last sent anything, while an answer is pending; else 0."""
        return self._client.silent_for if self._client else 0.0

    async def spawn(self, spec: SpawnSpec) -> PaneInfo:
        """Start a run in a new window at the end. Raises TmuxError with the reason if that is impossible."""
        spawn.check_spec(spec)
        group = spawn.spawn_group(
            self.session_id, spec, marker(self._project_key, spec.run), self.writers.split
        )
        try:
            answers = await self._send(*group)
        except TmuxError as error:
            if error.replies and not isinstance(error, TmuxGone):
                await self.remove_pane(spawn.parse_spawned(error.replies[0], spec).pane_id)
            raise
        return spawn.parse_spawned(answers[0], spec)

    async def respawn(self, pane_id: str, spec: SpawnSpec) -> PaneInfo:
        """Start a run in the pane of an ended run of the same task. Anything still alive there is killed."""
        spawn.check_spec(spec)
        if pane_id in self._ended:
            self._ended.remove(pane_id)
        else:
            await self._drained(pane_id, spec.task)
        group = spawn.respawn_group(pane_id, spec, marker(self._project_key, spec.run), self.writers.split)
        answers = await self._send(*group)
        return spawn.parse_pane(answers[-1]) or _not_ours(pane_id)

    async def panes(self) -> list[PaneInfo]:
        """The panes of all tasks in one round trip, including dead ones and those in windows the user has moved."""
        (listing,) = await self._send(command("list-panes", "-a", "-F", PANE_FORMAT))
        panes = [pane for line in listing.split("\n") if line and (pane := parse_pane(line))]
        return [pane for pane in panes if self._is_ours(pane)]

    def _is_ours(self, pane: PaneInfo) -> bool:
        return pane.project == self._project_key or (not pane.project and pane.session_id == self.session_id)

    async def pane(self, pane_id: str) -> PaneInfo | None:
        """A task's pane by id; None if it is gone."""
        try:
            (line,) = await self._send(command("list-panes", "-t", pane_id, "-F", PANE_FORMAT))
        except TmuxGone:
            raise
        except TmuxError:
            return None
        found = [pane for row in line.split("\n") if (pane := parse_pane(row)) and pane.pane_id == pane_id]
        return found[0] if found else None

    async def exit_status(self, pane_id: str, exit_file: Path) -> ExitStatus:
        """The exit status of the pane's ended process; waits until its output has been passed on.

        Usually known within milliseconds; waits a second at most, four if nothing is known. Works without tmux, too.
        """

        async def look() -> PaneInfo | None:
            try:
                pane = await self.pane(pane_id)
            except TmuxGone:
                return None
            if pane and pane.dead:
                self._ended.add(pane_id)
            return pane

        return await exits.exit_status(look, self.server_id.pid, exit_file)

    async def attach_pipe(self, pane_id: str, spool_prefix: Path) -> int:
        """Send the output of a live pane to the spool again; returns the number of the first file it goes to.

        What tmux read in between is missing from the log.
        """
        pane = await self.pane(pane_id) or _not_ours(pane_id)
        await self._send(*spawn.pipe_group(pane_id, spool_prefix, pane.pipes + 1, self.writers.split))
        return pane.pipes * spawn.PIPE_NUMBERS

    async def capture(self, pane_id: str, lines: int | None = None, *, escapes: bool = True) -> str:
        """The pane's text, wrapped lines joined, with the last ``lines`` of its history (None: all) above it."""
        start = "-" if lines is None else str(-lines)
        flags = ["-e"] if escapes else []
        (text,) = await self._send(command("capture-pane", "-p", "-J", *flags, "-S", start, "-t", pane_id))
        return text

    async def screen(self, pane_id: str) -> tuple[list[str], int, int]:
        """The pane's rows as shown, with colours, and the cursor's column and row."""
        place, text = await self._send(
            command("display-message", "-p", "-t", pane_id, "#{cursor_x} #{cursor_y}"),
            command("capture-pane", "-p", "-e", "-t", pane_id),
        )
        column, row = map(int, place.split())
        return text.split("\n"), column, row

    async def send_keys(self, pane_id: str, *keys: str, literal: bool = False) -> None:
        """Type into the pane: tmux's key names ("C-c", "Enter") or, if ``literal``, characters."""
        await self._send(command("send-keys", *(["-l"] if literal else []), "-t", pane_id, "--", *keys))

    async def paste(self, pane_id: str, text: str) -> None:
        """Paste text of any length, bracketed if the program has requested that. Raises ValueError for a NUL."""
        if not text:
            return  # tmux keeps no empty buffer, and would complain that it is not there
        buffer = f"paneview-{self._project_key}-{next(self._buffers)}"
        try:
            await self._send(
                command("set-buffer", "-b", buffer, "--", text),
                command("paste-buffer", "-p", "-d", "-b", buffer, "-t", pane_id),
            )
        except TmuxError:
            with contextlib.suppress(TmuxError):  # the server may be gone
                await self._send(command("delete-buffer", "-b", buffer))  # it may hold a password
            raise

    async def define(self, pane_id: str, definition: str) -> None:
        """Store the definition that a pane's run now follows in the pane's options."""
        await self._send(spawn.define(pane_id, definition))

    async def remove_pane(self, pane_id: str) -> None:
        """Remove a pane with whatever runs in it, and its window if that has no other pane; it may be gone already."""
        try:
            await self._send(command("kill-pane", "-t", pane_id))
        except TmuxGone:
            raise
        except TmuxError as error:
            if "can't find pane" not in str(error):
                raise

    async def close(self) -> None:
        """End our client; the session and its tasks go on."""
        if self._client:
            await self._client.close()

    async def destroy(self) -> None:
        """End the session with all its windows, and our panes elsewhere. ``on_gone`` is not called."""
        self.on_gone = None
        with contextlib.suppress(TmuxGone):
            for pane in await self.panes():
                if pane.session_id != self.session_id:
                    await self.remove_pane(pane.pane_id)
            await self._send(command("kill-session", "-t", self.session_id))
        await self.close()

    def _send(self, *commands: str) -> asyncio.Future[list[str]]:
        assert self._client, "made by open()"
        return self._client.send(*commands)

    def _lost(self, reason: str) -> None:
        self.gone = reason
        if self.on_gone:
            self.on_gone(reason)

    async def _end_stale_clients(self) -> None:
        """End a killed supervisor's control client, where the kernel has not done so (see `control`).

        There is only one supervisor, so every other client like ours is a leftover.
        """
        assert self._client, "made by open()"
        fields = "#{client_control_mode} #{client_flags} #{client_pid}"
        (listing,) = await self._send(command("list-clients", "-t", self.session_id, "-F", fields))
        for line in listing.splitlines():
            control, flags, pid = line.split()
            alike = control == "1" and set(_CLIENT_FLAGS.split(",")) <= set(flags.split(","))
            if alike and int(pid) != self._client.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)

    async def _set_environment(self, environ: Mapping[str, str]) -> None:
        (listing,) = await self._send(command("show-environment", "-g"))
        stale = launch.parse_stale(listing, environ)
        target = ("-t", self.session_id)
        groups = [
            command("set-environment", *target, key, value)
            for key, value in launch.passed_on(environ).items()
        ]
        groups += [command("set-environment", "-r", *target, key) for key in stale]
        await asyncio.gather(*(self._send(group) for group in groups))

    async def _drained(self, pane_id: str, task: str) -> None:
        """Wait until tmux has passed on the last run's output: a new pipe discards what the old one holds."""
        end = asyncio.get_running_loop().time() + _DRAIN
        for delay in (*exits.NUDGES[1:], *([exits.NUDGES[-1]] * int(_DRAIN))):
            pane = await self.pane(pane_id) or _not_ours(pane_id)
            if pane.task != task:
                _not_ours(pane_id)
            if pane.dead or asyncio.get_running_loop().time() > end:
                return
            if pane.pid and identify(pane.pid):  # alive, against the caller's promise: `-k` ends it
                return
            exits.nudge(self.server_id.pid)
            await asyncio.sleep(delay)


def _not_ours(pane_id: str) -> PaneInfo:
    raise TmuxError(f"the pane {pane_id} is gone or not the task's")
