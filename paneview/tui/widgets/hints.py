"""The last line: at most six keys that are useful here, taken from the bindings themselves."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.binding import Binding
from textual.strip import Strip

from paneview.tui.keys.bindings import key_text
from paneview.tui.text import cells
from paneview.tui.widgets.canvas import Canvas, Piece, line

MOST = 6
COMPLETE = "prompt.complete"  # only where there is something to complete
PROMPT = ("prompt.submit", "prompt.earlier", COMPLETE, "prompt.cancel")


class Hints(Canvas):
    """Six hints for the focused widget, else for the situation.

    ``wanted`` has the ids of bindings, by the focused widget's id or the situation's name.
    """

    def __init__(
        self,
        wanted: dict[str, tuple[str, ...]],
        situation: Callable[[], str],
        *,
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(id=id)
        self._wanted = wanted
        self._situation = situation
        self._shown_for = ""
        self._spans: list[tuple[int, str]] = []

    def check(self) -> None:
        """Draw again if the situation has changed."""
        if self._situation() != self._shown_for:
            self.redraw()

    def paint(self, width: int, height: int) -> list[Strip]:
        """The one line of hints."""
        inks = self.inks
        focused = self.screen.focused
        wanted = {"prompt-line": PROMPT, **self._wanted}
        self._shown_for = self._situation()
        ids = wanted.get((focused.id if focused else None) or "", wanted.get(self._shown_for, wanted[""]))[
            :MOST
        ]
        found: dict[str | None, Binding] = {}
        for active in self.screen.active_bindings.values():
            found.setdefault(active.binding.id, active.binding)
        shown = [
            (f" {key_text(found[name].key)} ", f"{found[name].description.lower()} ", found[name].key)
            for name in ids
            if name in found and (name != COMPLETE or getattr(focused, "suggester", None) is not None)
        ]
        # If there is no room for all, the last two stay: they are help and the way out.
        while len(shown) > 2 and sum(cells(name) + cells(word) for name, word, _ in shown) > width:
            del shown[-3]
        self._spans = []
        pieces: list[Piece] = []
        end = 0
        for name, word, pressed in shown:
            pieces += [(name, inks.accent), (word, inks.dim)]
            end += cells(name) + cells(word)
            self._spans.append((end, pressed))
        return [line(width, inks.bar, *pieces)]

    def on_click(self, event: events.Click) -> None:
        """A click on a hint presses its key."""
        pressed = next((name for end, name in self._spans if event.x < end), None)
        if pressed is not None:
            self.app.simulate_key(pressed)
