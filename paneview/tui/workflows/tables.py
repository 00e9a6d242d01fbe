"""The tables of workflows, and of the phases of one: each with its state, time, tokens and cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from rich.style import Style
from textual.binding import BindingType
from textual.strip import Strip

from paneview.control.flowmodel import FlowView, PhaseView
from paneview.tui.keys.bindings import key
from paneview.tui.text import clean
from paneview.tui.widgets.canvas import PLAIN, Piece, line
from paneview.tui.widgets.columns import Column, fitting, row, titles
from paneview.tui.widgets.listing import CURSOR, Listing
from paneview.tui.widgets.rowfilter import RowFilter
from paneview.tui.workflows import words

LEAST_TASK = 14
LEAST_ASKED = 26
LEAST_REASON = 24
MOST_GLYPHS = 8  # phases that are shown, each as its glyph
FLOW_COLUMNS = (
    Column("state", "STATE", 12),
    Column("task", "ASKED", 0),
    Column("phases", "PHASES", MOST_GLYPHS, keep=6),
    Column("phase", "AT", 10, keep=3),
    Column("workflow", "WORKFLOW", 10, keep=2),
    Column("time", "TIME", 6, keep=7, right=True),
    Column("tokens", "TOKENS", 6, keep=4, right=True),
    Column("cost", "COST", 8, keep=5, right=True),
    Column("id", "ID", 24, keep=1),
)
PHASE_COLUMNS = (
    Column("name", "PHASE", 12),
    Column("state", "STATE", 14),
    Column("time", "TIME", 6, keep=7, right=True),
    Column("tokens", "TOKENS", 6, keep=4, right=True),
    Column("cost", "COST", 8, keep=5, right=True),
    Column("runs", "RUNS", 4, keep=1, right=True),
    Column("role", "ROLE", 10, keep=2),
    Column("reason", "", 0),
)


class FlowTable(Listing):
    """Workflows by id: what needs a person first, then what is under way, then the rest, the newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("flow.open", "enter", "screen.open_flow", "Open", "Phases, transcript, diff"),
        key("flow.filter", "slash", "screen.find", "Filter", "Filter: regex, ! inverts"),
        key("flow.active", "f", "screen.toggle_active", "Active", "Only what is not over"),
    ]

    def __init__(self, *, id: str | None = None, empty: Callable[[], str]) -> None:  # noqa: A002
        super().__init__(id=id, empty=empty)
        self.flows: dict[str, FlowView] = {}
        self.filter = RowFilter()
        self.only_active = False
        self._columns: list[Column] = []

    @property
    def selected(self) -> FlowView | None:
        """The workflow under the cursor."""
        return self.flows.get(self.cursor or "")

    def update(self, flows: Iterable[FlowView]) -> None:
        """Show these workflows."""
        ordered = sorted(flows, key=words.rank)
        self.flows = {flow.id: flow for flow in ordered}
        wanted = [flow for flow in ordered if not (self.only_active and flow.over)]
        self.set_keys([flow.id for flow in self.filter.choose(wanted, _texts)])
        self.redraw()

    def set_filter(self, text: str) -> None:
        """Show only what matches; an empty text shows all."""
        self.filter = RowFilter(text)
        self.update(self.flows.values())

    def paint(self, width: int, height: int) -> list[Strip]:
        """The table, with the columns that fit."""
        self._columns = fitting(FLOW_COLUMNS, width, LEAST_ASKED if width >= 60 else LEAST_TASK)
        return super().paint(width, height)

    def heading(self, width: int) -> Strip:
        """The columns' titles."""
        return line(width, self.inks.base, *titles(self._columns, self.inks.dim))

    def row(self, key: str, width: int, style: Style) -> Strip:
        """The line of one workflow."""
        inks, flow, now = self.inks, self.flows[key], self.pv.picture.clock()
        look, at = words.flow_look(flow), flow.current
        texts = {
            "state": f"{look.glyph} {look.word}",
            "task": words.brief(flow),
            "phase": at.name if at is not None and not flow.over else "",
            "workflow": flow.workflow,
            "time": words.flow_time(flow, now),
            "tokens": words.tokens(flow.usage),
            "cost": words.cost(flow.usage),
            "id": flow.id,
        }
        colours = {"state": inks.role(look.role), "task": PLAIN, "phase": inks.title}
        pieces: list[Piece] = []
        for piece, column in zip(
            row(self._columns, lambda one: (clean(texts.get(one.key, "")), colours.get(one.key, inks.dim))),
            self._columns,
            strict=True,
        ):
            pieces += [piece] if column.key != "phases" else [(" ", inks.dim), *self._glyphs(flow, now)]
        mark = (f"{CURSOR if key == self.cursor else ' '} ", inks.accent if self.has_focus else inks.dim)
        return line(width, style, mark, *pieces)

    def _glyphs(self, flow: FlowView, now: float) -> list[Piece]:
        looks = [words.phase_look(phase, now) for phase in flow.phases]
        most = MOST_GLYPHS if len(looks) <= MOST_GLYPHS else MOST_GLYPHS - 1
        pieces = [(look.glyph, self.inks.role(look.role)) for look in looks[:most]]
        if len(looks) > most:
            pieces.append(("…", self.inks.dim))
        return [*pieces, (" " * (MOST_GLYPHS - len(pieces)), self.inks.dim)]


def _texts(flow: FlowView) -> tuple[str, ...]:
    return flow.id, flow.workflow, flow.task, words.flow_look(flow).word, flow.reason, flow.branch or ""


class PhaseTable(Listing):
    """The phases of one workflow, by name, in their order."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("flow.transcript", "enter", "screen.read_run", "Transcript", "What its run shows, live"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._phases: dict[str, PhaseView] = {}
        self._columns: list[Column] = []

    @property
    def selected(self) -> PhaseView | None:
        """The phase under the cursor."""
        return self._phases.get(self.cursor or "")

    def update(self, flow: FlowView | None) -> None:
        """Show the phases of this workflow."""
        self._phases = {phase.name: phase for phase in flow.phases} if flow is not None else {}
        self.set_keys(list(self._phases))
        self.redraw()

    def paint(self, width: int, height: int) -> list[Strip]:
        """The table, with the columns that fit."""
        self._columns = fitting(PHASE_COLUMNS, width, LEAST_REASON if width >= 60 else 0)
        return super().paint(width, height)

    def heading(self, width: int) -> Strip:
        """The columns' titles."""
        return line(width, self.inks.base, *titles(self._columns, self.inks.dim))

    def row(self, key: str, width: int, style: Style) -> Strip:
        """The line of one phase."""
        inks, phase, now = self.inks, self._phases[key], self.pv.picture.clock()
        look = words.phase_look(phase, now)
        texts = {
            "name": phase.name,
            "state": f"{look.glyph} {look.word}",
            "time": words.phase_time(phase, now),
            "tokens": words.tokens(phase.usage),
            "cost": words.cost(phase.usage),
            "runs": str(phase.runs) if phase.runs else "",
            "role": phase.role,
            "reason": phase.reason,
        }
        colours = {"name": inks.title, "state": inks.role(look.role), "reason": PLAIN}
        mark = (f"{CURSOR if key == self.cursor else ' '} ", inks.accent if self.has_focus else inks.dim)
        cells = row(self._columns, lambda one: (clean(texts[one.key]), colours.get(one.key, inks.dim)))
        return line(width, style, mark, *cells)
