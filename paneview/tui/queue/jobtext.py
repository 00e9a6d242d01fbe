"""Everything about one job: payload, attempts, result; scrolled by lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from textual.strip import Strip

from paneview.control.queuemodel import JobView
from paneview.tui.queue.words import job_look
from paneview.tui.text import clean, wrap
from paneview.tui.theme import Inks
from paneview.tui.widgets.canvas import PLAIN, Piece, line, spread
from paneview.tui.widgets.scrolling import Scrolling
from paneview.tui.words import dated

LABEL = 13
_TIMES = {"submitted_at": "submitted", "not_before": "not before", "leased_at": "taken", "ended_at": "ended"}
MOST_LINES = 5000  # of a payload or an output
Row = list[Piece]


class JobText(Scrolling):
    """Draws a job object; keeps its place while the same job changes."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.job: dict[str, Any] | None = None
        self._note = ""
        self._rows: list[Row] = []
        self._made_for = 0

    def show(self, job: dict[str, Any] | None, note: str = "") -> None:
        """Show this job; without one, show the note."""
        same = self.job is not None and job is not None and self.job["id"] == job["id"]
        self.job, self._note = job, note
        self._made_for = 0
        if not same:
            self.top = 0
        self.redraw()

    def paint(self, width: int, height: int) -> list[Strip]:
        """A rule with the job's name, and what is in view."""
        inks, job = self.inks, self.job
        title: Row = [("── ", inks.rule), (f"job {clean(job['id']) if job else ''} ", inks.title)]
        if self._made_for != width:
            queue = self.pv.picture.queue
            known = {one.id: one.name for one in queue.workers} if queue else {}
            now = self.pv.picture.clock()
            self._rows = (
                list(rows_of(job, width, inks, known, now)) if job else [[(f" {self._note}", inks.dim)]]
            )
            self._made_for = width
        shown = self.place(len(self._rows), height)
        where = self.where(shown)
        right: Row = [(f"{where} ──", inks.dim)] if where else []
        return [
            spread(width, inks.base, title, right, ("─", inks.rule)),
            *[line(width, inks.base, *pieces) for pieces in self._rows[shown.start : shown.stop]],
        ]

    def repaint(self) -> None:
        """Draw again, in other colours."""
        self._made_for = 0
        super().repaint()


def rows_of(
    job: dict[str, Any], width: int, inks: Inks, known: Mapping[str, str], now: float
) -> Iterator[Row]:
    """The job as lines: facts, payload, attempts, result. Workers are told by name if it is ``known`` for their id."""
    view = JobView.from_json(job)
    look = job_look(view)
    yield [_label("state", inks), (f"{look.glyph} {look.word}", inks.role(look.role))]
    for name, value in _facts(job, known, now):
        for at, part in enumerate(wrap(clean(value), max(10, width - LABEL - 2))):
            yield [_label(name if not at else "", inks), (part, PLAIN)]
    if job.get("payload") is not None:
        yield from _block("payload", _as_text(job["payload"]), width, inks)
    if job.get("errors"):
        yield from _title("failed attempts", inks)
        for attempt in job["errors"]:
            head = (
                f" {attempt['number']}. {dated(attempt['at'], now)} {clean(_who(attempt['worker'], known))}"
            )
            yield [(head, inks.dim)]
            for text in str(attempt["error"]).splitlines() or [""]:
                for part in wrap(clean(text), max(10, width - 5)):
                    yield [(f"    {part}", inks.failed)]
    if result := job.get("result"):
        by = f" by {_who(result['worker'], known)} on {result['host']}" if result["worker"] else ""
        text = _as_text(result["output"]) if result["status"] == "ok" else (result["error"] or "")
        yield from _block(clean(f"result: {result['status']}{by}"), text, width, inks)


def _who(worker: str, known: Mapping[str, str]) -> str:
    return known.get(worker) or worker[:12]


def _facts(job: dict[str, Any], known: Mapping[str, str], now: float) -> Iterator[tuple[str, str]]:
    yield "kind", job["kind"]
    yield (
        "for",
        job["target"]
        + ("" if job["lane"] in ("any", "") or job["target"] == "any" else f"  ({job['lane']})"),
    )
    yield "tries", f"{job['attempts']} of {job['max_attempts']}, {job['timeout']:g} s each"
    if job["priority"]:
        yield "priority", str(job["priority"])
    for name, title in _TIMES.items():
        if job.get(name) is not None:
            by = {"submitted_at": job["submitted_by"], "leased_at": _who(job["owner"] or "", known)}.get(name)
            yield title, f"{dated(job[name], now)}{f' by {by}' if by else ''}"
    for name in ("cancel", "key", "group"):
        if job.get(name):
            yield name, str(job[name])
    if job.get("after"):
        yield "after", ", ".join(job["after"])
    if job.get("meta"):
        yield "meta", ", ".join(f"{name}={value}" for name, value in job["meta"].items())


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _label(name: str, inks: Inks) -> Piece:
    return f" {name:<{LABEL}}", inks.dim


def _title(name: str, inks: Inks) -> Iterator[Row]:
    yield []
    yield [(f" {name}", inks.accent)]


def _block(name: str, text: str, width: int, inks: Inks) -> Iterator[Row]:
    yield from _title(name, inks)
    texts = text.splitlines()
    for one in texts[:MOST_LINES]:
        body = clean(one.expandtabs(4))
        indent = len(body) - len(body.lstrip(" "))
        for part in wrap(body.strip(), max(10, width - 3 - indent)):
            yield [(f"  {' ' * indent}{part}", PLAIN)]
    if len(texts) > MOST_LINES:
        yield [(f"  … {len(texts) - MOST_LINES:,} more lines: paneview job ID", inks.dim)]
