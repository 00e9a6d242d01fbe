"""The application: connects, owns the picture, and shows the screens. `run` is the entry point."""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.binding import BindingType
from textual.command import Provider
from textual.css.query import NoMatches
from textual.notifications import Notify, SeverityLevel
from textual.screen import Screen
from textual.widget import MountError
from textual.worker import WorkerFailed

from paneview.text import with_option
from paneview.tui import leaving, terminal, timers
from paneview.tui import theme as themes
from paneview.tui.ask.history import AskHistory
from paneview.tui.background import in_background
from paneview.tui.doing import Doing
from paneview.tui.keys.bindings import key
from paneview.tui.keys.inturn import InTurn
from paneview.tui.link import Link, MakeControl
from paneview.tui.logs.state import Logs
from paneview.tui.picture import Change, Picture
from paneview.tui.question import Question
from paneview.tui.screens.base import MainScreen
from paneview.tui.screens.fleet import FleetScreen
from paneview.tui.settings import Settings, check_keys, choose_theme, load_settings, settings_file
from paneview.tui.stylesheet import MixedOnce, ParsedOnce
from paneview.tui.text import clean
from paneview.tui.toasts import Few, Passing
from paneview.tui.widgets.header import Header
from paneview.tui.workflows import news as flownews

TOAST = 3.0  # s that a success stays
TROUBLE = 8.0  # s that a failure stays
MOST_TOLD = 800  # characters of a toast, so that it does not cover the screen
# The screens above the fleet, each loaded when it is first shown.
SCREENS = {
    "logs": ("logs", "LogsScreen"),
    "queue": ("queue", "QueueScreen"),
    "workflows": ("workflows", "WorkflowsScreen"),
    "events": ("events", "EventsScreen"),
    "graph": ("graph", "GraphScreen"),
}


def _palette() -> type[Provider]:
    from paneview.tui.commands import TaskCommands

    return TaskCommands


class PaneviewApp(MixedOnce, inherit_bindings=False):
    """The application. ``home`` is the folder of paneview's state; ``clock`` is another one in tests only."""

    CSS_PATH: ClassVar = ["styles.tcss", "queue/styles.tcss", "workflows/styles.tcss"]
    TITLE = "paneview"
    ALLOW_SELECT = False
    COMMANDS: ClassVar = {_palette}
    BINDINGS: ClassVar[list[BindingType]] = [
        key("screen.fleet", "1", "go('fleet')", "Fleet"),
        key("screen.logs", "2", "go('logs')", "Logs", "Log of the selected task"),
        key("screen.queue", "3", "go('queue')", "Queue", "Queue and workers"),
        key("screen.workflows", "4", "go('workflows')", "Workflows", "Workflows of agents"),
        key("screen.events", "5", "go('events')", "Events"),
        key("screen.graph", "6", "go('graph')", "Graph", "Dependencies"),
        key("help", "question_mark,f1", "help", "Help"),
        key("ask", "a", "ask", "Ask", "Ask agents for something"),
        key("dispatch", "d", "dispatch", "Dispatch", "Dispatch a job"),
        key("command", "colon", "command", "Command", "Command by name"),
        key("palette", "ctrl+p", "command_palette", "Palette", "Palette: tasks × actions"),
        key("leave", "q,ctrl+q", "leave", "Leave", "Leave or stop all (asks)"),
        key("harmless", "ctrl+c", "harmless", "Harmless", "Only a hint how to leave", system=True),
        key("suspend", "ctrl+z", "suspend", "Suspend", "To the shell; fg returns"),
    ]

    def __init__(
        self,
        make: MakeControl,
        home: Path,
        *,
        start: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.time,
        settings: Settings | None = None,
        named: str | None = None,
    ) -> None:
        # A web server for terminal programs (textual-serve) sets its own driver.
        super().__init__(
            driver_class=None if "TEXTUAL_DRIVER" in os.environ else terminal.Terminal,
            ansi_color=True if "NO_COLOR" in os.environ else None,
        )
        self.picture = Picture(clock, self._could_not_show)
        self.link = Link(self.picture, make)
        self.doing = Doing(self._doing_changed)
        self.logs = Logs(self.picture, self.link.call)
        self.selected: str | None = None
        self.group: list[str] = []
        self.histories: dict[str, list[str]] = {}
        self.asked = AskHistory(home)
        self.failure: Exception | None = None
        # Textual's own attribute: it has no other way to limit them.
        self._notifications = Few(lambda: self.size.height)
        self.farewell = ""
        # Of the commands that messages name.
        self.option = f" -c {clean(shlex.quote(named))}" if named else ""
        self._typed = InTurn(self, super().on_event)
        timers.never_skip_the_only_turn()
        self._start = start
        self._linking: asyncio.Task[None] | None = None
        self.ansi_theme_dark, self.ansi_theme_light = themes.DARK_TERMINAL, themes.LIGHT_TERMINAL
        self.settings = settings or Settings()
        for theme in (*themes.THEMES, *self.settings.themes):
            self.register_theme(theme)
        self.theme = choose_theme(self.settings, self.available_themes)
        variables = self.get_css_variables()
        self.stylesheet = ParsedOnce(variables=variables)
        self.inks = themes.inks(self.current_theme, variables)

    def get_default_screen(self) -> Screen[Any]:
        """The screen that is always at the bottom: the fleet."""
        return FleetScreen()

    def on_mount(self) -> None:
        """Connect, while the first frame is already on the screen."""
        self.picture.listen(self._changed)
        self.theme_changed_signal.subscribe(self, self._recolour)
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))  # also after fg
        self._linking = asyncio.create_task(self._connect(), name="link")
        self._take_keys()
        if not self.is_headless:
            terminal.on_leaving_signals(self.exit)
            terminal.on_hang_up(self._hung_up)

    def _take_keys(self) -> None:
        """Apply the user's keys; problems in them, and in the rest of the settings file, are shown as toasts."""
        settings = self.settings
        if settings.keys:
            from paneview.tui.commands import actions

            check_keys(settings, actions())
            self.set_keymap(settings.keys)
        for problem in settings.problems:
            self.tell(clean(problem), failed=True)

    def on_ready(self) -> None:
        """What is loaded now stays: the garbage collector need not scan it again while a key waits."""
        if not self.is_headless:
            gc.freeze()

    async def on_exit_app(self) -> None:
        """The screens are about to go: stop notifying them of changes."""
        self.picture.mute()

    def _handle_exception(self, error: Exception) -> None:
        """No traceback for a screen that was still opening at the exit: it is empty, so its parts are not found."""
        cause = error.error if isinstance(error, WorkerFailed) else error
        if not (self._exit and isinstance(cause, NoMatches | MountError)):
            super()._handle_exception(error)

    def _could_not_show(self, error: Exception) -> None:
        """A screen failed to show a change: a defect, unless parts are missing because it is being removed."""
        if not isinstance(error, NoMatches):
            self._handle_exception(error)

    async def on_unmount(self) -> None:
        """Leave the supervisor alone."""
        if self._linking is not None:
            self._linking.cancel()
            await asyncio.gather(self._linking, return_exceptions=True)

    async def on_event(self, event: events.Event) -> None:
        """New keys and pastes (not those already forwarded) go to the widgets one after the other."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            await self._typed.take(event)
        else:
            await super().on_event(event)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """A toast."""
        passing = Passing(message, title, severity, TOAST if timeout is None else timeout, markup=markup)
        self.post_message(Notify(passing))

    def tell(self, message: str, *, failed: bool = False) -> None:
        """Show a toast, and record a failure among the events. The message is never markup; a long one is cut."""
        message = with_option(message, self.option)
        if len(message) > MOST_TOLD:
            message = f"{message[:MOST_TOLD]}…"
        self.notify(
            message,
            severity="error" if failed else "information",
            timeout=TROUBLE if failed else TOAST,
            markup=False,
        )
        if failed:
            self.picture.note("refused", message)

    def shown_tasks(self) -> list[str]:
        """The tasks in the order of the table."""
        fleet = self.screen_stack[0]
        return list(fleet.table.keys) if isinstance(fleet, FleetScreen) else list(self.picture.tasks)

    def marked_tasks(self) -> list[str]:
        """The tasks that are marked in the table, in its order."""
        fleet = self.screen_stack[0]
        return fleet.table.marks() if isinstance(fleet, FleetScreen) else []

    def action_go(self, name: str) -> None:
        """Show a screen; the fleet is always the one below it."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.group = []
        if name in SCREENS:
            module, kind = SCREENS[name]
            screen: Screen[None] = getattr(import_module(f"paneview.tui.screens.{module}"), kind)()
            self.push_screen(screen)

    def show_flow(self, flow: str) -> None:
        """The screen of workflows, with the cursor on this one."""
        from paneview.tui.screens.workflows import WorkflowsScreen

        self.action_go("fleet")
        self.push_screen(WorkflowsScreen(flow))

    async def action_dispatch(self) -> None:
        """The form for a new job, from any screen; its target is what is selected there."""
        from paneview.tui.screens.dispatch import DispatchForm

        if isinstance(self.screen, MainScreen):
            await self.push_screen(DispatchForm(self.screen.job_target()))

    async def action_ask(self, text: str = "") -> None:
        """The form for a new workflow, from any screen. Awaited, so that what is typed next goes into the form."""
        from paneview.tui.screens.ask import AskForm

        if isinstance(self.screen, MainScreen):
            await self.push_screen(AskForm(text))

    def merge(self, names: list[str]) -> None:
        """Show the logs of these tasks as one."""
        self.action_go("logs")
        self.group = names

    def action_help(self) -> None:
        """Show all keys of this screen."""
        from paneview.tui.screens.help import HelpScreen

        self.push_screen(HelpScreen(self.screen))

    async def action_command(self) -> None:
        """A command line, with completion."""
        from paneview.tui import commands

        screen = self.screen
        if isinstance(screen, MainScreen):
            hint = "start stop restart kill logs filter sort theme reload … · → completes"
            execute = partial(commands.execute, self)
            await screen.ask(Question(":", hint, execute, suggestions=commands.completions(self)))

    async def action_command_palette(self) -> None:  # type: ignore[override]
        """Every action on every task."""
        from paneview.tui import commands

        await commands.open_palette(self)

    def action_leave(self) -> None:
        """Ask how to leave."""
        if (link := self.picture.link).phase != "connected":
            if link.phase == "lost":
                again = f"'paneview{self.option}' starts another"
                self.farewell = f"{clean(self.picture.session)}: {clean(link.reason)}; {again}"
            self.exit(0)
            return
        from paneview.tui.screens.dialogs import leave

        running = sum(task.running for task in self.picture.tasks.values())
        self.push_screen(leave(self.picture.session, running), self._leave)

    def action_harmless(self) -> None:
        """Ctrl-C is a reflex; it must not cost a running task."""
        self.notify("Ctrl-C does nothing here, tasks go on. q leaves.", timeout=TOAST)

    def action_suspend(self) -> None:
        """Ctrl-Z: back to the shell, if there is one; the supervisor does not notice."""
        if terminal.can_stop():
            self.action_suspend_process()
        else:
            self.notify("There is no shell to go back to. q leaves.", timeout=TOAST)

    def _hung_up(self, status: int) -> None:
        if isinstance(self._driver, terminal.Terminal):
            self._driver.stuck = True
        self.exit(status)

    def _leave(self, answer: str | None) -> None:
        if answer == "l":
            ways = f"'paneview{self.option}' comes back, 'paneview down{self.option}' ends it"
            self.farewell = f"{clean(self.picture.session)} goes on: {ways}"
            self.exit(0)
        elif answer == "s":
            in_background(self, leaving.stop_all, self)

    async def _connect(self) -> None:
        if self._start is not None:
            try:
                await asyncio.to_thread(self._start)
            except Exception as error:  # noqa: BLE001 - `run` raises it again, once the terminal is restored
                self.failure = error
                self.exit(1)
                return
        try:
            await self.link.run()
        except Exception as error:  # noqa: BLE001 - handed on: otherwise the screen would freeze without a message
            self._handle_exception(error)

    def _changed(self, change: Change) -> None:
        self.logs.update(change)
        for message, bad in flownews.of(change, self.picture.flows):
            self.notify(message, severity="error" if bad else "information", timeout=TROUBLE, markup=False)

    def _doing_changed(self) -> None:
        for screen in self.screen_stack:
            for header in screen.query(Header):
                header.redraw()

    def _recolour(self, _theme: object) -> None:
        self.inks = themes.inks(self.current_theme, self.get_css_variables())
        for screen in self.screen_stack:
            repaint = getattr(screen, "redraw_all", None)
            if repaint is not None:
                repaint()


def run(
    socket_path: Path, home: Path, *, start: Callable[[], None] | None = None, named: str | None = None
) -> int:
    """Show the project whose supervisor listens at ``socket_path``, until the user leaves.

    ``home`` is the folder of paneview's state, ``named`` the file as the user has named it. ``start`` is called in a
    thread while the first frame is drawn; it starts a supervisor if none runs and waits until it answers. What it
    raises is raised here, after the terminal is restored. Returns the exit status.
    """
    from paneview.control.client import ControlClient

    def make(
        on_push: Callable[[dict[str, Any]], None], on_disconnect: Callable[[str], None]
    ) -> ControlClient:
        return ControlClient(socket_path, name="tui", on_push=on_push, on_disconnect=on_disconnect)

    app = PaneviewApp(make, home, start=start, settings=load_settings(settings_file()), named=named)
    restore = terminal.saved_mode()
    status = app.run() or 0
    driver = app._driver
    if isinstance(driver, terminal.Terminal) and driver.stuck:
        # Nothing reads the terminal, or too slowly: flushing what is buffered would wait for ever.
        driver.drop_the_rest()
        restore()
        os._exit(status)
    if app.failure is not None:
        raise app.failure
    if app.farewell:
        sys.stdout.write(f"{app.farewell}\n")
    return status
