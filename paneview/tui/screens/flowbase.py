"""What the screens of workflows have in common: the keys that act on one, and the line about paused runners."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.screen import ModalScreen
from textual.strip import Strip

from paneview.control.flowmodel import FlowView, PhaseView
from paneview.text import with_option
from paneview.tui.keys.bindings import key
from paneview.tui.screens.aim import MOMENT, Aim
from paneview.tui.screens.base import MainScreen
from paneview.tui.text import clean, cut
from paneview.tui.widgets.canvas import line
from paneview.tui.workflows import actions as flowactions
from paneview.tui.workflows import words
from paneview.tui.workflows.pane import FlowPane


class FlowKeys(MainScreen):
    """Subclasses say which workflow and phase are selected, and how to go to another one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("flow.approve", "A", "approve", "Approve", "Approve what waits"),
        key("flow.reject", "X", "reject", "Reject", "Reject it; asks why"),
        key("flow.retry", "r", "retry", "Retry", "Retry what failed"),
        key("flow.cancel", "c", "cancel", "Cancel", "Cancel it (asks first)"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.aim = Aim(self, lambda: flow.id if (flow := self.flow()) is not None else "")
        self._approved = ("", "", 0.0)
        """The workflow and phase that were approved last, and when."""

    @property
    def pane(self) -> FlowPane:
        """The pane with the text."""
        return self.query_one(FlowPane)

    def has_targets(self) -> bool:
        """These screens show workflows, not tasks."""
        return False

    def flow(self) -> FlowView | None:
        """The selected workflow."""
        raise NotImplementedError

    def phase(self) -> PhaseView | None:
        """Its selected phase."""
        raise NotImplementedError

    def go_to_flow(self, flow: FlowView) -> None:
        """Select this one."""
        raise NotImplementedError

    def on_screen_suspend(self, _event: events.ScreenSuspend) -> None:
        """Covered by another screen: stop reading the transcript, unless it is only a dialog."""
        if not isinstance(self.app.screen, ModalScreen):
            self.pane.leave()

    def on_screen_resume(self, _event: events.ScreenResume) -> None:
        """On top again: go on reading the transcript."""
        self.pane.resume()

    def _chosen(self) -> FlowView | None:
        flow = self.flow()
        if flow is None:
            self.pv.tell("no workflow is selected: a asks for one", failed=True)
        return flow

    async def action_approve(self) -> None:
        """Approve the phase that waits for a person."""
        if not (flow := self._chosen()) or self.aim.lost():
            return
        phase = flowactions.waiting_phase(flow, self.phase())
        now, name = time.monotonic(), phase.name if phase is not None else ""
        last, approved, at = self._approved
        if name and last == flow.id and approved != name and now - at < MOMENT:
            told = f"{clean(approved)} is approved; now {clean(name)} waits: press again if it is meant, too"
            self.pv.tell(told)  # a key pressed twice or held
            return
        self._approved = (flow.id, name, now)
        await flowactions.approve(self, flow, phase)

    async def action_reject(self) -> None:
        """Reject the phase that waits; asks why."""
        if flow := self._chosen():
            await flowactions.reject(self, flow, self.phase())

    def action_retry(self) -> None:
        """Retry what failed."""
        if (flow := self._chosen()) and not self.aim.lost():
            flowactions.retry(self.pv, flow)

    def action_cancel(self) -> None:
        """Cancel the workflow; asks first."""
        if flow := self._chosen():
            flowactions.cancel(self.pv, flow)

    # Problems

    def trouble(self) -> str:
        """Runners that are paused, or why the workflows are not known; empty if all is well."""
        picture = self.pv.picture
        if picture.flows_problem:
            return f"✗ {clean(picture.flows_problem)}"
        paused = words.pauses(picture.queue.paused, picture.clock()) if picture.queue is not None else ""
        return f"! {with_option(paused, self.pv.option)}" if paused else ""

    def paint_trouble(self, width: int, _height: int) -> list[Strip]:
        """The line that says what is wrong, if anything is."""
        inks, text = self.pv.inks, self.trouble()
        ink = inks.failed if text.startswith("✗") else inks.attention
        return [line(width, inks.base, (cut(f" {text}", width), ink))]
