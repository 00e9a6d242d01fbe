"""The text of the ask prompt: several lines, with a history by up and down, and ``@`` completed by tab."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import TextArea

from paneview.tui.ask import syntax as askwords
from paneview.tui.keys.bindings import key
from paneview.tui.keys.inorder import InOrder
from paneview.tui.keys.pasted import refused

MOST = 400_000  # characters pasted at once


class AskText(InOrder, TextArea):
    """Enter sends, ctrl+j breaks the line; pasted text keeps its lines. ``offer`` gives a token's completions."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("ask.send", "enter", "screen.submit", "Send"),
        key("ask.newline", "ctrl+j,shift+enter,alt+enter", "newline", "New line"),
        key("ask.complete", "tab", "complete", "Complete", "Complete @, else the next line"),
        key("ask.editor", "ctrl+o", "screen.edit", "Editor", "Write it in $EDITOR"),
        key("", "shift+tab", "screen.focus_previous", "Previous"),
    ]

    class Looked(Message):
        """The text or the cursor's position has changed."""

    def __init__(self, text: str, hint: str, offer: Callable[[askwords.Token], list[str]]) -> None:
        super().__init__(
            text, id="ask-text", placeholder=hint, soft_wrap=True, compact=True, highlight_cursor_line=False
        )
        self.cursor_blink = False
        self._offer = offer
        self._history: list[str] = []
        self._at = 0
        self._begun = ""
        """What was typed before walking through the history."""

    def on_unmount(self) -> None:
        """Let go of the app: Textual would keep the text, and with it the form, until the theme changes."""
        watchers = getattr(self.app, "__watchers", {}).get("theme", [])
        watchers[:] = [one for one in watchers if one[0] is not self]

    def remember(self, history: Sequence[str]) -> None:
        """Set the history, the oldest first."""
        self._history = list(history)
        self._at = len(self._history)

    def put(self, text: str) -> None:
        """Replace the text, with the cursor at its end."""
        self.load_text(text)
        self.move_cursor(self.document.end)

    def token(self) -> askwords.Token | None:
        """The ``@…`` before the cursor, if there is one."""
        row, column = self.cursor_location
        return askwords.token(self.document.get_line(row)[:column], first_line=row == 0)

    def offers(self) -> list[str]:
        """What the token can be completed to."""
        at = self.token()
        return self._offer(at) if at is not None else []

    def on_paste(self, event: events.Paste) -> None:
        """Runs before the widget's own handler of this event."""
        refused(self, event, MOST, "; @ names a file instead")

    def on_text_area_changed(self) -> None:
        """Something was typed."""
        self.post_message(self.Looked())

    def on_text_area_selection_changed(self) -> None:
        """The cursor has moved."""
        self.post_message(self.Looked())

    def action_newline(self) -> None:
        """Break the line."""
        self.insert("\n")

    def action_complete(self) -> None:
        """Take the first completion; if there is none, go to the next line of the form."""
        at, found = self.token(), self.offers()
        if at is None or not found:
            self.screen.focus_next()
            return
        row, column = self.cursor_location
        self.replace(askwords.completed(found[0]), (row, at.column), (row, column))

    def action_cursor_up(self, select: bool = False) -> None:
        """In the first line: the previous text of the history."""
        if not select and self.cursor_at_first_line and self._recall(-1):
            return
        super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        """In the last line: the next text of the history, then what was typed, then the form's next line."""
        if select or not self.cursor_at_last_line:
            super().action_cursor_down(select)
        elif not self._recall(1):
            self.screen.focus_next()

    def _recall(self, by: int) -> bool:
        to = self._at + by
        if not 0 <= to <= len(self._history):
            return False
        if self._at == len(self._history):
            self._begun = self.text
        self._at = to
        self.put(self._history[to] if to < len(self._history) else self._begun)
        return True
