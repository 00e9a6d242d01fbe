"""What the screens have in common: header, prompt and hints, a layout for each size of terminal, actions on tasks.

The layout has four forms: ``wide`` (split), ``stacked``, ``single`` (one pane at a time) and ``tiny`` (a message).
A screen that is not on top is not notified of changes and has no timer running.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from paneview.control.errors import ControlError
from paneview.control.flowmodel import FlowView
from paneview.control.model import StatusView
from paneview.tui.background import in_background, lending_the_terminal
from paneview.tui.keys.bindings import key
from paneview.tui.picture import Change
from paneview.tui.screens.aim import Aim
from paneview.tui.tasks.actions import VERBS, perform, question, rescale, visit
from paneview.tui.tasks.arrange import next_asking
from paneview.tui.tasks.why import why
from paneview.tui.text import clean
from paneview.tui.widgets.canvas import Canvas, Painted, line
from paneview.tui.widgets.header import Header
from paneview.tui.widgets.hints import Hints

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp
    from paneview.tui.question import Question

FRESH = 1.0  # s to wait for the newest facts
FORMS = ("wide", "stacked", "single", "tiny")
FOR_TASKS = frozenset({"act", "scale", "edit", "why", "visit", "type"})  # actions on the selected tasks


def form_of(width: int, height: int) -> str:
    """The layout for a terminal of this size."""
    if width < 40 or height < 10:
        return "tiny"
    if width < 60 or height < 16:
        return "single"
    return "wide" if width >= 150 and height >= 30 else "stacked"


class MainScreen(Screen[None]):
    """A screen of the first level. Subclasses give `body`, `targets` and `update`."""

    CRUMB: ClassVar[str] = ""
    HINTS: ClassVar[dict[str, tuple[str, ...]]] = {"": ("help", "leave")}
    WAY_OUT: ClassVar[str] = "q leaves"
    """What to press in a terminal that is too small."""
    BINDINGS: ClassVar[list[BindingType]] = [
        key("task.start", "s", "act('start')", "Start"),
        key("task.stop", "x", "act('stop')", "Stop"),
        key("task.restart", "r", "act('restart')", "Restart"),
        key("task.kill", "K", "act('kill')", "Kill", "Kill at once (asks)"),
        key("task.more", "plus", "scale(1)", "More", "One replica more"),
        key("task.fewer", "minus", "scale(-1)", "Fewer", "One replica fewer (asks)"),
        key("task.edit", "e", "edit", "Edit", "Edit it in $EDITOR"),
        key("task.why", "w", "why", "Why", "Why it is as it is"),
        key("task.attach", "t", "visit", "Attach", "Go into its tmux window"),
        key("task.type", "i", "type", "Type", "Type to it; ctrl+] ends"),
        key("task.asking", "n", "asking", "Needs input", "To what needs input"),
        key("back", "escape", "back", "Back", "Back; never quits"),
        key("pane.next", "tab", "pane(1)", "Pane", "Next pane"),
        key("pane.previous", "shift+tab", "pane(-1)", "Previous pane"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._deaf: Callable[[], None] | None = None
        self._ticking: Timer | None = None
        self._was_on_top = False
        self._had_focus: Widget | None = None
        self.aim = Aim(self)

    @property
    def pv(self) -> PaneviewApp:
        """The app, with its own type."""
        return cast("PaneviewApp", self.app)

    def body(self) -> Iterator[Widget]:
        """The widgets between header and prompt."""
        raise NotImplementedError

    def targets(self) -> list[str]:
        """The tasks that an action applies to."""
        return []

    def has_targets(self) -> bool:
        """Whether tasks can be selected with this focus; if not, keys for tasks do nothing and are not shown."""
        return True

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether this action is available now: nothing that cannot be seen is acted on."""
        if self.has_class("tiny") and action != "back":
            return False
        if action in FOR_TASKS and not self.has_targets():
            return False
        return super().check_action(action, parameters)

    def target(self) -> str:
        """The task that an action on a single task applies to: the one under the cursor, whatever is marked."""
        return next(iter(self.targets()), "")

    def job_target(self) -> str:
        """The suggested target of a new job: the selected task, if it is a worker; empty if there is none."""
        names = self.targets()
        task = self.pv.picture.tasks.get(names[0]) if len(names) == 1 else None
        return task.name if task is not None and task.group == "workers" else ""

    def flow(self) -> FlowView | None:
        """The selected workflow, where workflows are shown."""
        return None

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
        """Header, body, prompt, hints; and the message for terminals that are too small."""
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

    def on_descendant_focus(self, _event: events.DescendantFocus) -> None:
        """Other hints apply now."""
        self.query_one(Hints).redraw()

    async def ask(self, question: Question) -> None:
        """Open the prompt. The key's action awaits it, so that what is typed next goes into the prompt."""
        from paneview.tui.widgets.prompt import Prompt

        for prompt in self.query(Prompt):
            if prompt.gone is None:
                return
            await prompt.gone  # there is room for one only
        history = self.pv.histories.setdefault(question.sign, [])
        self._make_room(asking=True)
        await self.mount(Prompt(question, history, partial(self._make_room, asking=False)), before="#hints")

    def _make_room(self, *, asking: bool) -> None:
        """The prompt has the line of the newest event, where there is one: only its style depends on that."""
        self.set_class(asking, "asking", update=False)
        for newest in self.query("#newest"):
            newest.update_node_styles()

    def action_act(self, name: str) -> None:
        """Start, stop, restart or kill; asks first if that destroys something or affects several tasks."""
        if not self.aim.lost():
            self.act_on(name, self.targets())

    def act_on(self, name: str, names: list[str]) -> None:
        """Like `action_act`, on these tasks."""
        verb = VERBS[name]
        if not names:
            self.app.bell()
            return
        asked = question(verb, names, self.pv.picture)
        if asked is None:
            self._run(name, names)
            return
        from paneview.tui.screens.dialogs import confirm

        title, effects, along = asked

        def answered(answer: str | None) -> None:
            if answer in ("y", "o"):
                self._run(name, [*names, *along] if answer == "y" else names)

        self.app.push_screen(confirm(title, effects, name, names, along), answered)

    def action_visit(self) -> None:
        """Go into the task's own tmux window, and back."""
        if name := self.target():
            lending_the_terminal(self.app, visit, self.pv, name)  # continues if this screen is left

    def action_scale(self, by: int) -> None:
        """One replica more or fewer of the task."""
        if not (name := self.target()):
            self.app.bell()
        elif not self.aim.lost():
            rescale(self.pv, name, by)

    def action_edit(self) -> None:
        """Change what the file says about the task."""
        from paneview.tui.tasks.editing import edit_task

        if name := self.target():
            lending_the_terminal(self.app, edit_task, self.pv, name)

    def action_type(self) -> None:
        """Type into the task's pane."""
        from paneview.tui.screens.typing import TypingScreen

        task = self.pv.picture.tasks.get(self.target())
        if task is None or not task.running:
            self.pv.tell(f"{clean(task.name)} does not run: s starts it" if task else "no task", failed=True)
        elif not self.aim.lost():
            self.app.push_screen(TypingScreen(task.name))

    async def action_why(self) -> None:
        """Explain why the task is as it is, from fresh facts: a probe that fails once more pushes no change."""
        from paneview.tui.screens.dialogs import message

        tasks = self.pv.picture.tasks
        with suppress(ControlError):  # what was last known is better than nothing
            status = StatusView.from_json(await self.pv.link.call("status", timeout=FRESH))
            tasks.update((task.name, task) for task in status.tasks if task.name in tasks)
        if shown := [tasks[name] for name in self.targets() if name in tasks]:
            lines = [why(task, self.pv.picture) for task in shown]
            self.app.push_screen(message("Why?", lines))

    def action_asking(self) -> None:
        """To the next task or workflow that waits for an answer, else to the next task that failed."""
        picture = self.pv.picture
        here = self.flow() or picture.tasks.get(self.pv.selected or "")
        found = next_asking(picture.tasks.values(), picture.flows.values(), here)
        if found is None:
            self.pv.tell("Nothing needs a person")
        elif isinstance(found, FlowView):
            self.go_to_flow(found)
        else:
            self.go_to(found.name)

    def go_to(self, name: str) -> None:
        """Show this task, here or in the table, whose filter may not hide it."""
        self.pv.selected = name
        self.pv.action_go("fleet")
        if isinstance(fleet := self.pv.screen, MainScreen) and fleet is not self:
            fleet.go_to(name)

    def go_to_flow(self, flow: FlowView) -> None:
        """Show this workflow, here or among all of them."""
        self.pv.show_flow(flow.id)

    def action_pane(self, by: int) -> None:
        """Move the focus to the next pane, or to the previous one."""
        if by > 0:
            self.focus_next()
        else:
            self.focus_previous()

    def action_back(self) -> None:
        """Back to the screen below, never out of the program."""
        if len(self.app.screen_stack) > 1:
            self.app.pop_screen()

    def _run(self, name: str, names: list[str]) -> None:
        # Owned by the app, so that the outcome is shown even if this screen is left meanwhile.
        in_background(self.app, perform, self.pv, VERBS[name], names)
        self.acted(names)

    def acted(self, names: list[str]) -> None:
        """An action on these tasks has been requested."""

    def _lay_out(self, size: Size) -> None:
        form = form_of(size.width, size.height)
        # All at once: with each call, the styles of the whole screen are found anew.
        self.update_classes({name: name == form for name in FORMS} | {"tall": size.height >= 30})

    def _changed(self, change: Change) -> None:
        if change.tasks or change.link or change.order or change.flows:
            self.query_one(Header).redraw()
        with self.aim.watched():
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
