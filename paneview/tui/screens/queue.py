"""The screen of the queue: the targets that jobs wait for, the workers, and the jobs with their states.

While this screen is open the supervisor pushes the queue's summary; the jobs are fetched when that has changed. If
the queue does not answer, a line says so, and what was last known stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import Container
from textual.strip import Strip
from textual.widget import Widget

from paneview.control.errors import ControlError
from paneview.tui.background import in_background
from paneview.tui.keys.bindings import key
from paneview.tui.picture import Change
from paneview.tui.question import Question
from paneview.tui.queue import rules
from paneview.tui.queue.beside import JobBeside
from paneview.tui.queue.fates import FATES, settle, warn
from paneview.tui.queue.jobs import JobTable
from paneview.tui.queue.lanes import LaneTable
from paneview.tui.queue.state import JobQuery, Jobs
from paneview.tui.queue.words import SHOWN
from paneview.tui.queue.workers import WorkerTable
from paneview.tui.screens.aim import Aim
from paneview.tui.screens.base import MainScreen
from paneview.tui.text import clean
from paneview.tui.widgets.canvas import Canvas, Painted
from paneview.tui.widgets.divider import Divider
from paneview.tui.widgets.listing import Listing

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp

PANES = ("lanes", "workers", "jobs")


class QueueScreen(MainScreen):
    """Targets, workers, jobs."""

    CRUMB = "queue"
    AUTO_FOCUS = "#jobs"
    HINTS: ClassVar[dict[str, tuple[str, ...]]] = {
        "": ("dispatch", "pane.next", "help", "back"),
        "lanes": ("queue.lane", "dispatch", "pane.next", "help", "back"),
        "jobs": ("job.open", "job.retry", "job.cancel", "dispatch", "help", "back"),
        "workers": ("worker.release", "task.restart", "task.attach", "dispatch", "help", "back"),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        key("", "U", "release", "Release", "Release from quarantine"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.jobs = Jobs(self._ask_for, self._fetched)
        self.aim = Aim(self, self._aimed_at)
        self._shown: JobQuery | None = None
        self._heights: tuple[int | str, int | str] | None = None

    async def _ask_for(self, do: str, **args: Any) -> dict[str, Any]:
        return await self.pv.link.call(do, **args)

    def body(self) -> Iterator[Widget]:
        """Targets and workers, with the jobs beside or below them."""
        yield Painted(self._paint_note, id="queue-note")
        with Container(id="queue-body"):
            with Container(id="queue-left"):
                yield LaneTable(id="lanes")
                yield Painted(self._paint_workers_rule, id="workers-rule", classes="rule")
                yield WorkerTable(id="workers")
            yield Divider(id="divider")
            with Container(id="queue-right"):
                yield Painted(self._paint_jobs_rule, id="jobs-rule", classes="rule")
                yield JobTable(id="jobs", empty=self._why_no_jobs)
                yield JobBeside(id="job-text")

    @property
    def lanes(self) -> LaneTable:
        """The table of targets."""
        return self.query_one(LaneTable)

    @property
    def table(self) -> JobTable:
        """The table of jobs."""
        return self.query_one(JobTable)

    @property
    def crew(self) -> WorkerTable:
        """The table of workers."""
        return self.query_one(WorkerTable)

    def on_mount(self) -> None:
        """Subscribe to the queue."""
        self.set_class(True, "pane-jobs")
        self.table.noted = self.query_one("#jobs-rule", Canvas).redraw
        in_background(self, self._begin)

    async def on_unmount(self) -> None:
        """The screen is closed: unsubscribe."""
        self.jobs.close()
        if not self.app.is_running:
            return
        with suppress(ControlError):  # the connection may be lost
            await self.pv.link.hear("queue", self, on=False)

    async def _begin(self) -> None:
        try:
            await self.pv.link.hear("queue", self, on=True)
        except ControlError as error:
            self.pv.tell(f"queue: {error.message}", failed=True)

    # What it shows

    def update(self, change: Change) -> None:
        """The picture has changed."""
        queue = self.pv.picture.queue
        if queue is None or not (change.queue or change.link):
            return
        if queue.problem is None and self.pv.picture.link.phase == "connected":
            self.jobs.note(queue.changes)
        self.lanes.update(queue)
        self.crew.update(queue)
        self._redraw_around()
        self._fit()

    def tick(self) -> None:
        """Show the time that has passed."""
        for table in (self.lanes, self.crew, self.table):
            table.redraw()

    def laid_out(self) -> None:
        """The panes may have as many rows as this size allows."""
        self._fit()
        self._look_at(self.table.cursor)

    def _aimed_at(self) -> str:
        """The jobs, or the worker, that a key acts on."""
        jobs = " ".join(job.id for job in self.table.chosen())
        return self.crew.cursor or "" if self.focused is self.crew else jobs

    def targets(self) -> list[str]:
        """The selected worker's task, if this project has it: actions on tasks apply to it."""
        worker, queue = self.crew.selected if self.has_targets() else None, self.pv.picture.queue
        if worker is None or worker.name not in self.pv.picture.tasks:
            return []
        # One of that name on another host is another worker.
        return [worker.name] if queue is None or worker.host in ("", queue.host) else []

    def has_targets(self) -> bool:
        """Only while the workers have the focus."""
        return isinstance(self.focused, WorkerTable)

    def job_target(self) -> str:
        """The suggested target of a new job: the selected worker, target, or job's target; empty for none."""
        worker = self.crew.selected
        if self.focused is self.crew and worker is not None:
            return worker.name
        if self.lanes.target:
            return self.lanes.target
        job = self.table.selected
        return job.target if self.focused is self.table and job is not None else ""

    @on(Listing.Moved, "#lanes")
    def narrow(self) -> None:
        """Another target is selected: its jobs."""
        self.jobs.ask(self.jobs.question._replace(target=self.lanes.target))
        self._redraw_around()

    @on(Listing.Moved, "#jobs")
    def job_moved(self, message: Listing.Moved) -> None:
        """Another job is selected; at the last one, fetch older ones."""
        if self.table.keys and message.key == self.table.keys[-1]:
            self.jobs.longer()
        self._look_at(message.key)

    @on(Listing.Chosen)
    def chosen(self, message: Listing.Chosen) -> None:
        """A click on what is selected."""
        if message.listing is self.table:
            self.action_open_job()
        elif message.listing is self.lanes:
            self.action_show_jobs()

    def _fetched(self) -> None:
        if not self.is_attached:
            return
        table = self.table
        asked, self._shown = self._shown != self.jobs.answered, self.jobs.answered
        with nullcontext() if asked else self.aim.watched():  # if asked for others, by a key
            table.update(self.jobs.found)
        self.crew.know(self.jobs.found)
        self._redraw_around()
        self._look_at(table.cursor)

    def _look_at(self, job: str | None) -> None:
        """Show this job's details beside the table, if there is room for them."""
        if self.has_class("wide"):
            self.query_one(JobBeside).look_at(job)

    # Actions

    def action_show_jobs(self) -> None:
        """To the jobs of the selected target."""
        self._show_pane("jobs")

    def action_open_job(self) -> None:
        """Show the selected job in the whole screen."""
        if self.table.cursor:
            from paneview.tui.screens.job import JobScreen

            self.app.push_screen(JobScreen(self.table.cursor))

    def action_fate(self, name: str) -> None:
        """Retry, cancel or purge the marked jobs, else the selected one."""
        jobs, fate = self.table.chosen(), FATES[name]
        fitting = [job for job in jobs if job.state in fate.states]
        if not fitting:
            self.pv.tell(f"{name}: {fate.only}" if jobs else "no job is selected", failed=True)
        elif not self.aim.lost():
            warn(self.pv, fate, fitting, lambda: self._settle(name, [job.id for job in fitting]))

    def _settle(self, name: str, ids: list[str]) -> None:
        self.table.marked.difference_update(self.table.keys)  # what the filter hides was left alone
        self.table.redraw()
        self.table.noted()
        in_background(self.app, settle, self.pv, FATES[name], ids)  # reported even if this screen is left

    def action_release(self) -> None:
        """Release the selected worker from quarantine; if only one is quarantined, that one."""
        names = self.crew.to_release(self.pv.picture.queue)
        if len(names) != 1:
            words = "select the one to release: tab goes to the workers" if names else "nobody is quarantined"
            self.pv.tell(words, failed=bool(names))
        elif not self.aim.lost():
            in_background(self.app, _release, self.pv, names[0])

    def action_next_states(self) -> None:
        """Show jobs in other states."""
        names = list(SHOWN)
        shown = names[(names.index(self.jobs.question.shown) + 1) % len(names)]
        self.jobs.ask(self.jobs.question._replace(shown=shown))
        self._redraw_around()
        self.table.redraw()

    async def action_find(self) -> None:
        """Filter the fetched jobs."""
        table, before = self.table, self.table.filter.text

        def show(text: str) -> None:
            table.set_filter(text)
            self._redraw_around()

        hint = "regular expression on id, kind, target, state, what · ! inverts"
        await self.ask(Question("/", hint, show, show, lambda: show(before), value=before))

    def action_pane(self, by: int) -> None:
        """Move the focus to the next pane."""
        shown = self.focused.id if self.focused is not None else "jobs"
        at = PANES.index(shown) if shown in PANES else -1
        self._show_pane(PANES[(at + by) % len(PANES)])

    def action_back(self) -> None:
        """Esc: drop marks and filter, then back to all jobs, then back."""
        table = self.table
        if table.marked:
            table.marked.clear()
            table.redraw()
            table.noted()
        elif table.filter.text:
            table.set_filter("")
            self._redraw_around()
        elif self.focused is table and self.jobs.question.shown != "all":
            self.jobs.ask(self.jobs.question._replace(shown="all"))
            self._redraw_around()
        else:
            super().action_back()

    def _show_pane(self, name: str) -> None:
        self.update_classes({f"pane-{pane}": pane == name for pane in PANES})
        self.set_focus(self.query_one(f"#{name}"))

    # How it is laid out and drawn

    def _fit(self) -> None:
        """Give targets and workers the lines they need, up to a share of the screen; the jobs get the rest."""
        height = self.size.height
        lanes, workers = max(2, len(self.lanes.keys) + 1), max(2, len(self.crew.keys) + 1)
        heights: tuple[int | str, int | str] = ("1fr", "1fr")
        if self.has_class("stacked"):
            share = max(3, height // 5 + 1)
            heights = (min(lanes, share), min(workers, share))
        elif self.has_class("wide"):
            heights = (min(lanes, height // 2), "1fr")
        if self._heights != heights:
            self._heights = heights
            self.lanes.styles.height, self.crew.styles.height = heights

    def _redraw_around(self) -> None:
        queue = self.pv.picture.queue
        self.set_class(queue is not None and bool(queue.problem or queue.warnings), "noted")
        for name in ("#queue-note", "#workers-rule", "#jobs-rule"):
            self.query_one(name, Canvas).redraw()

    def _paint_note(self, width: int, height: int) -> list[Strip]:
        return rules.note(width, self.pv.inks, self.pv.picture.queue)

    def _paint_workers_rule(self, width: int, height: int) -> list[Strip]:
        return rules.workers(width, self.pv.inks, self.pv.picture.queue)

    def _paint_jobs_rule(self, width: int, height: int) -> list[Strip]:
        return rules.jobs(width, self.pv.inks, self.pv.picture.queue, self.jobs.question, self.table)

    def _why_no_jobs(self) -> str:
        return rules.why_no_jobs(self.pv.picture.queue, self.jobs, self.table.filter.told)


async def _release(app: PaneviewApp, name: str) -> None:
    try:
        await app.link.call("unquarantine", names=[name])
    except ControlError as error:
        app.tell(f"release {clean(name)}: {error.message}", failed=True)
    else:
        app.tell(f"{clean(name)} is released")
