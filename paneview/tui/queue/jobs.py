"""The table of jobs: state, kind, target, tries, age, and what each is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.style import Style
from textual.binding import BindingType
from textual.strip import Strip

from paneview.control.queuemodel import JobView
from paneview.tui.keys.bindings import key
from paneview.tui.queue.words import job_age, job_look, tries
from paneview.tui.text import clean
from paneview.tui.widgets.canvas import PLAIN, Piece, line
from paneview.tui.widgets.columns import Column, fitting, row, titles
from paneview.tui.widgets.listing import CURSOR, Listing
from paneview.tui.widgets.rowfilter import RowFilter

LEAST_WHAT = 14
COLUMNS = (
    Column("state", "STATE", 12),
    Column("kind", "KIND", 10),
    Column("target", "FOR", 16, keep=5),
    Column("tries", "TRIES", 5, keep=3, right=True),
    Column("priority", "PRIO", 4, keep=2, right=True),
    Column("age", "AGE", 8, keep=6, right=True),
    Column("what", "WHAT", 0),
    Column("id", "ID", 24, keep=1),
)


class JobTable(Listing):
    """The fetched jobs that pass the filter, by id."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("job.open", "enter", "screen.open_job", "Open", "Payload, attempts, result"),
        key("job.retry", "r", "screen.fate('retry')", "Retry", "Retry dead letters"),
        key("job.cancel", "c", "screen.fate('cancel')", "Cancel", "Cancel (asks first)"),
        key("job.purge", "p", "screen.fate('purge')", "Purge", "Purge dead ones (asks)"),
        key("job.mark", "space", "toggle_mark", "Mark", "Mark for the next action"),
        key("job.mark_all", "asterisk", "mark_all", "Mark all", "Mark all that are shown"),
        key("job.states", "f", "screen.next_states", "States", "Waiting, running, dead …"),
        key("job.filter", "slash", "screen.find", "Filter", "Filter: regex, ! inverts"),
    ]

    def __init__(self, *, id: str | None = None, empty: Callable[[], str]) -> None:  # noqa: A002
        super().__init__(id=id, empty=empty)
        self.jobs: dict[str, JobView] = {}
        self.filter = RowFilter()
        self.marked: set[str] = set()
        self.noted: Callable[[], object] = lambda: None
        self._columns: list[Column] = []

    @property
    def selected(self) -> JobView | None:
        """The job under the cursor."""
        return self.jobs.get(self.cursor or "")

    def chosen(self) -> list[JobView]:
        """The marked jobs, else the one under the cursor. What the filter hides is left alone."""
        names = [name for name in self.keys if name in self.marked] or [self.cursor or ""]
        return [self.jobs[name] for name in names if name in self.jobs]

    def update(self, jobs: dict[str, JobView]) -> None:
        """Show these jobs."""
        self.jobs = jobs
        self.marked &= jobs.keys()
        self.set_keys([name for name, _ in self.filter.choose(jobs.items(), lambda pair: _texts(pair[1]))])
        self.redraw()

    def set_filter(self, text: str) -> None:
        """Show only what matches; an empty text shows all."""
        self.filter = RowFilter(text)
        self.update(self.jobs)

    def paint(self, width: int, height: int) -> list[Strip]:
        """The table, with the columns that fit."""
        self._columns = fitting(COLUMNS, width, LEAST_WHAT)
        return super().paint(width, height)

    def heading(self, width: int) -> Strip:
        """The columns' titles."""
        return line(width, self.inks.base, *titles(self._columns, self.inks.dim))

    def row(self, key: str, width: int, style: Style) -> Strip:
        """The line of one job."""
        inks, job = self.inks, self.jobs[key]
        look = job_look(job)
        texts = {
            "state": f"{look.glyph} {look.word}",
            "kind": job.kind,
            "target": job.target,
            "tries": tries(job),
            "priority": str(job.priority) if job.priority else "",
            "age": job_age(job, self.pv.picture.clock()),
            "what": job.error or job.what if look.role == "failed" else job.what,
            "id": job.id,
        }
        colours = {"state": inks.role(look.role), "kind": inks.title, "what": PLAIN}

        def cell(column: Column) -> Piece:
            return clean(texts[column.key]), colours.get(column.key, inks.dim)

        selected = key == self.cursor
        marks: list[Piece] = [
            (CURSOR if selected else " ", inks.accent if self.has_focus else inks.dim),
            ("+" if key in self.marked else " ", inks.mark),
        ]
        return line(width, style, *marks, *row(self._columns, cell))

    def action_toggle_mark(self) -> None:
        """Mark the job for the next action, and go on to the next one."""
        if self.cursor:
            self.marked ^= {self.cursor}
            self.action_move(1)
            self.redraw()
            self.noted()

    def action_mark_all(self) -> None:
        """Mark all that are shown; once more: none."""
        shown = set(self.keys)
        self.marked = set() if shown <= self.marked else self.marked | shown
        self.redraw()
        self.noted()


def _texts(job: JobView) -> tuple[str, ...]:
    return job.id, job.kind, job.target, job_look(job).word, job.what, job.error, job.submitted_by
