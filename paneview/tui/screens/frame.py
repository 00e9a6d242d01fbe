"""What a screen of the first level is, whatever it shows: header, body and hints, kept up to date while it is on top.

The layout has four forms: ``wide`` (split), ``stacked``, ``single`` (one pane at a time) and ``tiny`` (a message).
A screen that is not on top is not notified of changes and has no timer running: what it missed is drawn when it is on
top again. A dialog above it leaves it in view, and so it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.geometry import Size
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from paneview.tui.picture import Change
from paneview.tui.widgets.canvas import Canvas, Painted, line
from paneview.tui.widgets.header import Header
from paneview.tui.widgets.hints import Hints

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp

FORMS = ("wide", "stacked", "single", "tiny")


def form_of(width: int, height: int) -> str:
    """The layout for a terminal of this size."""
    if width < 40 or height < 10:
        return "tiny"
    if width < 60 or height < 16:
        return "single"
    return "wide" if width >= 150 and height >= 30 else "stacked"


class Frame(Screen[None]):
    """Header, body and hints. Subclasses give `body`, and draw in `update` what has changed."""

    CRUMB: ClassVar[str] = ""
    HINTS: ClassVar[dict[str, tuple[str, ...]]] = {"": ("help", "leave")}
    WAY_OUT: ClassVar[str] = "q leaves"
    """What to press in a terminal that is too small."""

    def __init__(self) -> None:
        super().__init__()
        self._deaf: Callable[[], None] | None = None
        self._ticking: Timer | None = None
        self._was_on_top = False
        self._had_focus: Widget | None = None

    @property
    def pv(self) -> PaneviewApp:
        """The app, with its own type."""
        return cast("PaneviewApp", self.app)

    def body(self) -> Iterator[Widget]:
        """The widgets between header and hints."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether this action is available now: nothing that cannot be seen is acted on."""
        if self.has_class("tiny") and action != "back":
            return False
        return super().check_action(action, parameters)

    def situation(self) -> str:
        """The key of the `HINTS` to show when there are none for the focused widget."""
        return ""

    def update(self, change: Change) -> None:
        """The picture has changed."""

    def tick(self) -> None:
        """A second has passed."""

    def laid_out(self) -> None:
        """The size, and with it the layout's form, is known or has changed."""

    def compose(self) -> ComposeResult:
        """Header, body, hints; and the message for terminals that are too small."""
        self._lay_out(self.app.size)  # before the first frame, which then needs no second one
        yield Header(crumb=self.CRUMB, id="header")
        yield from self.body()
        yield Hints(self.HINTS, self.situation, id="hints")
        yield Painted(self._paint_tiny, id="tiny")

    def on_mount(self) -> None:
        """Tick once a second, for texts that change as time passes."""
        self._ticking = self.set_interval(1.0, self.tick)

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """On top: listen for changes, and draw all that was missed."""
        if not self._was_on_top:
            self._was_on_top = True
            event.refresh_styles = False  # they were found as its widgets were mounted, a moment ago
        if self._deaf is None:
            self._deaf = self.pv.picture.listen(self._changed)
            if self._ticking is not None:
                self._ticking.resume()
            names, happened = set(self.pv.picture.tasks), len(self.pv.picture.events)
            self._changed(
                Change(tasks=names, order=True, events=happened, heads=set(names), link=True, queue=True)
            )

    def on_screen_suspend(self, _event: events.ScreenSuspend) -> None:
        """Covered by another screen: stop listening, unless it is only a dialog."""
        if isinstance(self.app.screen, ModalScreen):
            return
        self._hear_nothing()
        if self._ticking is not None:
            self._ticking.pause()

    async def on_unmount(self) -> None:
        """Closed: stop listening, whatever it was covered by."""
        self._hear_nothing()

    def _hear_nothing(self) -> None:
        if self._deaf is not None:
            self._deaf()
            self._deaf = None

    def on_resize(self, event: events.Resize) -> None:
        """The layout for this size."""
        self._had_focus = self.focused or self._had_focus
        self._lay_out(event.size)
        self.laid_out()
        if self.focused is None and not self.has_class("tiny"):
            self.call_after_refresh(self._focus_again)

    def _focus_again(self) -> None:
        """A terminal that was too small had hidden what had the focus."""
        had = self._had_focus
        if self.focused is None and self._was_on_top and not self.has_class("tiny"):
            there = had is not None and had.is_attached
            # As back from elsewhere: a line would otherwise be selected, and replaced by what is typed next.
            self.set_focus(had if there else self.query_one(str(self.AUTO_FOCUS)), from_app_focus=True)

    def _lay_out(self, size: Size) -> None:
        form = form_of(size.width, size.height)
        # All at once: with each call, the styles of the whole screen are found anew.
        self.update_classes({name: name == form for name in FORMS} | {"tall": size.height >= 30})

    def _changed(self, change: Change) -> None:
        if change.tasks or change.link or change.order or change.flows:
            self.query_one(Header).redraw()
        self.update(change)

    def redraw_all(self) -> None:
        """Draw everything again, in other colours."""
        for canvas in self.query(Canvas):
            canvas.repaint()

    def _paint_tiny(self, width: int, height: int) -> list[Strip]:
        inks = self.pv.inks
        texts = ["paneview", f"{width}x{height} is too small:", "40x10 is the least", self.WAY_OUT]
        blank = [Strip.blank(width, inks.base)] * max(0, (height - len(texts)) // 2)
        return [*blank, *[line(width, inks.base, (text.center(width), inks.title)) for text in texts]]
