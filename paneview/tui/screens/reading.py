"""A screen with a log to read: the keys that work wherever the focus is, the prompts for searching and filtering."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import BindingType

from paneview.tui.background import in_background
from paneview.tui.keys.bindings import key
from paneview.tui.logs.view import LogView
from paneview.tui.picture import Change
from paneview.tui.question import Question
from paneview.tui.screens.base import MainScreen
from paneview.tui.text import clean

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp


class ReadingScreen(MainScreen):
    """Base of the fleet and the log screens."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("log.filter", "ampersand", "filter_log", "Filter", "Show only matching lines"),
        key("log.follow_anywhere", "F", "log('toggle_follow')", "Follow", "Follow or pause"),
        key("log.times", "T", "log('next_stamp')", "Times", "Times: off, start, clock"),
        key("log.run_before", "left_square_bracket", "log('run', -1)", "Previous run"),
        key("log.run_after", "right_square_bracket", "log('run', 1)", "Next run"),
        key("log.up_anywhere", "ctrl+u", "log('page', -1)", "Log up", "Scroll the log up"),
        key("log.down_anywhere", "ctrl+d", "log('page', 1)", "Log down", "Scroll the log down"),
    ]

    @property
    def log_view(self) -> LogView:
        """The log that the keys act on."""
        return self.query_one(LogView)

    def update(self, change: Change) -> None:
        """The picture has changed."""
        self.log_view.update(change)

    def action_log(self, name: str, *args: str | int) -> None:
        """Run an action of the log, wherever the focus is."""
        getattr(self.log_view, f"action_{name}")(*args)

    async def action_search_log(self) -> None:
        """Ask what to search for; searches while it is typed, starting where the window stood."""
        view = self.log_view
        state = view.state
        if state is None:
            return
        stood = (state.follow, state.top, view.last_number)

        # Of the log that was asked about: side by side, the prompt has the focus that says which one keys act on.
        def restore() -> None:
            if view.state is state:
                view.search("")
                state.follow, state.top, _ = stood
                view.sync()

        def preview(text: str) -> None:
            if view.state is state:
                _try(self.pv, partial(view.search, text, start=stood[2]), final=False)

        def submit(text: str) -> None:
            if view.state is not state:
                self.pv.tell("search: another log is shown by now", failed=True)
            elif state.search is None or state.search.query.text != text:
                _try(self.pv, partial(view.search, text, start=stood[2]))

        hint = "text or regular expression, in all that is stored · n older, N newer"
        await self.ask(Question("/", hint, submit, preview, restore))

    async def action_filter_log(self) -> None:
        """Ask which lines to show."""
        view = self.log_view
        state = view.state
        if state is None:
            return

        def submit(text: str) -> None:
            if view.state is state:
                _try(self.pv, partial(view.filter, text))
            else:
                self.pv.tell("filter: another log is shown by now", failed=True)

        value = state.filter.query.text if state.filter else ""
        await self.ask(Question("&", "show only matching lines · empty shows all", submit, value=value))

    def action_back(self) -> None:
        """Esc: leave the log's selection, search or filter, else go back."""
        if not self.log_view.leave():
            super().action_back()

    @on(LogView.Copy)
    def copy_lines(self, message: LogView.Copy) -> None:
        """Copy or save the lines of a log."""
        from paneview.tui.logs.copying import copy_lines

        # Owned by the app: a file is written to its end even if this screen is left meanwhile.
        in_background(self.app, copy_lines, self.pv, message.state.feed, message.numbers, save=message.save)

    def try_search(self, text: str) -> None:
        """Search the log."""
        _try(self.pv, partial(self.log_view.search, text))


def _try(app: PaneviewApp, look: Callable[[], None], *, final: bool = True) -> None:
    """Search or filter; a toast reports a wrong pattern, unless it is still being typed."""
    try:
        look()
    except ValueError as error:
        if final:
            app.tell(clean(str(error)), failed=True)
