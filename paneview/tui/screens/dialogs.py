"""Questions: a few lines and a choice of answers, the harmless one first and chosen by default."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen
from textual.strip import Strip

from paneview.tui.keys.bindings import key
from paneview.tui.screens.aim import MOMENT
from paneview.tui.text import cells, cut, fit, wrap
from paneview.tui.widgets.canvas import PLAIN, Canvas, Piece, line
from paneview.tui.words import listed

WIDEST = 72


class Option(NamedTuple):
    """An answer: its key, its title, and what it means."""

    key: str
    title: str
    about: str = ""
    danger: bool = False


class Box(Canvas, can_focus=True):
    """The question and its answers, drawn as lines."""

    def __init__(
        self, title: str, lines: Sequence[str], options: Sequence[Option], role: Callable[[str], str] | None
    ) -> None:
        super().__init__(id="box")
        self._role = role
        self._title = title
        self._lines = lines
        self.options = options
        self.chosen = 0
        self._from = 0

    def text_lines(self, width: int) -> list[str]:
        """The lines between title and answers, wrapped."""
        return [part for text in self._lines for part in wrap(text, width - 4)]

    def paint(self, width: int, height: int) -> list[Strip]:
        """Title, lines, answers."""
        inks, bar = self.inks, self.inks.bar
        blank = Strip.blank(width, bar)
        texts, room = self.text_lines(width), max(0, height - len(self.options) - 5)
        self._from = max(0, min(self._from, len(texts) - room))
        more = self._more(width - 2 - cells(self._title), room, len(texts)) if len(texts) > room else ""
        texts = texts[self._from : self._from + room]
        strips = [blank, line(width, bar, (f"  {self._title}", inks.title), (more, inks.dim)), blank]
        strips += [line(width, bar, (f"  {text}", self._ink(text))) for text in texts]
        strips += [blank] if texts else []
        return [*strips, *[self._option(at, width) for at in range(len(self.options))], blank]

    def _more(self, width: int, room: int, lines: int) -> str:
        """Which lines are shown, and the keys for the others, if they fit."""
        shown = f"{self._from + 1}-{self._from + room}"
        wishes = (
            f"   {shown} of {lines}, pgdn pgup",
            f"  {shown} of {lines}, pgdn",
            f" {shown}/{lines}, pgdn",
        )
        return next((wish for wish in wishes if cells(wish) <= width), "")

    def _ink(self, text: str) -> Style:
        return PLAIN if self._role is None else self.inks.role(self._role(text))

    def scroll_text(self, by: int) -> None:
        """Scroll the lines, if not all fit."""
        self._from += by
        self.redraw()

    def on_mouse_scroll_down(self) -> None:
        """The wheel scrolls."""
        self.scroll_text(1)

    def on_mouse_scroll_up(self) -> None:
        """The other way."""
        self.scroll_text(-1)

    def option_at(self, y: int) -> int | None:
        """The index of the answer in this line of the box."""
        at = y - (self.size.height - 1 - len(self.options))
        return at if 0 <= at < len(self.options) else None

    def on_click(self, event: events.Click) -> None:
        """A click answers."""
        at = self.option_at(event.y)
        if at is not None and isinstance(self.screen, Dialog):
            self.screen.dismiss(self.options[at].key)

    def _option(self, at: int, width: int) -> Strip:
        inks, option = self.inks, self.options[at]
        chosen = at == self.chosen
        wide = max(cells(other.title) for other in self.options)
        ink: Style = inks.failed if option.danger else inks.title
        pieces: list[Piece] = [
            ("  ▌ " if chosen else "    ", inks.accent),
            (f"{option.key} ", inks.accent),
            (fit(option.title, wide), ink),
            (f"  {cut(option.about, width - wide - 9)}", PLAIN if chosen else inks.dim),
        ]
        return line(width, inks.bar + inks.select if chosen else inks.bar, *pieces)


class Dialog(ModalScreen[str]):
    """Asks; dismissed with the key of the answer, at Esc with ``refusal`` (the first answer's by default).

    One that comes up ``unasked`` does not heed a key at first: it was meant for what was there before.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        key("", "down,j,tab", "choose(1)", "Next"),
        key("", "up,k,shift+tab", "choose(-1)", "Previous"),
        key("", "pagedown,space", "page(1)", "More"),
        key("", "pageup", "page(-1)", "Back"),
        key("", "enter", "answer", "Answer"),
        key("", "escape,q", "refuse", "Cancel"),
    ]

    def __init__(
        self,
        title: str,
        lines: Sequence[str],
        options: Sequence[Option],
        *,
        refusal: str | None = None,
        role: Callable[[str], str] | None = None,
        unasked: bool = False,
    ) -> None:
        super().__init__()
        self._deaf_until = time.monotonic() + MOMENT if unasked else 0.0
        self._box = Box(title, lines, options, role)
        self._refusal = options[0].key if refusal is None else refusal

    def compose(self) -> ComposeResult:
        """Only the box."""
        yield self._box

    def on_resize(self, event: events.Resize) -> None:
        """As large as its text, as far as the terminal allows."""
        width = min(WIDEST, event.size.width - 2)
        texts = self._box.text_lines(width)
        wanted = len(texts) + len(self._box.options) + 4 + bool(texts)
        self._box.styles.width = width
        self._box.styles.height = min(wanted, event.size.height)

    def on_key(self, event: events.Key) -> None:
        """An answer's own key chooses it."""
        if time.monotonic() < self._deaf_until:
            event.stop()
            return
        for option in self._box.options:
            if event.character == option.key:
                event.stop()
                self.dismiss(option.key)
                return

    def action_page(self, direction: int) -> None:
        """Scroll a long text."""
        self._box.scroll_text(direction * max(1, self._box.size.height - len(self._box.options) - 6))

    def action_choose(self, by: int) -> None:
        """Mark another answer; if there is only one, scroll."""
        if len(self._box.options) == 1:
            self._box.scroll_text(by)
        self._box.chosen = (self._box.chosen + by) % len(self._box.options)
        self._box.redraw()

    def action_answer(self) -> None:
        """Enter: the marked answer."""
        self.dismiss(self._box.options[self._box.chosen].key)

    def action_refuse(self) -> None:
        """Esc: the answer that refuses."""
        self.dismiss(self._refusal)


def confirm(
    title: str, lines: Sequence[str], verb: str, names: Sequence[str] = (), along: Sequence[str] = ()
) -> Dialog:
    """A question before something ends; No is the default.

    Dismissed with ``y``, ``n``, or ``o``: only ``names``, sparing the tasks ``along`` that ``y`` includes.
    """
    no = Option("n", "No", "change nothing")
    if not along:
        return Dialog(title, lines, (no, Option("y", f"Yes, {verb}", danger=True)))
    only = listed(names)
    options = (
        no,
        Option("y", f"{verb.capitalize()} {only}", f"also {verb}s {listed(along)}", danger=True),
        Option("o", f"Only {only}", f"{listed(along)} {'goes' if len(along) == 1 else 'go'} on", danger=True),
    )
    return Dialog(title, lines, options)


def leave(session: str, running: int) -> Dialog:
    """How to leave. Dismissed with ``l`` (leave all running), ``s`` (stop all) or ``c`` (cancel)."""
    tasks = f"{running} task{'s' if running != 1 else ''}"
    options = (
        Option("l", "Leave", f"{tasks} and the supervisor go on; paneview comes back"),
        Option("s", "Stop all", f"stop {tasks}, then end the supervisor", danger=True),
        Option("c", "Cancel", "stay here"),
    )
    return Dialog(f"Leave {session}?", (), options, refusal="c")


def message(title: str, lines: Sequence[str]) -> Dialog:
    """Something to read."""
    return Dialog(title, lines, (Option("c", "Close"),))
