"""Pasted text: what is too long is refused as a whole; to lay it out or to read it as a pattern would take minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import events
from textual.widget import Widget

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp


def refused(widget: Widget, event: events.Paste, most: int, instead: str = "") -> bool:
    """Whether it has more than ``most`` characters: then a toast says so, and nothing is inserted."""
    if len(event.text) <= most:
        return False
    event.stop()
    event.prevent_default()
    told = f"{len(event.text):,} characters are too many to paste here: at most {most:,}"
    cast("PaneviewApp", widget.app).tell(told + instead, failed=True)
    return True
