"""The reader's position in each task's log; kept while another task is shown."""

from __future__ import annotations

from dataclasses import dataclass, field

from paneview.control.protocol import MERGES
from paneview.tui.logs.feed import Call, LogFeed
from paneview.tui.logs.find import Finder
from paneview.tui.logs.viewport import Pos, Source, Whole
from paneview.tui.picture import Change, Picture

KEPT_LOGS = 16


@dataclass
class LogState:
    """One task's log and the window on it."""

    feed: LogFeed
    follow: bool = True
    top: Pos = field(default_factory=lambda: Pos(0))
    column: int = 0
    paused_at: int = 0
    search: Finder | None = None
    filter: Finder | None = None
    anchor: int | None = None
    caret: int = 0

    @property
    def tasks(self) -> list[str]:
        """The task, or those whose logs are merged here."""
        return self.feed.task.split(MERGES)

    @property
    def source(self) -> Source:
        """The lines that can be shown."""
        if self.filter is not None:
            return self.filter.hits
        return Whole(self.feed.first, self.feed.end if self.follow else max(self.feed.end, self.feed.head))

    def pause(self) -> None:
        """Stop following: the window stays where it is."""
        if self.follow:
            self.follow = False
            self.paused_at = self.feed.end

    def selection(self) -> tuple[int, int] | None:
        """The first and last line of the selection, if there is one."""
        if self.anchor is None:
            return None
        return min(self.anchor, self.caret), max(self.anchor, self.caret)

    def extend(self) -> None:
        """The log has moved: have the search and the filter look at what is new."""
        for finder in (self.search, self.filter):
            if finder is not None:
                finder.extend()

    def forget(self) -> None:
        """Cancel its search and its filter."""
        for finder in (self.search, self.filter):
            if finder is not None:
                finder.cancel()


class Logs:
    """The logs that were shown last, at most `KEPT_LOGS`."""

    def __init__(self, picture: Picture, call: Call) -> None:
        self._picture = picture
        self._call = call
        self._states: dict[str, LogState] = {}
        self._runs: dict[str, tuple[int | None, str]] = {}

    def of(self, task: str) -> LogState:
        """The log of this task, or of several joined by `MERGES`."""
        state = self._states.pop(task, None)
        if state is None:
            state = LogState(LogFeed(self._call, task, self._head(task.split(MERGES))))
        self._states[task] = state
        if len(self._states) > KEPT_LOGS:
            self._states.pop(next(iter(self._states))).forget()
        return state

    def _head(self, tasks: list[str]) -> int:
        return sum(self._picture.heads.get(task, 0) for task in tasks)

    def update(self, change: Change) -> None:
        """Notify the logs of what has changed; nothing is fetched before a window asks."""
        for task, state in self._states.items():
            if not change.heads.isdisjoint(state.tasks):
                state.feed.moved(self._head(state.tasks))
            view = self._picture.tasks.get(task)
            if view is not None and self._runs.get(task) != (view.run, view.state):
                self._runs[task] = (view.run, view.state)
                state.feed.run_changed()
            if change.link:
                state.feed.run_changed()
