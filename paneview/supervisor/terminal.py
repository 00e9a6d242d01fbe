"""The project's tmux session, kept alive: opened, watched, and opened again when the connection to it ends.

Others get it from ``ready``: while tmux is gone, they wait there instead of failing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from paneview.proc import ProcessId
from paneview.tmux.errors import TmuxError
from paneview.tmux.session import TmuxSession

logger = logging.getLogger(__name__)

FIRST_WAIT = 0.05  # seconds between attempts to open the session again, doubling
LONGEST_WAIT = 5.0
PATIENCE = 10.0  # seconds until clients get an error saying that their request waits for tmux


class SessionSpec(Struct, frozen=True):
    """What is needed to open the project's session."""

    name: str
    socket: str | None
    key: str
    environ: Mapping[str, str]
    cwd: Path
    hub: Sequence[str]  # what runs in the first window while the supervisor does not


class Terminal:
    """Holds the session. When it is gone, `on_lost` is called before it is opened again, `on_restored` afterwards."""

    def __init__(self, spec: SessionSpec) -> None:
        self.on_lost: Callable[[str], object] = lambda _reason: None
        self.on_restored: Callable[[], object] = lambda: None
        self._spec = spec
        self._session: TmuxSession | None = None
        self._ready = asyncio.Event()
        self._reopening: asyncio.Task[None] | None = None
        self._panes: dict[str, str] = {}  # pane → task: a new tmux server uses the same ids again
        self._closing = False
        self._gone_at = 0.0  # in loop time
        self._why = ""  # why it is still gone

    @property
    def session(self) -> TmuxSession:
        """The session as last opened."""
        assert self._session is not None, "the terminal was not opened"
        return self._session

    async def open(self) -> TmuxSession:
        """Open or join the session. Raises TmuxError."""
        return self._take(await self._connect())

    async def ready(self) -> TmuxSession:
        """The session, as soon as there is one."""
        await self._ready.wait()
        return self.session

    async def ready_with(self, pane_id: str, task: str) -> TmuxSession:
        """The session, as soon as there is one. Raises TmuxError if it does not have this pane of the task."""
        session = await self.ready()
        if not self.has_pane(pane_id, task):
            raise TmuxError(f"{task} has no pane")
        return session

    @property
    def trouble(self) -> str:
        """Why tmux has been gone or silent for more than `PATIENCE` seconds; empty if it has not."""
        if not self._ready.is_set():
            gone_for = asyncio.get_running_loop().time() - self._gone_at
            if gone_for < PATIENCE:
                return ""
            return f"tmux has been gone for {gone_for:.0f} s" + (f": {self._why}" if self._why else "")
        silent_for = self.session.silent_for
        if silent_for < PATIENCE:
            return ""
        server = f"the tmux server (process {self.session.server_id.pid})"
        return f"{server} has not answered for {silent_for:.0f} s: it is stopped or overloaded"

    def has_pane(self, pane_id: str, task: str) -> bool:
        """Whether the pane, as last known, exists and belongs to this task."""
        return self._panes.get(pane_id) == task

    def remember_pane(self, pane_id: str, task: str) -> None:
        """Note that the pane exists and belongs to this task."""
        self._panes[pane_id] = task

    def forget_pane(self, pane_id: str) -> None:
        """Note that the pane no longer exists."""
        self._panes.pop(pane_id, None)

    def retire(self) -> None:
        """From now on, a session that ends is not opened again, and nobody is told."""
        self._closing = True

    async def close(self) -> None:
        """Disconnect from the session; what runs in it goes on."""
        self._closing = True
        if self._reopening:
            self._reopening.cancel()
        if self._session:
            await self._session.close()

    async def destroy(self) -> None:
        """Close the session with all its windows, even one that is just being opened again."""
        self._closing = True
        if self._reopening:
            await asyncio.wait({self._reopening}, timeout=LONGEST_WAIT)
        if self._session:
            await self._session.destroy()

    async def _connect(self) -> TmuxSession:
        spec = self._spec
        return await TmuxSession.open(
            spec.name, spec.socket, spec.key, environ=spec.environ, cwd=spec.cwd, hub=spec.hub
        )

    def _take(self, session: TmuxSession) -> TmuxSession:
        session.on_gone = self._gone
        self._session = session
        self._ready.set()
        if session.gone:  # it ended before `on_gone` was set
            self._gone(session.gone)
        return session

    def _gone(self, reason: str) -> None:
        if self._closing or not self._ready.is_set():
            return
        self._ready.clear()
        self._gone_at, self._why = asyncio.get_running_loop().time(), ""
        self._reopening = asyncio.get_running_loop().create_task(self._reopen(reason))
        self._reopening.add_done_callback(_log_defect)

    async def _reopen(self, reason: str) -> None:
        self.on_lost(reason)
        before = self.session.server_id
        wait = FIRST_WAIT
        while True:
            try:
                session = await self._connect()
                self._panes = await self._still_there(session, before)
                break
            except Exception as error:  # retry whatever it is: everything waits for tmux
                if self._closing:
                    return
                self._why = str(error)
                expected = isinstance(error, TmuxError | OSError)
                logger.warning("tmux cannot be opened again: %s", error, exc_info=not expected)
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT)
        self._take(session)
        if not self._closing:
            self.on_restored()

    async def _still_there(self, session: TmuxSession, before: ProcessId) -> dict[str, str]:
        """Those of our known panes that the server still has; another server has none of them."""
        if session.server_id != before:
            return {}
        try:
            panes = await session.panes()
        except BaseException:  # also when cancelled: nothing else would close it
            await session.close()
            raise
        return {pane.pane_id: pane.task for pane in panes if self.has_pane(pane.pane_id, pane.task)}


def _log_defect(reopening: asyncio.Task[None]) -> None:
    if not reopening.cancelled() and (error := reopening.exception()):
        logger.error("the session was not opened again as it should be", exc_info=error)
