"""The screen of one job: payload, attempts and result, kept up to date while it is open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from paneview.control.errors import ControlError
from paneview.control.queuemodel import JobView
from paneview.tui.background import in_background
from paneview.tui.keys.bindings import key
from paneview.tui.picture import Change
from paneview.tui.queue.fates import FATES, settle, warn
from paneview.tui.queue.jobtext import JobText
from paneview.tui.screens.base import MainScreen
from paneview.tui.text import clean


class JobScreen(MainScreen):
    """Everything about a job."""

    CRUMB = "job"
    AUTO_FOCUS = "#job-text"
    HINTS: ClassVar[dict[str, tuple[str, ...]]] = {
        "": ("job.retry", "job.cancel", "job.purge", "job.copy", "help", "back")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        key("job.retry", "r", "fate('retry')", "Retry", "Retry dead letters"),
        key("job.cancel", "c", "fate('cancel')", "Cancel", "Cancel (asks first)"),
        key("job.purge", "p", "fate('purge')", "Purge", "Purge dead ones (asks)"),
        key("job.copy", "y", "copy", "Copy", "Copy it as JSON"),
    ]

    def __init__(self, job: str) -> None:
        super().__init__()
        self._job = job
        self._changes = -1
        self._fetching = False

    def body(self) -> Iterator[Widget]:
        """Only the text."""
        yield JobText(id="job-text")

    @property
    def text(self) -> JobText:
        """The job's text."""
        return self.query_one(JobText)

    def has_targets(self) -> bool:
        """This screen shows a job, not tasks."""
        return False

    def on_mount(self) -> None:
        """Fetch the job."""
        self.text.show(None, "loading…")
        in_background(self, self._fetch)

    def update(self, change: Change) -> None:
        """The queue has changed, and with it perhaps this job."""
        queue = self.pv.picture.queue
        if change.queue and queue is not None and not queue.problem and queue.changes != self._changes:
            in_background(self, self._fetch)

    def action_fate(self, name: str) -> None:
        """Retry, cancel or purge it."""
        fate, job = FATES[name], self.text.job
        if job is None:
            self.app.bell()
        elif job["state"] not in fate.states:
            self.pv.tell(f"{name}: {fate.only}", failed=True)
        else:
            view = JobView.from_json(job)
            warn(self.pv, fate, [view], lambda: in_background(self.app, settle, self.pv, fate, [view.id]))

    async def action_copy(self) -> None:
        """Copy the whole job, as JSON."""
        from paneview.tui.logs.copying import to_clipboard

        if self.text.job is not None:
            how = await to_clipboard(self.pv, json.dumps(self.text.job, indent=2, ensure_ascii=False))
            self.pv.tell(f"job {self._job} copied {how}")

    async def _fetch(self) -> None:
        """Fetch the job, and again if the queue changes meanwhile."""
        if self._fetching:
            return
        self._fetching = True
        try:
            while True:
                queue = self.pv.picture.queue
                self._changes = queue.changes if queue is not None else 0
                reply = await self.pv.link.call("job", job=self._job)
                self.text.show(reply["job"])
                queue = self.pv.picture.queue
                if queue is None or queue.changes == self._changes:
                    return
        except ControlError as error:
            # A job that was purged is gone, and its text with it; otherwise what is shown stays.
            if (error.code == "queue" and "there is no job" in error.message) or self.text.job is None:
                self.text.show(None, clean(error.message))
        finally:
            self._fetching = False
