"""What the keys do that all screens of the first level have: on tasks, between panes, to other screens."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import BindingType

from paneview.control.errors import ControlError
from paneview.control.flowmodel import FlowView
from paneview.control.model import StatusView
from paneview.tui.background import in_background, lending_the_terminal
from paneview.tui.keys.bindings import key
from paneview.tui.picture import Change
from paneview.tui.screens.aim import Aim
from paneview.tui.screens.frame import Frame
from paneview.tui.tasks.actions import VERBS, perform, question, rescale, visit
from paneview.tui.tasks.arrange import next_asking
from paneview.tui.tasks.why import why
from paneview.tui.text import clean
from paneview.tui.widgets.hints import Hints

if TYPE_CHECKING:
    from paneview.tui.question import Question

FRESH = 1.0  # s to wait for the newest facts
FOR_TASKS = frozenset({"act", "scale", "edit", "why", "visit", "type"})  # actions on the selected tasks


class MainScreen(Frame):
    """A screen of the first level. Subclasses give `body`, `targets` and `update`."""

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
        self.aim = Aim(self)

    def targets(self) -> list[str]:
        """The tasks that an action applies to."""
        return []

    def has_targets(self) -> bool:
        """Whether tasks can be selected with this focus; if not, keys for tasks do nothing and are not shown."""
        return True

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether this action is available now: those on tasks only where tasks can be selected."""
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

    def _changed(self, change: Change) -> None:
        with self.aim.watched():
            super()._changed(change)
