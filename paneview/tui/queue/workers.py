"""The table of workers: heartbeat, what each does now, and who is quarantined."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style
from textual.binding import BindingType
from textual.strip import Strip

from paneview.control.queuemodel import JobView, QueueView, WorkerView
from paneview.text import with_option
from paneview.tui.keys.bindings import key
from paneview.tui.queue.words import WORKER_LOOKS, unseen, worker_condition
from paneview.tui.text import clean
from paneview.tui.widgets.canvas import PLAIN, Piece, line
from paneview.tui.widgets.columns import Column, fitting, row, titles
from paneview.tui.widgets.listing import CURSOR, Listing
from paneview.tui.words import duration

LEAST_JOB = 20
COLUMNS = (
    Column("name", "WORKER", 14),
    Column("state", "STATE", 13),
    Column("beat", "BEAT", 6, right=True),
    Column("roles", "ROLES", 14, keep=4),
    Column("host", "HOST", 12, keep=2),
    Column("pid", "PID", 7, keep=1, right=True),
    Column("job", "JOB", 0),
)
_ORDER = ("quarantined", "silent", "busy", "idle", "gone")


class WorkerTable(Listing):
    """Every worker of every host, those that need a person first.

    Keys are names with the host: one that is started again has another id, and the cursor stays on it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        key("worker.release", "U", "screen.release", "Release", "Release from quarantine"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, empty=self._why_empty)
        self._workers: dict[str, WorkerView] = {}
        self._columns: list[Column] = []
        self._jobs: dict[str, JobView] = {}

    @property
    def selected(self) -> WorkerView | None:
        """The worker under the cursor."""
        return self._workers.get(self.cursor or "")

    def to_release(self, queue: QueueView | None) -> list[str]:
        """Who is quarantined; only the selected one, if it is and this has the focus."""
        names, worker = list(queue.quarantined) if queue is not None else [], self.selected
        if self.has_focus and worker is not None and worker.quarantined:
            return [exact if (exact := f"{worker.name}@{worker.host}") in names else worker.name]
        return names

    def update(self, queue: QueueView) -> None:
        """Show the queue's workers as they are now."""
        found = [*queue.workers, *unseen(queue)]
        found.sort(key=lambda worker: (_ORDER.index(self._condition(worker)), worker.name, worker.host))
        self._workers = {}
        for worker in found:
            key = f"{worker.name}@{worker.host}"
            self._workers[key if key not in self._workers else f"{key}/{worker.id}"] = worker
        self.set_keys(list(self._workers))
        self.redraw()

    def know(self, jobs: dict[str, JobView]) -> None:
        """Learn of these jobs; of the jobs known before, keep those that a worker holds."""
        held = {job for worker in self._workers.values() for job in worker.jobs}
        self._jobs = {name: job for name, job in self._jobs.items() if name in held} | jobs
        self.redraw()

    def paint(self, width: int, height: int) -> list[Strip]:
        """The table, with the columns that fit."""
        self._columns = fitting(COLUMNS, width, LEAST_JOB)
        return super().paint(width, height)

    def heading(self, width: int) -> Strip:
        """The columns' titles."""
        return line(width, self.inks.base, *titles(self._columns, self.inks.dim))

    def row(self, key: str, width: int, style: Style) -> Strip:
        """The line of one worker."""
        inks, worker = self.inks, self._workers[key]
        look = WORKER_LOOKS[self._condition(worker)]
        texts = {
            "name": worker.name,
            "state": f"{look.glyph} {look.word}",
            "beat": duration(self._beat_age(worker)) if worker.id else "",
            "roles": ", ".join(worker.roles),
            "host": worker.host,
            "pid": str(worker.pid) if worker.pid else "",
            "job": self._job(worker),
        }

        def cell(column: Column) -> Piece:
            ink = {"name": inks.title, "state": inks.role(look.role), "job": PLAIN}.get(column.key, inks.dim)
            return clean(texts[column.key]), ink

        mark = (f"{CURSOR if key == self.cursor else ' '} ", inks.accent if self.has_focus else inks.dim)
        return line(width, style, mark, *row(self._columns, cell))

    def _job(self, worker: WorkerView) -> str:
        if worker.quarantined and not worker.alive:
            return f"{worker.reason or 'died too often'} · U releases it"
        if not worker.jobs:
            return ""
        job = self._jobs.get(worker.jobs[0])
        first = f"{job.kind} {job.what}" if job is not None else worker.jobs[0]
        return first if len(worker.jobs) == 1 else f"{len(worker.jobs)} jobs: {first}"

    def _beat_age(self, worker: WorkerView) -> float:
        picture = self.pv.picture
        return worker.heartbeat_age_s + max(0.0, picture.clock() - picture.queue_at)

    def _condition(self, worker: WorkerView) -> str:
        return worker_condition(worker, worker.heartbeat_age_s)

    def _why_empty(self) -> str:
        if self.pv.picture.queue is None:
            return "…"
        words = "No workers. Add [workers.NAME] to the file, or run 'paneview worker'"
        return with_option(words, self.pv.option)
