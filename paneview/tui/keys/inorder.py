"""Keys in the order in which they were typed, even if many come at once.

Textual sends a key to the focused widget as soon as it comes, and looks for a binding only after the widget has let it
pass: with "a line, ctrl+j, another line" sent in one go (a paste, a script, a fast typist) the second line is inserted
before the break, and what follows a tab lands in the field before it. Here a bound key acts at once, and a key that
comes after the focus has moved is forwarded.
"""

from __future__ import annotations

from typing import cast

from textual import events
from textual.widget import Widget


class InOrder:
    """A mixin, before `Input` or `TextArea`; it covers the widget's own bindings that have an identifier."""

    async def _on_key(self, event: events.Key) -> None:
        """Runs before the other handlers of this event."""
        widget = cast("Widget", self)
        focused = widget.screen.focused
        if focused is not None and focused is not widget:
            event.stop()
            event.prevent_default()
            again = events.Key(event.key, event.character)
            again._set_forwarded()
            focused.post_message(again)
        elif not event.is_printable:
            active = widget.screen.active_bindings.get(event.key)
            if active is not None and active.node is widget and active.binding.id:
                event.stop()
                event.prevent_default()
                await widget.run_action(active.binding.action)
