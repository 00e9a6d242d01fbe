"""Text pasted into a line: all of it, where Textual keeps the first of its lines alone and drops the rest unseen."""

from __future__ import annotations

from textual import events


class OneLine:
    """A mixin, before `Input`."""

    def on_paste(self, event: events.Paste) -> None:
        """Runs before the widget's own handler of this event: several lines become one."""
        lines = event.text.splitlines()
        if len(lines) > 1:
            event.text = " ".join(part for line in lines if (part := line.strip()))
