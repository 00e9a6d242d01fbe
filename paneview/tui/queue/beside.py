"""The job under the cursor, beside the table of jobs: fetched once the cursor has rested on it for a moment."""

from __future__ import annotations

from paneview.control.errors import ControlError
from paneview.tui.background import in_background
from paneview.tui.queue.jobtext import JobText
from paneview.tui.text import clean

REST = 0.1  # s on one job; else scrolling through a hundred would fetch a hundred


class JobBeside(JobText):
    """Everything about the job that was looked at last."""

    _wanted = ""

    def look_at(self, job: str | None) -> None:
        """The cursor is on this job now."""
        self._wanted = job or ""
        if job:
            self.set_timer(REST, lambda: self._rested(job))
        else:
            self.show(None, "Enter opens a job")

    def _rested(self, job: str) -> None:
        if self._wanted == job and self.is_attached:
            in_background(self, self._fetch, job)

    async def _fetch(self, job: str) -> None:
        try:
            found, why = (await self.pv.link.call("job", job=job))["job"], ""
        except ControlError as error:
            found, why = None, clean(error.message)
        if self._wanted == job:  # else the cursor has gone on meanwhile
            self.show(found, why)
