"""Finding tasks that wait for an answer, so that no one has to watch them.

The log ingest reports output and whether it stopped inside a line; the rules (`paneview.rules.asking`) decide when
that is worth a look. A look is one round trip to tmux. What an agent reports about itself takes precedence over its
screen: claude keeps a file for each of its processes, read here only if the task's command may be an agent.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from paneview.config.reading import load_json, read_file
from paneview.patterns import Pattern, PatternError
from paneview.proc import ProcessTable
from paneview.rules.asking import (
    Answered,
    Asking,
    Asks,
    Due,
    Event,
    Grew,
    Look,
    Saw,
    Screen,
    Sought,
    compiled,
    may_be_agent,
    question,
    step,
)
from paneview.store.ingest import LogIngest
from paneview.supervisor.clock import Clock
from paneview.supervisor.journal import Journal
from paneview.supervisor.runs.live import Live
from paneview.supervisor.tasks.supervisor import Supervisor
from paneview.supervisor.tasks.unit import Unit
from paneview.supervisor.terminal import Terminal
from paneview.tmux.errors import TmuxError

logger = logging.getLogger(__name__)

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][0-9A-B]|[=>78])")
PATTERN_LIMIT = 0.1  # seconds for each pattern of the configuration, at each look
_AGENT_STATES = {"busy": False, "idle": False, "waiting": True}


class _Watched(NamedTuple):
    """One run and the state of the rules for it."""

    live: Live
    state: Asking
    timer: asyncio.TimerHandle | None = None


class _Own:
    """A pattern from the configuration. If it takes too long it does not match, which is logged once."""

    def __init__(self, text: str) -> None:
        self._pattern = Pattern(text, ignore_case=True, limit=PATTERN_LIMIT)
        self._noted = False

    def search(self, line: str, /) -> object:
        """True if the line matches, else None."""
        try:
            return True if self._pattern.find(line) >= 0 else None
        except PatternError as error:
            if not self._noted:
                logger.warning("input pattern %r: %s", self._pattern.text, error)
            self._noted = True
            return None


class Questions:
    """Sets ``question`` of one project's units, and records an event when it changes."""

    def __init__(
        self,
        supervisor: Supervisor,
        terminal: Terminal,
        ingest: LogIngest,
        journal: Journal,
        clock: Clock,
        environ: Mapping[str, str],
    ) -> None:
        self._supervisor = supervisor
        self._terminal = terminal
        self._ingest = ingest
        self._journal = journal
        self._clock = clock
        self._environ = environ
        self._watched: dict[str, _Watched] = {}
        self._usual = compiled()
        self._patterns: dict[str, Sought] = {}
        self._looks: set[asyncio.Task[None]] = set()

    def grown(self, names: Iterable[str]) -> None:
        """Note that these tasks have written something."""
        for name in names:
            unit, watched = self._supervisor.units.get(name), self._watched.get(name)
            if unit is None or watched is None or unit.task.input_patterns == []:
                continue
            worth = self._ingest.unfinished(name) or may_be_agent(unit.task.command)
            if worth or unit.question:
                self._feed(unit, watched.live, Grew(worth))

    def changed(self, name: str) -> None:
        """Note that a task's state changed: a run that is over has no question, a new one may have asked already."""
        unit = self._supervisor.units.get(name)
        live = None if unit is None else unit.live
        watched = self._watched.get(name)
        if watched is not None and watched.live is not live:
            self._forget(name)
            if unit is not None:
                unit.question = ""
        if live is not None and name not in self._watched:
            self._watched[name] = _Watched(live, Asking())
            self.grown([name])

    def redefined(self) -> None:
        """Note that patterns may have changed: what a screen shows may be a question now, or none any more."""
        for name, watched in list(self._watched.items()):
            unit = self._supervisor.units.get(name)
            if unit is not None and unit.task.input_patterns == []:
                self._feed(unit, watched.live, Saw(""))
        self.grown(list(self._watched))

    def close(self) -> None:
        """Stop looking."""
        for name in list(self._watched):
            self._forget(name)
        for look in self._looks:
            look.cancel()

    def _forget(self, name: str) -> None:
        timer = self._watched.pop(name).timer
        if timer is not None:
            timer.cancel()

    def _feed(self, unit: Unit, live: Live, event: Event) -> None:
        name = unit.name
        watched = self._watched.get(name)
        if watched is None or watched.live is not live:
            return
        state, effects = step(watched.state, event, self._clock.now())
        timer = watched.timer
        if state.due != watched.state.due:
            if timer is not None:
                timer.cancel()
            wait = None if state.due is None else max(0.0, state.due - self._clock.now())
            loop = asyncio.get_running_loop()
            timer = None if wait is None else loop.call_later(wait, self._due, name, live)
        self._watched[name] = _Watched(live, state, timer)
        for effect in effects:
            match effect:
                case Look():
                    self._look(unit, live)
                case Asks(text):
                    self._tell(unit, text, "task_needs_input", text)
                case Answered():
                    self._tell(unit, "", "task_input_given", "")

    def _due(self, name: str, live: Live) -> None:
        unit = self._supervisor.units.get(name)
        if unit is not None and unit.live is live:
            self._feed(unit, live, Due())

    def _tell(self, unit: Unit, text: str, kind: str, cause: str) -> None:
        unit.question = text
        self._journal.note_task(unit.name, unit.state.run, kind, cause)
        self._supervisor.changed(unit.name)

    def _look(self, unit: Unit, live: Live) -> None:
        look = asyncio.get_running_loop().create_task(self._see(unit, live))
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)

    async def _see(self, unit: Unit, live: Live) -> None:
        try:
            found = await self._agent(unit, live) or await self._screen(unit, live)
        except (TmuxError, OSError) as error:
            logger.info("%s: its screen cannot be looked at: %s", unit.name, error)
            return
        if unit.live is live:
            self._feed(unit, live, found)

    async def _screen(self, unit: Unit, live: Live) -> Saw:
        session = await self._terminal.ready_with(live.pane_id, unit.name)
        lines, _, row = await session.screen(live.pane_id)
        shown = Screen([_ESCAPES.sub("", line) for line in lines], row)
        if (own := unit.task.input_patterns) is None:
            return Saw(question(shown, self._usual, asked=unit.question))
        for text in own:
            if text not in self._patterns:
                self._patterns[text] = _Own(text)
        sought = [self._patterns[text] for text in own]
        # On a thread, because a pattern may take long.
        return Saw(await asyncio.to_thread(question, shown, sought, menus=False, asked=unit.question))

    async def _agent(self, unit: Unit, live: Live) -> Saw | None:
        """What the agent reports about itself; None if it reports nothing."""
        if live.root is None or not may_be_agent(unit.task.command):
            return None
        pids = [row.pid for row in ProcessTable.recent().tree(live.root.pid)]
        folder = claude_folder({**self._environ, **unit.task.env}) / "sessions"
        return await asyncio.to_thread(read_agent, folder, pids)


def claude_folder(environ: Mapping[str, str]) -> Path:
    """The folder where claude keeps its state, for a process with this environment."""
    own = environ.get("CLAUDE_CONFIG_DIR")
    return Path(own) if own else Path(environ.get("HOME") or "/") / ".claude"


def read_agent(folder: Path, pids: Iterable[int]) -> Saw | None:
    """What the status file of one of these processes says; None if there is no file with a known status."""
    for pid in pids:
        try:
            told = load_json(read_file(folder / f"{pid}.json"))
        except (OSError, ValueError):
            continue
        status = told.get("status") if isinstance(told, dict) else None
        if status in _AGENT_STATES:
            waits = _AGENT_STATES[status]
            what = told.get("waitingFor")
            text = what if isinstance(what, str) and what.strip() else "an answer"
            return Saw(" ".join(text.split())[:200] if waits else "", busy=status == "busy")
    return None
