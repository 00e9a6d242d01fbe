"""The event feed: the latest events, newest last, under a rule; or only the very latest, in one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from textual.strip import Strip

from paneview.control.model import EventView
from paneview.tui.happenings import happening
from paneview.tui.happenings import subject as subject_of
from paneview.tui.text import cells, fit_name
from paneview.tui.theme import Inks
from paneview.tui.widgets.canvas import PLAIN, Canvas, Piece, line, spread
from paneview.tui.words import clock

SUBJECT = 14


def event_pieces(
    event: EventView, inks: Inks, subject: int = SUBJECT, before: EventView | None = None
) -> list[Piece]:
    """Time, glyph, task and sentence; with the name of the client through which a person acted."""
    what = happening(event, before)
    pieces: list[Piece] = [
        (f" {clock(event.ts)} ", inks.dim),
        (f"{what.glyph} ", inks.role(what.role)),
        (f"{fit_name(what.subject, subject)} " if subject else "", inks.title),
        (what.text, inks.failed if what.role == "failed" else PLAIN),
    ]
    if what.by:
        pieces.append((f"  ‹ {what.by}", inks.mark))
    return pieces


def longest_subject(shown: Iterable[EventView]) -> int:
    """Cells that the longest name takes."""
    return max((cells(subject_of(event)) for event in shown), default=0)


def most_subject(width: int) -> int:
    """Cells that names may take in a list of this width: long ones often begin alike."""
    return max(SUBJECT, width // 4)


class EventStrip(Canvas):
    """The latest events that fit."""

    def on_click(self) -> None:
        """Show all events."""
        self.pv.action_go("events")

    def paint(self, width: int, height: int) -> list[Strip]:
        """A rule, then the events; with one line of height only the latest event."""
        inks = self.inks
        newest = list(self.pv.picture.events)[-max(1, height - 1) :]
        subject = min(most_subject(width), longest_subject(newest))
        rows = [
            line(width, inks.base, *event_pieces(event, inks, subject, before))
            for event, before in with_previous(newest)
        ]
        if height == 1:
            return rows[-1:]
        if not rows:
            rows = [line(width, inks.base, (" Nothing has happened yet", inks.dim))]
        rule = spread(
            width,
            inks.base,
            [("── ", inks.rule), ("events ", inks.title)],
            [(" 5 all ──", inks.dim)],
            ("─", inks.rule),
        )
        return [rule, *rows]


def with_previous(events: Iterable[EventView]) -> Iterator[tuple[EventView, EventView | None]]:
    """Each event with the one before it of the same task or workflow, if that is among them."""
    latest: dict[object, EventView] = {}
    for event in events:
        about = event.task, event.detail.get("workflow")
        yield event, latest.get(about)
        latest[about] = event
