"""The screen of workflows: all of them, the phases of the selected one and, if there is room, its details."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import Container
from textual.strip import Strip
from textual.widget import Widget

from paneview.control.errors import ControlError
from paneview.control.flowmodel import FlowView, PhaseView
from paneview.tui.background import in_background
from paneview.tui.keys.bindings import key
from paneview.tui.picture import Change
from paneview.tui.question import Question
from paneview.tui.screens.flowbase import FlowKeys
from paneview.tui.text import cells, clean, cut
from paneview.tui.widgets.canvas import Canvas, Painted, Piece, spread
from paneview.tui.widgets.divider import Divider
from paneview.tui.widgets.listing import Listing
from paneview.tui.workflows import words
from paneview.tui.workflows.pane import FlowPane, natural_view
from paneview.tui.workflows.tables import FlowTable, PhaseTable

LOOK_AGAIN = 0.1  # s that the cursor must rest on a workflow before its details are fetched


class WorkflowsScreen(FlowKeys):
    """Workflows, phases, and the text of the selected one."""

    CRUMB = "workflows"
    AUTO_FOCUS = "#flows"
    HINTS: ClassVar[dict[str, tuple[str, ...]]] = {
        "": ("ask", "flow.open", "help", "back"),
        "flows": ("flow.open", "flow.approve", "task.asking", "ask", "help", "back"),
        "phases": ("flow.transcript", "flow.approve", "flow.retry_from", "ask", "help", "back"),
        "flow-text": ("list.last", "pane.next", "ask", "help", "back"),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        key("flow.retry_from", "R", "retry_from", "Retry from", "Retry from a phase on (asks)"),
        key("flow.diff", "D", "diff", "Diff", "What it has changed"),
    ]

    def __init__(self, select: str | None = None) -> None:
        super().__init__()
        self._select = select
        self._fitted: int | None = None

    def body(self) -> Iterator[Widget]:
        """What is wrong, the tables, and the text of the selected workflow or phase."""
        yield Painted(self.paint_trouble, id="flow-trouble")
        with Container(id="flow-body"):
            with Container(id="flow-left"):
                yield FlowTable(id="flows", empty=self._why_empty)
                yield Painted(self._paint_rule, id="phases-rule", classes="rule")
                yield PhaseTable(id="phases")
            yield Divider(id="divider")
            yield FlowPane(id="flow-text")

    @property
    def table(self) -> FlowTable:
        """The table of workflows."""
        return self.query_one(FlowTable)

    @property
    def phases(self) -> PhaseTable:
        """The table of the selected workflow's phases."""
        return self.query_one(PhaseTable)

    def flow(self) -> FlowView | None:
        """The one under the cursor, as it is now and not as it was when it was last drawn."""
        return self.pv.picture.flows.get(self.table.cursor or "")

    def phase(self) -> PhaseView | None:
        """The selected phase, while the phases have the focus."""
        return self.phases.selected if self.focused is self.phases else None

    def go_to_flow(self, flow: FlowView) -> None:
        """Put the cursor on it; a filter that hides it is dropped."""
        table = self.table
        if flow.id not in table.keys:
            table.only_active = False
            table.set_filter("")
        table.select(flow.id)
        self.set_focus(table)

    def on_mount(self) -> None:
        """Listen for paused runners as well."""
        in_background(self, self._hear_of_runners)

    async def on_unmount(self) -> None:
        """The screen is closed: unsubscribe."""
        if not self.app.is_running:
            return
        with suppress(ControlError):  # the connection may be lost
            await self.pv.link.hear("queue", self, on=False)

    async def _hear_of_runners(self) -> None:
        """Subscribe to the queue, whose pushes include paused runners."""
        with suppress(ControlError):  # a lost connection subscribes again when it is back
            await self.pv.link.hear("queue", self, on=True)

    def update(self, change: Change) -> None:
        """The picture has changed."""
        if change.flows or change.link:
            table = self.table
            table.update(self.pv.picture.flows.values())
            if self._select in table.flows:
                table.select(str(self._select))
                self._select = None
            self._show_selected()
        if change.flows or change.link or change.queue:
            self._redraw_around()

    def tick(self) -> None:
        """Show the time that has passed."""
        self.table.redraw()
        self.phases.redraw()
        if self.has_class("noted"):
            self._redraw_around()

    def laid_out(self) -> None:
        """The panes may have as many rows as this size allows."""
        self._show_selected()
        self._show_text()

    @on(Listing.Moved, "#flows")
    def moved(self) -> None:
        """Another workflow is selected."""
        self._show_selected()
        self._redraw_around()

    @on(Listing.Moved, "#phases")
    def phase_moved(self) -> None:
        """Another phase is selected: its transcript, if the phases have the focus."""
        self._rest()

    @on(Listing.Chosen)
    def chosen(self, message: Listing.Chosen) -> None:
        """A click on what is selected."""
        if message.listing is self.table:
            self.action_open_flow()
        elif message.listing is self.phases:
            self.action_read_run()

    def _show_selected(self) -> None:
        flow = self.table.selected
        self.phases.update(flow)
        if flow is not None and flow.current is not None and self.focused is not self.phases:
            self.phases.select(flow.current.name)
        height = min(len(self.phases.keys) + 1, max(3, self.size.height // 2 - 2))
        wanted = height if self.phases.keys else 1
        if self._fitted != wanted:
            self._fitted = self.phases.styles.height = wanted
        self.set_class(flow is None, "nothing")
        self._rest()

    def _rest(self) -> None:
        """Show the details beside the tables, once the cursor rests."""
        if self.has_class("wide"):
            self.set_timer(LOOK_AGAIN, self._show_text)

    def _show_text(self) -> None:
        if not self.is_attached or not self.has_class("wide"):
            return
        flow, phase, pane = self.table.selected, self.phase(), self.pane
        if flow is None:
            pane.look(None)
        elif phase is not None and phase.attempt:
            pane.look(flow, "run", phase.name)
        else:
            pane.look(flow, natural_view(flow))

    # Actions

    def action_open_flow(self) -> None:
        """Show the selected workflow in the whole screen."""
        if self.table.cursor:
            from paneview.tui.screens.workflow import WorkflowScreen

            self.app.push_screen(WorkflowScreen(self.table.cursor))

    def action_diff(self) -> None:
        """Show what the selected workflow has changed, in the whole screen."""
        if flow := self._chosen():
            from paneview.tui.screens.workflow import WorkflowScreen

            self.app.push_screen(WorkflowScreen(flow.id, view="diff"))

    def action_read_run(self) -> None:
        """Show the transcript of the selected phase in the whole screen."""
        flow, phase = self.table.selected, self.phases.selected
        if flow is not None and phase is not None:
            from paneview.tui.screens.workflow import WorkflowScreen

            self.app.push_screen(WorkflowScreen(flow.id, phase.name))

    def action_retry_from(self) -> None:
        """Retry from the selected phase on."""
        from paneview.tui.workflows import actions as flowactions

        flow, phase = self.table.selected, self.phases.selected
        if flow is not None and phase is not None:
            flowactions.retry(self.pv, flow, phase)

    def action_toggle_active(self) -> None:
        """Show only workflows that are not over, or all."""
        table = self.table
        table.only_active = not table.only_active
        table.update(self.pv.picture.flows.values())
        self._redraw_around()

    async def action_find(self) -> None:
        """Filter the workflows by a regular expression."""
        table, before = self.table, self.table.filter.text

        def show(text: str) -> None:
            table.set_filter(text)
            self._redraw_around()

        hint = "regular expression on what was asked, state, workflow, id, reason · ! inverts"
        await self.ask(Question("/", hint, show, show, lambda: show(before), value=before))

    def action_back(self) -> None:
        """Esc: back to the list, drop the filter, then back."""
        table = self.table
        if self.focused is not table:
            self.set_focus(table)
        elif table.filter.text or table.only_active:
            table.only_active = False
            table.set_filter("")
            self._redraw_around()
        else:
            super().action_back()

    # How it is drawn

    def _redraw_around(self) -> None:
        self.set_class(bool(self.trouble()), "noted")
        for name in ("#flow-trouble", "#phases-rule"):
            self.query_one(name, Canvas).redraw()

    def _paint_rule(self, width: int, _height: int) -> list[Strip]:
        inks, table = self.pv.inks, self.table
        flow = table.selected
        left: list[Piece] = [("── ", inks.rule), ("phases ", inks.title)]
        if table.only_active:
            left.append(("only active ", inks.accent))
        if table.filter.text:
            left.append((f"/{table.filter.told} ", inks.attention))
        right: list[Piece] = [(" f active  / filter ──", inks.dim)]
        room = max(0, width - sum(cells(text) for text, _ in [*left, *right]) - 5)
        if flow is not None and (matter := words.matter(flow)):
            look = words.flow_look(flow)
            left.append((f"{look.glyph} {cut(matter, room)} ", inks.role(look.role)))
        elif flow is not None:
            left.append((f"of {cut(words.asked(flow), room)} ", inks.dim))
        return [spread(width, inks.base, left, right, ("─", inks.rule))]

    def _why_empty(self) -> str:
        picture = self.pv.picture
        if picture.flows_problem:
            return clean(picture.flows_problem)
        if not picture.flows_known:
            return "loading…"
        if self.table.filter.text:
            return f"No workflow matches {self.table.filter.told}. Esc clears the filter"
        if self.table.only_active and picture.flows:
            return "No workflow is under way. f shows all, a asks for one"
        return "No workflows yet. a asks: a sentence becomes a workflow done by agents"
