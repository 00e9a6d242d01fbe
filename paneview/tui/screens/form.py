"""Forms: lines to fill in, one request, and a note that says what the line with the focus can be completed to.

The request is owned by the app, so that it is sent, and its outcome told, even if the form is closed meanwhile. If it
is refused, the form stays open to mend it; sent again for want of a reply, it makes nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import on
from textual.binding import BindingType
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input, Static

from paneview.control.errors import ControlError
from paneview.tui.keys.bindings import key
from paneview.tui.keys.inorder import InOrder
from paneview.tui.keys.oneline import OneLine
from paneview.tui.once import Once
from paneview.tui.text import clean, cut

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp

MOST_NOTED = 1000  # characters of the note


class Field(InOrder, OneLine, Input):
    """A line of the form. Tab takes the suggestion, else goes to the next line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("form.next", "tab", "complete_or_next", "Complete", "Complete, or next line"),
        key("form.down", "down", "screen.focus_next", "Next"),
        key("form.up", "up,shift+tab", "screen.focus_previous", "Previous"),
        key("form.submit", "enter", "screen.submit", "Send"),
    ]

    def __init__(self, name: str, value: str, hint: str, known: Sequence[str]) -> None:
        suggester = SuggestFromList(known, case_sensitive=True) if known else None
        super().__init__(
            value, placeholder=hint, suggester=suggester, compact=True, id=f"form-{name}", classes="form-line"
        )
        self.known = list(known)
        self.cursor_blink = False

    def know(self, known: Sequence[str]) -> None:
        """Set what it can be completed to."""
        self.known = list(known)
        self.suggester = SuggestFromList(self.known, case_sensitive=True)

    def matches(self) -> list[str]:
        """What it can be completed to, words that begin with the text first."""
        typed = self.value.strip()
        first = [word for word in self.known if word.startswith(typed)]
        return [*first, *[word for word in self.known if typed in word and word not in first]]

    def action_complete_or_next(self) -> None:
        """Take the suggestion, or go on."""
        first = next(iter(self.matches()), "")
        if self.value and first.startswith(self.value) and first != self.value:
            self.value = first
            self.cursor_position = len(first)
        else:
            self.screen.focus_next()


class Form(ModalScreen[str]):
    """Asks for something and sends it; dismissed with the id of what was made, at Esc with an empty text."""

    BINDINGS: ClassVar[list[BindingType]] = [key("", "escape", "refuse", "Cancel")]

    def __init__(self) -> None:
        super().__init__()
        self.sending = False
        self._once = Once()

    @property
    def pv(self) -> PaneviewApp:
        """The app, with its own type."""
        return cast("PaneviewApp", self.app)

    def field(self, name: str) -> Field:
        """The line of this name."""
        return self.query_one(f"#form-{name}", Field)

    def note(self) -> None:
        """Show what the line with the focus is about: the focus or a text has changed."""
        raise NotImplementedError

    def show(self, text: str) -> None:
        """Write this into the note."""
        self.query_one("#form-note", Static).update(clean(cut(text, MOST_NOTED)))

    @on(Input.Changed)
    def line_changed(self) -> None:
        """Another text has other completions."""
        self.note()

    def on_descendant_focus(self) -> None:
        """Another line has the focus; it has a note of its own."""
        self.note()

    def action_refuse(self) -> None:
        """Esc: close the form, and send nothing."""
        self.dismiss("")

    async def send(self, do: str, args: dict[str, Any]) -> dict[str, Any] | None:
        """Send the request. Returns the reply, or None once it is told why there is none; the form stays open."""
        pv = self.pv
        try:
            return await pv.link.call(do, key=self._once.key(do, args), **args)
        except ControlError as error:
            if self in pv.screen_stack:  # else it was closed, and may only not be taken down yet
                self.complain(error.message, None)
            else:
                pv.tell(error.message, failed=True)
            return None
        finally:
            self.sending = False

    def close_with(self, made: str) -> None:
        """Close the form, unless the user has: this was made."""
        if self.pv.screen is self:
            self.dismiss(made)

    def complain(self, why: str, widget: Widget | None) -> None:
        """Say what is wrong, and go to the widget that is to be mended."""
        if widget is not None:
            self.set_focus(widget)
        # After the note that the change of focus shows.
        self.call_after_refresh(self.show, f"✗ {why}")
