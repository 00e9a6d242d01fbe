"""The screen of one workflow: its phases, and below them its facts, a run's live transcript, or its diff."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.strip import Strip
from textual.widget import Widget

from paneview.control.flowmodel import FlowView, PhaseView
from paneview.tui.keys.bindings import key
from paneview.tui.picture import Change
from paneview.tui.screens.flowbase import FlowKeys
from paneview.tui.text import cells, clean, cut
from paneview.tui.widgets.canvas import PLAIN, Canvas, Painted, Piece, line, spread
from paneview.tui.widgets.listing import Listing
from paneview.tui.workflows import actions as flowactions
from paneview.tui.workflows import text as flowtext
from paneview.tui.workflows import words
from paneview.tui.workflows.pane import VIEWS, FlowPane, natural_view
from paneview.tui.workflows.tables import PhaseTable

CHOSEN = ""  # by the user: no phase has this name, so the cursor is not moved on from it


class WorkflowScreen(FlowKeys):
    """Everything about a workflow."""

    CRUMB = "workflow"
    AUTO_FOCUS = "#phases"
    HINTS: ClassVar[dict[str, tuple[str, ...]]] = {
        "": ("flow.transcript", "flow.diff", "flow.retry_from", "flow.cancel", "help", "back"),
        "flow-text": ("list.last", "flow.view", "flow.diff", "flow.copy", "help", "back"),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        key("flow.retry_from", "R", "retry_from", "Retry from", "Retry from a phase on (asks)"),
        key("flow.view", "v", "next_view", "View", "About it, transcript, diff"),
        key("flow.diff", "D", "view('diff')", "Diff", "What it has changed"),
        key("flow.copy", "y", "copy", "Copy", "Copy what is shown"),
    ]

    def __init__(self, flow: str, phase: str | None = None, view: str | None = None) -> None:
        super().__init__()
        self._shown = flow
        self._view = "run" if phase else view
        self._wanted = phase
        self._fitted: int | str | None = None
        self._led_to: str | None = None
        """The phase that the cursor was put on automatically: from there it follows the workflow."""

    def body(self) -> Iterator[Widget]:
        """The workflow in a line, what is wrong, its phases, and the text."""
        yield Painted(self._paint_head, id="flow-head")
        yield Painted(self._paint_reason, id="flow-reason")
        yield Painted(self.paint_trouble, id="flow-trouble")
        yield PhaseTable(id="phases")
        yield FlowPane(id="flow-text")

    @property
    def phases(self) -> PhaseTable:
        """The table of its phases."""
        return self.query_one(PhaseTable)

    def flow(self) -> FlowView | None:
        """The workflow shown; None if it is not known."""
        return self.pv.picture.flows.get(self._shown)

    def phase(self) -> PhaseView | None:
        """The phase under the cursor."""
        return self.phases.selected

    def go_to_flow(self, flow: FlowView) -> None:
        """Show this workflow, at its current phase."""
        self._shown, self._view, self._led_to = flow.id, None, None
        self._wanted = flow.current.name if flow.current is not None else None
        self._show()

    def on_mount(self) -> None:
        """Only draw: the screen below has subscribed to the runners' pauses."""
        self._show()
        if self._view is not None:
            self._to_text()

    def update(self, change: Change) -> None:
        """The picture has changed."""
        if self._shown in change.flows or change.link:
            self._show()
        elif change.queue:
            self._redraw_around()

    def tick(self) -> None:
        """Show the time that has passed."""
        self.phases.redraw()
        self._redraw_around()

    def laid_out(self) -> None:
        """The screen has another size."""
        self._show()

    @on(Listing.Moved, "#phases")
    def moved(self) -> None:
        """Another phase is selected: its transcript, if a transcript is shown."""
        self._show_text()

    @on(Listing.Chosen, "#phases")
    def chosen(self) -> None:
        """A click on what is selected."""
        self.action_read_run()

    # Actions

    def action_read_run(self) -> None:
        """Show the transcript of the selected phase, which stays selected as the workflow goes on."""
        self._view, self._led_to = "run", CHOSEN
        self._show_text()
        self._to_text()

    def action_view(self, name: str) -> None:
        """Show this view: the facts, the transcript or the diff."""
        self._view = name
        self._show_text()
        self._to_text()

    def action_next_view(self) -> None:
        """Show the next view."""
        self.action_view(VIEWS[(VIEWS.index(self.pane.view) + 1) % len(VIEWS)])

    def action_retry_from(self) -> None:
        """Retry from the selected phase on."""
        flow, phase = self.flow(), self.phases.selected
        if flow is not None and phase is not None:
            flowactions.retry(self.pv, flow, phase)

    async def action_copy(self) -> None:
        """Copy what is shown to the clipboard."""
        from paneview.tui.logs.copying import to_clipboard

        how = await to_clipboard(self.pv, self.pane.text())
        self.pv.tell(f"{self.pane.view} copied {how}")

    def action_back(self) -> None:
        """Esc: from the text to the phases, then back."""
        if self.focused is self.pane:
            self.set_focus(self.phases)
            self.set_class(False, "reading")
        else:
            super().action_back()

    def _to_text(self) -> None:
        self.set_class(True, "reading")
        self.set_focus(self.pane)

    def action_pane(self, by: int) -> None:
        """Move between the phases and the text."""
        if self.focused is self.phases:
            self._to_text()
        else:
            self.action_back()

    # How it is drawn

    def _show(self) -> None:
        flow, table = self.flow(), self.phases
        table.update(flow)
        if flow is not None:
            self._lead(flow)
        rows = min(len(table.keys) + 1, max(3, self.size.height // 3)) if table.keys else 2
        wanted = "1fr" if self.has_class("single") else rows
        if wanted != self._fitted:
            self._fitted = table.styles.height = wanted
        self._redraw_around()
        self._show_text()

    def _lead(self, flow: FlowView) -> None:
        """The cursor follows the workflow until the user moves it; a phase that was chosen stays selected."""
        table, at = self.phases, self._wanted or (flow.current.name if flow.current is not None else None)
        if at is not None and (self._wanted or self._led_to in (None, table.cursor)):
            table.select(at)
            self._led_to = CHOSEN if self._wanted and self._view else at
        self._wanted = None

    def _show_text(self) -> None:
        flow = self.flow()
        if flow is None:
            self.pane.look(None)
            return
        phase = self.phases.selected
        self.pane.look(flow, self._view or natural_view(flow), phase.name if phase is not None else None)

    def _redraw_around(self) -> None:
        flow = self.flow()
        self.set_class(bool(self.trouble()), "noted")
        self.set_class(flow is not None and bool(self._reason(flow)), "reasoned")
        for name in ("#flow-head", "#flow-reason", "#flow-trouble"):
            self.query_one(name, Canvas).redraw()

    @staticmethod
    def _reason(flow: FlowView) -> str:
        if flow.waits_for_person and not flow.over:
            return f"{flowtext.what_to_press(flow)} · {words.matter(flow)}"
        return flow.reason

    def _paint_head(self, width: int, _height: int) -> list[Strip]:
        inks, flow = self.pv.inks, self.flow()
        if flow is None:
            return [line(width, inks.base, (f" there is no workflow {clean(self._shown)}", inks.dim))]
        look, now, tokens = words.flow_look(flow), self.pv.picture.clock(), words.tokens(flow.usage)
        budget = f" of ${flow.budget_usd:g}" if flow.budget_usd is not None else ""
        used = (words.flow_time(flow, now), tokens and f"{tokens} tokens", words.cost(flow.usage) + budget)
        right: list[Piece] = [(f" {' · '.join(one for one in used if one)} ", inks.dim)]
        left: list[Piece] = [
            (f" {look.glyph} {look.word}  ", inks.role(look.role)),
            (f"{clean(flow.workflow)}  ", inks.title),
        ]
        room = width - sum(cells(text) for text, _ in [*left, *right]) - 1
        if room < 10:
            right, room = [], width - sum(cells(text) for text, _ in left) - 1
        left.append((cut(words.asked(flow), room), PLAIN))
        return [spread(width, inks.base, left, right, (" ", inks.base))]

    def _paint_reason(self, width: int, _height: int) -> list[Strip]:
        inks, flow = self.pv.inks, self.flow()
        ink = inks.failed if flow is not None and flow.status == "failed" else inks.attention
        text = self._reason(flow) if flow is not None else ""
        return [line(width, inks.base, (cut(f" {clean(text)}", width), ink))]
