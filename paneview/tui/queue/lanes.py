"""The table of targets: how many jobs wait for each, how long, and how many are under way."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style
from textual.binding import BindingType
from textual.strip import Strip

from paneview.control.queuemodel import LaneView, QueueView
from paneview.tui.keys.bindings import key
from paneview.tui.text import clean
from paneview.tui.widgets.canvas import Piece, line
from paneview.tui.widgets.columns import Column, fitting, row, titles
from paneview.tui.widgets.listing import CURSOR, Listing
from paneview.tui.words import duration

ALL = ""
LEAST_NAME = 12
COLUMNS = (
    Column("target", "FOR", 0),
    Column("queued", "QUEUED", 7, right=True),
    Column("delayed", "DELAYED", 7, keep=2, right=True),
    Column("blocked", "BLOCKED", 7, keep=1, right=True),
    Column("running", "RUNNING", 7, right=True),
    Column("oldest", "OLDEST", 6, keep=5, right=True),
)


class LaneTable(Listing):
    """A row for all, then one for each target that has jobs. Keys are targets as `dispatch` takes them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("queue.lane", "enter", "screen.show_jobs", "Jobs", "Its jobs"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._lanes: dict[str, LaneView] = {}
        self._columns: list[Column] = []

    def update(self, queue: QueueView) -> None:
        """Show the queue as it is now."""
        lanes = {lane.target: lane for lane in queue.lanes}
        if self.cursor not in (None, ALL) and self.cursor not in lanes:
            # The selected target stays, even if it has no jobs left.
            lanes[str(self.cursor)] = LaneView("", str(self.cursor))
        ages = [lane.oldest_age_s for lane in queue.lanes if lane.oldest_age_s is not None]
        total = LaneView(
            ALL,
            "all",
            queued=sum(lane.queued for lane in queue.lanes),
            delayed=sum(lane.delayed for lane in queue.lanes),
            blocked=sum(lane.blocked for lane in queue.lanes),
            leased=queue.running,
            depth=queue.waiting,
            oldest_age_s=max(ages, default=None),
        )
        self._lanes = {ALL: total, **lanes}
        self.set_keys(list(self._lanes))
        self.redraw()

    @property
    def target(self) -> str | None:
        """The selected target; None for all."""
        return self.cursor or None

    def paint(self, width: int, height: int) -> list[Strip]:
        """The table, with the columns that fit."""
        self._columns = fitting(COLUMNS, width, LEAST_NAME)
        return super().paint(width, height)

    def heading(self, width: int) -> Strip:
        """The columns' titles."""
        return line(width, self.inks.base, *titles(self._columns, self.inks.dim))

    def row(self, key: str, width: int, style: Style) -> Strip:
        """The line of one target."""
        inks, lane = self.inks, self._lanes[key]
        mark = CURSOR if key == self.cursor else " "

        def cell(column: Column) -> Piece:
            text = self._text(column.key, lane)
            if column.key == "target":
                return clean(text), inks.title
            return text, inks.dim if text == "0" else (inks.ok if column.key == "running" else style)

        return line(
            width, style, (f"{mark} ", inks.accent if self.has_focus else inks.dim), *row(self._columns, cell)
        )

    def _text(self, column: str, lane: LaneView) -> str:
        if column == "oldest":
            if lane.oldest_age_s is None:
                return ""
            return duration(lane.oldest_age_s + max(0.0, self.pv.picture.clock() - self.pv.picture.queue_at))
        numbers = {
            "queued": lane.queued,
            "delayed": lane.delayed,
            "blocked": lane.blocked,
            "running": lane.leased,
        }
        return lane.target if column == "target" else f"{numbers[column]:,}"
