"""The line in which searches, filters and commands are typed; it is loaded when it is first needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.await_remove import AwaitRemove
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.suggester import SuggestFromList
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static

from paneview.tui.keys.bindings import key
from paneview.tui.keys.oneline import OneLine
from paneview.tui.keys.pasted import refused
from paneview.tui.question import Question

MOST = 150_000  # characters pasted at once: that many take half a second as a pattern
DEBOUNCE = 0.12  # s from the last key until what was typed is previewed


class Line(OneLine, Input):
    """An input without a frame, whose up and down keys walk through the history."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("prompt.submit", "enter", "submit", "Go"),
        key("prompt.cancel", "escape", "give_up", "Cancel"),
        key("prompt.earlier", "up", "history(-1)", "Earlier"),
        key("prompt.later", "down", "history(1)", "Later"),
        key("prompt.complete", "tab", "cursor_right", "Complete"),
    ]

    def on_paste(self, event: events.Paste) -> None:
        """Runs before the other handlers of this event."""
        refused(self, event, MOST)

    async def action_submit(self) -> None:
        """Enter takes effect at once: by a message, the next key would still come here, and be lost."""
        self.query_ancestor(Prompt).submit(self.value)

    def action_give_up(self) -> None:
        """Close the prompt as if nothing had been asked."""
        prompt = self.query_ancestor(Prompt)
        prompt.close(cancelled=True)

    def action_history(self, by: int) -> None:
        """Walk through the history."""
        self.query_ancestor(Prompt).recall(by)


class Prompt(Horizontal):
    """A sign and a line; takes the focus while it is open and gives it back. ``closed`` is called when it goes."""

    def __init__(self, question: Question, history: list[str], closed: Callable[[], object]) -> None:
        super().__init__(id="prompt")
        self._then = closed
        self._question = question
        self._history = history
        self._at = len(history)
        self._before: Widget | None = None
        self._timer: Timer | None = None
        self.gone: AwaitRemove | None = None
        """Its removal, once it is closed."""

    def compose(self) -> ComposeResult:
        """The sign and the line."""
        asked = self._question
        yield Static(asked.sign, id="prompt-sign", markup=False)
        suggester = SuggestFromList(asked.suggestions, case_sensitive=True) if asked.suggestions else None
        line = Line(asked.value, placeholder=asked.hint, suggester=suggester, compact=True, id="prompt-line")
        line.cursor_blink = False
        yield line

    def on_mount(self) -> None:
        """Take the focus."""
        self._before = self.screen.focused
        self.screen.set_focus(self.query_one(Line))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Preview the text while it is typed."""
        event.stop()
        if self._timer is not None:
            self._timer.stop()
        preview = self._question.preview
        if preview is not None:
            self._timer = self.set_timer(DEBOUNCE, lambda: preview(event.value))

    def submit(self, text: str) -> None:
        """The line was sent with Enter."""
        screen = self.screen
        self.close()
        if text and (not self._history or self._history[-1] != text):
            self._history.append(text)
        # Called by the screen: what the answer opens would otherwise report to this prompt, which is gone by then.
        screen.call_next(self._question.submit, text)

    def on_descendant_blur(self, _event: events.DescendantBlur) -> None:
        """A click elsewhere closes it; not a terminal without focus or too small, which gives it back later."""
        here = self.is_attached and self.screen.is_current
        if here and self.screen.focused not in (None, self.query_one(Line)):
            self.close(cancelled=True)

    def recall(self, by: int) -> None:
        """Show an earlier or later text of the history."""
        self._at = max(0, min(self._at + by, len(self._history)))
        line = self.query_one(Line)
        line.value = self._history[self._at] if self._at < len(self._history) else ""
        line.cursor_position = len(line.value)

    def close(self, *, cancelled: bool = False) -> None:
        """Remove the prompt and give the focus back."""
        if not self.is_attached or self.gone is not None:
            return
        self.add_class("closing", update=False)
        if self._timer is not None:
            self._timer.stop()
        if self._before is not None and self._before.is_attached:
            # At once: `focus()` is deferred, and would lose to what the removal chooses.
            self.screen.set_focus(self._before)
        # Else Textual would keep the line, and with it what was asked, for as long as the screen is there.
        self.screen.text_selection_started_signal.unsubscribe(self.query_one(Line))
        self.gone = self.remove()
        self._then()
        if cancelled and self._question.cancel is not None:
            self._question.cancel()
