"""Commands by name: what is typed after ``:``, and what the palette offers. One table for both."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pkgutil import walk_packages
from typing import TYPE_CHECKING, NamedTuple, cast

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.widgets import Input, LoadingIndicator

from paneview.control.errors import ControlError
from paneview.tui.background import in_background, lending_the_terminal
from paneview.tui.keys.bindings import ACTIONS, key_text
from paneview.tui.screens.base import MainScreen
from paneview.tui.screens.fleet import FleetScreen
from paneview.tui.screens.reading import ReadingScreen
from paneview.tui.settings import settings_file
from paneview.tui.tasks.actions import VERBS, export, scale, visit
from paneview.tui.tasks.arrange import ORDERS
from paneview.tui.text import clean
from paneview.tui.words import look
from paneview.tui.workflows import commands as flowcommands
from paneview.tui.workflows.words import brief, flow_look

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp


DIGITS = 12  # most in a typed number; Python itself refuses more than some thousands


class Command(NamedTuple):
    """A command: what it does, and what it takes (``tasks``, ``task``, ``order``, ``theme``, ``text`` or nothing).

    ``flow`` is the id of any workflow, ``flow-waiting`` of one that waits for a person, ``flow-active`` of one that
    is not over, ``flow-over`` of one that failed or was cancelled.
    """

    about: str
    takes: str
    run: Callable[[PaneviewApp, list[str]], None]


def _act(verb: str, app: PaneviewApp, words: list[str]) -> None:
    screen = app.screen
    if isinstance(screen, MainScreen):
        unknown = [word for word in words if word not in app.picture.tasks]
        if unknown:
            app.tell(f"no task {', '.join(map(clean, unknown))}", failed=True)
        elif words:
            screen.act_on(verb, words)
        else:
            screen.action_act(verb)


def _target(app: PaneviewApp) -> str:
    """The task that a key for one task would act on here."""
    return app.screen.target() if isinstance(app.screen, MainScreen) else ""


def _no_task(app: PaneviewApp, name: str | None) -> None:
    app.tell(f"no task {clean(name)}" if name else "no task is selected", failed=True)


def _logs(app: PaneviewApp, words: list[str]) -> None:
    task, text = (words[0], " ".join(words[1:])) if words else (app.selected, "")
    if task not in app.picture.tasks:
        _no_task(app, task)
        return
    app.selected = task
    app.action_go("logs")
    if text:
        app.call_after_refresh(_search, app, text.removeprefix("/"))


def _merge(app: PaneviewApp, words: list[str]) -> None:
    names = list(dict.fromkeys(words)) or app.marked_tasks()
    unknown = [name for name in names if name not in app.picture.tasks]
    if unknown or len(names) < 2:
        app.tell(f"no task {', '.join(map(clean, unknown))}" if unknown else "merge TASK TASK…", failed=True)
    else:
        app.merge(names)


def _attach(app: PaneviewApp, words: list[str]) -> None:
    if (task := words[0] if words else _target(app)) in app.picture.tasks:
        lending_the_terminal(app, visit, app, task)
    else:
        _no_task(app, task)


def _dispatch(app: PaneviewApp, words: list[str]) -> None:
    """Open the form, filled in with what was typed."""
    from paneview.tui.screens.dispatch import DispatchForm

    target, kind = [*words, "", ""][:2]
    app.push_screen(DispatchForm(target, kind, " ".join(words[2:])))


def _search(app: PaneviewApp, text: str) -> None:
    if isinstance(app.screen, ReadingScreen):
        app.screen.try_search(text)


def _fleet(app: PaneviewApp) -> FleetScreen:
    app.action_go("fleet")
    return cast("FleetScreen", app.screen)


def _sort(app: PaneviewApp, words: list[str]) -> None:
    if not words or words[0] not in ORDERS:
        app.tell(f"sort by {', '.join(ORDERS)}", failed=True)
        return
    table = _fleet(app).table
    table.order = words[0]
    table.update()


def _filter(app: PaneviewApp, words: list[str]) -> None:
    _fleet(app).table.set_filter(" ".join(words))


def _theme(app: PaneviewApp, words: list[str]) -> None:
    names = [words[0], f"paneview-{words[0]}"] if words else []
    found = next((name for name in names if name in app.available_themes), None)
    if found is None:
        app.tell(f"themes: {', '.join(sorted(app.available_themes))}", failed=True)
    else:
        app.theme = found


def _scale(app: PaneviewApp, words: list[str]) -> None:
    if len(words) != 2 or not words[1].isdecimal():
        app.tell("scale TASK NUMBER", failed=True)
    elif len(words[1]) > DIGITS:
        app.tell(f"scale TASK NUMBER, of at most {DIGITS} digits", failed=True)
    else:
        in_background(app, scale, app, words[0], int(words[1]))


def _edit(app: PaneviewApp, words: list[str]) -> None:
    from paneview.tui.tasks.editing import edit_task

    if (task := words[0] if words else _target(app)) in app.picture.tasks:
        lending_the_terminal(app, edit_task, app, task)
    else:
        _no_task(app, task)


def _export(app: PaneviewApp, words: list[str]) -> None:
    in_background(app, export, app, words)


async def _reload(app: PaneviewApp) -> None:
    try:
        with app.doing.under_way("reload"):
            await app.link.call("reload", timeout=None)
    except ControlError as error:
        app.tell(f"reload: {error.message}", failed=True)
    else:
        app.tell("reload: done")


def actions() -> dict[str, tuple[str, str]]:
    """Every action that can be bound to a key, by name: its keys, and what it does."""
    import paneview.tui

    for module in walk_packages(paneview.tui.__path__, "paneview.tui."):
        import_module(module.name)
    return ACTIONS


def _keys(app: PaneviewApp, _words: list[str]) -> None:
    from paneview.tui.screens.dialogs import message

    rows = []
    for name, (keys, about) in sorted(actions().items()):
        shown = app.settings.keys.get(name, keys)
        rows.append(f"{name}  {' '.join(key_text(key) for key in shown.split(','))}  {about}")
    app.push_screen(message(f"Actions, for [keys] in {settings_file()}", rows))


COMMANDS: dict[str, Command] = {
    **{verb: Command(f"{verb} tasks", "tasks", partial(_act, verb)) for verb in VERBS},
    "logs": Command("open a task's log; :logs api /err searches it", "task", _logs),
    "merge": Command("logs of several tasks as one, by time", "tasks", _merge),
    "attach": Command("go into a task's tmux window", "task", _attach),
    "scale": Command("run another number of replicas; :scale web 3", "text", _scale),
    "edit": Command("change what the file says about a task", "task", _edit),
    "export": Command("events and output to a file; :export --since 1h", "text", _export),
    "fleet": Command("all tasks", "", lambda app, _: app.action_go("fleet")),
    "queue": Command("jobs and workers", "", lambda app, _: app.action_go("queue")),
    "dispatch": Command("a new job; :dispatch role:R prompt TEXT", "text", _dispatch),
    "workflows": Command("workflows of agents", "", lambda app, _: app.action_go("workflows")),
    "ask": Command("ask agents for something; :ask TEXT", "text", flowcommands.ask),
    "workflow": Command("one workflow: phases, transcript, diff", "flow", flowcommands.show),
    "approve": Command("let a phase that waits begin", "flow-waiting", flowcommands.approve),
    "reject": Command("let it not begin; asks why", "flow-waiting", flowcommands.reject),
    "retry": Command(
        "what failed of a workflow; :retry ID PHASE from there on", "flow-over", flowcommands.retry
    ),
    "cancel": Command("end a workflow (asks first)", "flow-active", flowcommands.cancel),
    "events": Command("what happened", "", lambda app, _: app.action_go("events")),
    "graph": Command("dependencies", "", lambda app, _: app.action_go("graph")),
    "keys": Command("names of all actions, for a key map", "", _keys),
    "filter": Command("show only tasks that match", "text", _filter),
    "sort": Command("order of the tasks", "order", _sort),
    "theme": Command("colours", "theme", _theme),
    "reload": Command("read the project's file again", "", lambda app, _: in_background(app, _reload, app)),
    "help": Command("all keys", "", lambda app, _: app.action_help()),
    "quit": Command("leave; asks how", "", lambda app, _: app.action_leave()),
}
ALSO = {"q": "quit"}  # what the fingers of those who know other programs type


def execute(app: PaneviewApp, text: str) -> None:
    """Run the command typed after the colon; a toast reports one that is not understood."""
    try:
        name, *words = shlex.split(text)
    except ValueError as error:
        if text.strip():
            app.tell(str(error), failed=True)
        return
    command = COMMANDS.get(ALSO.get(name, name))
    if command is None:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f", did you mean :{close[0]}?" if close else ""
        app.tell(f"no command :{clean(name)}{hint}", failed=True)
        return
    command.run(app, words)


def completions(app: PaneviewApp) -> list[str]:
    """Every command line that completion can offer, the bare names first."""
    values = {
        "tasks": list(app.picture.tasks),
        "task": list(app.picture.tasks),
        "order": list(ORDERS),
        "theme": sorted(app.available_themes),
        **flowcommands.known(app),
    }
    return [
        *COMMANDS,
        *[f"{name} {value}" for name, command in COMMANDS.items() for value in values.get(command.takes, ())],
    ]


async def open_palette(app: PaneviewApp) -> None:
    """Every action on every task. Nothing in it blinks or spins, so an idle screen has nothing to draw."""
    if CommandPalette.is_open(app):  # type: ignore[arg-type]
        return
    palette = CommandPalette(id="--command-palette")
    await app.push_screen(palette)
    for line in palette.query(Input):
        line.cursor_blink = False
    for wheel in palette.query(LoadingIndicator):  # it asks for 16 frames a second even when hidden
        wheel.auto_refresh = None


class TaskCommands(Provider):
    """The palette: each task with each action, and the commands that need no argument."""

    async def discover(self) -> Hits:
        """What is offered before anything is typed."""
        for text, about, run in self._offers():
            if " " not in text:
                yield DiscoveryHit(text, run, help=about)

    async def search(self, query: str) -> Hits:
        """What fits the query."""
        matcher = self.matcher(query)
        for text, about, run in self._offers():
            score = matcher.match(text)
            if score > 0:
                yield Hit(score, matcher.highlight(text), run, help=about)

    def _offers(self) -> Iterator[tuple[str, str, Callable[[], None]]]:
        app = cast("PaneviewApp", self.app)
        for text in completions(app):
            command = COMMANDS[text.partition(" ")[0]]
            if command.takes and " " not in text:
                continue
            value = text.partition(" ")[2]
            about = command.about
            if task := app.picture.tasks.get(value):
                about = f"{look(task).word} · {task.description or task.command}"
            elif flow := app.picture.flows.get(value):
                about = f"{flow_look(flow).word} · {brief(flow)}"
            yield clean(text), clean(about), partial(execute, app, _quoted(text))


def _quoted(text: str) -> str:
    name, _, value = text.partition(" ")
    return f"{name} {shlex.quote(value)}" if value else name
